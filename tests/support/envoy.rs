//! Envoy's requests, and readers for the responses.

use envoy_types::pb::{
    envoy::service::auth::v3::{
        AttributeContext, CheckRequest, CheckResponse,
        attribute_context::{HttpRequest, Request},
        authorization_client::AuthorizationClient,
        check_response::HttpResponse,
    },
    google::protobuf::value::Kind,
};
use tonic::transport::Channel;

pub(crate) type Client = AuthorizationClient<Channel>;

/// A connection to the service at `host:port`.
pub(crate) async fn connect(address: &str) -> Client {
    Client::new(channel(address).await)
}

pub(crate) async fn channel(address: &str) -> Channel {
    Channel::from_shared(format!("http://{address}")).unwrap().connect().await.unwrap()
}

/// A request to `api.example.com`.
pub(crate) fn http(method: &str, path: &str, headers: &[(&str, &str)]) -> HttpRequest {
    let headers = headers.iter().map(|(name, value)| (name.to_string(), value.to_string()));
    HttpRequest {
        method: method.into(),
        host: "api.example.com".into(),
        path: path.into(),
        headers: headers.collect(),
        ..HttpRequest::default()
    }
}

/// The check of this request.
pub(crate) fn check(http: HttpRequest) -> CheckRequest {
    let request = Request { http: Some(http), ..Request::default() };
    let attributes = AttributeContext { request: Some(request), ..AttributeContext::default() };
    CheckRequest { attributes: Some(attributes) }
}

/// The check of `GET /v1/models` with this bearer token.
pub(crate) fn check_token(token: &str) -> CheckRequest {
    let authorization = format!("Bearer {token}");
    check(http("GET", "/v1/models", &[("authorization", &authorization)]))
}

/// The request inside a check.
pub(crate) fn http_of(request: &mut CheckRequest) -> &mut HttpRequest {
    request.attributes.as_mut().and_then(|it| it.request.as_mut()?.http.as_mut()).unwrap()
}

/// The check on a route that Envoy names.
pub(crate) fn on_route(mut request: CheckRequest, route: &str) -> CheckRequest {
    let attributes = request.attributes.as_mut().unwrap();
    attributes.context_extensions.insert("claimgate_route".into(), route.into());
    request
}

/// The gRPC code in the response: 0 allows.
pub(crate) fn code(response: &CheckResponse) -> i32 {
    response.status.as_ref().expect("a status").code
}

/// The HTTP status in the response; 200 allows.
pub(crate) fn status(response: &CheckResponse) -> i32 {
    let status = match response.http_response.as_ref().expect("an answer") {
        HttpResponse::OkResponse(_) => 200,
        HttpResponse::DeniedResponse(denied) => denied.status.as_ref().expect("a status").code,
        HttpResponse::ErrorResponse(_) => panic!("an error"),
    };
    assert_eq!(code(response) == 0, status == 200, "both say the same");
    status
}

/// The reason in the response's metadata.
pub(crate) fn reason(response: &CheckResponse) -> &str {
    let metadata = response.dynamic_metadata.as_ref().expect("metadata");
    match &metadata.fields["reason"].kind {
        Some(Kind::StringValue(reason)) => reason,
        other => panic!("{other:?}"),
    }
}
