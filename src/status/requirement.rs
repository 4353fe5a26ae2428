//! What the configuration requires of a request that was denied, which together
//! with the reason is usually the cause. It is derived from the configuration
//! alone, so it holds nothing of a token.

use std::{cell::OnceCell, fmt::Display};

use super::{
    ConfigInfo,
    denials::{DenialRecord, MAX_VALUE_BYTES},
    text::shortened,
};
use crate::{
    policy::routes::Routes,
    provider::{api_key, oauth2::key_source::KeyStatus},
    reason::Reason,
    request::Request,
    settings::{
        ApiKeySettings, ClaimRule, OAuth2Settings, ProviderKind, RouteSettings, TokenPlace,
        TokenSourceSettings,
    },
};

/// How many items of a list are shown.
const MAX_LISTED: usize = 8;

/// The requirement in one sentence; `None` where the reason says it all.
///
/// `routes` caches the configuration's routes.
pub(super) fn requirement(
    config: &ConfigInfo,
    denial: &DenialRecord,
    routes: &OnceCell<Routes>,
) -> Option<String> {
    let auth = &config.auth;
    let route = auth.routes.iter().find(|route| route.name == denial.route());
    let oauth2 = oauth2(config, denial.provider());
    let sentence = match denial.reason {
        Reason::MissingToken => format!("looked for in {}", list(places(&auth.token_sources))),
        Reason::MalformedRequest if denial.method().is_empty() || denial.path().is_empty() => {
            "a method and a path".into()
        }
        Reason::MalformedRequest => {
            format!("one token is read from {}", list(places(&auth.token_sources)))
        }
        Reason::TokenTooLarge => format!("max_token_bytes is {}", auth.max_token_bytes),
        Reason::UnknownIssuer => format!("trusted issuers: {}", list(issuers(config, route))),
        Reason::UnknownKey | Reason::MalformedToken if denial.provider().is_empty() => {
            format!("asked for opaque tokens: {}", list(opaque(config, route)))
        }
        Reason::UnknownKid | Reason::BadSignature | Reason::AlgorithmNotAllowed => {
            let keys = keys(config, denial.provider());
            let algorithms = oauth2.map(|oauth2| list(&oauth2.algorithms)).unwrap_or_default();
            format!("allowed: {algorithms}; keys of {}: {}", denial.provider(), list(keys))
        }
        Reason::MissingClaim | Reason::WrongClaim if denial.authenticated => claims(route, None)?,
        Reason::MissingClaim | Reason::WrongClaim => claims(route, oauth2)?,
        Reason::InsufficientScope => {
            let scopes = route.and_then(|route| route.required_scopes.as_ref());
            let rule = route.map_or("the default".into(), |route| format!("route {}", route.name));
            format!("{rule} needs {}", list(scopes.unwrap_or(&auth.required_scopes)))
        }
        Reason::KeyExpired | Reason::KeyNotYetValid | Reason::KeyRevoked => {
            format!("such keys of {}: {}", denial.provider(), list(refused_keys(config, denial)))
        }
        Reason::UnknownRoute => {
            format!("known routes: {}", list(auth.routes.iter().map(|route| &route.name)))
        }
        Reason::ProviderUnavailable => unavailable(config, denial.provider()),
        Reason::AmbiguousPath => readings(routes.get_or_init(|| Routes::new(auth)), denial),
        Reason::Internal => "the log has \"panicked, please report this\"".into(),
        _ => oauth2.and_then(|oauth2| of_the_provider(denial.reason, oauth2))?,
    };
    Some(sentence)
}

/// The requirements of the provider for a JWT.
fn of_the_provider(reason: Reason, oauth2: &OAuth2Settings) -> Option<String> {
    let skew = oauth2.clock_skew.as_secs();
    Some(match reason {
        Reason::Expired | Reason::NotYetValid | Reason::IssuedInFuture => {
            format!("clocks may differ by {skew} s")
        }
        Reason::LifetimeTooLong => {
            format!("at most {} s are allowed", oauth2.max_token_lifetime?.as_secs())
        }
        Reason::WrongAudience => format!("aud must hold {}", any(&oauth2.audience)),
        Reason::WrongClient => format!("client_ids: {}", list(&oauth2.client_ids)),
        Reason::WrongTokenType => {
            let types = oauth2.accepted_types.as_deref().map_or("any".into(), list);
            let bound = oauth2.accept_bound_tokens;
            format!("accepted types: {types}; accept_bound_tokens: {bound}")
        }
        Reason::MalformedToken => format!(
            "needed: no crit, times that are numbers, {} (subject_claim) a string, \
             {} (scope_claim) a string or a list",
            oauth2.subject_claim, oauth2.scope_claim
        ),
        _ => return None,
    })
}

fn oauth2<'c>(config: &'c ConfigInfo, provider: &str) -> Option<&'c OAuth2Settings> {
    config.auth.providers.iter().find(|known| known.name == provider).and_then(|known| match &known
        .kind
    {
        ProviderKind::OAuth2(oauth2) => Some(&**oauth2),
        ProviderKind::ApiKey(_) | ProviderKind::Grpc(_) => None,
    })
}

/// The places where tokens are looked for.
pub(super) fn places(sources: &[TokenSourceSettings]) -> impl Iterator<Item = String> {
    sources.iter().map(place)
}

