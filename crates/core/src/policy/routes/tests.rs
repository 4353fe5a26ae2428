//! Which route a path leads to, and which paths lead to none.

use std::collections::BTreeSet;

use super::*;
use crate::{
    policy::path::{self, READINGS},
    request::Request,
    settings::{AuthSettings, RouteSettings},
};

fn routes(routes: Vec<RouteSettings>) -> Routes {
    Routes::new(&AuthSettings { routes, ..AuthSettings::default() })
}

fn prefix(path: &str) -> RouteSettings {
    RouteSettings {
        name: path.into(),
        path_prefix: Some(path.into()),
        required_scopes: Some(vec![path.into()]),
        ..RouteSettings::default()
    }
}

fn exact(path: &str) -> RouteSettings {
    RouteSettings {
        name: format!("={path}"),
        path: Some(path.into()),
        required_scopes: Some(vec![format!("={path}")]),
        ..RouteSettings::default()
    }
}

fn template(path: &str) -> RouteSettings {
    RouteSettings {
        name: path.into(),
        path_template: Some(path.into()),
        required_scopes: Some(vec![path.into()]),
        ..RouteSettings::default()
    }
}

fn name(routes: &Routes, request: &Request<'_>) -> Result<String, NoRoute> {
    routes.find(request).map(|route| route.map_or(String::new(), |route| route.name.clone()))
}

#[test]
fn prefixes_end_at_segments_and_spelling_can_not_dodge_them() {
    let routes = routes(vec![exact("/admin/status"), prefix("/admin"), exact("/a/"), exact("/")]);
    let ambiguous = Err(NoRoute::Ambiguous);
    let cases = [
        ("/admin", Ok("/admin")),
        ("/admin/", Ok("/admin")),
        ("/admin/x/y?z", Ok("/admin")),
        ("/admin/X//y", Ok("/admin")),
        ("/admin/status", Ok("=/admin/status")),
        ("/admin/status/", ambiguous),
        ("/administrator", Ok("")),
        ("/Admin", ambiguous),
        ("/adm\u{131}n", ambiguous),
        ("/adm%C4%B1n", ambiguous),
        ("/ADM\u{130}N", ambiguous),
        ("/Administrator", Ok("")),
        ("/a/", Ok("=/a/")),
        ("/a", ambiguous),
        ("/a//", ambiguous),
        ("/", Ok("=/")),
        ("/?admin", Ok("=/")),
        ("//admin", ambiguous),
        ("/;x/admin", ambiguous),
        ("/x/../admin", ambiguous),
        ("/.", ambiguous),
        ("/x/..;y", ambiguous),
        ("/.well-known/x", Ok("")),
        ("/%61dmin", Ok("/admin")),
        ("/%2561dmin", ambiguous),
        ("/%%361dmin", ambiguous),
        ("/x%2f..%2fadmin", ambiguous),
        ("/admin%2f..%2fx", ambiguous),
        ("/admin;v=1", ambiguous),
        ("/admin;%2fx", ambiguous),
        ("/x;/admin", Ok("")),
        ("/\\admin", ambiguous),
        ("/models/meta%2Fllama", Ok("")),
        ("/admin/meta%2Fllama", Ok("/admin")),
        ("/admin#", ambiguous),
        ("/a%2500", ambiguous),
        ("/a\u{7f}", ambiguous),
        ("admin", ambiguous),
    ];
    for (path, expected) in cases {
        let request = Request { method: "GET", path, ..Request::default() };
        assert_eq!(name(&routes, &request), expected.map(String::from), "{path}");
    }
    let long = |bytes: usize| format!("/{}", "x".repeat(bytes - 1));
    for (bytes, expected) in [(8192, Ok(String::new())), (8193, Err(NoRoute::Ambiguous))] {
        let path = long(bytes) + "?y";
        let request = Request { method: "GET", path: &path, ..Request::default() };
        assert_eq!(name(&routes, &request), expected, "{bytes} bytes");
    }
}

