//! Spans, as a collector receives them: a double of one, over real gRPC and
//! HTTP.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use axum::{Router, body::Bytes, http::StatusCode, routing};
use base64_simd::URL_SAFE_NO_PAD;
use claimgate::app::Ended;
use opentelemetry_proto::tonic::{
    collector::trace::v1::{
        ExportTraceServiceRequest, ExportTraceServiceResponse,
        trace_service_server::{TraceService, TraceServiceServer},
    },
    common::v1::any_value::Value,
    trace::v1::{ResourceSpans, Span, status::StatusCode as SpanStatus},
};
use prost::Message;
use tokio::{net::TcpListener, time::timeout};
use tokio_stream::wrappers::TcpListenerStream;

use crate::support::{
    envoy::{self, check, code, http},
    folder::Folder,
    issuer::Issuer,
    ports::Reserved,
    service::Service,
    wait::{LIMIT, eventually},
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// A double of a collector: it records what it gets.
#[derive(Clone, Default)]
struct Collector(Arc<Mutex<Vec<ResourceSpans>>>);

#[tonic::async_trait]
impl TraceService for Collector {
    async fn export(
        &self,
        request: tonic::Request<ExportTraceServiceRequest>,
    ) -> Result<tonic::Response<ExportTraceServiceResponse>, tonic::Status> {
        self.0.lock().unwrap().extend(request.into_inner().resource_spans);
        Ok(tonic::Response::new(ExportTraceServiceResponse::default()))
    }
}

impl Collector {
    /// One that listens, and its URL.
    async fn start(protocol: &str) -> (Self, String) {
        let collector = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        match protocol {
            "grpc" => {
                let service = TraceServiceServer::new(collector.clone());
                let server = tonic::transport::Server::builder().add_service(service);
                tokio::spawn(server.serve_with_incoming(TcpListenerStream::new(listener)));
            }
            _ => {
                let own = collector.clone();
                let take = async move |body: Bytes| {
                    let request = ExportTraceServiceRequest::decode(body).unwrap();
                    own.0.lock().unwrap().extend(request.resource_spans);
                    ([("content-type", "application/x-protobuf")], Vec::<u8>::new())
                };
                let router = Router::new().route("/v1/traces", routing::post(take));
                tokio::spawn(async move { axum::serve(listener, router).await });
            }
        }
        (collector, url)
    }

    fn spans(&self) -> Vec<Span> {
        let resources = self.0.lock().unwrap();
        let scopes = resources.iter().flat_map(|resource| &resource.scope_spans);
        scopes.flat_map(|scope| scope.spans.clone()).collect()
    }

    fn called(&self, name: &str) -> Vec<Span> {
        self.spans().into_iter().filter(|span| span.name == name).collect()
    }

    /// The decisions, once there are this many.
    async fn checks(&self, count: usize) -> Vec<Span> {
        eventually("the spans arrived", async || self.called("claimgate.check").len() >= count)
            .await;
        self.called("claimgate.check")
    }
}

/// The service inside this process.
struct Running {
    service: Service,
    envoy: envoy::Client,
    folder: Folder,
}

const KEYS: &str = "auth: {api_keys: [{name: team, key: key-of-team}]}";

fn config(tracing: &str, auth: &str) -> String {
    format!(
        "server:\n  grpc: {{address: '127.0.0.1:0'}}\n  admin: {{address: '127.0.0.1:0'}}\n  \
         shutdown_grace_seconds: 10\n{tracing}\n{auth}\n"
    )
}

fn tracing(url: &str, more: &str) -> String {
    format!("  tracing: {{otlp_endpoint: '{url}', {more}}}")
}

impl Running {
    async fn start(tracing: &str, auth: &str) -> Self {
        let folder = Folder::new(&config(tracing, auth));
        let service = Service::start(&folder.config()).await;
        let envoy = envoy::connect(&service.grpc).await;
        Self { service, envoy, folder }
    }

    /// Sends a check; true if it is allowed.
    async fn check(&mut self, path: &str, headers: &[(&str, &str)]) -> bool {
        let answer = self.envoy.check(check(http("GET", path, headers))).await.unwrap();
        code(&answer.into_inner()) == 0
    }

    async fn stop(self) -> Ended {
        drop(self.envoy);
        self.service.stop().await
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fact(span: &Span, key: &str) -> Option<String> {
    let found = span.attributes.iter().find(|attribute| attribute.key == key)?;
    match found.value.as_ref()?.value.as_ref()? {
        Value::StringValue(text) => Some(text.clone()),
        other => Some(format!("{other:?}")),
    }
}

fn parent(flags: &str) -> String {
    format!("00-{TRACE}-{PARENT}-{flags}")
}

#[tokio::test]
async fn a_decision_appears_inside_its_callers_trace() {
    for protocol in ["grpc", "http"] {
        let (collector, url) = Collector::start(protocol).await;
        let tracing = tracing(&url, &format!("protocol: {protocol}"));
        let mut service = Running::start(&tracing, KEYS).await;
        let headers = [
            ("traceparent", &*parent("01")),
            ("tracestate", "vendor=value"),
            ("x-request-id", "request-1"),
            ("authorization", "Bearer key-of-team"),
        ];
        assert!(service.check("/v1/models?access_token=secret", &headers).await);
        assert!(!service.check("/v1/models", &headers[..3]).await);

        let spans = collector.checks(2).await;
        for span in &spans {
            assert_eq!((&*hex(&span.trace_id), &*hex(&span.parent_span_id)), (TRACE, PARENT));
            assert_eq!(span.trace_state, "vendor=value");
            assert!(span.end_time_unix_nano >= span.start_time_unix_nano);
            assert_eq!(fact(span, "url.path").as_deref(), Some("/v1/models"));
            assert_eq!(fact(span, "claimgate.request_id").as_deref(), Some("request-1"));
            assert_eq!(
                span.status.as_ref().map_or(SpanStatus::Unset, |s| s.code()),
                SpanStatus::Unset
            );
        }
        let with = |key: &str, value: &str| {
            spans.iter().find(|span| fact(span, key).as_deref() == Some(value)).expect(value)
        };
        let allowed = with("claimgate.decision", "allow");
        assert_eq!(fact(allowed, "claimgate.provider").as_deref(), Some("api_key"));
        assert_eq!(fact(allowed, "enduser.id").as_deref(), Some("team"));
        let denied = with("claimgate.decision", "deny");
        assert_eq!(fact(denied, "claimgate.reason").as_deref(), Some("missing_token"));
        let all = format!("{:?}", collector.0.lock().unwrap());
        assert!(all.contains("service.name") && all.contains("\"claimgate\""), "{all}");
        assert!(!all.contains("key-of-team") && !all.contains("secret"), "{all}");
        service.stop().await;
    }
}

#[tokio::test]
async fn the_callers_choice_is_followed_and_the_ratio_is_for_requests_without_one() {
    let (collector, url) = Collector::start("grpc").await;
    let unsampled = parent("00");
    for (ratio, header, expected) in [
        ("0", None, 0),
        ("0", Some(&*unsampled), 0),
        ("1", Some(&*unsampled), 0),
        ("0", Some("00-not-valid-01"), 0),
        ("1", Some("00-not-valid-01"), 1),
        ("1", None, 1),
    ] {
        collector.0.lock().unwrap().clear();
        let tracing = tracing(&url, &format!("sample_ratio: {ratio}"));
        let mut service = Running::start(&tracing, KEYS).await;
        let headers: Vec<_> = header.map(|value| ("traceparent", value)).into_iter().collect();
        service.check("/", &headers).await;
        // Its end sends what there is.
        service.stop().await;
        let spans = collector.spans();
        assert_eq!(spans.len(), expected, "{ratio} {header:?} {spans:?}");
        assert!(spans.iter().all(|span| span.parent_span_id.is_empty()), "{spans:?}");
        assert!(spans.iter().all(|span| hex(&span.trace_id) != TRACE), "{spans:?}");
    }
}

#[tokio::test]
async fn a_ratio_between_is_the_share_of_requests_that_get_a_span() {
    let (collector, url) = Collector::start("grpc").await;
    let mut service = Running::start(&tracing(&url, "sample_ratio: 0.5"), KEYS).await;
    for _ in 0..200 {
        service.check("/", &[]).await;
    }
    service.stop().await;
    // Six standard deviations around the mean.
    let count = collector.spans().len();
    assert!((58..=142).contains(&count), "{count} of 200");
}

#[tokio::test]
async fn a_reload_turns_tracing_on_and_off() {
    let (collector, url) = Collector::start("grpc").await;
    let mut service = Running::start("", KEYS).await;
    let sampled = parent("01");
    let headers = [("traceparent", &*sampled)];
    service.check("/before", &headers).await;
    service.folder.write("gateway.yaml", config(&tracing(&url, ""), KEYS));
    let deadline = Instant::now() + LIMIT;
    while collector.spans().is_empty() {
        assert!(Instant::now() < deadline, "no span after the reload");
        service.check("/after", &headers).await;
    }
    let paths: Vec<_> = collector.spans().iter().filter_map(|it| fact(it, "url.path")).collect();
    assert!(paths.iter().all(|path| path == "/after"), "{paths:?}");
    service.stop().await;
}

#[tokio::test]
async fn a_fetch_of_keys_has_a_span_linked_from_requests_that_waited() {
    let (collector, url) = Collector::start("grpc").await;
    let issuing = Issuer::start().await;
    let issuer = &issuing.url;

    let auth = format!(
        "auth: {{providers: [{{name: keys-of-issuer, type: oauth2, issuer: '{issuer}', audience: api}}]}}"
    );
    // The whole wait is meant to end with the fetch's end.
    let tracing = format!("  check_timeout_ms: 30000\n{}", tracing(&url, ""));
    let mut service = Running::start(&tracing, &auth).await;
    eventually("the first fetch was traced", async || {
        collector.called("claimgate.key_fetch").len() == 1
    })
    .await;
    let part = |text: &str| URL_SAFE_NO_PAD.encode_to_string(text);
    let claims = format!(r#"{{"iss":"{issuer}","exp":4000000000}}"#);
    let token =
        format!("{}.{}.{}", part(r#"{"alg":"RS256","kid":"new"}"#), part(&claims), part("x"));
    let bearer = format!("Bearer {token}");
    let sampled = parent("01");
    service.check("/", &[("traceparent", &sampled), ("authorization", &bearer)]).await;
    assert_eq!(issuing.fetches(), 2);

    let check = collector.checks(1).await.remove(0);
    assert_eq!(fact(&check, "claimgate.reason").as_deref(), Some("unknown_kid"));
    eventually("both spans are there", async || collector.called("claimgate.key_fetch").len() == 3)
        .await;
    let fetches = collector.called("claimgate.key_fetch");
    let (waited, own): (Vec<_>, Vec<_>) =
        fetches.iter().partition(|span| hex(&span.trace_id) == TRACE);
    assert_eq!((waited.len(), own.len()), (1, 2), "{fetches:?}");
    assert_eq!(waited[0].parent_span_id, check.span_id);
    assert!(own.iter().any(|span| span.span_id == waited[0].links[0].span_id), "{fetches:?}");
    for span in &fetches {
        assert_eq!(fact(span, "claimgate.provider").as_deref(), Some("keys-of-issuer"));
        assert_eq!(fact(span, "claimgate.fetch.result").as_deref(), Some("success"));
    }
    service.stop().await;
}

#[tokio::test]
async fn a_collector_that_hangs_or_fails_delays_no_decision() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let hangs = format!("http://{}", hanging.local_addr().unwrap());
    let refusing = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let refuses = format!("http://{}", refusing.local_addr().unwrap());
    let router = Router::new().fallback(async || StatusCode::INTERNAL_SERVER_ERROR);
    tokio::spawn(async move { axum::serve(refusing, router).await });
    let gone = Reserved::new();
    let is_gone = format!("http://{}", gone.address);
    // The first time more than can wait to be sent.
    for (url, protocol, checks) in [
        (&hangs, "grpc", 5000),
        (&hangs, "http", 100),
        (&refuses, "http", 100),
        (&is_gone, "grpc", 100),
        (&is_gone, "http", 100),
    ] {
        let tracing = tracing(url, &format!("protocol: {protocol}, sample_ratio: 1"));
        let mut service = Running::start(&tracing, KEYS).await;
        for _ in 0..checks {
            let check = service.check("/", &[("authorization", "Bearer key-of-team")]);
            let allowed = timeout(Duration::from_secs(5), check).await;
            assert_eq!(allowed, Ok(true), "{url} {protocol}");
        }
        let stopping = Instant::now();
        assert!(matches!(service.stop().await, Ended::Drained(_)), "{url} {protocol}");
        assert!(stopping.elapsed() < Duration::from_secs(30), "{url} {protocol}");
    }
}

#[tokio::test]
async fn without_spans_there_is_no_connection_to_the_collector() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let mut service = Running::start(&tracing(&url, ""), KEYS).await;
    let unsampled = parent("00");
    for _ in 0..10 {
        service.check("/", &[("traceparent", &unsampled)]).await;
        service.check("/", &[]).await;
    }
    service.stop().await;
    // Everything that could connect has ended.
    let connected = timeout(Duration::from_millis(100), listener.accept()).await;
    assert!(connected.is_err(), "{connected:?}");
}
