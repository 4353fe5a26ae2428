//! The config under test, with stand-ins for everything outside of it.

use std::{collections::HashMap, fmt, sync::Arc, time::Duration};

use super::{Case, CaseCredential, CustomAnswer, TOKEN, mint::Mint};
use crate::{
    claims::{self, Claims},
    config::{Loaded, key},
    credential::Credential,
    decision::ProviderId,
    engine::Engine,
    explain::NoTokenSource,
    issuer::StartError,
    keys::{FixedKeys, KeySet, KeySetError},
    principal::Principal,
    provider::{Answer, Answering, Provider, api_key::ApiKeys, oauth2::OAuth2},
    settings::{AuthSettings, ProviderKind},
    time::UnixTime,
    token_cache::TokenCache,
};

/// Sets a config up for one case after the other.
pub struct Stage {
    settings: AuthSettings,
    check_timeout: Duration,
    mint: Mint,
    /// API keys as they are, made once: there may be many.
    api_keys: HashMap<u16, Arc<dyn Provider>>,
}

/// Why a case can't be set up; no case brings it about.
#[derive(Debug, thiserror::Error)]
pub enum StageError {
    /// The crypto library gives no key or signature.
    #[error(transparent)]
    Key(#[from] StartError),
    /// A key that was just made can't be read back.
    #[error("a throw-away key can't be read back: {0}")]
    KeySet(#[from] KeySetError),
    /// There is no place to put the token.
    #[error(transparent)]
    NoSource(#[from] NoTokenSource),
}

/// What a case is run with.
pub(super) struct Scene {
    pub(super) engine: Engine,
    /// The token, if the case has one.
    pub(super) token: Option<String>,
}

impl Stage {
    /// A stage for this config.
    pub fn new(config: &Loaded) -> Self {
        Self {
            settings: config.settings.auth.clone(),
            check_timeout: config.settings.server.check_timeout,
            mint: Mint::default(),
            api_keys: HashMap::new(),
        }
    }

    /// How long a decision may wait for somebody.
    pub(super) fn check_timeout(&self) -> Duration {
        self.check_timeout
    }

    /// The engine and the token of a case at `now`.
    pub(super) fn set(&mut self, case: &Case, now: UnixTime) -> Result<Scene, StageError> {
        let token = self.token(case, now)?;
        let cache = Arc::new(TokenCache::new(1));
        let mut providers: Vec<Arc<dyn Provider>> = Vec::new();
        // As in the service: switched off, nobody is asked.
        let names = if self.settings.enabled { self.settings.providers.len() } else { 0 };
        for id in (0..).map(ProviderId).take(names) {
            providers.push(self.provider(id, case, token.as_deref(), &cache)?);
        }
        Ok(Scene { engine: Engine::new(&self.settings, providers, cache), token })
    }

    fn token(&mut self, case: &Case, now: UnixTime) -> Result<Option<String>, StageError> {
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
    ) -> Result<Arc<dyn Provider>, StageError> {
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
                // Without keys it can tell nothing, as while its issuer is down.
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
                let said = case.answers.iter().find(|(of, _)| *of == id).map(|(_, said)| said);
                let answer = match (is_unavailable, said) {
                    (true, _) => Answer::Unavailable,
                    (false, None) => Answer::NotMine,
                    (false, Some(said)) => said.answer(),
                };
                Arc::new(StandIn { name: name.into(), forward_token: forward, answer })
            }
        })
    }
}

/// Presented in place of the text of an API key, of which a config may hold the
/// hash alone.
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

impl fmt::Debug for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stage").field("mint", &self.mint).finish_non_exhaustive()
    }
}

/// Says what the case says that a custom provider says.
struct StandIn {
    name: String,
    forward_token: Option<bool>,
    answer: Answer,
}

impl Provider for StandIn {
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

/// Puts the token of a case into its path and headers; false if they have no
/// place for it.
pub(super) fn fill_in(token: &str, path: &mut String, headers: &mut [(String, Vec<u8>)]) -> bool {
    let mut filled = path.contains(TOKEN);
    *path = path.replace(TOKEN, token);
    for (_, value) in headers {
        let text = String::from_utf8_lossy(value);
        if text.contains(TOKEN) {
            *value = text.replace(TOKEN, token).into_bytes();
            filled = true;
        }
    }
    filled
}
