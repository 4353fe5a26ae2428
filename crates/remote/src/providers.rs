//! Makes the providers of a configuration, and keeps signing keys through a
//! reload.

use std::{path::PathBuf, sync::Arc, time::Duration};

use claimgate_core::{
    provider::Provider,
    provider::api_key::ApiKeys,
    provider::oauth2::OAuth2,
    settings::{AuthSettings, KeyLocation, KeySourceSettings, ProviderKind},
    token_cache::TokenCache,
};
use claimgate_files::{Content, Contents};
use tokio::{runtime::Handle, time::timeout};
use tracing::warn;

use crate::{
    grpc::{self, GrpcProvider},
    key_source::{FetchObserver, KeySource, OpenError},
};

/// Why a provider can't be set up.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// Its keys can't be opened.
    #[error("auth provider {provider}: {source}")]
    Keys {
        /// Its name.
        provider: String,
        /// Why.
        source: OpenError,
    },
    /// It can't be called.
    #[error("auth provider {provider}: {source}")]
    Grpc {
        /// Its name.
        provider: String,
        /// Why.
        source: grpc::SetupError,
    },
}

/// The providers of one configuration.
pub struct Providers {
    /// In the order of the settings.
    pub list: Vec<Arc<dyn Provider>>,
    /// The keys of those that verify JWTs.
    pub sources: Vec<Source>,
}

/// The signing keys of one provider.
#[derive(Clone, Debug)]
pub struct Source {
    /// The provider's name.
    pub provider: String,
    /// Its keys.
    pub keys: Arc<KeySource>,
    origin: Origin,
}

/// What a provider's keys depend on. While it stays the same, they need not be
/// fetched again.
#[derive(Clone, Debug, PartialEq)]
struct Origin {
    place: Place,
    settings: KeySourceSettings,
}

/// What is fetched, by what credential and from whom that is trusted.
/// Providers for which all of it is the same share one source.
#[derive(Clone, Debug, PartialEq)]
struct Place {
    location: KeyLocation,
    ca_file: Option<PathBuf>,
    fetch_token_file: Option<PathBuf>,
    /// The rules for a discovery document.
    discovery: Option<(String, bool)>,
    /// The content of the files that are read when the source is opened.
    contents: Vec<Content>,
}

/// A source that is about to be opened, or to be taken over.
struct Group {
    origin: Origin,
    issuer: String,
    providers: Vec<String>,
}

/// How long a new configuration waits for the first keys of its new issuers
/// before it is put in force without them.
const FIRST_FETCH_TIMEOUT: Duration = Duration::from_secs(5);

/// Waits, up to a limit, until the keys of every issuer that is not in
/// `existing` were fetched or failed to be.
pub async fn wait_for_keys(sources: &[Source], existing: &[Source]) {
    let is_new = |source: &&Source| !existing.iter().any(|existing| existing.is(source));
    let fetched = async {
        // All fetches are under way, so it does not matter who is asked first.
        for source in sources.iter().filter(is_new) {
            source.keys.first_fetch_done().await;
        }
    };
    if timeout(FIRST_FETCH_TIMEOUT, fetched).await.is_err() {
        warn!("not every new issuer has answered yet, continuing without their keys");
    }
}

impl Source {
    /// Whether both share the same keys.
    pub fn is(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.keys, &other.keys)
    }
}

/// Makes the providers that `settings` name.
///
/// Providers that would fetch the same share one source, with times for all of
/// them. It is taken over from `previous`, the sources of the
/// configuration before, if all that the keys depend on is the same; see
/// [`adopt`]. For others a task that fetches them is spawned, which reports to
/// `observer` and ends when the last user of the keys is gone.
pub fn build(
    settings: &AuthSettings,
    contents: &Contents,
    previous: &[Source],
    observer: &Arc<dyn FetchObserver>,
    cache: &Arc<TokenCache>,
) -> Result<Providers, ProviderError> {
    let mut providers = Providers { list: Vec::new(), sources: Vec::new() };
    if !settings.enabled {
        // No provider is asked, so readiness must not wait for their keys.
        return Ok(providers);
    }
    let sources = open(groups(settings, contents), previous, observer)?;
    for provider in &settings.providers {
        let name = provider.name.as_str();
        let forward = provider.forward_token;
        providers.list.push(match &provider.kind {
            ProviderKind::ApiKey(keys) => Arc::new(ApiKeys::new(name, forward, keys)),
            ProviderKind::OAuth2(oauth2) => {
                // Each has been opened.
                let Some(source) = sources.iter().find(|source| source.provider == name) else {
                    continue;
                };
                let keys = Arc::clone(&source.keys);
                let oauth2 = oauth2.as_ref().clone();
                Arc::new(OAuth2::new(name, forward, oauth2, keys, Arc::clone(cache)))
            }
            ProviderKind::Grpc(grpc) => Arc::new(
                GrpcProvider::new(name, forward, grpc, Handle::current())
                    .map_err(|source| ProviderError::Grpc { provider: name.to_owned(), source })?,
            ),
        });
    }
    providers.sources = sources;
    Ok(providers)
}

