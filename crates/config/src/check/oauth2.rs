//! Rules for issuers of JWTs.

use claimgate_core::{
    claims::ClaimPath,
    keys::Algorithm,
    settings::{KeyLocation, KeySourceSettings, OAuth2Settings},
};

use super::{
    claims,
    scalars::{Zero, file, required, seconds, text, texts},
    urls,
};
use crate::{
    NamedFileKind,
    file::{
        forms::{Discovery, List, OneOrMany},
        provider::OAuth2,
    },
    report::Place,
    spelling::one_of,
};

/// An issuer; `wildcard_scope` is the default of that key.
pub(super) fn oauth2(mut file: OAuth2, wildcard_scope: bool, place: &Place) -> OAuth2Settings {
    let issuer_place = place.key("issuer");
    let advice = "write the exact `iss` of the issuer's tokens";
    let issuer = required(file.issuer.take(), &issuer_place, advice);
    let allow_http = file.allow_http.unwrap_or(false);
    let valid_issuer = issuer
        .as_deref()
        .filter(|issuer| urls::issuer(issuer, allow_http, &issuer_place).is_some());
    let location = location(&mut file, valid_issuer, allow_http, place);
    let keys = key_source(&mut file, location, allow_http, place);
    let defaults = OAuth2Settings::new(issuer.unwrap_or_default(), keys);

    let lifetime = place.key("max_token_lifetime_seconds");
    OAuth2Settings {
        audience: audience(file.audience, file.require_audience.unwrap_or(true), place),
        client_ids: client_ids(file.client_ids, &place.key("client_ids")),
        required_claims: claims::rules(file.required_claims, &place.key("required_claims")),
        algorithms: match file.algorithms {
            Some(names) => algorithms(names, &place.key("algorithms")),
            None => defaults.algorithms,
        },
        scope_claim: claim(file.scope_claim, defaults.scope_claim, &place.key("scope_claim")),
        subject_claim: claim(
            file.subject_claim,
            defaults.subject_claim,
            &place.key("subject_claim"),
        ),
        clock_skew: seconds(
            file.clock_skew_seconds,
            defaults.clock_skew,
            Zero::Allowed,
            &place.key("clock_skew_seconds"),
        ),
        max_token_lifetime: file
            .max_token_lifetime_seconds
            .map(|value| seconds(Some(value), defaults.clock_skew, Zero::Refused, &lifetime)),
        accepted_types: match file.accepted_types {
            Some(types) => accepted_types(types, &place.key("accepted_types")),
            None => defaults.accepted_types,
        },
        accept_bound_tokens: file.accept_bound_tokens.unwrap_or(false),
        wildcard_scope: file.wildcard_scope.unwrap_or(wildcard_scope),
        ..defaults
    }
}

fn claim(value: Option<String>, default: ClaimPath, place: &Place) -> ClaimPath {
    text(value, place).map_or(default, |name| ClaimPath::named(&name))
}

fn audience(file: Option<OneOrMany<String>>, is_required: bool, place: &Place) -> Vec<String> {
    let place = place.key("audience");
    let advice = "write what must be in the tokens' `aud`, or `require_audience: false` beside it \
                  if they have none";
    match file {
        None if is_required => place.missing(advice),
        Some(list) if list.is_empty() && is_required => {
            place.error(format_args!("lists no audience; {advice}"));
        }
        Some(list) => {
            let items = list.items(&place).into_iter();
            return items.filter_map(|(place, value)| text(Some(value), &place)).collect();
        }
        None => {}
    }
    Vec::new()
}

/// The only clients allowed. An empty list is an error: the engine reads it as
/// all clients.
fn client_ids(file: Option<List<String>>, place: &Place) -> Vec<String> {
    let Some(list) = file else { return Vec::new() };
    if list.is_empty() {
        place.error("lists no client; write at least one, or leave it out to allow every client");
    }
    texts(list, place)
}

fn algorithms(names: List<String>, place: &Place) -> Vec<Algorithm> {
    if names.is_empty() {
        place.error("lists no algorithm, so no token could pass; write at least one");
    }
    let (mut algorithms, mut seen) = (Vec::new(), Vec::new());
    for (place, name) in names.items(place) {
        match name.parse::<Algorithm>() {
            Ok(_) if seen.contains(&name) => place.wrong(&name, "is listed twice; write it once"),
            Ok(algorithm) => {
                // `Ed25519` and `EdDSA` are one.
                if !algorithms.contains(&algorithm) {
                    algorithms.push(algorithm);
                }
                seen.push(name);
            }
            Err(_) if name.eq_ignore_ascii_case("none") => {
                place.wrong(&name, "means unsigned tokens, which are never accepted; remove it");
            }
            Err(_) if name.to_ascii_uppercase().starts_with("HS") => place.wrong(
                &name,
                "needs a secret shared with the issuer, which is never accepted; write one such \
                 as `RS256` or `ES256`",
            ),
            Err(_) => {
                let advice = one_of(&name, &Algorithm::ALL.map(Algorithm::as_str));
                place.wrong(&name, format_args!("is not known; {advice}"));
            }
        }
    }
    algorithms
}

