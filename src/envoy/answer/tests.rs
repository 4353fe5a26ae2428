//! Our bytes, read back by envoy-types and compared field by field.

use std::{borrow::Cow, sync::Arc};

use envoy_types::pb::{
    envoy::{
        config::core::v3::{HeaderValue, HeaderValueOption},
        service::auth::v3::{
            CheckResponse, DeniedHttpResponse, OkHttpResponse, check_response::HttpResponse,
        },
        r#type::v3::HttpStatus,
    },
    google::{
        protobuf::{BoolValue, ListValue, Struct, Value, value::Kind},
        rpc::Status,
    },
};
use prost::Message;
use serde_json::json;
use smallvec::smallvec;

use super::*;
use crate::{
    claims::ClaimPath,
    decision::Caller,
    policy::identity::{Identity, IdentityHeaders},
    principal::Principal,
    provider::oauth2::memory::TokenMemory,
    reason::Reason,
    settings::{AuthSettings, IdentityHeaderSettings, RouteSettings},
    time::UnixTime,
};

fn read(encoded: &Encoded) -> CheckResponse {
    CheckResponse::decode(encoded.as_ref()).expect("a readable message")
}

fn overwriting(name: &str, value: &str) -> HeaderValueOption {
    #[expect(deprecated)]
    HeaderValueOption {
        header: Some(HeaderValue { key: name.into(), value: value.into(), ..Default::default() }),
        append: Some(BoolValue { value: false }),
        append_action: 2,
        keep_empty_value: false,
    }
}

fn kind(kind: Kind) -> Value {
    Value { kind: Some(kind) }
}

/// JSON as a protobuf value, by way of the reference types.
fn value(json: &serde_json::Value) -> Value {
    kind(match json {
        serde_json::Value::Null => Kind::NullValue(0),
        serde_json::Value::Bool(bool) => Kind::BoolValue(*bool),
        serde_json::Value::Number(n) => Kind::NumberValue(n.as_f64().expect("a double")),
        serde_json::Value::String(s) => Kind::StringValue(s.clone()),
        serde_json::Value::Array(elements) => {
            Kind::ListValue(ListValue { values: elements.iter().map(value).collect() })
        }
        serde_json::Value::Object(_) => Kind::StructValue(structure(json)),
    })
}

fn structure(json: &serde_json::Value) -> Struct {
    let object = json.as_object().expect("an object");
    Struct { fields: object.iter().map(|(k, v)| (k.clone(), value(v))).collect() }
}

fn bare(reason: Reason) -> Metadata<'static> {
    Metadata { reason, provider: None, method: None, caller: None }
}

/// A style with an extra header, for a request that needs these scopes.
fn style(scopes: &[&str]) -> DenialStyle {
    let settings = AuthSettings {
        required_scopes: scopes.iter().map(|scope| (*scope).into()).collect(),
        denial_headers: vec![("x-docs".into(), "https://example.com/help".into())],
        ..AuthSettings::default()
    };
    DenialStyle::new(&RouteSettings::default(), &settings)
}

fn caller(principal: Principal, claims: serde_json::Value) -> Caller {
    let claims = claims.as_object().expect("an object").clone();
    let mapped = claims.keys().map(|name| (ClaimPath::named(name), format!("x-{name}")));
    let settings =
        IdentityHeaderSettings { claims: mapped.collect(), ..IdentityHeaderSettings::default() };
    let mapped = IdentityHeaders::new(&settings).mapped_claims().clone();
    let identity = Identity { mapped, ..Identity::default() };
    Caller { principal: Arc::new(principal.with_claims(claims)), identity: Arc::new(identity) }
}

