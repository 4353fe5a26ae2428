//! The steps of a decision, each with what it saw.

use serde::Serialize;

use super::sentences;
use crate::{
    credential::Note,
    decision::{Decision, ProviderId, Verdict},
    engine::Engine,
    provider::AnswerKind,
    reason::Reason,
    request::Request,
    token::{MAX_PAIRS, NoToken, Seen, Sighting, jwt},
};

/// Which rules apply.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RouteTaken {
    /// The route's name; `None` for the defaults, or where none could be chosen.
    pub name: Option<String>,
    /// How it came to be chosen, or why none was.
    pub how: String,
    /// Whether it needs no token.
    pub public: bool,
    #[serde(skip)]
    chosen: bool,
}

/// Where the token was looked for and what was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FoundToken {
    /// Where it was found; empty if it was not.
    pub found_in: Vec<String>,
    /// Every source in order, and what it holds.
    pub sources: Vec<TokenSource>,
    /// What the token is, or why there is none that can be used.
    pub summary: String,
    /// The JWT's issuer, if it is a JWT and names one.
    pub issuer: Option<String>,
    /// The JWT's key id, if it is a JWT and names one.
    pub kid: Option<String>,
    /// The JWT's algorithm, if it is a JWT.
    pub algorithm: Option<String>,
    #[serde(skip)]
    usable: bool,
}

/// One token source.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TokenSource {
    /// The source, such as `header authorization (Bearer)`.
    pub source: String,
    /// What it holds; never the token.
    pub seen: String,
}

/// One provider.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AskedProvider {
    /// Its name.
    pub name: String,
    /// How it authenticates: `api_key`, `oauth2`, ….
    pub method: String,
    /// `authenticated`, `not_mine`, `refused`, `unavailable` or `not_asked`.
    pub answer: &'static str,
    /// Why it refuses.
    pub reason: Option<&'static str>,
    /// What it saw and would have needed, or why it was not asked.
    pub notes: Vec<String>,
}

/// Scopes wanted and granted.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Scopes {
    /// All that the route wants.
    pub wanted: Vec<String>,
    /// What the token grants; `None` without an authenticated caller.
    pub granted: Option<Vec<String>>,
    /// What is wanted and not granted; empty without an authenticated caller.
    pub missing: Vec<String>,
}

/// Why the decision fell before any route was looked for.
pub(super) fn decided_early(
    engine: &Engine,
    request: &Request<'_>,
    decision: &Decision<'_>,
) -> Option<String> {
    let sentence = match decision.reason {
        Reason::Disabled => "authentication is switched off (enabled: false, or mode: none)",
        Reason::MalformedRequest => engine.defect_of(request)?,
        Reason::Public if matches!(decision.verdict, Verdict::Respond(_)) => {
            "the path is that of a protected_resource's metadata, which is answered here"
        }
        Reason::Public if engine.is_public_path(request) => "the path is one of public_paths",
        Reason::Public if decision.route.is_none() => {
            "a CORS preflight, let through by allow_cors_preflight"
        }
        Reason::Internal => "a defect of this program, please report it",
        _ => return None,
    };
    Some(sentence.into())
}

impl RouteTaken {
    pub(super) fn of(engine: &Engine, request: &Request<'_>, decision: &Decision<'_>) -> Self {
        let known = || engine.routes().names().collect::<Vec<_>>().join(", ");
        let (how, chosen) = match (decision.reason, decision.route, request.route) {
            (Reason::UnknownRoute, _, named) => {
                let named = named.unwrap_or_default();
                (format!("Envoy names the route {named:?}, the config has {}", known()), false)
            }
            (Reason::AmbiguousPath, ..) => {
                (engine.routes().describe_ambiguity(request).unwrap_or_default(), false)
            }
            (_, Some(_), Some(_)) => ("named by Envoy's own route".into(), true),
            (_, Some(_), None) => ("the first that matches".into(), true),
            (_, None, _) => ("the defaults apply".into(), true),
        };
        Self {
            name: decision.route.map(|route| route.name.clone()),
            how,
            public: decision.route.is_some_and(|route| route.public),
            chosen,
        }
    }

    /// Whether the next step is to look for a token.
    pub(super) fn asks_for_a_token(&self) -> bool {
        self.chosen && !self.public
    }
}