/// Types in lower case without `application/`; `None` accepts any type.
fn accepted_types(types: List<String>, place: &Place) -> Option<Vec<String>> {
    if types.is_empty() {
        place.error("lists no type; write at least one, or `[\"*\"]` to accept any");
    }
    let mut accepted = Vec::new();
    for (place, written) in types.items(place) {
        let lower = written.to_ascii_lowercase();
        match lower.strip_prefix("application/").unwrap_or(&lower) {
            "" => place.wrong(&written, "is not a type; write one such as `at+jwt`"),
            name => accepted.push(name.to_owned()),
        }
    }
    if !accepted.iter().any(|name| name == "*") {
        return Some(accepted);
    }
    if accepted.len() > 1 {
        place.error("has `*`, which accepts any type, beside others; write `[\"*\"]` alone");
    }
    None
}

/// The location of the keys; `issuer` is `None` if it has an error.
fn location(
    file: &mut OAuth2,
    issuer: Option<&str>,
    allow_http: bool,
    place: &Place,
) -> KeyLocation {
    let discovery = file.discovery.take().unwrap_or(Discovery::Usual(false));
    let (is_on, discovery_key) = match &discovery {
        Discovery::Usual(is_on) => (*is_on, "discovery: true"),
        Discovery::At(_) => (true, "discovery"),
    };
    let written = [
        ("jwks_uri", file.jwks_uri.is_some()),
        ("jwks_file", file.jwks_file.is_some()),
        (discovery_key, is_on),
    ];
    let written: Vec<_> = written.iter().filter(|(_, set)| *set).map(|(key, _)| *key).collect();
    if let [first, others @ ..] = written.as_slice()
        && !others.is_empty()
    {
        let others = others.join("` and `");
        place.error(format_args!("has both `{first}` and `{others}`; write one of them"));
    }
    let uri_place = place.key("jwks_uri");
    let local = file.jwks_file.take();
    if let Some(path) = scalar_file(local, &place.key("jwks_file")) {
        return KeyLocation::File(path);
    }
    if let Some(uri) = text(file.jwks_uri.take(), &uri_place) {
        urls::fetchable(&uri, allow_http, &uri_place);
        return KeyLocation::Url(uri);
    }
    let derived = |document: &str| match (issuer, written.is_empty() || is_on) {
        (Some(issuer), true) => derive(issuer, document, allow_http, &place.key("issuer")),
        _ => String::new(),
    };
    match discovery {
        Discovery::At(url) => {
            urls::fetchable(&url, allow_http, &place.key("discovery"));
            KeyLocation::Discovery { url, otherwise: None }
        }
        Discovery::Usual(true) => KeyLocation::Discovery {
            url: derived("openid-configuration"),
            otherwise: issuer.map(authorization_server_metadata),
        },
        Discovery::Usual(false) => KeyLocation::Url(derived("jwks.json")),
    }
}

/// Where an authorization server without OpenID Connect has its metadata: the
/// path of its issuer comes last (RFC 8414, section 3.1).
fn authorization_server_metadata(issuer: &str) -> String {
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    let host = base.find("://").map_or(0, |at| at + "://".len());
    let path = base[host..].find('/').map_or(base.len(), |at| host + at);
    let (server, path) = base.split_at(path);
    format!("{server}/.well-known/oauth-authorization-server{path}")
}

fn scalar_file(path: Option<String>, place: &Place) -> Option<std::path::PathBuf> {
    file(path, NamedFileKind::Jwks, place)
}

/// `<issuer>/.well-known/<document>`, with one slash between them.
fn derive(issuer: &str, document: &str, allow_http: bool, place: &Place) -> String {
    if let Some(url) = urls::fetchable(issuer, allow_http, place)
        && url.query().is_some()
    {
        place
            .wrong(issuer, "has a query, so the keys' URL can't be made from it; write `jwks_uri`");
    }
    let base = issuer.strip_suffix('/').unwrap_or(issuer);
    format!("{base}/.well-known/{document}")
}

fn key_source(
    oauth2: &mut OAuth2,
    location: KeyLocation,
    allow_http: bool,
    place: &Place,
) -> KeySourceSettings {
    let defaults = KeySourceSettings::new(location);
    let duration = |value, default, zero, key| seconds(value, default, zero, &place.key(key));
    KeySourceSettings {
        ca_file: file(oauth2.ca_file.take(), NamedFileKind::TrustRoots, &place.key("ca_file")),
        fetch_token_file: file(
            oauth2.fetch_token_file.take(),
            NamedFileKind::Token,
            &place.key("fetch_token_file"),
        ),
        allow_http,
        cache: duration(
            oauth2.jwks_cache_seconds,
            defaults.cache,
            Zero::Refused,
            "jwks_cache_seconds",
        ),
        max_stale: duration(
            oauth2.jwks_max_stale_seconds,
            defaults.max_stale,
            Zero::Allowed,
            "jwks_max_stale_seconds",
        ),
        refresh_cooldown: duration(
            oauth2.jwks_refresh_cooldown_seconds,
            defaults.refresh_cooldown,
            Zero::Refused,
            "jwks_refresh_cooldown_seconds",
        ),
        timeout: duration(
            oauth2.jwks_timeout_seconds,
            defaults.timeout,
            Zero::Refused,
            "jwks_timeout_seconds",
        ),
        ..defaults
    }
}