#[test]
fn without_routes_only_what_can_not_be_read_is_refused() {
    let hidden = RouteSettings { only_by_name: true, ..prefix("/x") };
    let (none, hidden) = (routes(vec![]), routes(vec![hidden]));
    let long = "/x".repeat(5000);
    for path in ["//x", "/a/../b", "/A;%2fb", long.as_str(), "/%2525%zz"] {
        let request = Request { method: "GET", path, ..Request::default() };
        assert_eq!(name(&none, &request).as_deref(), Ok(""), "{path}");
        assert_eq!(name(&hidden, &request).as_deref(), Ok(""), "{path}");
    }
    for path in ["/a#", "/a%0d", "/a%2500", "/a\n", "a", "http://h/a", "*"] {
        let request = Request { method: "GET", path, ..Request::default() };
        assert_eq!(name(&none, &request), Err(NoRoute::Ambiguous), "{path}");
    }
}

#[test]
fn letters_have_case_where_the_settings_say_so() {
    let settings = AuthSettings {
        routes: vec![prefix("/Admin"), prefix("/admin/users"), exact("/A")],
        ..AuthSettings::default()
    };
    let folded = Routes::new(&settings);
    let sensitive = Routes::new(&AuthSettings { case_sensitive_paths: true, ..settings });
    let ambiguous = Err(NoRoute::Ambiguous);
    let cases = [
        ("/Admin/x", Ok("/Admin"), Ok("/Admin")),
        ("/Admin/Users", Ok("/Admin"), Ok("/Admin")),
        ("/admin", ambiguous, Ok("")),
        ("/admin/users", ambiguous, Ok("/admin/users")),
        ("/A", Ok("=/A"), Ok("=/A")),
        ("/a", ambiguous, Ok("")),
        ("/x/Y", Ok(""), Ok("")),
    ];
    for (path, expected, with_case) in cases {
        let request = Request { method: "GET", path, ..Request::default() };
        assert_eq!(name(&folded, &request), expected.map(String::from), "{path}");
        assert_eq!(name(&sensitive, &request), with_case.map(String::from), "{path}");
    }
}

#[test]
fn routes_with_the_same_rules_need_not_be_told_apart() {
    let like = |rules: &RouteSettings, route: RouteSettings| RouteSettings {
        required_scopes: rules.required_scopes.clone(),
        ..route
    };
    let (a, b) = (exact("/a"), prefix("/b"));
    let silent = RouteSettings { required_scopes: None, ..prefix("/c") };
    let routes = routes(vec![a.clone(), like(&a, exact("/a/")), b, exact("/b/"), silent]);
    let ambiguous = Err(NoRoute::Ambiguous);
    let cases = [
        ("/a", Ok("=/a")),
        ("/a/", Ok("=/a")),
        ("/b", Ok("/b")),
        ("/b/x", Ok("/b")),
        ("/c", Ok("/c")),
        ("/C", ambiguous),
    ];
    for (path, expected) in cases {
        let request = Request { method: "GET", path, ..Request::default() };
        assert_eq!(name(&routes, &request), expected.map(String::from), "{path}");
    }
}

#[test]
fn match_as_sent_refuses_what_alb_would_have_sent_elsewhere() {
    let public = RouteSettings { public: true, ..prefix("/public") };
    let read = RouteSettings { public: true, methods: vec!["GET".into()], ..exact("/read") };
    let settings =
        AuthSettings { routes: vec![public, read], match_as_sent: true, ..AuthSettings::default() };
    let routes = Routes::new(&settings);
    let cases = [
        ("GET", "/public/x", Ok("/public")),
        ("GET", "/public/%2f", Ok("/public")),
        ("GET", "/%70ublic/x", Err(NoRoute::Ambiguous)),
        ("GET", "/x%20y", Ok("")),
        ("GET", "/read", Ok("=/read")),
        ("HEAD", "/read", Err(NoRoute::Ambiguous)),
        ("get", "/read", Err(NoRoute::Ambiguous)),
        ("POST", "/read", Ok("")),
    ];
    for (method, path, expected) in cases {
        let request = Request { method, path, ..Request::default() };
        assert_eq!(name(&routes, &request), expected.map(String::from), "{method} {path}");
    }
}

