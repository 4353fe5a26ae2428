//! An engine from settings made in code.
//!
//! ```
//! use std::sync::Arc;
//!
//! use claimgate_core::{
//!     ApiKey, Engine, Issuer,
//!     keys::{FixedKeys, KeySet},
//! };
//!
//! # fn engine(jwks: &[u8]) -> Result<Engine, Box<dyn std::error::Error>> {
//! let keys = Arc::new(FixedKeys::new(KeySet::parse(jwks)?.set));
//! let engine = Engine::builder()
//!     .use_api_keys([ApiKey::new("reports", "cg_7c1e…").scopes(["read"])])
//!     .use_oauth2(Issuer::new("https://auth.example.com").audience(["my-api"]), keys)
//!     .required_scopes(["read"])
//!     .build()?;
//! # Ok(engine)
//! # }
//! ```
//!
//! The defaults are those of the config file's general form. The rules of its
//! loader hold here too for whatever a method of the builder sets; a setting
//! that breaks one makes no engine.

use std::{collections::HashSet, sync::Arc};

pub use self::{
    api_key::ApiKey,
    error::{BuildError, Problem},
    issuer::Issuer,
};
use crate::{
    engine::Engine,
    keys::KeyStore,
    policy::{path::public_path_defect, routes::templates_overlap_too_much},
    provider::{
        Provider,
        api_key::{ApiKeys, key::KeyHash},
        oauth2::OAuth2,
    },
    provider_id::ProviderId,
    settings::{ApiKeySettings, AuthSettings, ProviderKind, ProviderSettings},
    text::is_quotable,
    token_cache::TokenCache,
};

mod api_key;
mod error;
mod issuer;
#[cfg(test)]
mod tests;

/// What the provider of [`EngineBuilder::use_api_keys`] is called.
const API_KEY: &str = "api_key";

/// Collects the settings of an [`Engine`].
///
/// Providers are asked in the order of the calls that name them.
#[must_use = "only `build` makes an engine"]
pub struct EngineBuilder {
    settings: AuthSettings,
    providers: Vec<Planned>,
}

/// A provider that is not made yet.
enum Planned {
    ApiKeys(Vec<ApiKey>),
    OAuth2(Box<Issuer>, Arc<dyn KeyStore>),
    Custom(Arc<dyn Provider>),
}

impl Engine {
    /// Begins an engine: authentication on, no provider yet.
    pub fn builder() -> EngineBuilder {
        EngineBuilder { settings: AuthSettings::default(), providers: Vec::new() }
    }
}

impl EngineBuilder {
    /// Accepts these API keys, by a provider called `api_key`.
    pub fn use_api_keys(mut self, keys: impl IntoIterator<Item = ApiKey>) -> Self {
        self.providers.push(Planned::ApiKeys(keys.into_iter().collect()));
        self
    }

    /// Accepts the JWTs of an issuer that one of `keys` verifies, by a
    /// provider called as [`Issuer::name`] says, `oauth2` unless that is said.
    pub fn use_oauth2(mut self, issuer: Issuer, keys: Arc<dyn KeyStore>) -> Self {
        self.providers.push(Planned::OAuth2(Box::new(issuer), keys));
        self
    }

    /// Asks a provider of your own.
    pub fn use_auth_provider(mut self, provider: impl Provider + 'static) -> Self {
        self.providers.push(Planned::Custom(Arc::new(provider)));
        self
    }

    /// `false` allows every request, whatever else is set.
    pub fn auth(mut self, enabled: bool) -> Self {
        self.settings.enabled = enabled;
        self
    }

    /// Scopes that every non-public request needs, unless its route says
    /// otherwise. Replaces those of an earlier call.
    pub fn required_scopes<S: Into<String>>(mut self, scopes: impl IntoIterator<Item = S>) -> Self {
        self.settings.required_scopes = scopes.into_iter().map(Into::into).collect();
        self
    }

    /// Paths that need no token, compared byte for byte. Replaces those of an
    /// earlier call.
    pub fn public_paths<S: Into<String>>(mut self, paths: impl IntoIterator<Item = S>) -> Self {
        self.settings.public_paths = paths.into_iter().map(Into::into).collect();
        self
    }

