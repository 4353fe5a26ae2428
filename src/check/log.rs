//! One line per check: denied requests at info, allowed ones at debug.
//!
//! No secret is logged: the path is cut before its query, and only two headers
//! are read. Values from the client go into fields as strings, which the JSON
//! format escapes and the text format quotes and escapes, so no client can forge
//! a log line.

use std::sync::Arc;

use tracing::{Level, debug, enabled, info, warn};

use super::facts::{Facts, shown};
use crate::request::Request;

/// The target of these lines, for filters.
pub(crate) const TARGET: &str = "claimgate::check";

/// Whether a denied or an allowed request is logged.
#[inline]
pub(super) fn is_wanted(is_denied: bool) -> bool {
    match is_denied {
        true => enabled!(target: TARGET, Level::INFO),
        false => enabled!(target: TARGET, Level::DEBUG),
    }
}

/// Logs a decision.
pub(super) fn check(is_denied: bool, facts: &Facts<'_>) {
    match is_denied {
        true => denied(facts),
        false => allowed(facts),
    }
}

/// Warns that identity headers are too long and not sent to the upstream. Only
/// their names are in the line.
#[cold]
pub(super) fn dropped_headers(request: &Request<'_>, names: &[Arc<str>]) {
    let request_id = request.request_id().map(shown);
    let request_id = request_id.as_deref();
    let trace_id = request.traceparent().map(|parent| parent.trace_id);
    warn!(
        target: TARGET, ?names, request_id, trace_id,
        "identity headers are left off: too long, or a number of more than 64 bits"
    );
}

fn denied(facts: &Facts<'_>) {
    let Facts { reason, provider, plan, trace_id, latency_us, .. } = *facts;
    let Facts { route, subject, client_id, limit_key, detail, request_id, .. } = facts;
    let (route, subject, client_id) = (route.as_deref(), subject.as_deref(), client_id.as_deref());
    let (limit_key, detail) = (limit_key.as_deref(), detail.as_deref());
    let (key, request_id) = (facts.key(), request_id.as_deref());
    let [method, path, host] = [&*facts.method, &*facts.path, &*facts.host];
    info!(
        target: TARGET, decision = "deny", reason, detail, provider, route, subject, client_id, key,
        plan, limit_key, method, path, host, request_id, trace_id, latency_us, "request denied"
    );
}

/// Logs an allowed request that limits would have denied.
pub(super) fn would_be_over(facts: &Facts<'_>) {
    let Facts { provider, plan, trace_id, .. } = *facts;
    let Facts { route, subject, client_id, limit_key, request_id, .. } = facts;
    let (route, subject, client_id) = (route.as_deref(), subject.as_deref(), client_id.as_deref());
    let (key, limit_key, request_id) = (facts.key(), limit_key.as_deref(), request_id.as_deref());
    let detail = facts.detail.as_deref();
    let [method, path, host] = [&*facts.method, &*facts.path, &*facts.host];
    info!(
        target: TARGET, detail, provider, route, subject, client_id, key, plan, limit_key, method,
        path, host, request_id, trace_id, "request would be over its limit"
    );
}

fn allowed(facts: &Facts<'_>) {
    let Facts { reason, provider, trace_id, latency_us, .. } = *facts;
    let Facts { route, subject, client_id, request_id, .. } = facts;
    let (route, subject, client_id) = (route.as_deref(), subject.as_deref(), client_id.as_deref());
    let (key, request_id) = (facts.key(), request_id.as_deref());
    let [method, path, host] = [&*facts.method, &*facts.path, &*facts.host];
    debug!(
        target: TARGET, decision = "allow", reason, provider, route, subject, client_id, key,
        method, path, host, request_id, trace_id, latency_us, "request allowed"
    );
}

#[cfg(test)]
mod tests {
    use std::{sync::Mutex, time::Duration};

    use tracing_subscriber::{fmt::MakeWriter, layer::SubscriberExt};

    use super::*;
    use crate::{
        decision::{Caller, Decision, Denial, Verdict},
        engine::Engine,
        identity::Identity,
        principal::Principal,
        reason::Reason,
        settings::AuthSettings,
        token_cache::TokenCache,
    };

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl std::io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    impl<'a> MakeWriter<'a> for Sink {
        type Writer = Self;

        fn make_writer(&'a self) -> Self {
            self.clone()
        }
    }

    impl Sink {
        fn text(&self) -> String {
            String::from_utf8(self.0.lock().expect("not poisoned").clone()).expect("UTF-8")
        }
    }

    fn engine() -> Engine {
        let cache = TokenCache::new(1);
        Engine::new(&AuthSettings::default(), Vec::new(), Arc::new(cache))
    }