/// One of them.
pub(crate) fn place(source: &TokenSourceSettings) -> String {
    match &source.place {
        TokenPlace::Header { name, scheme: Some(scheme) } => format!("{name}: {scheme} …"),
        TokenPlace::Header { name, scheme: None } => format!("{name}: …"),
        TokenPlace::Query(name) => format!("query parameter {name}"),
        TokenPlace::Cookie(name) => format!("cookie {name}"),
        TokenPlace::WebSocketProtocol(prefix) => format!("sec-websocket-protocol: {prefix}…"),
    }
}

fn is_asked(route: Option<&RouteSettings>, provider: &str) -> bool {
    let only = route.and_then(|route| route.providers.as_ref());
    only.is_none_or(|only| only.iter().any(|name| name == provider))
}

fn issuers<'c>(
    config: &'c ConfigInfo,
    route: Option<&'c RouteSettings>,
) -> impl Iterator<Item = &'c str> {
    let asked = config.auth.providers.iter().filter(move |known| is_asked(route, &known.name));
    asked.filter_map(|known| match &known.kind {
        ProviderKind::OAuth2(oauth2) => Some(oauth2.issuer.as_str()),
        ProviderKind::ApiKey(_) | ProviderKind::Grpc(_) => None,
    })
}

fn opaque<'c>(
    config: &'c ConfigInfo,
    route: Option<&'c RouteSettings>,
) -> impl Iterator<Item = &'c str> {
    let asked = config.auth.providers.iter().filter(move |known| is_asked(route, &known.name));
    asked
        .filter(|known| !matches!(known.kind, ProviderKind::OAuth2(_)))
        .map(|known| known.name.as_str())
}

fn keys(config: &ConfigInfo, provider: &str) -> Vec<String> {
    let source = config.sources.iter().find(|(name, _)| name == provider);
    let keys = source.map(|(_, keys)| keys.status().keys).unwrap_or_default();
    let name = |KeyStatus { kid, .. }: KeyStatus| {
        kid.map_or("(no kid)".into(), |kid| shortened(&kid).into_owned())
    };
    keys.into_iter().map(name).collect()
}

/// The required claims of the provider and the route.
fn claims(route: Option<&RouteSettings>, oauth2: Option<&OAuth2Settings>) -> Option<String> {
    let mut required = Vec::new();
    if let Some(oauth2) = oauth2 {
        required.push("exp".to_owned());
        if !oauth2.audience.is_empty() {
            required.push("aud".into());
        }
        if !oauth2.client_ids.is_empty() {
            required.push("a client".into());
        }
        if oauth2.max_token_lifetime.is_some() {
            required.push("iat".into());
        }
        required.extend(oauth2.required_claims.iter().map(rule));
    }
    let of_route = route.iter().flat_map(|route| &route.required_claims);
    required.extend(of_route.map(|of_route| format!("{} (route)", rule(of_route))));
    (!required.is_empty()).then(|| format!("needed: {}", list(required)))
}

/// `team is "search" or "ads"`.
pub(super) fn rule(rule: &ClaimRule) -> String {
    format!("{} is {}", rule.claim, any(&rule.any_of))
}

fn refused_keys(config: &ConfigInfo, denial: &DenialRecord) -> Vec<String> {
    let known = config.auth.providers.iter().find(|known| known.name == denial.provider());
    let keys = match known.map(|known| &known.kind) {
        Some(ProviderKind::ApiKey(keys)) => keys.as_slice(),
        _ => &[],
    };
    let is_refused = |key: &&ApiKeySettings| {
        let refusal = api_key::refusal(key.revoked, key.not_before, key.expires_at, denial.at);
        refusal == Some(denial.reason)
    };
    keys.iter().filter(is_refused).map(|key| key.name.clone()).collect()
}

/// What makes a request's path ambiguous. The recorded path lacks everything
/// after a `#`, and the end of a long path.
fn readings(routes: &Routes, denial: &DenialRecord) -> String {
    let (method, host, path) = (denial.method(), denial.host(), denial.path());
    let request = Request { method, host, path, ..Request::default() };
    routes.describe_ambiguity(&request).unwrap_or_else(|| match path.len() < MAX_VALUE_BYTES - 3 {
        true => "the path holds a `#`".into(),
        false => "what makes the path ambiguous is beyond what is kept of it".into(),
    })
}

fn unavailable(config: &ConfigInfo, provider: &str) -> String {
    let source = config.sources.iter().find(|(name, _)| name == provider);
    let error = source.and_then(|(_, keys)| keys.status().last_error);
    let limit = config.server.check_timeout.as_millis();
    error.unwrap_or_else(|| format!("it gave no answer; check_timeout_ms is {limit}"))
}

/// `a, b and 3 more`.
pub(super) fn list<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    joined(items, ", ")
}

/// `a or b`.
fn any<T: Display>(items: impl IntoIterator<Item = T>) -> String {
    joined(items, " or ")
}

fn joined<T: Display>(items: impl IntoIterator<Item = T>, by: &str) -> String {
    let mut items = items.into_iter();
    let shown: Vec<_> = items.by_ref().take(MAX_LISTED).map(|item| item.to_string()).collect();
    match (shown.is_empty(), items.count()) {
        (true, _) => "none".into(),
        (false, 0) => shown.join(by),
        (false, more) => format!("{} and {more} more", shown.join(by)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_lists_are_cut() {
        assert_eq!(list(Vec::<String>::new()), "none");
        assert_eq!(any(["a", "b"]), "a or b");
        assert_eq!(list(0..10), "0, 1, 2, 3, 4, 5, 6, 7 and 2 more");
    }
}
