//! An allowed path leads every server to the same route.

#![no_main]

use std::sync::LazyLock;

use claimgate::{
    Engine, Reason, Request,
    settings::{AuthSettings, RouteSettings},
};
use claimgate_fuzz::{NOW, engine, paths::readings};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<Engine> = LazyLock::new(|| {
    let route = |name: &str| RouteSettings { name: name.into(), ..RouteSettings::default() };
    let below = |name: &str| RouteSettings { path_prefix: Some(format!("/{name}")), ..route(name) };
    let exact = RouteSettings { path: Some("/status".into()), ..route("status") };
    let template = RouteSettings { path_template: Some("/users/{id}/keys".into()), ..route("keys") };
    let routes =
        vec![RouteSettings { public: true, ..below("open") }, below("admin"), exact, template];
    engine(AuthSettings { routes, ..AuthSettings::default() }).0
});

/// The route of one reading, found the plain way.
fn expected(path: &[u8]) -> Option<&'static str> {
    let below = |name: &str| {
        let rest = path.strip_prefix(b"/").and_then(|path| path.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    ["open", "admin"]
        .into_iter()
        .find(|name| below(name))
        .or((path == b"/status").then_some("status"))
        .or_else(|| {
            let segments: Vec<_> = path.split(|byte| *byte == b'/').collect();
            let is_it = matches!(segments[..], [b"", b"users", id, b"keys"] if !id.is_empty());
            is_it.then_some("keys")
        })
}

/// Nothing in it can be read in two ways.
fn is_plain(path: &str) -> bool {
    let plain =
        |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"/-_".contains(&byte);
    path.starts_with('/')
        && path.len() < 1000
        && !path.ends_with('/')
        && !path.contains("//")
        && path.bytes().all(plain)
}

fuzz_target!(|path: &str| {
    let request = Request { method: "GET", host: "a", path, ..Request::default() };
    let Some(decision) = ENGINE.check_now(&request, NOW) else { panic!("no I/O is needed") };
    if matches!(decision.reason, Reason::AmbiguousPath | Reason::MalformedRequest) {
        assert!(!is_plain(path), "a plain path is refused");
        return;
    }
    let route = decision.route.map(|route| route.name.as_str());
    for reading in readings(path) {
        assert_eq!(route, expected(&reading), "read as {}", reading.escape_ascii());
        let is_dots = |segment: &[u8]| segment == b"." || segment == b"..";
        assert!(
            !reading.split(|byte| *byte == b'/').any(is_dots),
            "dots in {}",
            reading.escape_ascii()
        );
        assert!(!reading.iter().any(u8::is_ascii_control), "control character");
    }
    let length = path.find('?').unwrap_or(path.len());
    assert!(path.starts_with('/') && !path.starts_with("//") && length <= 8 << 10);
});
