//! The one sentence on why a request was denied. What a provider told is kept
//! with the decision; everything else can be read off the request once more,
//! so a decision whose sentence is not asked for pays nothing for it.

use std::borrow::Cow;

use crate::{
    decision::{Caller, Decision, Verdict},
    engine::Engine,
    policy::lack::Lack,
    reason::Reason,
    request::Request,
    sentence::{Name, Sentence, list, names},
    token::{MAX_PAIRS, Seen, Sighting},
};

/// The longest path whose readings are compared for the sentence, in bytes: of
/// a long one a client could have thousands of bytes read in dozens of ways.
const MAX_COMPARED_PATH: usize = 256;

/// How much query and cookies are looked through once more for the sentence, in
/// bytes: any client may send them.
const MAX_SEARCHED_AGAIN: usize = 4096;

impl Engine {
    /// What the reason of a denial rests on, in one sentence: what was seen and
    /// what was wanted instead. Of an allowed request, what limits that are only
    /// tried out would have denied it for; `None` where there is nothing.
    ///
    /// It is for operators, never for the client: it quotes claims, and parts of
    /// tokens that were not verified, such as `iss` and `kid`. It holds no
    /// token, key or query, has at most 256 bytes and no control characters.
    pub fn detail<'d>(
        &self,
        request: &Request<'_>,
        decision: &'d Decision<'_>,
    ) -> Option<Cow<'d, str>> {
        let Verdict::Deny(_) = decision.verdict else {
            let caller = decision.caller.as_ref().filter(|_| decision.would_be_over())?;
            return Some(self.tell_limit(caller, decision).into());
        };
        if let Some(cause) = &decision.cause {
            return Some((&**cause).into());
        }
        if let Some(caller) = &decision.caller {
            if decision.reason == Reason::RateLimited {
                return Some(self.tell_limit(caller, decision).into());
            }
            let rules = decision.route.unwrap_or(self.routes().defaults());
            if let Some(lack) = Lack::find(rules, &caller.principal) {
                return Some(Sentence::of(format_args!("{lack}")).into());
            }
        }
        // A provider of the operator's own need not say more.
        Some(match decision.provider {
            Some(_) => decision.reason.description().into(),
            None => self.seen_in_request(request, decision.reason),
        })
    }

    /// The sentence on a denial that needed no provider.
    fn seen_in_request<'d>(&self, request: &Request<'_>, reason: Reason) -> Cow<'d, str> {
        let sentence = match reason {
            Reason::MalformedRequest => match self.defect_of(request) {
                Some(defect) => return defect.into(),
                None => self.tell_sources(request),
            },
            Reason::MissingToken => self.tell_sources(request),
            Reason::TokenTooLarge => {
                let limit = self.sources().max_bytes();
                let sources = self.tell_sources(request);
                Sentence::of(format_args!("{sources}; max_token_bytes: {limit}"))
            }
            Reason::MalformedToken => self.tell_sources(request),
            Reason::UnknownRoute => {
                let (named, known) =
                    (Name(request.route.unwrap_or_default()), names(self.routes().names()));
                Sentence::of(format_args!("Envoy names the route {named}, known: {known}"))
            }
            Reason::AmbiguousPath => self.tell_ambiguity(request),
            Reason::Internal => "a defect of this program, please report it".into(),
            reason => return reason.description().into(),
        };
        sentence.into()
    }

    /// Which budget is used up.
    fn tell_limit(&self, caller: &Caller, decision: &Decision<'_>) -> String {
        let provider = decision.provider.map_or("", |id| self.provider(id).name());
        let limited = decision.limited.as_ref();
        let told = self.limits().map(|it| it.describe(limited, &caller.principal, provider));
        told.unwrap_or_default()
    }

    /// Why a request is malformed, whatever tokens it has.
    pub(crate) fn defect_of(&self, request: &Request<'_>) -> Option<&'static str> {
        if request.method.is_empty() {
            Some("the request has no method")
        } else if request.path.is_empty() {
            Some("the request has no path")
        } else if self.cannot_hide_tokens(request) {
            const _: () = assert!(MAX_PAIRS == 1024, "the sentence names it");
            Some(
                "tokens are kept from the upstream (forward_token: false), and the request has \
                 more than 1024 query parameters, cookies or WebSocket protocols to look for them in",
            )
        } else {
            None
        }
    }

    /// What each token source holds; those that hold nothing, only if all do.
    fn tell_sources(&self, request: &Request<'_>) -> String {
        let cookies = request.headers.first("cookie").map_or(0, <[u8]>::len);
        let bytes = request.query().map_or(0, str::len) + cookies;
        if bytes > MAX_SEARCHED_AGAIN && self.sources().read_query_or_cookies() {
            return Sentence::of(format_args!(
                "{bytes} bytes of query and cookies, too many to look through once more"
            ));
        }
        let sightings = self.sources().survey(request);
        let holds_something = |sighting: &&Sighting<'_>| sighting.seen != Seen::Nothing;
        let told = |sighting: &Sighting<'_>| format!("{}: {}", sighting.place, sighting.seen);
        let mut holding: Vec<_> = sightings.iter().filter(holds_something).map(told).collect();
        if holding.is_empty() {
            holding = sightings.iter().map(told).collect();
        }
        Sentence::of(format_args!("{}", list(&holding)))
    }

    fn tell_ambiguity(&self, request: &Request<'_>) -> String {
        let path = request.bare_path();
        let told = match path.len() <= MAX_COMPARED_PATH {
            true => self.routes().describe_ambiguity(request),
            false => self.routes().defect_of(path),
        };
        match told {
            Some(told) => Sentence::of(format_args!("{told}")),
            None => "the path can be read in ways that lead to different routes".into(),
        }
    }
}