#[test]
fn the_first_match_wins_whatever_its_kind() {
    let routes = routes(vec![prefix("/a"), exact("/a/b"), prefix("/"), prefix("/a/b/c")]);
    for (path, expected) in [("/a/b", "/a"), ("/a/b/c/d", "/a"), ("/x", "/"), ("/", "/")] {
        let request = Request { method: "GET", path, ..Request::default() };
        assert_eq!(name(&routes, &request).as_deref(), Ok(expected), "{path}");
    }
}

#[test]
fn a_template_matches_whole_segments_that_are_not_empty() {
    let routes = routes(vec![
        exact("/v1/me/keys"),
        template("/v1/{id}/keys"),
        template("/V1/x/{id}"),
        template("/{tenant}/admin/"),
        prefix("/v1/team"),
    ]);
    let ambiguous = Err(NoRoute::Ambiguous);
    let cases = [
        ("/v1/a/keys", Ok("/v1/{id}/keys")),
        ("/v1/me/keys", Ok("=/v1/me/keys")),
        ("/v1/team/keys", Ok("/v1/{id}/keys")),
        ("/v1/team/x", Ok("/v1/team")),
        ("/v1/a/keys?x", Ok("/v1/{id}/keys")),
        ("/v1/A b/keys", Ok("/v1/{id}/keys")),
        ("/v1/a%20b/keys", Ok("/v1/{id}/keys")),
        ("/v1/%C3%A4/keys", Ok("/v1/{id}/keys")),
        ("/v1/%2561/keys", Ok("/v1/{id}/keys")),
        ("/v1/a/k%65ys", Ok("/v1/{id}/keys")),
        ("/v1/{id}/keys", Ok("/v1/{id}/keys")),
        ("/v1/keys", Ok("")),
        // A parameter without a value, to some.
        ("/v1//keys", ambiguous),
        ("/v1//KEYS", ambiguous),
        ("/V1/x/", ambiguous),
        ("//x/", ambiguous),
        ("/v1/team//x", Ok("/v1/team")),
        ("/v1/a/b/keys", Ok("")),
        ("/v1/a/keys/b", Ok("")),
        ("/v1/a", Ok("")),
        // Another number of segments to some.
        ("/v1/a%2fb/keys", ambiguous),
        ("/v1/a//keys", ambiguous),
        ("/v1/a\\keys", ambiguous),
        ("/v1/a;/keys", ambiguous),
        ("/v1/a;b/keys", ambiguous),
        ("/v1/;b/keys", ambiguous),
        ("/v1/%3bb/keys", ambiguous),
        ("/v1/a/keys;x", ambiguous),
        ("/v1/a/keys/", ambiguous),
        ("/v1/m%65/keys", Ok("=/v1/me/keys")),
        ("/v1/m%2565/keys", ambiguous),
        ("/v1/ME/keys", ambiguous),
        ("/v1/a/KEYS", ambiguous),
        ("/v1/../keys", ambiguous),
        ("/v1/a%2f..%2fb/keys", ambiguous),
        ("/V1/x/y", Ok("/V1/x/{id}")),
        ("/v1/x/y", ambiguous),
        ("/t/admin/", Ok("/{tenant}/admin/")),
        ("/t/admin", ambiguous),
        ("//admin/", ambiguous),
    ];
    for (path, expected) in cases {
        let request = Request { method: "GET", path, ..Request::default() };
        assert_eq!(name(&routes, &request), expected.map(String::from), "{path}");
    }
}

/// A path is at many places at once, and the tree stays small anyway.
#[test]
fn templates_that_overlap_take_no_more_room_than_there_is() {
    let all = |depth: usize| -> Vec<_> {
        let route = |at: usize| {
            let segment = |other| if other == at { "/a" } else { "/{x}" };
            template(&(0..depth).map(segment).collect::<String>())
        };
        (0..depth).map(route).collect()
    };
    let few = all(10);
    assert!(!templates_overlap_too_much(&few));
    let request = Request { method: "GET", path: "/x/x/a/x/a/x/x/x/x/x", ..Request::default() };
    let third = few[2].name.clone();
    assert_eq!(name(&routes(few), &request), Ok(third));
    let many = all(30);
    assert!(templates_overlap_too_much(&many));
    assert_eq!(name(&routes(many), &request), Err(NoRoute::Ambiguous));
    let services = (0..400).map(|number| prefix(&format!("/service-{number}/v1")));
    let actions = (0..400).map(|number| template(&format!("/{{service}}/action-{number}")));
    let mixed: Vec<_> = services.chain(actions).collect();
    assert!(!templates_overlap_too_much(&mixed));
    let request = Request { method: "GET", path: "/service-7/action-9", ..Request::default() };
    assert_eq!(name(&routes(mixed), &request).as_deref(), Ok("/{service}/action-9"));
}

