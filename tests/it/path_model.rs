//! No server reads an accepted path as one of another route.
//!
//! Every path of up to six tokens is given to the routes, as Envoy hands it on
//! with its default settings and with each set of its own for paths. Those
//! that are accepted are given to models of servers ([`servers`]), which must
//! not run the handler of another route.

use std::{
    collections::HashMap,
    sync::atomic::{AtomicUsize, Ordering},
};

use claimgate::{
    Request,
    policy::routes::Routes,
    settings::{AuthSettings, RouteSettings},
};

mod servers;

use servers::{ENVOYS, Envoy, SERVERS, Server};

const TOKENS: [&str; 16] = [
    "/", "open", "admin", "ADMIN", "x", "..", ".", ";", "%2f", "%5c", "\\", "%3b", "%252f", "%2e",
    "%253b", "//",
];

/// The most tokens of a path.
const LONGEST: usize = 6;

/// The patterns of a server's handlers and of the routes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    /// A path and everything below it.
    Prefix,
    /// One path.
    Exact,
    /// Paths of two segments, one of which is any.
    Template,
}

/// `/open` is public, `/admin` needs its own scope, and the rest another one.
fn routes(kind: Kind) -> Routes {
    let route = |name: &str| {
        let path = || Some(format!("/{name}"));
        let route = RouteSettings { name: name.into(), ..RouteSettings::default() };
        match kind {
            Kind::Exact => RouteSettings { path: path(), ..route },
            Kind::Prefix => RouteSettings { path_prefix: path(), ..route },
            Kind::Template => {
                let path_template = match name {
                    "open" => "/open/{id}",
                    _ => "/{id}/admin",
                };
                RouteSettings { path_template: Some(path_template.into()), ..route }
            }
        }
    };
    let open = RouteSettings { public: true, ..route("open") };
    let admin = RouteSettings { required_scopes: Some(vec!["admin".into()]), ..route("admin") };
    Routes::new(&AuthSettings {
        required_scopes: vec!["basic".into()],
        routes: vec![open, admin],
        ..AuthSettings::default()
    })
}

/// The name of the route, `None` where the path is refused.
fn accepted<'r>(routes: &'r Routes, path: &str) -> Option<&'r str> {
    let request = Request { method: "GET", path, ..Request::default() };
    routes.find(&request).ok().map(|route| route.map_or("", |route| &route.name))
}

/// The handler that a server runs, if any.
fn handler(server: &Server, kind: Kind, path: &[u8]) -> Option<&'static str> {
    let mut path = (server.read)(path)?;
    if server.folds_case {
        path.make_ascii_lowercase();
    }
    if server.cuts_slash && path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    let is_it = |name: &&&'static str| {
        if kind == Kind::Template {
            let mut segments = path.split(|byte| *byte == b'/').skip(1);
            let (Some(first), Some(second), None) =
                (segments.next(), segments.next(), segments.next())
            else {
                return false;
            };
            let (named, any) = if **name == "open" { (first, second) } else { (second, first) };
            return named == name.as_bytes() && !any.is_empty();
        }
        let rest = path.strip_prefix(b"/").and_then(|path| path.strip_prefix(name.as_bytes()));
        rest.is_some_and(|rest| rest.is_empty() || kind == Kind::Prefix && rest[0] == b'/')
    };
    ["open", "admin"].iter().find(is_it).copied()
}

/// The counts of a run.
#[derive(Default)]
struct Counts {
    paths: AtomicUsize,
    accepted: AtomicUsize,
    handled: AtomicUsize,
}

/// Checks every path that begins with `start`.
fn explore(start: &str, tokens: usize, kinds: &[(Kind, Routes)], counts: &Counts) {
    // Envoy's output consists of the same tokens, so its output for the longest
    // paths is checked among the shorter ones.
    let envoys = if tokens < LONGEST - 1 { ENVOYS } else { &ENVOYS[..1] };
    check(start, envoys, kinds, counts);
    if tokens == LONGEST || tokens > 3 && is_refused_whatever_follows(start, kinds) {
        return;
    }
    for token in TOKENS {
        explore(&format!("{start}{token}"), tokens + 1, kinds, counts);
    }
}