/// Has the sources of the configuration that is now in force report to its
/// providers: one that was taken over may have others than before.
pub fn adopt(sources: &[Source], observer: &dyn FetchObserver) {
    for (index, source) in sources.iter().enumerate() {
        if !sources[..index].iter().any(|before| before.is(source)) {
            let of_it = sources.iter().filter(|other| other.is(source));
            source.keys.serve(of_it.map(|other| other.provider.clone()).collect(), observer);
        }
    }
}

impl Place {
    fn new(issuer: &str, settings: &KeySourceSettings, contents: &Contents) -> Self {
        let (document, discovery) = match &settings.location {
            KeyLocation::File(path) => (Some(path), None),
            KeyLocation::Url(_) => (None, None),
            KeyLocation::Discovery { .. } => (None, Some((issuer.to_owned(), settings.allow_http))),
        };
        let files = document.into_iter().chain(&settings.ca_file);
        Self {
            location: settings.location.clone(),
            ca_file: settings.ca_file.clone(),
            fetch_token_file: settings.fetch_token_file.clone(),
            discovery,
            contents: files.map(|file| contents.get(file).copied().flatten()).collect(),
        }
    }
}

/// The providers that have keys, those with the same place together.
fn groups(settings: &AuthSettings, contents: &Contents) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    for provider in &settings.providers {
        let ProviderKind::OAuth2(oauth2) = &provider.kind else { continue };
        let place = Place::new(&oauth2.issuer, &oauth2.keys, contents);
        let name = provider.name.clone();
        match groups.iter_mut().find(|group| group.origin.place == place) {
            Some(group) => {
                group.origin.settings = for_both(&group.origin.settings, &oauth2.keys);
                group.providers.push(name);
            }
            None => groups.push(Group {
                origin: Origin { place, settings: oauth2.keys.clone() },
                issuer: oauth2.issuer.clone(),
                providers: vec![name],
            }),
        }
    }
    groups
}

/// The times for both. Keys may get as old as both allow. The issuer is asked
/// as seldom as either wants, since a cooldown is there for the issuer, and
/// gets the time that either gives it, since a fetch that takes longer than one
/// of them would wait still brings keys for both.
fn for_both(one: &KeySourceSettings, two: &KeySourceSettings) -> KeySourceSettings {
    let lifetime = |of: &KeySourceSettings| of.cache.saturating_add(of.max_stale);
    let cache = one.cache.min(two.cache);
    KeySourceSettings {
        cache,
        max_stale: lifetime(one).min(lifetime(two)).saturating_sub(cache),
        refresh_cooldown: one.refresh_cooldown.max(two.refresh_cooldown),
        timeout: one.timeout.max(two.timeout),
        ..one.clone()
    }
}

/// A source for each provider.
fn open(
    groups: Vec<Group>,
    previous: &[Source],
    observer: &Arc<dyn FetchObserver>,
) -> Result<Vec<Source>, ProviderError> {
    let mut sources = Vec::new();
    for Group { origin, issuer, providers } in groups {
        let keys = match previous.iter().find(|source| source.origin == origin) {
            Some(source) => Arc::clone(&source.keys),
            None => {
                let observer = Arc::clone(observer);
                let opened =
                    KeySource::open(providers.clone(), &issuer, &origin.settings, observer);
                let (keys, task) = opened.map_err(|source| ProviderError::Keys {
                    provider: providers.join(", "),
                    source,
                })?;
                tokio::spawn(task);
                keys
            }
        };
        sources.extend(providers.into_iter().map(|provider| Source {
            provider,
            keys: Arc::clone(&keys),
            origin: origin.clone(),
        }));
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shared_keys_are_as_fresh_as_both_want_and_their_issuer_is_spared() {
        let times = |[cache, stale, cooldown, timeout]: [u64; 4]| KeySourceSettings {
            location: KeyLocation::Url("https://idp.example.com/jwks".into()),
            cache: Duration::from_secs(cache),
            max_stale: Duration::from_secs(stale),
            refresh_cooldown: Duration::from_secs(cooldown),
            timeout: Duration::from_secs(timeout),
            ca_file: None,
            fetch_token_file: None,
            allow_http: false,
        };
        // Cache, how much longer, cooldown, time limit.
        for (one, two, both) in [
            ([3600, 86_400, 10, 5], [3600, 86_400, 10, 5], [3600, 86_400, 10, 5]),
            ([600, 0, 10, 5], [3600, 86_400, 10, 5], [600, 0, 10, 5]),
            ([600, 10_000, 10, 5], [3600, 600, 10, 5], [600, 3600, 10, 5]),
            ([3600, 0, 60, 5], [3600, 0, 2, 20], [3600, 0, 60, 20]),
        ] {
            let (one, two, both) = (times(one), times(two), times(both));
            assert_eq!(for_both(&one, &two), both);
            assert_eq!(for_both(&two, &one), both, "in either order");
        }
    }
}