#[test]
fn methods_and_hosts_narrow_a_route() {
    let posts = RouteSettings { methods: vec!["POST".into()], ..prefix("/a") };
    let hosts = vec!["api.example.com".into(), "*.example.org".into()];
    let api = RouteSettings { name: "api".into(), hosts, ..RouteSettings::default() };
    let gets = RouteSettings { methods: vec!["GET".into()], ..prefix("/get") };
    let routes = routes(vec![posts, gets, api]);
    let cases = [
        ("POST", "x", "/a", "/a"),
        ("GET", "x", "/a", ""),
        ("post", "x", "/a", "/a"),
        ("HEAD", "x", "/a", ""),
        ("head", "x", "/get", "/get"),
        ("GET", "API.example.com:8443", "/a", "api"),
        ("GET", "api.example.com.", "/a", "api"),
        ("GET", "api.example.com.:443", "/a", "api"),
        ("GET", "a.b.EXAMPLE.org", "/a", "api"),
        ("GET", "example.org", "/a", ""),
        ("GET", "badexample.org", "/a", ""),
        ("GET", "[::1]:80", "/a", ""),
        ("POST", "api.example.com", "/a", "/a"),
    ];
    for (method, host, path, expected) in cases {
        let request = Request { method, host, path, ..Request::default() };
        assert_eq!(name(&routes, &request).as_deref(), Ok(expected), "{method} {host} {path}");
    }
}

#[test]
fn a_named_route_needs_no_matching() {
    let hidden =
        RouteSettings { name: "hidden".into(), only_by_name: true, ..RouteSettings::default() };
    let routes = routes(vec![hidden, prefix("/admin")]);
    let named = |route, path| Request { method: "GET", path, route, ..Request::default() };
    assert_eq!(name(&routes, &named(Some("hidden"), "/x")).as_deref(), Ok("hidden"));
    assert_eq!(name(&routes, &named(None, "/x")).as_deref(), Ok(""));
    assert_eq!(name(&routes, &named(Some("/admin"), "/x%2f..#")).as_deref(), Ok("/admin"));
    assert_eq!(name(&routes, &named(Some("other"), "/admin")), Err(NoRoute::Unknown));
}

#[test]
fn options_star_has_the_rules_of_no_path() {
    let routes = routes(vec![prefix("/")]);
    let request = |method| Request { method, path: "*", ..Request::default() };
    assert_eq!(name(&routes, &request("OPTIONS")).as_deref(), Ok(""));
    assert_eq!(name(&routes, &request("GET")), Err(NoRoute::Ambiguous));
}

/// Where every reading leads, read one after the other and compared as texts;
/// with templates also those of the path in which each empty segment has a
/// name.
fn slowly(settings: &AuthSettings, path: &str) -> Result<String, NoRoute> {
    let mut names = names_of_readings(settings, path)?;
    if settings.routes.iter().any(|route| route.path_template.is_some()) {
        let filled = path.split('/').enumerate().map(|(at, segment)| match segment {
            "" if at > 0 => "/named",
            _ => segment,
        });
        let filled: Vec<_> = filled.collect();
        let filled = filled.iter().enumerate().fold(String::new(), |path, (at, segment)| {
            let slash = if at > 0 && *segment != "/named" { "/" } else { "" };
            path + slash + segment
        });
        let is_template = |name: &String| {
            let named = |route: &&RouteSettings| route.name == *name;
            settings.routes.iter().find(named).is_some_and(|route| route.path_template.is_some())
        };
        names.extend(names_of_readings(settings, &filled)?.into_iter().filter(is_template));
    }
    let first = names.pop_first().unwrap_or_default();
    if names.is_empty() { Ok(first) } else { Err(NoRoute::Ambiguous) }
}

