//! The development issuer over real HTTP.

use claimgate::{
    issuer::{self, IssuerError, IssuerSettings},
    provider::oauth2::Algorithm,
};
use reqwest::{
    Client, Response, StatusCode,
    header::{AUTHORIZATION, CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH, WWW_AUTHENTICATE},
};
use serde_json::Value;

const GOOD: &str = "grant_type=client_credentials&client_id=web&client_secret=secret";

fn settings() -> IssuerSettings {
    IssuerSettings {
        address: "127.0.0.1:0".into(),
        issuer: None,
        clients: vec!["web:secret:https://gateway.internal/invoke read".parse().unwrap()],
        algorithm: Algorithm::Es256,
        lifetime: 3600,
        audience: Vec::new(),
        drop_old_keys: false,
        rotate_every: None,
    }
}

/// A running issuer; it ends with the test's runtime.
struct Running {
    base: String,
    http: Client,
}

impl Running {
    async fn start(settings: IssuerSettings) -> Self {
        let bound = issuer::bind(settings).await.unwrap();
        let base = format!("http://{}", bound.address());
        tokio::spawn(bound.run(std::future::pending()));
        Self { base, http: Client::new() }
    }

    async fn ask(&self, form: &'static str) -> Response {
        let request = self.http.post(format!("{}/oauth2/token", self.base));
        let form_type = "application/x-www-form-urlencoded";
        request.header(CONTENT_TYPE, form_type).body(form).send().await.unwrap()
    }

    async fn token(&self, form: &'static str) -> String {
        let answer: Value = self.ask(form).await.json().await.unwrap();
        answer["access_token"].as_str().unwrap().into()
    }

    async fn get(&self, path: &str) -> Value {
        let response = self.http.get(format!("{}{path}", self.base)).send().await.unwrap();
        response.error_for_status().unwrap().json().await.unwrap()
    }

    async fn rotate(&self) {
        let response = self.http.post(format!("{}/rotate", self.base)).send().await.unwrap();
        response.error_for_status().unwrap();
    }

    async fn kids(&self) -> Vec<String> {
        let document = self.get("/.well-known/jwks.json").await;
        let keys = document["keys"].as_array().unwrap();
        keys.iter().map(|key| key["kid"].as_str().unwrap().into()).collect()
    }
}

fn part(token: &str, index: usize) -> Value {
    let part = token.split('.').nth(index).unwrap();
    let bytes = base64_simd::URL_SAFE_NO_PAD.decode_to_vec(part.as_bytes()).unwrap();
    serde_json::from_slice(&bytes).unwrap()
}

#[tokio::test]
async fn a_token_verifies_with_the_published_key() {
    let issuer = Running::start(settings()).await;
    let response = issuer.ask(GOOD).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["token_type"], "Bearer");
    assert_eq!(answer["expires_in"], 3600);
    assert_eq!(answer["scope"], "https://gateway.internal/invoke read");

    let document = issuer.get("/.well-known/jwks.json").await;
    let jwk = serde_json::from_value(document["keys"][0].clone()).unwrap();
    let mut validation = jsonwebtoken::Validation::new(jsonwebtoken::Algorithm::ES256);
    validation.set_issuer(&[&issuer.base]);
    let decoded = jsonwebtoken::decode::<Value>(
        answer["access_token"].as_str().unwrap(),
        &jsonwebtoken::DecodingKey::from_jwk(&jwk).unwrap(),
        &validation,
    );
    assert_eq!(decoded.unwrap().claims["client_id"], "web");
}

#[tokio::test]
async fn a_wrong_secret_is_challenged() {
    let issuer = Running::start(settings()).await;
    let form = "grant_type=client_credentials&client_id=web&client_secret=wrong";
    let response = issuer.ask(form).await;
    assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
    assert!(response.headers()[WWW_AUTHENTICATE].to_str().unwrap().starts_with("Basic "));
    assert_eq!(response.headers()[CACHE_CONTROL], "no-store");
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["error"], "invalid_client");
}

#[tokio::test]
async fn a_bad_request_gets_no_challenge() {
    let issuer = Running::start(settings()).await;
    let form = "grant_type=client_credentials&client_id=web&client_secret=secret&scope=admin";
    let response = issuer.ask(form).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert!(!response.headers().contains_key(WWW_AUTHENTICATE));
    let answer: Value = response.json().await.unwrap();
    assert_eq!(answer["error"], "invalid_scope");
}

