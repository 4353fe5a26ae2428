use serde_json::json;

use super::*;
use crate::{
    Answer, Answering, Credential, Principal, Reason, Request,
    keys::{Algorithm, FixedKeys, KeySet, signing::SigningKey},
    request::Headers,
    settings::{RouteSettings, TokenPlace, TokenSourceSettings},
    time::UnixTime,
};

const NOW: UnixTime = UnixTime::from_seconds(1e9);

/// Knows one token, which is its name.
struct Named(&'static str);

impl Provider for Named {
    fn name(&self) -> &str {
        self.0
    }

    fn method(&self) -> &str {
        "named"
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        Answering::Now(match credential.token() == self.0 {
            true => Answer::Authenticated(Arc::new(Principal::new(Some("me".into())))),
            false => Answer::NotMine,
        })
    }
}

fn keys_of(key: &SigningKey) -> Arc<dyn KeyStore> {
    let document = json!({"keys": [key.jwk()]}).to_string();
    Arc::new(FixedKeys::new(KeySet::parse(document.as_bytes()).unwrap().set))
}

fn no_keys() -> Arc<dyn KeyStore> {
    Arc::new(FixedKeys::new(KeySet::default()))
}

fn issuer() -> Issuer {
    Issuer::new("https://auth.example.com").audience(["api"])
}

fn with_key(key: ApiKey) -> EngineBuilder {
    Engine::builder().use_api_keys([key])
}

fn with_issuer(issuer: Issuer) -> EngineBuilder {
    Engine::builder().use_oauth2(issuer, no_keys())
}

fn with_provider(name: &'static str) -> EngineBuilder {
    Engine::builder().use_auth_provider(Named(name))
}

/// The reason of the decision about `GET /`, and the provider behind it.
fn decide(engine: &Engine, token: &str) -> (Reason, Option<String>) {
    let value = format!("Bearer {token}");
    let headers = Headers::from_iter([("authorization", value.as_bytes())]);
    let request = Request { method: "GET", path: "/", headers, ..Request::default() };
    let decision = engine.check_now(&request, NOW).unwrap();
    (decision.reason, decision.provider.map(|id| engine.provider(id).name().to_owned()))
}

#[test]
fn every_provider_is_asked_in_the_order_of_the_calls() {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let sign = |claims: serde_json::Value| key.sign(claims.to_string().as_bytes()).unwrap();
    let claims = json!({
        "iss": "https://auth.example.com", "aud": "api", "sub": "me", "scope": "read", "exp": 2e9,
    });
    let engine = Engine::builder()
        .use_auth_provider(Named("first"))
        .use_api_keys([
            ApiKey::new("reader", "key-1").scopes(["read"]),
            ApiKey::new("gone", "key-2").revoked(),
            ApiKey::new("writer", "key-3").scopes(["write"]),
            ApiKey::hashed("hashed", crate::provider::api_key::key::hash("key-4")),
        ])
        .use_oauth2(issuer(), keys_of(&key))
        .use_oauth2(
            Issuer::new("https://other.example.com").name("other").any_audience(),
            no_keys(),
        )
        .settings(|settings| settings.required_scopes.push("read".into()))
        .build()
        .unwrap();
    let names: Vec<_> = engine.providers().map(Provider::name).collect();
    assert_eq!(names, ["first", "api_key", "oauth2", "other"]);

    let mut late = claims.clone();
    late["exp"] = json!(1e8);
    let mut elsewhere = claims.clone();
    elsewhere["aud"] = json!("another");
    for (token, reason, provider) in [
        ("first", Reason::InsufficientScope, Some("first")),
        ("key-1", Reason::Ok, Some("api_key")),
        ("key-2", Reason::KeyRevoked, Some("api_key")),
        ("key-3", Reason::InsufficientScope, Some("api_key")),
        ("key-4", Reason::Ok, Some("api_key")),
        ("key-5", Reason::UnknownKey, None),
        (&sign(claims), Reason::Ok, Some("oauth2")),
        (&sign(late), Reason::Expired, Some("oauth2")),
        (&sign(elsewhere), Reason::WrongAudience, Some("oauth2")),
    ] {
        assert_eq!(decide(&engine, token), (reason, provider.map(String::from)), "{token}");
    }
}

#[test]
fn authentication_is_on_until_it_is_switched_off() {
    assert_eq!(decide(&with_provider("me").build().unwrap(), "x").0, Reason::UnknownKey);
    let off = Engine::builder().auth(false).build().unwrap();
    assert_eq!(decide(&off, "x"), (Reason::Disabled, None));
}

#[test]
fn routes_may_name_every_provider() {
    let only = |names: &[&str]| Some(names.iter().map(|&name| name.to_owned()).collect());
    let engine = with_provider("first")
        .use_auth_provider(Named("second"))
        .settings(|settings| {
            settings.routes.push(RouteSettings {
                name: "all".into(),
                path_prefix: Some("/".into()),
                providers: only(&["second"]),
                ..RouteSettings::default()
            });
        })
        .build()
        .unwrap();
    assert_eq!(decide(&engine, "second").0, Reason::Ok);
    assert_eq!(decide(&engine, "first").0, Reason::UnknownKey);
}

#[test]
fn what_cannot_work_makes_no_engine() {
    let at = UnixTime::from_seconds;
    let secret = || ApiKey::new("k", "secret");
    let cases = [
        (Engine::builder(), "there is no provider"),
        (with_provider("a").use_auth_provider(Named("a")), r#"provider "a": an earlier provider"#),
        (
            Engine::builder().use_oauth2(issuer(), no_keys()).use_oauth2(issuer(), no_keys()),
            r#"provider "oauth2": an earlier provider"#,
        ),
        (with_provider(""), r#"provider "": this is not a plain name"#),
        (with_provider("a\n"), r#"provider "a\n": this is not a plain name"#),
        (with_key(ApiKey::new("k", "")), r#"API key "k" is empty"#),
        (with_key(ApiKey::new("k", "secret, two")), r#"API key "k" holds a comma"#),
        (with_key(ApiKey::new("k", "secret\n")), r#"API key "k" holds a line break"#),
        (with_key(ApiKey::new("k", "secret".repeat(1000))), "over the 4096 bytes"),
        (with_key(ApiKey::new("", "secret")), r#"API key "" needs a name"#),
        (with_key(secret().scopes([""])), "grants an empty scope"),
        (with_key(secret().not_before(at(2.0)).expires_at(at(2.0))), "would never be valid"),
        (
            with_key(secret()).settings(|it| it.max_token_bytes = 5),
            "is longer than `max_token_bytes`",
        ),
        (
            Engine::builder().use_api_keys([secret(), ApiKey::new("other", "secret")]),
            r#"API key "other" is the same as an earlier one"#,
        ),
        (with_issuer(Issuer::new("").audience(["api"])), "its issuer is not a valid URL"),
        (with_issuer(Issuer::new("http://a.example").audience(["api"])), "its issuer is not https"),
        (
            with_issuer(Issuer::new("https://me:secret@a.example").audience(["api"])),
            "its issuer holds a user name or password",
        ),
        (with_issuer(Issuer::new("https://a.example")), "its issuer has no audience"),
        (with_issuer(issuer().audience([""])), "its issuer has an empty audience"),
        (with_issuer(issuer().settings(|it| it.algorithms.clear())), "has no algorithm"),
        (with_provider("a").required_scopes([""]), r#"required scope """#),
        (with_provider("a").required_scopes(["a\"b"]), r#"required scope "a\"b""#),
        (with_provider("a").public_paths(["health"]), r#"public path "health" must start"#),
        (with_provider("a").public_paths(["/a?b"]), r#"public path "/a?b" has a query"#),
        (
            with_provider("a").settings(|it| {
                it.token_sources = vec![TokenSourceSettings {
                    place: TokenPlace::Cookie("c".into()),
                    providers: Some(vec!["a".into(), "b".into()]),
                }];
            }),
            r#"provider "b": a route or token source names it"#,
        ),
    ];
    for (builder, expected) in cases {
        let error = builder.build().unwrap_err();
        let message = error.to_string();
        assert!(message.contains(expected), "{message}\ndoes not say\n{expected}");
        assert_eq!(error.problems().len(), 1, "{message}");
        assert!(!message.contains("secret"), "{message}");
    }
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let error = Engine::builder()
        .use_api_keys([ApiKey::new("a", "x y"), ApiKey::new("b", "")])
        .use_oauth2(Issuer::new(""), no_keys())
        .public_paths(["*"])
        .build()
        .unwrap_err();
    assert_eq!(error.problems().len(), 5, "{error}");
    assert_eq!(error.to_string().lines().count(), 5, "{error}");
}

#[test]
fn debug_output_holds_neither_key_nor_hash() {
    let debug = format!("{:?}", ApiKey::new("reader", "secret").scopes(["read"]));
    assert_eq!(debug, r#"ApiKey { name: "reader", scopes: ["read"], .. }"#);
}
