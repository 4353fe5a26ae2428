//! The token request (RFC 6749, section 4.4.2).

use claimgate_remote::http_client::{HttpClientBuilder, root_cause};
use reqwest::{Response, StatusCode};
use url::form_urlencoded::{Serializer, byte_serialize};

use super::{
    error::TokenError,
    response::{ErrorResponse, TokenResponse},
    settings::{ClientAuth, ClientSettings},
    token::AccessToken,
};
use crate::time::UnixTime;

/// Responses with a token are short.
const LARGEST_RESPONSE: usize = 64 * 1024;

/// Requests a token.
///
/// # Errors
/// The request failed, or the response has no token.
pub(super) async fn token(settings: &ClientSettings) -> Result<AccessToken, TokenError> {
    let requested_at = UnixTime::now();
    let exchange = async {
        let response = send(settings).await?;
        let status = response.status();
        Ok((status, body(response).await?))
    };
    let (status, body) =
        tokio::time::timeout(settings.timeout, exchange).await.unwrap_or_else(|_| {
            let timeout = settings.timeout;
            Err(TokenError::Request(format!("no complete answer within {timeout:?}")))
        })?;
    if status != StatusCode::OK {
        let secrets = [settings.client_secret.as_str(), &form_encoded(&settings.client_secret)];
        let error = ErrorResponse::read(&body, &secrets);
        return Err(TokenError::Request(format!(
            "the token endpoint answered {}{error}",
            status.as_u16()
        )));
    }
    TokenResponse::read(&body)?.token(requested_at)
}

async fn send(settings: &ClientSettings) -> Result<Response, TokenError> {
    let failed = |error: &reqwest::Error| {
        TokenError::Request(format!("the request failed: {}", root_cause(error)))
    };
    // It follows no redirect: the secret goes to the configured endpoint only.
    let client = HttpClientBuilder::new(&settings.endpoint)
        .ca_file(settings.ca_file.as_deref())
        .takes_gzip()
        .build()
        .map_err(|error| TokenError::Request(error.to_string()))?;
    let request = client
        .post(settings.endpoint.clone())
        .header("accept", "application/json")
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form(settings));
    let request = match settings.auth {
        // Each is encoded before they are joined (RFC 6749, section 2.3.1).
        ClientAuth::Basic => request.basic_auth(
            form_encoded(&settings.client_id),
            Some(form_encoded(&settings.client_secret)),
        ),
        ClientAuth::Post => request,
    };
    request.send().await.map_err(|error| failed(&error))
}

fn form(settings: &ClientSettings) -> String {
    let mut form = Serializer::new(String::new());
    form.append_pair("grant_type", "client_credentials");
    for (name, value) in [
        ("scope", &settings.scope),
        ("audience", &settings.audience),
        ("resource", &settings.resource),
    ] {
        if !value.is_empty() {
            form.append_pair(name, value);
        }
    }
    if settings.auth == ClientAuth::Post {
        form.append_pair("client_id", &settings.client_id);
        form.append_pair("client_secret", &settings.client_secret);
    }
    form.finish()
}

fn form_encoded(value: &str) -> String {
    byte_serialize(value.as_bytes()).collect()
}

async fn body(mut response: Response) -> Result<Vec<u8>, TokenError> {
    let mut body = Vec::new();
    while let Some(chunk) = response.chunk().await.map_err(|error| {
        TokenError::Request(format!("the answer broke off: {}", root_cause(&error)))
    })? {
        if body.len() + chunk.len() > LARGEST_RESPONSE {
            return Err(TokenError::Request("the answer is larger than 64 KiB".into()));
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