fn names_of_readings(settings: &AuthSettings, path: &str) -> Result<BTreeSet<String>, NoRoute> {
    if path::read(path, true).is_err() {
        return Err(NoRoute::Ambiguous);
    }
    let view = |text: &[u8], folds: bool, cuts: bool| {
        let text = if folds { text.to_ascii_lowercase() } else { text.to_vec() };
        let shorter = text.strip_suffix(b"/").filter(|shorter| cuts && !shorter.is_empty());
        shorter.map_or(text.clone(), <[u8]>::to_vec)
    };
    let is_slash = |byte: &u8| *byte == b'/';
    let mut names = BTreeSet::new();
    for reading in &READINGS {
        let text = reading.text(path.as_bytes());
        for (folds, cuts) in [(false, false), (false, true), (true, false), (true, true)] {
            if folds && settings.case_sensitive_paths {
                continue;
            }
            let text = view(&text, folds, cuts);
            let matches = |route: &&RouteSettings| match (&route.path, &route.path_prefix) {
                (Some(path), _) => view(path.as_bytes(), folds, cuts) == text,
                (_, Some(prefix)) => {
                    let prefix = view(prefix.trim_end_matches('/').as_bytes(), folds, false);
                    let rest = text.strip_prefix(prefix.as_slice());
                    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
                }
                (None, None) => route.path_template.as_ref().is_some_and(|template| {
                    let template = view(template.as_bytes(), folds, cuts);
                    let (wanted, found) = (template.split(is_slash), text.split(is_slash));
                    let fits = |(wanted, found): (&[u8], &[u8])| {
                        wanted == found || wanted.starts_with(b"{") && !found.is_empty()
                    };
                    wanted.clone().count() == found.clone().count() && wanted.zip(found).all(fits)
                }),
            };
            let found = settings.routes.iter().find(matches);
            names.insert(found.map_or(String::new(), |route| route.name.clone()));
        }
    }
    Ok(names)
}

#[test]
fn following_all_readings_at_once_is_following_each() {
    let tokens = [
        "/", "/", "/", "a", "b", "A", "x", ".", ";", ";", "\\", "%2f", "%2F", "%5c", "%3b",
        "%252f", "%255c", "%253b", "%61", "%2561", "%", "25", "2f", "%%32", "a/b", "//", "/;",
        ";/", "%2e",
    ];
    let settings = [
        vec![prefix("/a"), exact("/b")],
        vec![exact("/a"), exact("/a/b/"), prefix("/a/b/a"), prefix("/")],
        vec![exact("/b/"), prefix("/A/b"), exact("/a/b"), prefix("/a"), exact("/")],
        vec![prefix("/b/b/b"), prefix("/b/b"), prefix("/b"), exact("/a;".trim_end_matches(';'))],
        vec![template("/{x}/a"), template("/b/{x}")],
        vec![
            exact("/a/b"),
            template("/a/{x}"),
            template("/{x}/b/"),
            prefix("/A"),
            template("/{x}"),
        ],
        vec![template("/a/{x}/b"), prefix("/b/a"), template("/{x}/{y}"), template("/A/{x}")],
    ];
    let settings: Vec<_> = settings
        .into_iter()
        .flat_map(|routes| {
            let folded = AuthSettings { routes, ..AuthSettings::default() };
            let sensitive = AuthSettings { case_sensitive_paths: true, ..folded.clone() };
            [folded, sensitive]
        })
        .collect();
    let found: Vec<_> = settings.iter().map(Routes::new).collect();
    let accepted = std::cell::Cell::new(0);
    let path = proptest::collection::vec(proptest::sample::select(tokens.to_vec()), 0..9);
    let config = proptest::test_runner::Config::with_cases(3000);
    proptest::proptest!(config, |(tokens in path)| {
        let path = format!("/{}", tokens.concat());
        for (settings, routes) in settings.iter().zip(&found) {
            let request = Request { method: "GET", path: &path, ..Request::default() };
            let found = name(routes, &request);
            accepted.set(accepted.get() + usize::from(found.is_ok()));
            proptest::prop_assert_eq!(found, slowly(settings, &path), "{} {:?}", path, settings.routes);
        }
    });
    assert!(accepted.get() > 3000, "{} accepted", accepted.get());
}