/// Whether a path has a dot segment or a second slash in front already.
fn is_refused_whatever_follows(path: &str, kinds: &[(Kind, Routes)]) -> bool {
    let text = servers::with_slashes(path.as_bytes());
    let has = |part: &[u8]| text.windows(part.len()).any(|window| window == part);
    let is_refused = text.starts_with(b"//")
        || [&b"/../"[..], b"/./", b"/..;", b"/.;"].iter().any(|part| has(part));
    let all_refuse = || kinds.iter().all(|(_, routes)| accepted(routes, path).is_none());
    assert!(!is_refused || all_refuse(), "{path} is accepted");
    is_refused
}

fn check(path: &str, envoys: &[Envoy], kinds: &[(Kind, Routes)], counts: &Counts) {
    counts.paths.fetch_add(1, Ordering::Relaxed);
    for envoy in envoys {
        let Some(seen) = (envoy.read)(path.as_bytes()) else { continue };
        if envoy.changes && seen == path.as_bytes() {
            continue;
        }
        let seen = String::from_utf8(seen).unwrap();
        for (kind, routes) in kinds {
            let Some(route) = accepted(routes, &seen) else { continue };
            counts.accepted.fetch_add(1, Ordering::Relaxed);
            for server in SERVERS {
                let Some(run) = handler(server, *kind, seen.as_bytes()) else { continue };
                counts.handled.fetch_add(1, Ordering::Relaxed);
                assert_eq!(
                    run, route,
                    "{} runs {run:?} for {seen} ({path} to {}), {kind:?}",
                    server.name, envoy.name
                );
            }
        }
    }
}

#[test]
fn no_server_takes_an_accepted_path_for_one_of_another_route() {
    let counts = Counts::default();
    let kinds = [Kind::Prefix, Kind::Exact, Kind::Template].map(|kind| (kind, routes(kind)));
    check("/", ENVOYS, &kinds, &counts);
    // Paths start with a slash; the token `//` is one of those that follow.
    std::thread::scope(|scope| {
        for half in TOKENS.chunks(TOKENS.len() / 2) {
            let (kinds, counts) = (&kinds, &counts);
            scope.spawn(move || {
                for token in half {
                    explore(&format!("/{token}"), 2, kinds, counts);
                }
            });
        }
    });
    let count = |count: &AtomicUsize| count.load(Ordering::Relaxed);
    assert!(count(&counts.paths) > 300_000, "{} paths", count(&counts.paths));
    assert!(count(&counts.accepted) > 100_000, "{} accepted", count(&counts.accepted));
    assert!(count(&counts.handled) > 100_000, "{} handled", count(&counts.handled));
}

/// A model without findings would prove nothing: on each server some spelling
/// bypasses a comparison of the path as it is.
#[test]
fn every_server_reads_some_path_in_its_own_way() {
    let spellings = [
        ("/admin;%2f..", vec!["Tomcat", "Jetty", "Undertow", "Undertow before 2.0"]),
        ("/open/x;%2fy/..;/..;/admin", vec!["Tomcat", "Jetty"]),
        (
            "/open/../admin",
            vec!["RFC 3986", "Node URL", "nginx", "nginx without merging", "lighttpd"],
        ),
        ("//x/admin", vec!["Node URL"]),
        ("/ADMIN", vec!["Express", "ASP.NET Core", "IIS"]),
        ("/open%2f..%2fadmin", vec!["nginx", "lighttpd", "Tomcat that decodes slashes"]),
        ("/%61dmin", vec!["Starlette", "Undertow", "Go", "Werkzeug"]),
        ("/open;/admin%3bx", vec![]),
        ("/x/..%5cadmin", vec!["IIS", "Tomcat that decodes slashes"]),
        ("/%2561dmin", vec!["decoded twice", "nginx in front of Tomcat"]),
    ];
    let mut led: HashMap<&str, bool> = SERVERS.iter().map(|server| (server.name, false)).collect();
    for (path, names) in spellings {
        for server in SERVERS {
            let runs_admin = handler(server, Kind::Prefix, path.as_bytes()) == Some("admin");
            if names.contains(&server.name) {
                assert!(runs_admin, "{} and {path}", server.name);
                led.insert(server.name, true);
            }
        }
        for (kind, routes) in [Kind::Prefix, Kind::Exact].map(|kind| (kind, routes(kind))) {
            let route = accepted(&routes, path);
            let is_safe = route.is_none() || path == "/%61dmin" && route == Some("admin");
            assert!(is_safe, "{path}, {kind:?}: {route:?}");
        }
    }
    let idle: Vec<_> = led.iter().filter(|(_, led)| !**led).collect();
    assert!(idle.is_empty(), "{idle:?}");
    assert!(SERVERS.len() >= 10);
}
