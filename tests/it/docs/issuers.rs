//! The pages of issuers that tests can't use: their configuration, the token
//! that they print, and the decision once it is changed.

use std::{fs, path::Path, sync::Arc};

use claimgate::{
    Engine, Provider, Reason, Request, config,
    decision::Verdict,
    issuer::signing::SigningKey,
    keys::{FixedKeys, KeySet},
    provider::oauth2::{Algorithm, OAuth2},
    settings::ProviderKind,
    time::UnixTime,
    token_cache::TokenCache,
};
use serde_json::{Value, json};

use super::{page, snippets};

/// A page's engine with test keys, and the token that the page shows.
struct Issuer {
    name: &'static str,
    engine: Engine,
    key: SigningKey,
    header: Value,
    claims: Value,
}

/// The keys of another issuer, or of the same one before a rotation.
const FORGED: &str = "another issuer's key";

impl Issuer {
    fn of(name: &'static str) -> Self {
        let text = page(&format!("docs/issuers/{name}.md"));
        let [config, ..] = snippets(&text, "yaml")[..] else { panic!("{name} shows no config") };
        let [header, claims, ..] = snippets(&text, "json")[..] else { panic!("{name}: no token") };
        let key = SigningKey::generate(Algorithm::Rs256).unwrap();
        let mut header: Value = serde_json::from_str(header).unwrap();
        header["kid"] = json!(key.kid());
        let claims = serde_json::from_str(claims).unwrap();
        Self { name, engine: engine(config, &key), key, header, claims }
    }

    /// The page's token after `change`, where `null` removes a claim and `kid`
    /// and `typ` belong to the header.
    fn check(&self, path: &str, change: &Value) -> (Reason, Vec<(String, String)>) {
        let (mut header, mut claims) = (self.header.clone(), self.claims.clone());
        let mut forged = false;
        for (name, value) in change.as_object().unwrap() {
            let part =
                if ["typ", "kid"].contains(&name.as_str()) { &mut header } else { &mut claims };
            match value {
                Value::Null => drop(part.as_object_mut().unwrap().remove(name)),
                _ if name == FORGED => forged = true,
                value => part[name] = value.clone(),
            }
        }
        let other = forged.then(|| SigningKey::generate(Algorithm::Rs256).unwrap());
        let key = other.as_ref().unwrap_or(&self.key);
        let token = key.sign_with(&header, claims.to_string().as_bytes()).unwrap();
        let authorization = format!("Bearer {token}");
        let request = Request {
            method: "POST",
            path,
            headers: [("authorization", authorization.as_bytes())].into_iter().collect(),
            ..Request::default()
        };
        let now = self.claims["iat"].as_f64().unwrap() + 60.0;
        let decision = self.engine.check_now(&request, UnixTime::from_seconds(now)).unwrap();
        let headers = match &decision.caller {
            Some(caller) if decision.verdict == Verdict::Allow => caller.identity.headers.clone(),
            _ => Vec::new(),
        };
        let headers =
            headers.into_iter().map(|(name, value)| (name.to_string(), String::from(value)));
        (decision.reason, headers.collect())
    }

    fn accepts(&self, path: &str, change: &Value, headers: &[(&str, &str)]) {
        let (reason, set) = self.check(path, change);
        assert_eq!(reason, Reason::Ok, "{}: {change}", self.name);
        for (name, value) in headers {
            let expected = ((*name).to_owned(), (*value).to_owned());
            assert!(set.contains(&expected), "{}: {expected:?} in {set:?}", self.name);
        }
    }

    fn refuses(&self, cases: &[(Reason, &str, Value)]) {
        let text = page(&format!("docs/issuers/{}.md", self.name));
        for (reason, path, change) in cases {
            assert_eq!(self.check(path, change).0, *reason, "{}: {path} {change}", self.name);
        }
        for (reason, ..) in cases {
            assert!(text.contains(&format!("`{reason}`")), "{} does not tell {reason}", self.name);
        }
    }
}

/// The engine of a config, every issuer with this one key.
pub(super) fn engine(config: &str, key: &SigningKey) -> Engine {
    let auth = config::load(config, &|_| None).unwrap().settings.auth;
    let jwks = json!({"keys": [key.jwk()]}).to_string();
    let cache = Arc::new(TokenCache::new(100));
    let providers = auth.providers.iter().map(|provider| {
        let ProviderKind::OAuth2(settings) = &provider.kind else { panic!("{}", provider.name) };
        let keys = Arc::new(FixedKeys::new(KeySet::parse(jwks.as_bytes()).unwrap().set));
        let settings = (**settings).clone();
        let cache = Arc::clone(&cache);
        Arc::new(OAuth2::new(&provider.name, None, settings, keys, cache)) as Arc<dyn Provider>
    });
    let providers = providers.collect();
    Engine::new(&auth, providers, cache)
}