#[test]
fn an_allowed_request_gets_its_edits_and_the_caller() {
    let principal = Principal::new(Some("frontend".into()))
        .with_scopes(vec!["a".to_owned(), "b".to_owned()])
        .with_client_id(Some("client".into()))
        .with_expires_at(Some(UnixTime::from_seconds(1_800_000_000.5)));
    let claims = json!({
        "email": "a@b.c", "n": -1.5, "big": 9_007_199_254_740_993_u64, "yes": true, "no": false,
        "nil": null, "empty": "", "list": [1, "x", [], {}], "deep": {"er": {"": [null]}},
    });
    let caller = caller(principal, claims.clone());
    let edits = Edits {
        set: smallvec![
            ("x-auth-subject", Cow::from("frontend")),
            ("x-auth-scopes", Cow::from("a b".to_owned())),
        ],
        remove: smallvec![Cow::from("x-auth-client-id"), Cow::from("x_auth_subject")],
        remove_query: smallvec![Cow::from("access_token"), Cow::from("access%5Ftoken")],
    };
    let metadata = Metadata {
        reason: Reason::Ok,
        provider: Some("cognito"),
        method: Some("oauth2"),
        caller: Some(&caller),
    };

    let ok = OkHttpResponse {
        headers: vec![
            overwriting("x-auth-subject", "frontend"),
            overwriting("x-auth-scopes", "a b"),
        ],
        headers_to_remove: vec!["x-auth-client-id".into(), "x_auth_subject".into()],
        query_parameters_to_remove: vec!["access_token".into(), "access%5Ftoken".into()],
        ..OkHttpResponse::default()
    };
    let expected = CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::OkResponse(ok)),
        dynamic_metadata: Some(structure(&json!({
            "reason": "ok", "provider": "cognito", "method": "oauth2", "subject": "frontend",
            "scopes": ["a", "b"], "client_id": "client", "expires_at": 1_800_000_000.5,
            "claims": claims,
        }))),
    };
    assert_eq!(read(&allow(&edits, &metadata)), expected);
}

#[test]
fn what_is_absent_is_left_out() {
    let response = read(&allow(&Edits::default(), &bare(Reason::Public)));
    let expected = CheckResponse {
        status: Some(Status::default()),
        http_response: Some(HttpResponse::OkResponse(OkHttpResponse::default())),
        dynamic_metadata: Some(structure(&json!({"reason": "public"}))),
    };
    assert_eq!(response, expected);

    let nobody = caller(Principal::default(), json!({}));
    let metadata = Metadata { caller: Some(&nobody), ..bare(Reason::Ok) };
    let response = read(&allow(&Edits::default(), &metadata));
    assert_eq!(response.dynamic_metadata, Some(structure(&json!({"reason": "ok"}))));
}

#[test]
fn every_denial_has_its_own_shape() {
    let style = style(&["s"]);
    let cases = [
        (Denial::BadRequest, Reason::AmbiguousPath, 400, 3, "invalid_request"),
        (Denial::Challenge, Reason::MissingToken, 401, 16, "unauthorized"),
        (Denial::InvalidToken, Reason::Expired, 401, 16, "invalid_token"),
        (Denial::Forbidden, Reason::WrongClaim, 403, 7, "insufficient_scope"),
        (Denial::Unavailable, Reason::ProviderUnavailable, 503, 14, "temporarily_unavailable"),
        (Denial::Internal, Reason::Internal, 500, 13, "server_error"),
    ];
    for (denial, reason, http, grpc, error) in cases {
        let metadata = Metadata { provider: Some("p"), method: Some("oauth2"), ..bare(reason) };
        let description = reason.description();
        let mut headers = vec![
            overwriting("content-type", "application/json"),
            overwriting("cache-control", "no-store"),
        ];
        headers.extend(
            challenge::challenge(denial, &style, description)
                .map(|challenge| overwriting("www-authenticate", &challenge.concat())),
        );
        headers.extend((http == 503).then(|| overwriting("retry-after", "1")));
        headers.push(overwriting("x-docs", "https://example.com/help"));
        let expected = CheckResponse {
            status: Some(Status { code: grpc, ..Status::default() }),
            http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code: http }),
                headers,
                body: format!(r#"{{"error":"{error}","error_description":"{description}"}}"#),
            })),
            dynamic_metadata: Some(structure(&json!({"reason": reason.as_str(), "provider": "p"}))),
        };
        let denied = read(&deny(denial, &style, ErrorFormat::OAuth2, &metadata));
        assert_eq!(denied, expected, "{denial:?}");
    }
}

