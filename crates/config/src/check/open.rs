//! Providers that let every token of their issuer through.

use claimgate_core::settings::{AuthSettings, OAuth2Settings, ProviderKind, RouteSettings};

use crate::report::Place;

/// Warns of providers of JWTs whose tokens need nothing but a good signature
/// where no route says otherwise. Most issuers give tokens to any client that asks, for
/// other services too.
pub(super) fn warn(auth: &AuthSettings, is_short_form: bool, place: &Place) {
    if !auth.enabled || !asks_nothing(auth) {
        return;
    }
    for (index, provider) in auth.providers.iter().enumerate() {
        let ProviderKind::OAuth2(oauth2) = &provider.kind else { continue };
        if is_open(oauth2) && is_asked(auth, &provider.name) {
            let place = match is_short_form {
                true => place.key("oauth2"),
                false => place.key("providers").index(index),
            };
            place.warn(
                "accepts any token of its issuer, those for other services too; write what tells \
                 yours: `audience`, `client_ids` or `required_claims` here, or \
                 `auth.required_scopes`",
            );
        }
    }
}

fn is_open(oauth2: &OAuth2Settings) -> bool {
    oauth2.audience.is_empty() && oauth2.client_ids.is_empty() && oauth2.required_claims.is_empty()
}

/// The route of every request that no earlier route matches, if there is one.
fn last_route(auth: &AuthSettings) -> Option<&RouteSettings> {
    auth.routes.iter().find(|route| {
        let path = route.path_prefix.as_deref();
        let is_any = path == Some("/")
            || path.is_none() && route.path.is_none() && route.path_template.is_none();
        is_any && !route.only_by_name && route.methods.is_empty() && route.hosts.is_empty()
    })
}

/// Whether a request that no particular route matches needs neither scope nor
/// claim.
fn asks_nothing(auth: &AuthSettings) -> bool {
    match last_route(auth) {
        None => auth.required_scopes.is_empty(),
        Some(route) => {
            let scopes = route.required_scopes.as_ref().unwrap_or(&auth.required_scopes);
            !route.public && scopes.is_empty() && route.required_claims.is_empty()
        }
    }
}

fn is_asked(auth: &AuthSettings, provider: &str) -> bool {
    let only = last_route(auth).and_then(|route| route.providers.as_ref());
    only.is_none_or(|only| only.iter().any(|name| name == provider))
}
