//! The decision: find the token, ask the providers, apply the policy.

use std::{
    fmt,
    pin::pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Instant,
};

use ahash::AHashSet;
use smallvec::SmallVec;

use crate::{
    credential::{Credential, Notes},
    decision::{Caller, Decision, Denial, ProviderId, ResourceId, Verdict},
    identity::{MAX_VALUE_BYTES, TooLarge},
    limits::{Counters, Limited, Limits},
    policy::{
        denial_style::DenialStyle,
        identity::IdentityHeaders,
        lack::Lack,
        resources::Resources,
        routes::{NoRoute, Route, Routes},
        upstream::Edits,
    },
    principal::Principal,
    provider::{
        Provider,
        chain::{Chain, NoCaller, Wait},
    },
    reason::Reason,
    request::Request,
    sentence::Sentence,
    settings::{AuthSettings, MetadataMembers, RouteLimit, TokenSourceSettings},
    time::UnixTime,
    token::{KeptToken, NoToken, TokenSources, visible},
    token_cache::{Lookup, TokenCache},
};

/// Decides requests by one configuration.
///
/// It holds no runtime and does no I/O of its own: a request whose keys are
/// known is decided without suspending, and [`Engine::check_now`] is enough
/// where there is no executor.
pub struct Engine {
    enabled: bool,
    public_paths: AHashSet<String>,
    resources: Resources,
    allow_cors_preflight: bool,
    routes: Routes,
    sources: TokenSources,
    chain: Chain,
    cache: Arc<TokenCache>,
    identity: IdentityHeaders,
    metadata: MetadataMembers,
    encode_metadata: Option<EncodeMetadata>,
    forward_token: bool,
    token_sources: Vec<TokenSourceSettings>,
    limits: Option<Limits>,
}

/// Writes what is told about an allowed request of a caller that this provider
/// authenticated, as a door tells it.
type EncodeMetadata =
    Box<dyn Fn(&Caller, &dyn Provider, MetadataMembers) -> Box<[u8]> + Send + Sync>;

impl Engine {
    /// An engine for validated settings.
    ///
    /// `providers` are those of `settings.providers`, in the same order;
    /// `cache` is the one that its JWT providers share.
    pub fn new(
        settings: &AuthSettings,
        providers: Vec<Arc<dyn Provider>>,
        cache: Arc<TokenCache>,
    ) -> Self {
        Self {
            enabled: settings.enabled,
            public_paths: settings.public_paths.iter().cloned().collect(),
            resources: Resources::new(settings),
            allow_cors_preflight: settings.allow_cors_preflight,
            routes: Routes::new(settings),
            sources: TokenSources::new(settings),
            chain: Chain::new(providers),
            cache,
            identity: IdentityHeaders::new(&settings.headers),
            metadata: settings.metadata,
            encode_metadata: None,
            forward_token: settings.forward_token,
            token_sources: settings.token_sources.clone(),
            limits: settings
                .limits
                .as_ref()
                .map(|limits| Limits::new(limits, Arc::new(Counters::new(limits.max_callers)))),
        }
    }

    /// The same, keeping the metadata of allowed requests with every caller
    /// that is known, in the bytes that `encode` makes once:
    /// [`Identity::metadata`] has them. Where the metadata holds limits, which
    /// differ by route, none are kept.
    ///
    /// [`Identity::metadata`]: crate::identity::Identity::metadata
    pub fn keeping_metadata(
        mut self,
        encode: impl Fn(&Caller, &dyn Provider, MetadataMembers) -> Box<[u8]> + Send + Sync + 'static,
    ) -> Self {
        self.encode_metadata = Some(Box::new(encode));
        self
    }

    /// The same, with the budgets that `other` has counted so far, of the plans
    /// that both have. No request may have been decided yet.
    pub fn keeping_budgets(mut self, other: &Self) -> Self {
        if let (Some(limits), Some(others)) = (&mut self.limits, &other.limits) {
            limits.keep(others);
        }
        self
    }

    /// The same, with budgets that never refill, for tests of a configuration.
    pub fn without_refill(mut self) -> Self {
        if let Some(limits) = &mut self.limits {
            limits.stop_refill();
        }
        self
    }

    /// Decides a request at the moment `now`, however long a provider takes.
    pub async fn check<'e>(&'e self, request: &Request<'_>, now: UnixTime) -> Decision<'e> {
        self.check_until(request, now, std::future::pending()).await
    }

