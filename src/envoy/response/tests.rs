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
    decision::{Caller, Denial},
    identity::Identity,
    policy::{denial_style::DenialStyle, identity::IdentityHeaders},
    principal::Principal,
    reason::Reason,
    settings::{AuthSettings, ErrorFormat, IdentityHeaderSettings, MetadataMembers, RouteSettings},
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
    Metadata {
        reason: Some(reason),
        provider: None,
        method: None,
        caller: None,
        limits: None,
        wanted: MetadataMembers::ALL,
    }
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

fn metadata_of(caller: &Caller) -> Metadata<'_> {
    Metadata { caller: Some(caller), ..bare(Reason::Ok) }
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
        provider: Some("cognito"),
        method: Some("oauth2"),
        caller: Some(&caller),
        ..bare(Reason::Ok)
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
    // `explain` shows as JSON what Envoy gets.
    let json = serde_json::Value::Object(metadata.to_json());
    assert_eq!(Some(structure(&json)), expected.dynamic_metadata);
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

    let nameless = caller(Principal::default(), json!({}));
    let response = read(&allow(&Edits::default(), &metadata_of(&nameless)));
    assert_eq!(response.dynamic_metadata, Some(structure(&json!({"reason": "ok"}))));

    let unwanted = Metadata { reason: None, wanted: MetadataMembers::NONE, ..bare(Reason::Ok) };
    assert_eq!(read(&allow(&Edits::default(), &unwanted)).dynamic_metadata, None);
    let style = style(&[]);
    let client = denial(Denial::Forbidden, Reason::WrongClaim, &style);
    assert_eq!(read(&deny(&client, &unwanted)).dynamic_metadata, None);
}

fn denial(kind: Denial, reason: Reason, style: &DenialStyle) -> ClientResponse<'_> {
    ClientResponse::denial(kind, reason, style, ErrorFormat::OAuth2)
}

#[test]
fn a_denial_is_the_clients_response_with_the_code_of_its_status() {
    let style = style(&["s"]);
    let cases = [
        (Denial::BadRequest, Reason::AmbiguousPath, 400, 3),
        (Denial::Challenge, Reason::MissingToken, 401, 16),
        (Denial::InvalidToken, Reason::Expired, 401, 16),
        (Denial::Forbidden, Reason::WrongClaim, 403, 7),
        (Denial::Unavailable, Reason::ProviderUnavailable, 503, 14),
        (Denial::Internal, Reason::Internal, 500, 13),
    ];
    for (kind, reason, http, grpc) in cases {
        let client = denial(kind, reason, &style);
        let headers =
            client.headers().map(|(name, value)| overwriting(name, &value.pieces().concat()));
        let expected = CheckResponse {
            status: Some(Status { code: grpc, ..Status::default() }),
            http_response: Some(HttpResponse::DeniedResponse(DeniedHttpResponse {
                status: Some(HttpStatus { code: http }),
                headers: headers.collect(),
                body: client.body.concat(),
            })),
            dynamic_metadata: Some(structure(&json!({"reason": reason.as_str(), "provider": "p"}))),
        };
        let metadata = Metadata { provider: Some("p"), ..bare(reason) };
        assert_eq!(read(&deny(&client, &metadata)), expected, "{kind:?}");
    }
}

#[test]
fn claims_nest_only_as_deep_as_envoy_reads() {
    let nested = (0..120).fold(json!("core"), |inner, i| match i % 2 {
        0 => json!([inner]),
        _ => json!({"a": inner}),
    });
    let caller = caller(Principal::default(), json!({"nested": nested, "flat": 1}));
    let answer = read(&allow(&Edits::default(), &metadata_of(&caller)));
    let metadata = answer.dynamic_metadata.expect("metadata");
    let Some(Kind::StructValue(claims)) = &metadata.fields["claims"].kind else {
        panic!("no claims");
    };
    assert_eq!(claims.fields["flat"], value(&json!(1)));
    let json = serde_json::Value::Object(metadata_of(&caller).to_json());
    assert_eq!(structure(&json), metadata);
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
