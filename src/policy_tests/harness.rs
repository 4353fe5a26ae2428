//! The config under test, with stubs for everything outside of it.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{
    case::{Case, CaseCredential, CustomAnswer},
    mint::Mint,
};
use crate::{
    claims::{self, Claims},
    config::{Loaded, key},
    credential::Credential,
    decision::ProviderId,
    engine::Engine,
    explain::NoTokenSource,
    issuer::signing::SigningError,
    keys::{FixedKeys, KeySet, KeySetError},
    principal::Principal,
    provider::{Answer, Answering, Provider, api_key::ApiKeys, oauth2::OAuth2},
    settings::{AuthSettings, ProviderKind},
    time::UnixTime,
    token_cache::TokenCache,
};

/// Prepares a config for one case after the other.
pub struct Harness {
    settings: AuthSettings,
    check_timeout: Duration,
    mint: Mint,
    /// API keys that no case replaces, built once: there may be many.
    api_keys: HashMap<u16, Arc<dyn Provider>>,
}

/// Why a case can't be prepared; no case is known to cause it.
#[derive(Debug, thiserror::Error)]
pub enum HarnessError {
    /// The crypto library made no key or signature.
    #[error(transparent)]
    Key(#[from] SigningError),
    /// A generated key can't be parsed.
    #[error("a throw-away key can't be read back: {0}")]
    KeySet(#[from] KeySetError),
    /// The config has no token source to put the token into.
    #[error(transparent)]
    NoSource(#[from] NoTokenSource),
}

/// What a case is run with.
pub(super) struct PreparedCase {
    pub(super) engine: Engine,
    /// The token, if the case has one.
    pub(super) token: Option<String>,
}

impl Harness {
    /// A harness for this config.
    pub fn new(config: &Loaded) -> Self {
        Self {
            settings: config.settings.auth.clone(),
            check_timeout: config.settings.server.check_timeout,
            mint: Mint::default(),
            api_keys: HashMap::new(),
        }
    }

    /// How long a decision may wait.
    pub(super) fn check_timeout(&self) -> Duration {
        self.check_timeout
    }

    /// The engine and the token of a case at `now`.
    pub(super) fn prepare(
        &mut self,
        case: &Case,
        now: UnixTime,
    ) -> Result<PreparedCase, HarnessError> {
        let token = self.token(case, now)?;
        // With the claims that `serve` keeps, no others.
        let cache = Arc::new(TokenCache::of(&self.settings));
        let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
        // As in the service: no provider is asked when authentication is off.
        let names = if self.settings.enabled { self.settings.providers.len() } else { 0 };
        for id in (0..).map(ProviderId).take(names) {
            providers.push(self.provider(id, case, token.as_deref(), &cache)?);
        }
        let engine = Engine::new(&self.settings, providers, cache).without_refill();
        Ok(PreparedCase { engine, token })
    }

    fn token(&mut self, case: &Case, now: UnixTime) -> Result<Option<String>, HarnessError> {
        Ok(match &case.credential {
            CaseCredential::None => None,
            CaseCredential::Token(token) => Some(token.clone()),
            CaseCredential::ApiKey { .. } => Some(THROW_AWAY_KEY.into()),
            CaseCredential::Jwt(jwt) => {
                let provider = self.settings.providers.get(usize::from(jwt.provider.0));
                match provider.map(|provider| &provider.kind) {
                    Some(ProviderKind::OAuth2(oauth2)) => Some(self.mint.token(jwt, oauth2, now)?),
                    _ => None,
                }
            }
        })
    }

    fn provider(
        &mut self,
        id: ProviderId,
        case: &Case,
        token: Option<&str>,
        cache: &Arc<TokenCache>,
    ) -> Result<Arc<dyn Provider>, HarnessError> {
        let settings = &self.settings.providers[usize::from(id.0)];
        let (name, forward) = (settings.name.as_str(), settings.forward_token);
        let is_unavailable = case.unavailable.contains(&id);
        Ok(match &settings.kind {
            ProviderKind::ApiKey(keys) => match &case.credential {
                CaseCredential::ApiKey { provider, position } if *provider == id => {
                    let mut keys = keys.clone();
                    if let (Some(key), Some(token)) = (keys.get_mut(*position), token) {
                        key.hash = key::hash(token);
                    }
                    Arc::new(ApiKeys::new(name, forward, &keys))
                }
                _ => {
                    let make = || Arc::new(ApiKeys::new(name, forward, keys)) as Arc<dyn Provider>;
                    Arc::clone(self.api_keys.entry(id.0).or_insert_with(make))
                }
            },
            ProviderKind::OAuth2(oauth2) => {
                // Without keys it is unavailable, as while its issuer is down.
                let keys = match is_unavailable {
                    true => KeySet::default(),
                    false => {
                        KeySet::parse(self.mint.jwks(&oauth2.issuer)?.to_string().as_bytes())?.set
                    }
                };
                let settings = oauth2.as_ref().clone();
                let keys = Arc::new(FixedKeys::new(keys));
                Arc::new(OAuth2::new(name, forward, settings, keys, Arc::clone(cache)))
            }
            ProviderKind::Grpc(_) => {
                let own = case.answers.iter().find(|(of, _)| *of == id).map(|(_, own)| own);
                let answer = match (is_unavailable, own) {
                    (true, _) => Answer::Unavailable,
                    (false, None) => Answer::NotMine,
                    (false, Some(own)) => own.answer(),
                };
                Arc::new(StubProvider { name: name.into(), forward_token: forward, answer })
            }
        })
    }
}

/// Sent instead of a real API key, of which a config may hold only the hash.
const THROW_AWAY_KEY: &str = "throw-away-key-of-a-policy-test";

impl CustomAnswer {
    fn answer(&self) -> Answer {
        match self {
            Self::NotMine => Answer::NotMine,
            Self::Refused(reason) => Answer::Refused(*reason),
            Self::Authenticated { subject, scopes, claims } => {
                let claims = Claims::from(claims.clone());
                let client = claims::clients(&claims).next().map(Into::into);
                let principal = Principal::new(subject.clone())
                    .with_scopes(scopes.clone())
                    .with_client_id(client)
                    .with_claims(claims);
                Answer::Authenticated(Arc::new(principal))
            }
        }
    }
}

impl fmt::Debug for Harness {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Harness").field("mint", &self.mint).finish_non_exhaustive()
    }
}

/// Returns the custom provider's answer from the case.
struct StubProvider {
    name: String,
    forward_token: Option<bool>,
    answer: Answer,
}

impl Provider for StubProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn method(&self) -> &str {
        "grpc"
    }

    fn forward_token(&self) -> Option<bool> {
        self.forward_token
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        credential.note(|| "the case says what it answers".into());
        Answering::Now(self.answer.clone())
    }
}