    fn logged(json: bool, level: Level, request: &Request<'_>, decision: &Decision<'_>) -> String {
        let engine = engine();
        let facts = Facts {
            provider: Some("cognito"),
            route: Some("admin".into()),
            detail: Some("missing scope admin, granted: none".into()),
            ..Facts::of(&engine, request, decision, Duration::from_micros(42))
        };
        let is_denied = matches!(decision.verdict, Verdict::Deny(_));
        captured(json, level, || {
            if is_wanted(is_denied) {
                check(is_denied, &facts);
            }
        })
    }

    fn captured(json: bool, level: Level, log: impl FnOnce()) -> String {
        let sink = Sink::default();
        let registry = tracing_subscriber::registry()
            .with(tracing_subscriber::filter::LevelFilter::from_level(level));
        let layer = tracing_subscriber::fmt::layer().with_writer(sink.clone()).with_ansi(false);
        match json {
            true => tracing::subscriber::with_default(registry.with(layer.json()), log),
            false => tracing::subscriber::with_default(registry.with(layer), log),
        }
        sink.text()
    }

    fn decision(verdict: Verdict, reason: Reason) -> Decision<'static> {
        let principal = Principal::new(Some("frontend\u{1b}[31m".into()));
        let principal = Arc::new(principal.with_client_id(Some("app-1".into())));
        let identity = Arc::new(Identity::default());
        let caller = Some(Caller { principal, identity });
        Decision { caller, ..Decision::new(verdict, reason) }
    }

    fn hostile() -> Request<'static> {
        Request {
            method: "GET",
            path: "/a\nb\u{9b}1A\u{202e}gnp?access_token=secret#secret",
            host: "h\r\n{\"level\":\"ERROR\"}",
            headers: [
                ("x-request-id", &b"id\ninfo forged"[..]),
                ("traceparent", b"00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"),
                ("authorization", b"Bearer secret"),
            ]
            .into_iter()
            .collect(),
            ..Request::default()
        }
    }

    #[test]
    fn a_denial_is_one_line_of_json_with_every_fact() {
        let denied = decision(Verdict::Deny(Denial::Forbidden), Reason::InsufficientScope);
        let text = logged(true, Level::INFO, &hostile(), &denied);
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        let line: serde_json::Value = serde_json::from_str(&text).expect("JSON");
        let expected = serde_json::json!({
            "message": "request denied", "decision": "deny", "reason": "insufficient_scope",
            "detail": "missing scope admin, granted: none", "provider": "cognito",
            "route": "admin", "subject": r"frontend\u{1b}[31m", "client_id": "app-1",
            "method": "GET",
            "path": r"/a\nb\u{9b}1A\u{202e}gnp", "host": r#"h\r\n{"level":"ERROR"}"#,
            "request_id": r"id\ninfo forged", "trace_id": "4bf92f3577b34da6a3ce929d0e0e4736",
            "latency_us": 42,
        });
        assert_eq!(line["fields"], expected);
        assert_eq!((&line["level"], &line["target"]), (&"INFO".into(), &TARGET.into()));
    }

    #[test]
    fn a_client_cannot_forge_a_line_of_text() {
        let denied = decision(Verdict::Deny(Denial::Forbidden), Reason::InsufficientScope);
        let text = logged(false, Level::INFO, &hostile(), &denied);
        assert_eq!(text.trim_end().lines().count(), 1, "{text}");
        assert!(!text.trim_end().contains(char::is_control), "{text}");
        assert!(!text.contains('\u{202e}') && !text.contains("secret"), "{text}");
    }

    #[test]
    fn allowed_requests_are_logged_at_debug_only() {
        let allowed = decision(Verdict::Allow, Reason::Ok);
        assert_eq!(logged(true, Level::INFO, &hostile(), &allowed), "");
        assert!(logged(true, Level::DEBUG, &hostile(), &allowed).contains("request allowed"));
    }

    #[test]
    fn what_is_absent_is_left_out() {
        let denied = Decision {
            caller: None,
            ..decision(Verdict::Deny(Denial::Challenge), Reason::MissingToken)
        };
        let text = logged(true, Level::INFO, &Request::default(), &denied);
        for field in ["subject", "client_id", "key", "request_id", "trace_id"] {
            assert!(!text.contains(field), "{text}");
        }
    }

    #[test]
    fn headers_left_off_are_named() {
        let names = ["x-auth-roles".into()];
        let text = captured(false, Level::INFO, || dropped_headers(&hostile(), &names));
        assert!(text.contains(r#"names=["x-auth-roles"] request_id="id\\ninfo forged""#), "{text}");
        assert!(text.contains("4bf92f3577b34da6a3ce929d0e0e4736"), "{text}");
    }
}