#[tokio::test]
async fn basic_authentication_works_too() {
    let issuer = Running::start(settings()).await;
    let response = issuer
        .http
        .post(format!("{}/oauth2/token", issuer.base))
        .header(AUTHORIZATION, "Basic d2ViOnNlY3JldA==")
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body("grant_type=client_credentials&scope=read&resource=https://api.example")
        .send();
    let answer: Value = response.await.unwrap().json().await.unwrap();
    let claims = part(answer["access_token"].as_str().unwrap(), 1);
    assert_eq!(claims["scope"], "read");
    assert_eq!(claims["aud"], "https://api.example");
}

#[tokio::test]
async fn a_lifetime_can_lie_in_the_past() {
    let issuer = Running::start(IssuerSettings { lifetime: -60, ..settings() }).await;
    let claims = part(&issuer.token(GOOD).await, 1);
    assert!(claims["exp"].as_i64() < Some(claimgate::time::UnixTime::now().as_seconds() as i64));
}

#[tokio::test]
async fn known_keys_are_not_sent_again() {
    let issuer = Running::start(settings()).await;
    let url = format!("{}/.well-known/jwks.json", issuer.base);
    let first = issuer.http.get(&url).send().await.unwrap();
    let etag = first.headers()[ETAG].clone();
    let again = issuer.http.get(&url).header(IF_NONE_MATCH, &etag).send().await.unwrap();
    assert_eq!(again.status(), StatusCode::NOT_MODIFIED);
    assert_eq!(again.headers()[ETAG], etag);

    issuer.rotate().await;
    let changed = issuer.http.get(&url).header(IF_NONE_MATCH, &etag).send().await.unwrap();
    assert_eq!(changed.status(), StatusCode::OK);
    let stats = issuer.get("/stats").await;
    assert_eq!(stats["jwks_fetches"], 3);
    assert_eq!(stats["jwks_not_modified"], 1);
    assert_eq!(stats["rotations"], 1);
}

#[tokio::test]
async fn rotation_keeps_the_keys_of_living_tokens() {
    let issuer = Running::start(settings()).await;
    let old = part(&issuer.token(GOOD).await, 0)["kid"].as_str().unwrap().to_owned();
    issuer.rotate().await;
    let new = part(&issuer.token(GOOD).await, 0)["kid"].as_str().unwrap().to_owned();
    assert_ne!(old, new);
    assert_eq!(issuer.kids().await, [new, old]);
}

#[tokio::test]
async fn rotation_can_withdraw_the_old_key() {
    let issuer = Running::start(IssuerSettings { drop_old_keys: true, ..settings() }).await;
    issuer.token(GOOD).await;
    let old = issuer.kids().await;
    issuer.rotate().await;
    let new = issuer.kids().await;
    assert_eq!(new.len(), 1);
    assert_ne!(old, new);
}

#[tokio::test]
async fn discovery_leads_to_the_endpoints_below_the_issuers_path() {
    let url = Some("https://id.example/eu-1_Pool/".into());
    let issuer = Running::start(IssuerSettings { issuer: url, ..settings() }).await;
    let metadata = issuer.get("/eu-1_Pool/.well-known/openid-configuration").await;
    assert_eq!(metadata["issuer"], "https://id.example/eu-1_Pool");
    assert_eq!(metadata["token_endpoint"], "https://id.example/eu-1_Pool/oauth2/token");
    assert_eq!(metadata["jwks_uri"], "https://id.example/eu-1_Pool/.well-known/jwks.json");
    issuer.get("/eu-1_Pool/.well-known/jwks.json").await;
    issuer.get("/.well-known/jwks.json").await;
    assert_eq!(part(&issuer.token(GOOD).await, 1)["iss"], "https://id.example/eu-1_Pool");
}

#[tokio::test]
async fn an_address_in_use_is_named() {
    let bound = issuer::bind(settings()).await.unwrap();
    let address = bound.address().to_string();
    let again = issuer::bind(IssuerSettings { address: address.clone(), ..settings() }).await;
    let error = again.err().unwrap();
    assert!(matches!(error, IssuerError::Listen { .. }));
    assert!(error.to_string().contains(&address));
}