#[test]
fn cognito() {
    let issuer = Issuer::of("cognito");
    let headers = [
        ("x-auth-subject", "1example23456789"),
        ("x-auth-client-id", "1example23456789"),
        ("x-auth-scopes", "https://gateway.internal/invoke"),
    ];
    issuer.accepts("/v1/chat/completions", &json!({}), &headers);
    let both = json!({"scope": "https://gateway.internal/invoke https://gateway.internal/admin"});
    issuer.accepts("/admin/users", &both, &[]);
    issuer.refuses(&[
        (Reason::InsufficientScope, "/admin/users", json!({})),
        (Reason::InsufficientScope, "/", json!({"scope": "https://other.internal/invoke"})),
        (Reason::WrongClaim, "/", json!({"token_use": "id", "aud": "1example23456789"})),
        (Reason::WrongClient, "/", json!({"client_id": "9stranger"})),
        (
            Reason::UnknownIssuer,
            "/",
            json!({"iss": "https://cognito-idp.us-east-1.amazonaws.com/us-east-1_OTHER"}),
        ),
        (Reason::Expired, "/", json!({"exp": issuer.claims["iat"]})),
        (Reason::BadSignature, "/", json!({FORGED: true})),
    ]);
}

#[test]
fn entra() {
    let issuer = Issuer::of("entra");
    let daemon = [
        ("x-auth-provider", "entra-daemons"),
        ("x-auth-client-id", "22222222-2222-2222-2222-222222222222"),
        ("x-auth-scopes", "Gateway.Invoke"),
    ];
    issuer.accepts("/", &json!({}), &daemon);
    let user = json!({"roles": null, "idtyp": null, "scp": "Gateway.Invoke Gateway.Read"});
    let headers =
        [("x-auth-provider", "entra-users"), ("x-auth-scopes", "Gateway.Invoke Gateway.Read")];
    issuer.accepts("/", &user, &headers);
    let v1 = "https://sts.windows.net/00000000-0000-0000-0000-000000000000/";
    issuer.refuses(&[
        (Reason::UnknownIssuer, "/", json!({"iss": v1, "ver": "1.0"})),
        (Reason::WrongAudience, "/", json!({"aud": "00000003-0000-0000-c000-000000000000"})),
        (Reason::InsufficientScope, "/", json!({"roles": ["Gateway.Read"]})),
        (Reason::InsufficientScope, "/", json!({"roles": null})),
        (Reason::InsufficientScope, "/", json!({"azp": "33333333-3333-3333-3333-333333333333"})),
        (Reason::BadSignature, "/", json!({FORGED: true})),
    ]);
}

#[test]
fn okta() {
    let issuer = Issuer::of("okta");
    let headers = [
        ("x-auth-subject", "0oa1example"),
        ("x-auth-client-id", "0oa1example"),
        ("x-auth-scopes", "gateway.invoke"),
    ];
    issuer.accepts("/", &json!({}), &headers);
    let user = json!({"sub": "ada@example.com", "groups": ["Everyone", "ML, research"]});
    let headers =
        [("x-auth-subject", "ada@example.com"), ("x-auth-groups", "Everyone,ML%2C research")];
    issuer.accepts("/", &user, &headers);
    issuer.refuses(&[
        (Reason::UnknownIssuer, "/", json!({"iss": "https://example.okta.com"})),
        (Reason::WrongAudience, "/", json!({"aud": "0oa1example"})),
        (Reason::WrongClient, "/", json!({"cid": "0oa2stranger"})),
        (Reason::InsufficientScope, "/", json!({"scp": ["gateway.read"]})),
        (Reason::BadSignature, "/", json!({FORGED: true})),
    ]);
}

#[test]
fn auth0() {
    let issuer = Issuer::of("auth0");
    let headers = [
        ("x-auth-subject", "1exampleClientId@clients"),
        ("x-auth-client-id", "1exampleClientId"),
        ("x-auth-team", "search"),
    ];
    issuer.accepts("/", &json!({}), &headers);
    let rfc9068 =
        json!({"typ": "at+jwt", "client_id": "1exampleClientId", "jti": "1", "azp": null});
    issuer.accepts("/", &rfc9068, &headers[..1]);
    let iat = issuer.claims["iat"].as_i64().unwrap();
    issuer.refuses(&[
        (Reason::UnknownIssuer, "/", json!({"iss": "https://example.eu.auth0.com"})),
        (Reason::WrongAudience, "/", json!({"aud": "https://example.eu.auth0.com/api/v2/"})),
        (Reason::InsufficientScope, "/", json!({"scope": null})),
        (Reason::LifetimeTooLong, "/", json!({"exp": iat + 2_592_000})),
        (Reason::BadSignature, "/", json!({FORGED: true})),
    ]);
}

#[test]
fn the_pages_show_the_example_files() {
    for name in ["cognito", "entra", "okta", "auth0"] {
        let shown = page(&format!("docs/issuers/{name}.md"));
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("examples/{name}.yaml"));
        let example = fs::read_to_string(example).unwrap();
        let without_comment = &example[example.find("auth:\n").unwrap()..];
        assert_eq!(snippets(&shown, "yaml")[0], without_comment, "copy examples/{name}.yaml");
    }
}