    /// Decides a request, waiting for providers until `give_up` is ready. A
    /// provider that has not answered by then counts as unavailable.
    pub async fn check_until<'e>(
        &'e self,
        request: &Request<'_>,
        now: UnixTime,
        give_up: impl Future<Output = ()> + Send,
    ) -> Decision<'e> {
        self.decide(request, (now, None), None, Wait::Until(pin!(give_up))).await
    }

    /// Decides a request if that needs no I/O; `None` means that a provider
    /// must wait for something, so [`Engine::check`] has to be awaited.
    pub fn check_now<'e>(&'e self, request: &Request<'_>, now: UnixTime) -> Option<Decision<'e>> {
        self.check_without_waiting(request, (now, None))
    }

    /// As [`Engine::check_now`], for a request that arrived at `arrived`, a
    /// moment ago: limits go by that and need not read the clock once more.
    pub fn check_arrived<'e>(
        &'e self,
        request: &Request<'_>,
        now: UnixTime,
        arrived: Instant,
    ) -> Option<Decision<'e>> {
        self.check_without_waiting(request, (now, Some(arrived)))
    }

    fn check_without_waiting<'e>(
        &'e self,
        request: &Request<'_>,
        time: (UnixTime, Option<Instant>),
    ) -> Option<Decision<'e>> {
        let decision = pin!(self.decide(request, time, None, Wait::Never));
        match decision.poll(&mut Context::from_waker(Waker::noop())) {
            Poll::Ready(decision) => Some(decision),
            Poll::Pending => None,
        }
    }

    /// As [`Engine::check_until`]; collects in `notes` why.
    pub async fn explain<'e>(
        &'e self,
        request: &Request<'_>,
        now: UnixTime,
        notes: &Notes,
        give_up: impl Future<Output = ()> + Send,
    ) -> Decision<'e> {
        self.decide(request, (now, None), Some(notes), Wait::Until(pin!(give_up))).await
    }

    /// What changes in an allowed request before the upstream sees it.
    pub fn edits<'a>(&'a self, request: &Request<'a>, decision: &'a Decision<'_>) -> Edits<'a> {
        let mut edits = Edits::default();
        if let Some(caller) = &decision.caller {
            edits.identify(&caller.identity);
        }
        self.add_edits(&mut edits, request, decision, false);
        edits
    }

    /// The same for a door that knows every header of the client and keeps those of
    /// the caller with the caller: without these, and nothing is removed for the name
    /// of an identity header that is not there.
    pub fn edits_beside_identity<'a>(
        &'a self,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
    ) -> Edits<'a> {
        let mut edits = Edits::default();
        self.add_edits(&mut edits, request, decision, true);
        edits
    }

    fn add_edits<'a>(
        &'a self,
        edits: &mut Edits<'a>,
        request: &Request<'a>,
        decision: &'a Decision<'_>,
        is_complete: bool,
    ) {
        let identity = decision.caller.as_ref().map(|caller| &*caller.identity);
        edits.remove_others(&self.identity, identity, request, is_complete);
        let by_provider = decision.provider.and_then(|id| self.provider(id).forward_token());
        match (self.forward_token, by_provider) {
            (_, Some(false)) | (false, None) => {
                edits.hide_tokens(&self.token_sources, request, None);
            }
            // A provider speaks for the token that it checked, not for others.
            (false, Some(true)) if self.sources.may_ignore_tokens() => {
                let found = self.sources.find(request).ok();
                let token = found.as_ref().map(|found| found.token.as_bytes());
                let kept = token.map(|token| KeptToken { sources: &self.sources, token });
                edits.hide_tokens(&self.token_sources, request, kept);
            }
            (_, Some(true)) | (true, None) => {}
        }
    }

    /// The scopes that a denied request would have needed.
    pub fn required_scopes<'a>(&'a self, decision: &Decision<'a>) -> &'a [String] {
        &decision.route.unwrap_or(self.routes.defaults()).required_scopes
    }

    /// Whether the path is one of `public_paths`.
    pub(crate) fn is_public_path(&self, request: &Request<'_>) -> bool {
        self.public_paths.contains(request.bare_path())
    }

    /// Whether tokens are kept from the upstream and this request has more
    /// places for one than are looked through. Public paths are not exempt:
    /// tokens are removed there, too.
    pub(crate) fn cannot_hide_tokens(&self, request: &Request<'_>) -> bool {
        !self.forward_token && self.sources.are_crowded(request)
    }

    /// The limits for each caller, if there are any.
    pub fn limits(&self) -> Option<&Limits> {
        self.limits.as_ref()
    }

    /// The budgets of callers, where there are plans.
    pub fn budgets(&self) -> Option<&Arc<Counters>> {
        self.limits.as_ref().map(Limits::counters)
    }

    /// The routes, for [`crate::explain`].
    pub(crate) fn routes(&self) -> &Routes {
        &self.routes
    }

    /// The token sources, for [`crate::explain`].
    pub fn sources(&self) -> &TokenSources {
        &self.sources
    }

    /// The members of the dynamic metadata that are wanted.
    pub fn metadata_members(&self) -> MetadataMembers {
        self.metadata
    }

    /// How a denial is told to the client.
    pub fn denial_style<'a>(&'a self, decision: &Decision<'a>) -> &'a DenialStyle {
        &decision.route.unwrap_or(self.routes.defaults()).denials
    }

    /// The metadata document of a resource, as JSON.
    pub fn resource_metadata(&self, id: ResourceId) -> &str {
        self.resources.document(id)
    }

    /// Where tokens are looked for.
    pub fn token_sources(&self) -> &[TokenSourceSettings] {
        &self.token_sources
    }

    /// The provider at this position.
    pub fn provider(&self, id: ProviderId) -> &dyn Provider {
        self.chain.get(id)
    }

    /// The names of all routes, in order.
    pub fn route_names(&self) -> impl Iterator<Item = &str> {
        self.routes.names()
    }

    /// All providers, in order.
    pub fn providers(&self) -> impl ExactSizeIterator<Item = &dyn Provider> {
        self.chain.providers().iter().map(|provider| &**provider)
    }

    /// The verified tokens that are cached.
    pub fn token_cache(&self) -> &TokenCache {
        &self.cache
    }

    /// The whole decision, from top to bottom.
    async fn decide<'e>(
        &'e self,
        request: &Request<'_>,
        (now, arrived): (UnixTime, Option<Instant>),
        notes: Option<&Notes>,
        wait: Wait<'_>,
    ) -> Decision<'e> {
        if !self.enabled {
            return Decision::new(Verdict::Allow, Reason::Disabled);
        }
        if request.method.is_empty() || request.path.is_empty() {
            return Decision::deny(Denial::BadRequest, Reason::MalformedRequest);
        }
        if self.cannot_hide_tokens(request) {
            return Decision::deny(Denial::BadRequest, Reason::MalformedRequest);
        }
        if self.is_public_path(request) {
            return Decision::new(Verdict::Allow, Reason::Public);
        }
        if let Some(resource) = self.resources.find(request) {
            return Decision::new(Verdict::Respond(resource), Reason::Public);
        }
        if self.is_allowed_preflight(request) {
            return Decision::new(Verdict::Allow, Reason::Public);
        }
        let route = match self.routes.find(request) {
            Ok(route) => route,
            Err(NoRoute::Unknown) => return Decision::deny(Denial::Internal, Reason::UnknownRoute),
            Err(NoRoute::Ambiguous) => {
                return Decision::deny(Denial::BadRequest, Reason::AmbiguousPath);
            }
        };
        let decided = Decision { route, ..Decision::new(Verdict::Allow, Reason::Public) };
        let rules = route.unwrap_or(self.routes.defaults());
        if rules.public {
            return decided;
        }
        let found = match self.sources.seek(request) {
            Ok(found) => found,
            Err(no_token) => return decided.denied(denial_of(no_token)),
        };
        let Lookup { found: cached, hash } = self.cache.lookup(&found.token, now);
        // Its text is that of the entry, which was looked at when it was made.
        let token = match &cached {
            Some(cached) => Ok(&*cached.token),
            None => visible(&found.token),
        };
        let token = match token {
            Ok(token) => token,
            Err(no_token) => return decided.denied(denial_of(no_token)),
        };
        let mut credential =
            Credential::new(token, request, now).with_cached(cached.as_ref()).noted(notes);
        let filters = [&rules.providers, &*found.providers];
        let admit = |principal, provider: &dyn Provider, credential: &Credential<'_>| {
            self.admit(principal, provider, credential)
        };
        let outcome = self.chain.ask(&mut credential, filters, admit, wait).await;
        if let Some(verified) = outcome.verified {
            self.cache.insert(verified, hash);
        }
        let decided = Decision {
            refused: outcome.cause.principal,
            cause: outcome.cause.sentence.map(Into::into),
            provider: outcome.provider,
            answers: outcome.answers,
            cache: outcome.cache,
            ..decided
        };
        match outcome.result {
            Err(NoCaller::Refused(reason)) => decided.denied((Denial::InvalidToken, reason)),
            Err(NoCaller::Unavailable) => {
                decided.denied((Denial::Unavailable, Reason::ProviderUnavailable))
            }
            Ok(caller) => match Lack::find(rules, &caller.principal) {
                Some(lack) => {
                    credential.note(|| Sentence::of(format_args!("{lack}")));
                    let decided = decided.denied((Denial::Forbidden, lack.reason()));
                    Decision { caller: Some(caller), ..decided }
                }
                None => {
                    let limited =
                        self.limited(rules, &caller, outcome.provider, &credential, arrived);
                    let is_over = limited.as_ref().is_some_and(|it| it.denied().is_some());
                    let decided = Decision { caller: Some(caller), limited, ..decided };
                    match is_over {
                        true => decided.denied((Denial::RateLimited, Reason::RateLimited)),
                        false => Decision { reason: Reason::Ok, ..decided },
                    }
                }
            },
        }
    }

    /// Takes a request that all else allows from its caller's budget.
    fn limited(
        &self,
        rules: &Route,
        caller: &Caller,
        provider: Option<ProviderId>,
        credential: &Credential<'_>,
        arrived: Option<Instant>,
    ) -> Option<Limited<'_>> {
        let limits = self.limits.as_ref()?;
        let RouteLimit::Cost(cost) = rules.limit else {
            credential.note(|| "no plan limits it: the route has limits: none".into());
            return None;
        };
        let Caller { principal, identity } = caller;
        let provider = provider.map_or("", |id| self.provider(id).name());
        let allowance = identity.allowance.get_or_init(|| limits.allowance(principal, provider));
        let limited = limits.take(allowance, cost.get(), arrived);
        credential.note(|| limits.describe(limited.as_ref(), principal, provider));
        limited
    }

    /// The caller, with what the upstream is told about it; the reason to
    /// refuse a caller that the upstream can't be told about.
    fn admit(
        &self,
        principal: Arc<Principal>,
        provider: &dyn Provider,
        credential: &Credential<'_>,
    ) -> Result<Caller, Reason> {
        let rendered = self.identity.render(&principal, provider.name(), provider.method());
        let identity = rendered.map_err(|TooLarge| {
            credential.belongs_to(&principal);
            credential.because(format_args!(
                "its subject or its scopes are over {MAX_VALUE_BYTES} bytes as a header"
            ));
            Reason::MalformedToken
        })?;
        let caller = Caller { principal, identity };
        // A service that counts is told limits that differ by route.
        let is_constant = self.limits.as_ref().is_none_or(|it| it.mode().counts_here());
        if let Some(encode) = &self.encode_metadata
            && is_constant
        {
            caller.identity.metadata.get_or_init(|| encode(&caller, provider, self.metadata));
        }
        Ok(caller)
    }

    /// Fetch standard, section 3.3.2: what makes a request a CORS preflight.
    fn is_allowed_preflight(&self, request: &Request<'_>) -> bool {
        self.allow_cors_preflight
            && request.method == "OPTIONS"
            && request.headers.first("origin").is_some()
            && request.headers.first("access-control-request-method").is_some()
    }
}