impl FoundToken {
    pub(super) fn of(engine: &Engine, request: &Request<'_>) -> Self {
        let sightings = engine.sources().survey(request);
        let source = |sighting: &Sighting<'_>| TokenSource {
            source: sighting.place.to_string(),
            seen: sighting.seen.to_string(),
        };
        let holds = |sighting: &&Sighting<'_>| matches!(sighting.seen, Seen::Token { .. });
        let mut found = Self {
            found_in: sightings.iter().filter(holds).map(|it| it.place.to_string()).collect(),
            sources: sightings.iter().map(source).collect(),
            summary: String::new(),
            issuer: None,
            kid: None,
            algorithm: None,
            usable: false,
        };
        match engine.sources().find(request) {
            Ok(token) => found.describe(&token.token),
            Err(no_token) => {
                found.summary = match no_token {
                    NoToken::Missing => "none of the token sources holds one".into(),
                    NoToken::Ambiguous => "more than one, or a source that is repeated".into(),
                    NoToken::Crowded => {
                        format!("more than {MAX_PAIRS} query parameters, cookies or protocols")
                    }
                    NoToken::Unreadable => {
                        "it has a space or another byte outside of visible ASCII".into()
                    }
                    NoToken::TooLarge => {
                        format!("longer than max_token_bytes ({})", engine.sources().max_bytes())
                    }
                };
            }
        }
        found
    }

    /// Whether it was shown to providers.
    pub(super) fn is_usable(&self) -> bool {
        self.usable
    }

    fn describe(&mut self, token: &str) {
        self.usable = true;
        let Some(jwt) = jwt::Unverified::read(token) else {
            self.summary = match jwt::pretends_to_be_a_jwt(token) {
                true => format!("not a readable JWT: {}", jwt::defect(token)),
                false => "an opaque token, not a JWT".into(),
            };
            return;
        };
        let header = jwt.header();
        self.algorithm = Some(header.alg.clone());
        self.kid = header.kid.text().map(Into::into);
        self.issuer = jwt.issuer().map(Into::into);
        let mut parts = vec![format!("alg {:?}", header.alg)];
        let optional =
            [("kid", header.kid.text()), ("typ", header.typ.text()), ("iss", jwt.issuer())];
        for (name, value) in optional {
            parts.extend(value.map(|value| format!("{name} {value:?}")));
        }
        self.summary = format!("a JWT, {}", parts.join(", "));
    }
}

/// What every provider said, or why it was not asked.
pub(super) fn providers(
    engine: &Engine,
    request: &Request<'_>,
    decision: &Decision<'_>,
    notes: &[Note],
    refusals: &[(String, Reason)],
) -> Vec<AskedProvider> {
    let shown = engine.sources().find(request).map(|found| found.providers);
    let not_asked = |id: ProviderId| {
        if let Some(route) = decision.route.filter(|route| !route.providers.allows(id)) {
            return format!("route {} names other providers", route.name);
        }
        if shown.as_ref().is_ok_and(|shown| !shown.allows(id)) {
            return "the source that holds the token names other providers".into();
        }
        "one before it has authenticated the token".into()
    };
    let told = |(id, provider): (ProviderId, &dyn crate::Provider)| {
        let name = provider.name();
        let answer = decision.answers.iter().find(|(answered, _)| *answered == id);
        let answer = answer.map(|(_, kind)| *kind);
        AskedProvider {
            name: name.into(),
            method: provider.method().into(),
            answer: answer.map_or("not_asked", AnswerKind::as_str),
            reason: refusals.iter().find(|(who, _)| who == name).map(|(_, why)| why.as_str()),
            notes: match answer {
                Some(_) => sentences(notes, Some(name)),
                None => vec![not_asked(id)],
            },
        }
    };
    (0..).map(ProviderId).zip(engine.providers()).map(told).collect()
}

impl Scopes {
    pub(super) fn of(engine: &Engine, decision: &Decision<'_>) -> Self {
        let wanted = engine.required_scopes(decision).to_vec();
        let granted = decision.caller.as_ref().map(|caller| &caller.principal.scopes);
        let missing = |scope: &&String| granted.is_some_and(|granted| !granted.grant(scope));
        Self {
            missing: wanted.iter().filter(missing).cloned().collect(),
            granted: granted.map(|granted| granted.names.clone()),
            wanted,
        }
    }
}
