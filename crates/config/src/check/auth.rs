//! Rules for the `auth` block.

use claimgate_core::{
    policy::path::public_path_defect,
    settings::{AuthSettings, SeveralTokens},
    text::is_quotable,
};

use super::{
    denial_style::{denial_headers, error_format},
    headers::identity,
    limits,
    metadata::members,
    open,
    providers::providers,
    resources,
    routes::routes,
    scalars::{cache_bytes, count, required_scopes},
    shadowed,
    sources::sources,
};
use crate::{
    file::{
        auth::{Auth, Mode, SeveralTokens as SeveralTokensKey},
        forms::List,
    },
    report::Place,
};

/// Public by default in the short form.
const SHORT_FORM_PUBLIC_PATH: &str = "/v1/health";

/// Bounds the memory that the cache reserves when it is made.
const MOST_CACHED_TOKENS: usize = 10_000_000;

pub(super) fn auth(mut file: Auth, place: &Place) -> AuthSettings {
    let defaults = AuthSettings::default();
    let enabled = file.enabled.unwrap_or(true) && file.mode != Some(Mode::None);
    let is_short_form = file.providers.is_none();
    let max_token_bytes = count(
        file.max_token_bytes,
        defaults.max_token_bytes,
        usize::MAX,
        &place.key("max_token_bytes"),
    );
    let limits = limits::limits(&mut file, place);
    let (providers, known) = providers(&mut file, enabled, max_token_bytes, limits.as_ref(), place);
    let token_sources = sources(file.token_sources, &known, &place.key("token_sources"));
    let headers_place = place.key("headers");
    let scopes_place = place.key("required_scopes");
    let resource_place = place.key("protected_resource");
    let mut auth = AuthSettings {
        enabled,
        required_scopes: file
            .required_scopes
            .map(|list| required_scopes(list, &scopes_place))
            .unwrap_or_default(),
        public_paths: match file.public_paths {
            Some(paths) => public_paths(paths, &place.key("public_paths")),
            None if is_short_form => vec![SHORT_FORM_PUBLIC_PATH.into()],
            None => Vec::new(),
        },
        allow_cors_preflight: file.allow_cors_preflight.unwrap_or(defaults.allow_cors_preflight),
        routes: routes(file.routes, &known, &place.key("routes")),
        case_sensitive_paths: file.case_sensitive_paths.unwrap_or(defaults.case_sensitive_paths),
        match_as_sent: file.match_as_sent.unwrap_or(defaults.match_as_sent),
        headers: identity(file.headers.unwrap_or_default(), &token_sources, &headers_place),
        metadata: file
            .metadata
            .map_or(defaults.metadata, |list| members(list, &place.key("metadata"))),
        token_sources,
        several_tokens: file.several_tokens.map_or(defaults.several_tokens, several_tokens),
        providers,
        forward_token: file.forward_token.unwrap_or(defaults.forward_token),
        max_token_bytes,
        realm: file.realm.map_or(defaults.realm, |realm| quotable(realm, &place.key("realm"))),
        error_format: file.error_format.map_or(defaults.error_format, error_format),
        denial_headers: file
            .denial_headers
            .map(|headers| denial_headers(headers, &place.key("denial_headers")))
            .unwrap_or_default(),
        protected_resource: file
            .protected_resource
            .and_then(|resource| resources::resource(resource, &resource_place)),
        token_cache_entries: count(
            file.token_cache_entries,
            defaults.token_cache_entries,
            MOST_CACHED_TOKENS,
            &place.key("token_cache_entries"),
        ),
        token_cache_bytes: cache_bytes(
            file.token_cache_bytes,
            defaults.token_cache_bytes,
            &place.key("token_cache_bytes"),
        ),
        limits,
    };
    resources::complete(&mut auth, place);
    limits::cross_check(&auth, place);
    shadowed::warn(&auth, &place.key("routes"));
    open::warn(&auth, is_short_form, place);
    auth
}

const fn several_tokens(file: SeveralTokensKey) -> SeveralTokens {
    match file {
        SeveralTokensKey::Refuse => SeveralTokens::Refuse,
        SeveralTokensKey::First => SeveralTokens::First,
    }
}

/// Paths that are compared byte for byte with a request's path without its
/// query.
fn public_paths(paths: List<String>, place: &Place) -> Vec<String> {
    let mut public = Vec::new();
    for (place, path) in paths.items(place) {
        if let Some(problem) = public_path_defect(&path) {
            place.wrong(&path, problem);
            continue;
        }
        if path.contains('*') {
            let path = place.quoted(&path);
            place.warn(format_args!(
                "{path} is compared byte for byte, its `*` too; for every path below one, write a \
                 route with `path_prefix` and `public: true`"
            ));
        }
        public.push(path);
    }
    public
}

/// A text for the quoted string of a challenge (RFC 9110, section 11.2).
fn quotable(text: String, place: &Place) -> String {
    if !is_quotable(&text) {
        place.wrong(&text, "must be printable ASCII without `\"` and `\\`");
    }
    text
}