fn denial_of(no_token: NoToken) -> (Denial, Reason) {
    match no_token {
        NoToken::Missing => (Denial::Challenge, Reason::MissingToken),
        NoToken::Ambiguous | NoToken::Crowded => (Denial::BadRequest, Reason::MalformedRequest),
        NoToken::TooLarge => (Denial::InvalidToken, Reason::TokenTooLarge),
        NoToken::Unreadable => (Denial::InvalidToken, Reason::MalformedToken),
    }
}

impl Decision<'_> {
    /// A decision that no provider had a part in.
    pub fn new(verdict: Verdict, reason: Reason) -> Self {
        Self {
            verdict,
            reason,
            provider: None,
            route: None,
            caller: None,
            refused: None,
            cause: None,
            answers: SmallVec::new(),
            cache: None,
            limited: None,
        }
    }

    /// A denial that no provider had a part in.
    pub fn deny(denial: Denial, reason: Reason) -> Self {
        Self::new(Verdict::Deny(denial), reason)
    }

    fn denied(self, (denial, reason): (Denial, Reason)) -> Self {
        Self { verdict: Verdict::Deny(denial), reason, ..self }
    }
}

impl fmt::Debug for Engine {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let providers: Vec<_> = self.providers().map(Provider::name).collect();
        f.debug_struct("Engine").field("providers", &providers).finish_non_exhaustive()
    }
}
