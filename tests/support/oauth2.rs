//! An engine that takes JWTs, with fixed keys.

use std::sync::Arc;

use claimgate::{
    Engine, Provider, Request,
    decision::Decision,
    keys::{FixedKeys, KeySet, KeyStore},
    provider::oauth2::OAuth2,
    settings::{AuthSettings, OAuth2Settings, ProviderKind, ProviderSettings},
    time::UnixTime,
    token_cache::TokenCache,
};

/// An engine of these providers, which all have these keys.
pub(crate) fn engine(providers: Vec<OAuth2Settings>, keys: KeySet) -> Engine {
    let keys: Arc<dyn KeyStore> = Arc::new(FixedKeys::new(keys));
    let cache = Arc::new(TokenCache::new(100));
    let (mut named, mut built) = (Vec::new(), Vec::new());
    for (number, oauth2) in providers.into_iter().enumerate() {
        let name = format!("provider-{number}");
        let provider =
            OAuth2::new(&name, None, oauth2.clone(), Arc::clone(&keys), Arc::clone(&cache));
        built.push(Arc::new(provider) as Arc<dyn Provider>);
        named.push(ProviderSettings {
            name,
            forward_token: None,
            kind: ProviderKind::OAuth2(Box::new(oauth2)),
        });
    }
    let settings = AuthSettings { providers: named, ..AuthSettings::default() };
    Engine::new(&settings, built, cache)
}

/// Its decision on a request with this token, at this time.
pub(crate) fn check<'e>(engine: &'e Engine, token: &[u8], now: UnixTime) -> Decision<'e> {
    let authorization = [b"Bearer ", token].concat();
    let request = Request {
        method: "GET",
        path: "/",
        headers: [("authorization", authorization.as_slice())].into_iter().collect(),
        ..Request::default()
    };
    engine.check_now(&request, now).expect("no I/O")
}
