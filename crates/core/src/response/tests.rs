use std::sync::Arc;

use serde_json::{Value, json};

use super::{metadata::Metadata, *};
use crate::{
    principal::Principal,
    provider::{Answer, Answering, Provider},
    settings::{AuthSettings, MetadataMember, MetadataMembers, RouteSettings},
    time::UnixTime,
    token_cache::TokenCache,
};

/// A style with a header of its own, for requests that need a scope.
fn style() -> DenialStyle {
    let settings = AuthSettings {
        required_scopes: vec!["s".into()],
        denial_headers: vec![("x-docs".into(), "https://example.com/help".into())],
        ..AuthSettings::default()
    };
    DenialStyle::new(&RouteSettings::default(), &settings)
}

#[test]
fn every_denial_has_its_own_shape() {
    let style = style();
    let cases = [
        (Denial::BadRequest, Reason::AmbiguousPath, 400, "invalid_request"),
        (Denial::Challenge, Reason::MissingToken, 401, "unauthorized"),
        (Denial::InvalidToken, Reason::Expired, 401, "invalid_token"),
        (Denial::Forbidden, Reason::WrongClaim, 403, "insufficient_scope"),
        (Denial::Unavailable, Reason::ProviderUnavailable, 503, "temporarily_unavailable"),
        (Denial::Internal, Reason::Internal, 500, "server_error"),
    ];
    for (denial, reason, status, error) in cases {
        let description = reason.description();
        let response = ClientResponse::denial(denial, reason, &style, ErrorFormat::OAuth2);
        let challenge = challenge::challenge(denial, &style, description);
        let mut expected = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".into()),
        ];
        expected.extend(challenge.map(|pieces| ("www-authenticate", pieces.concat())));
        expected.extend((status == 503).then(|| ("retry-after", "1".into())));
        expected.push(("x-docs", "https://example.com/help".into()));
        let headers = response.headers().map(|(name, value)| (name, value.pieces().concat()));
        assert_eq!(headers.collect::<Vec<_>>(), expected, "{denial:?}");
        let body = format!(r#"{{"error":"{error}","error_description":"{description}"}}"#);
        assert_eq!((response.status, response.body.concat()), (status, body), "{denial:?}");
    }
}

/// The content type and the body of a denial to a request of this content
/// type.
fn denied(format: ErrorFormat, content_type: Option<&str>) -> (String, Value) {
    let engine = Engine::new(
        &AuthSettings { error_format: format, ..AuthSettings::default() },
        Vec::new(),
        Arc::new(TokenCache::new(1)),
    );
    let headers = content_type.map(|kind| ("content-type", kind.as_bytes()));
    let request = Request {
        method: "POST",
        path: "/",
        headers: headers.into_iter().collect(),
        ..Request::default()
    };
    let decision = engine.check_now(&request, UnixTime::from_seconds(0.0)).unwrap();
    let Response::Client(response) = Response::of(&engine, &request, &decision) else {
        panic!("not denied");
    };
    let kind = response.headers().find(|(name, _)| *name == "content-type");
    let kind = kind.map(|(_, value)| value.pieces().concat()).unwrap();
    (kind, serde_json::from_str(&response.body.concat()).unwrap())
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
            let (got, body) = denied(format, sent);
            assert_eq!(got, kind, "{format:?}");
            assert_eq!(body.pointer(member), Some(&json!(sentence)), "{format:?}");
        }
        for sent in ["application/grpc", "application/grpc+proto", "application/grpc;x=y"] {
            let (got, body) = denied(format, Some(sent));
            assert_eq!(got, "application/json", "{format:?} {sent}");
            let short = json!({"error": "unauthorized", "error_description": sentence});
            assert_eq!(body, short, "{format:?} {sent}");
        }
    }
}

/// Authenticates every token as the same caller.
struct Fixed;

impl Provider for Fixed {
    fn name(&self) -> &str {
        "p"
    }

    fn method(&self) -> &str {
        "fixed"
    }

    fn authenticate<'a>(&'a self, _: &'a crate::credential::Credential<'a>) -> Answering<'a> {
        let principal = Principal::new(Some("me".into())).with_client_id(Some("c".into()));
        Answering::Now(Answer::Authenticated(Arc::new(principal)))
    }
}

#[test]
fn the_metadata_tells_what_is_wanted_and_the_caller_of_allowed_requests_alone() {
    use MetadataMember::{ClientId, Method, Reason, Subject};
    let all = json!({"client_id": "c", "method": "fixed", "provider": "p", "reason": "ok", "subject": "me"});
    for (metadata, missing_scope, expected) in [
        (MetadataMembers::ALL, false, all),
        (MetadataMembers::ALL, true, json!({"provider": "p", "reason": "insufficient_scope"})),
        ([Reason, Subject].into_iter().collect(), false, json!({"reason": "ok", "subject": "me"})),
        ([Reason, Subject].into_iter().collect(), true, json!({"reason": "insufficient_scope"})),
        (
            [Method, ClientId].into_iter().collect(),
            false,
            json!({"client_id": "c", "method": "fixed"}),
        ),
        ([Method, ClientId].into_iter().collect(), true, json!({})),
        (MetadataMembers::NONE, false, json!({})),
        (MetadataMembers::NONE, true, json!({})),
    ] {
        let required_scopes = missing_scope.then(|| "s".to_owned()).into_iter().collect();
        let settings = AuthSettings { required_scopes, metadata, ..AuthSettings::default() };
        let memory = Arc::new(TokenCache::new(1));
        let engine = Engine::new(&settings, vec![Arc::new(Fixed)], memory);
        let request = Request {
            method: "GET",
            path: "/",
            headers: [("authorization", &b"Bearer t"[..])].into_iter().collect(),
            ..Request::default()
        };
        let decision = engine.check_now(&request, UnixTime::from_seconds(0.0)).unwrap();
        let told = Metadata::of(&engine, &decision).to_json();
        assert_eq!(Value::Object(told), expected, "{metadata:?}");
    }
}