/// The content type and the body of a denial.
fn told(format: ErrorFormat, content_type: Option<&str>) -> (String, serde_json::Value) {
    let engine = Engine::new(
        &AuthSettings { error_format: format, ..AuthSettings::default() },
        Vec::new(),
        Arc::new(TokenMemory::new(1)),
    );
    let headers = content_type.map(|kind| ("content-type", kind.as_bytes()));
    let request = Request {
        method: "POST",
        path: "/",
        headers: headers.into_iter().collect(),
        ..Request::default()
    };
    let decision = engine.check_now(&request, UnixTime::from_seconds(0.0)).expect("a decision");
    let response = read(&encode(&engine, &request, &decision));
    let Some(HttpResponse::DeniedResponse(denied)) = response.http_response else {
        panic!("not denied");
    };
    let kind = denied.headers.iter().filter_map(|option| option.header.as_ref());
    let kind = kind.filter(|header| header.key == "content-type").map(|header| &header.value);
    let kind: Vec<_> = kind.cloned().collect();
    (kind.concat(), serde_json::from_str(&denied.body).expect("JSON"))
}

#[test]
fn each_format_has_its_content_type_and_grpc_callers_the_short_one() {
    for (format, kind, member) in [
        (ErrorFormat::OAuth2, "application/json", "/error_description"),
        (ErrorFormat::Problem, "application/problem+json", "/detail"),
        (ErrorFormat::OpenAi, "application/json", "/error/message"),
        (ErrorFormat::Anthropic, "application/json", "/error/message"),
    ] {
        let sentence = Reason::MissingToken.description();
        for sent in [None, Some("application/json"), Some("application/grpc-web+proto")] {
            let (got, body) = told(format, sent);
            assert_eq!(got, kind, "{format:?}");
            assert_eq!(body.pointer(member), Some(&json!(sentence)), "{format:?}");
        }
        for sent in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            let (got, body) = told(format, Some(sent));
            assert_eq!(got, "application/json", "{format:?} {sent}");
            let short = json!({"error": "unauthorized", "error_description": sentence});
            assert_eq!(body, short, "{format:?} {sent}");
        }
    }
}

#[test]
fn a_denial_tells_nothing_about_the_caller() {
    let principal = Principal::new(Some("somebody".into())).with_client_id(Some("c".into()));
    let caller = caller(principal, json!({"email": "a@b.c"}));
    let metadata = Metadata {
        reason: Reason::InsufficientScope,
        provider: Some("p"),
        method: Some("oauth2"),
        caller: Some(&caller),
    };
    let encoded = deny(Denial::Forbidden, &style(&[]), ErrorFormat::OAuth2, &metadata);
    for secret in ["somebody", "a@b.c", "email"] {
        let found = memchr::memmem::find(encoded.as_ref(), secret.as_bytes());
        assert_eq!(found, None, "{secret}");
    }
}

#[test]
fn claims_nest_only_as_deep_as_envoy_reads() {
    let nested = (0..120).fold(json!("core"), |inner, i| match i % 2 {
        0 => json!([inner]),
        _ => json!({"a": inner}),
    });
    let caller = caller(Principal::default(), json!({"nested": nested, "flat": 1}));
    let metadata = Metadata { caller: Some(&caller), ..bare(Reason::Ok) };
    let metadata = read(&allow(&Edits::default(), &metadata)).dynamic_metadata.expect("metadata");
    let Some(Kind::StructValue(claims)) = &metadata.fields["claims"].kind else {
        panic!("no claims");
    };
    assert_eq!(claims.fields["flat"], value(&json!(1)));
    let mut depth = 0;
    let mut inner = claims.fields["nested"].clone();
    loop {
        inner = match inner.kind {
            Some(Kind::ListValue(mut list)) => list.values.remove(0),
            Some(Kind::StructValue(mut object)) => object.fields.remove("a").expect("a"),
            end => {
                assert_eq!(end, Some(Kind::NullValue(0)));
                break;
            }
        };
        depth += 1;
    }
    assert_eq!(depth, 15);
}
