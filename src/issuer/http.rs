//! The issuer's endpoints.

use std::sync::{Arc, atomic::Ordering};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, HeaderName, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use serde_json::{Value, json};
use url::Url;

use super::{
    Issuer, Stats,
    error::{IssuerError, OAuthError},
    grant::Grant,
    token::Claims,
};
use crate::{keys::Algorithm, time::UnixTime};

/// Token requests are short.
const LARGEST_BODY: usize = 64 * 1024;

/// An issuer URL without its trailing slash, which would double in the URLs
/// made from it.
pub(super) fn check_issuer_url(text: &str) -> Result<String, IssuerError> {
    let error = || IssuerError::IssuerUrl { url: text.into() };
    let url = Url::parse(text).map_err(|_| error())?;
    let http = matches!(url.scheme(), "http" | "https");
    if !http || url.query().is_some() || url.fragment().is_some() {
        return Err(error());
    }
    Ok(text.trim_end_matches('/').into())
}

/// All endpoints, below the issuer URL's path and at the root.
pub(super) fn router(issuer: &Arc<Issuer>) -> Router {
    let endpoints = Router::new()
        .route("/oauth2/token", post(token))
        .route("/.well-known/jwks.json", get(jwks))
        .route("/.well-known/openid-configuration", get(discovery))
        .route("/.well-known/oauth-authorization-server", get(discovery))
        .route("/rotate", post(rotate))
        .route("/stats", get(stats));
    let path = Url::parse(&issuer.url).map(|url| url.path().trim_end_matches('/').to_owned());
    let all = match path {
        Ok(path) if !path.is_empty() => endpoints.clone().nest(&path, endpoints),
        _ => endpoints,
    };
    all.layer(DefaultBodyLimit::max(LARGEST_BODY)).with_state(Arc::clone(issuer))
}

async fn token(State(issuer): State<Arc<Issuer>>, headers: HeaderMap, body: Bytes) -> Response {
    let response = match issue(&issuer, &headers, &body) {
        Ok(body) => {
            Stats::count(&issuer.stats.tokens_issued);
            Json(body).into_response()
        }
        Err(error) => {
            Stats::count(&issuer.stats.token_errors);
            tracing::info!(error = error.parts().0, "token request refused");
            error.into_response()
        }
    };
    // RFC 6749, section 5.1.
    ([(header::CACHE_CONTROL, "no-store"), (header::PRAGMA, "no-cache")], response).into_response()
}

fn issue(issuer: &Issuer, headers: &HeaderMap, body: &[u8]) -> Result<Value, OAuthError> {
    let value = |name: HeaderName| headers.get(name).map(|value| value.as_bytes());
    let settings = &issuer.settings;
    let grant = Grant::read(
        value(header::AUTHORIZATION),
        value(header::CONTENT_TYPE),
        body,
        &settings.clients,
    )?;
    let lifetime = grant.lifetime.unwrap_or(settings.lifetime);
    let claims = Claims::new(&grant, &issuer.url, &settings.audience, lifetime, now());
    let payload = serde_json::to_vec(&claims).map_err(|_| OAuthError::ServerError)?;
    let token = issuer.keys.sign(&payload, claims.exp).map_err(|_| OAuthError::ServerError)?;
    tracing::debug!(client = grant.client.id, lifetime, "token issued");
    Ok(json!({
        "access_token": token,
        "expires_in": lifetime.max(0),
        "token_type": "Bearer",
        "scope": grant.scopes.join(" "),
    }))
}

async fn jwks(State(issuer): State<Arc<Issuer>>, headers: HeaderMap) -> Response {
    Stats::count(&issuer.stats.jwks_fetches);
    let document = issuer.keys.document(now());
    let cache =
        [(header::ETAG, document.etag.as_str()), (header::CACHE_CONTROL, "public, no-cache")];
    if knows(&headers, &document.etag) {
        Stats::count(&issuer.stats.jwks_not_modified);
        return (StatusCode::NOT_MODIFIED, cache).into_response();
    }
    let content_type = [(header::CONTENT_TYPE, "application/json")];
    (cache, content_type, document.body).into_response()
}

/// Whether an `If-None-Match` names this tag, compared weakly as RFC 9110,
/// section 13.1.2, has it.
fn knows(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(header::IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(|tag| tag.trim())
        .any(|tag| tag == "*" || tag.trim_start_matches("W/") == etag)
}

/// Issuer metadata (RFC 8414; OpenID Connect Discovery 1.0, section 3).
async fn discovery(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    Stats::count(&issuer.stats.discovery_fetches);
    let mut scopes: Vec<&str> =
        issuer.settings.clients.iter().flat_map(|c| &c.scopes).map(String::as_str).collect();
    scopes.sort_unstable();
    scopes.dedup();
    Json(json!({
        "issuer": issuer.url,
        "token_endpoint": issuer.token_endpoint(),
        "jwks_uri": issuer.jwks_uri(),
        "scopes_supported": scopes,
        "response_types_supported": [],
        "grant_types_supported": ["client_credentials"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": [Algorithm::Rs256.as_str()],
    }))
}

/// For development: a new signing key, now.
async fn rotate(State(issuer): State<Arc<Issuer>>) -> Response {
    match issuer.rotate().await {
        Ok(kid) => Json(json!({"kid": kid})).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, error.to_string()).into_response(),
    }
}

/// For tests: how often each endpoint was called so far.
async fn stats(State(issuer): State<Arc<Issuer>>) -> Json<Value> {
    let stats = &issuer.stats;
    let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
    Json(json!({
        "jwks_fetches": read(&stats.jwks_fetches),
        "jwks_not_modified": read(&stats.jwks_not_modified),
        "discovery_fetches": read(&stats.discovery_fetches),
        "tokens_issued": read(&stats.tokens_issued),
        "token_errors": read(&stats.token_errors),
        "rotations": read(&stats.rotations),
    }))
}

/// Whole seconds since the epoch, as Cognito's tokens count.
fn now() -> i64 {
    UnixTime::now().as_seconds() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn issuer_urls_lose_their_last_slash() {
        for (text, expected) in [
            ("https://id.example/pool/", Some("https://id.example/pool")),
            ("http://127.0.0.1:9010", Some("http://127.0.0.1:9010")),
            ("https://id.example?x", None),
            ("https://id.example#x", None),
            ("ftp://id.example", None),
            ("id.example", None),
        ] {
            assert_eq!(check_issuer_url(text).ok().as_deref(), expected, "{text}");
        }
    }

    #[test]
    fn entity_tags_are_compared_weakly() {
        for (value, expected) in [
            ("\"a\"", true),
            ("W/\"a\"", true),
            ("\"b\", \"a\"", true),
            ("*", true),
            ("\"b\"", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::IF_NONE_MATCH, value.parse().unwrap());
            assert_eq!(knows(&headers, "\"a\""), expected, "{value}");
        }
    }
}