    /// Changes settings that have no method here: routes, token sources,
    /// identity headers, …. They are taken as they are, so they must be as
    /// [`AuthSettings`] describes them. `providers` are those of the calls,
    /// whatever is set here.
    pub fn settings(mut self, change: impl FnOnce(&mut AuthSettings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Makes the engine.
    ///
    /// # Errors
    /// [`BuildError`] with all that is wrong: a setting that would let no or
    /// every token pass, or that names what does not exist.
    pub fn build(self) -> Result<Engine, BuildError> {
        let Self { mut settings, providers } = self;
        let mut problems = Vec::new();
        settings.providers = providers.iter().map(Planned::entry).collect();
        check_providers(&settings, &mut problems);
        check_policy(&settings, &mut problems);
        let cache = Arc::new(TokenCache::of(&settings));
        let mut making = Making { settings: &settings, cache, hashes: HashSet::new(), problems };
        let providers = providers.into_iter().map(|provider| making.provider(provider)).collect();
        let Making { cache, problems, .. } = making;
        if problems.is_empty() {
            Ok(Engine::new(&settings, providers, cache))
        } else {
            Err(BuildError(problems))
        }
    }
}

impl Planned {
    fn name(&self) -> &str {
        match self {
            Self::ApiKeys(_) => API_KEY,
            Self::OAuth2(issuer, _) => &issuer.name,
            Self::Custom(provider) => provider.name(),
        }
    }

    /// Lets routes and token sources name it. What kind it says does not
    /// matter: the engine asks the provider that is given to it.
    fn entry(&self) -> ProviderSettings {
        ProviderSettings {
            name: self.name().to_owned(),
            forward_token: None,
            kind: ProviderKind::ApiKey(Vec::new()),
        }
    }
}

fn check_providers(settings: &AuthSettings, problems: &mut Vec<Problem>) {
    if settings.providers.is_empty() && settings.enabled {
        problems.push(Problem::NoProvider);
    }
    if settings.providers.len() > ProviderId::MOST {
        problems.push(Problem::TooManyProviders);
    }
    let mut names = HashSet::new();
    for ProviderSettings { name, .. } in &settings.providers {
        if !is_name(name) {
            problems.push(Problem::Name { name: name.clone() });
        } else if !names.insert(name.as_str()) {
            problems.push(Problem::SameName { name: name.clone() });
        }
    }
    let routes = settings.routes.iter().map(|route| &route.providers);
    let sources = settings.token_sources.iter().map(|source| &source.providers);
    for list in routes.chain(sources).flatten() {
        let unknown = list.iter().filter(|name| !names.contains(name.as_str()));
        problems.extend(unknown.map(|name| Problem::UnknownProvider { name: name.clone() }));
    }
}

fn check_policy(settings: &AuthSettings, problems: &mut Vec<Problem>) {
    let of_routes = settings.routes.iter().filter_map(|route| route.required_scopes.as_ref());
    let scopes = settings.required_scopes.iter().chain(of_routes.flatten());
    let bad_scopes = scopes.filter(|scope| scope.is_empty() || !is_quotable(scope));
    problems.extend(bad_scopes.map(|scope| Problem::Scope { scope: scope.clone() }));
    for path in &settings.public_paths {
        if let Some(why) = public_path_defect(path) {
            problems.push(Problem::PublicPath { path: path.clone(), why });
        }
    }
    if templates_overlap_too_much(&settings.routes) {
        problems.push(Problem::Templates);
    }
}

/// A name that will stand in logs and headers.
fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.chars().any(char::is_control)
}

/// Makes providers, and collects what is wrong with them.
struct Making<'s> {
    settings: &'s AuthSettings,
    cache: Arc<TokenCache>,
    /// Of the API keys so far.
    hashes: HashSet<KeyHash>,
    problems: Vec<Problem>,
}

impl Making<'_> {
    fn provider(&mut self, planned: Planned) -> Arc<dyn Provider> {
        match planned {
            Planned::ApiKeys(keys) => {
                let keys: Vec<_> = keys.into_iter().filter_map(|key| self.api_key(key)).collect();
                Arc::new(ApiKeys::new(API_KEY, None, &keys))
            }
            Planned::OAuth2(issuer, keys) => {
                let defects = issuer.defects().into_iter();
                let Issuer { name, settings, .. } = *issuer;
                let problem = |why| Problem::Issuer { name: name.clone(), why };
                self.problems.extend(defects.map(problem));
                Arc::new(OAuth2::new(&name, None, settings, keys, Arc::clone(&self.cache)))
            }
            Planned::Custom(provider) => provider,
        }
    }

    fn api_key(&mut self, key: ApiKey) -> Option<ApiKeySettings> {
        let name = key.name().to_owned();
        let checked = key.check(self.settings.max_token_bytes).and_then(|key| {
            match self.hashes.insert(key.hash) {
                true => Ok(key),
                false => Err("is the same as an earlier one; give another key"),
            }
        });
        checked.map_err(|why| self.problems.push(Problem::ApiKey { name, why })).ok()
    }
}
