//! How the paths of routes are compared, and routes that no request leads to.

use super::good;

fn routes(keys: &str, routes: &[&str]) -> String {
    let routes: Vec<_> = routes
        .iter()
        .enumerate()
        .map(|(at, route)| format!("\n    - {{name: r{at}, required_scopes: [s{at}], {route}}}"))
        .collect();
    format!(
        "auth:\n  api_keys: [{{name: n, key: a-key-of-twenty-bytes}}]\n{keys}  routes:{}\n",
        routes.concat()
    )
}

#[test]
fn paths_have_no_case_unless_the_file_says_so() {
    let auth = |keys: &str| good(&routes(keys, &["match: {path: /a}"])).settings.auth;
    let plain = auth("");
    assert!(!plain.case_sensitive_paths && !plain.match_as_sent);
    let strict = auth("  case_sensitive_paths: true\n  match_as_sent: true\n");
    assert!(strict.case_sensitive_paths && strict.match_as_sent);
}

#[test]
fn a_route_that_no_request_leads_to_is_warned_of() {
    let case = "`auth.case_sensitive_paths: true`";
    let slash = "without the slash at its end";
    let cases: &[(&[&str], &str)] = &[
        (&["match: {path_prefix: /Admin}", "match: {path_prefix: /admin}"], case),
        (&["match: {path_prefix: /Admin}", "match: {path_prefix: /admin/users}"], case),
        (&["match: {path_prefix: /Admin}", "match: {path: /admin}"], case),
        (&["match: {path: /a}", "match: {path: /A}"], case),
        (&["match: {path: /a}", "match: {path: /a/}"], slash),
        (
            &["match: {path_template: '/a/{x}'}", "match: {path: /a/}"],
            "with an empty segment for a template's `{name}`",
        ),
        (&["match: {path: /a/}", "match: {path: /a}"], slash),
        (&["match: {path: /a, methods: [GET]}", "match: {path: /a/, methods: [head]}"], slash),
        (
            &[
                "match: {path: /a, hosts: ['*.example.com']}",
                "match: {path: /A, hosts: [b.example.com]}",
            ],
            case,
        ),
        // Each of these has requests of its own.
        (&["match: {path_prefix: /admin/users}", "match: {path_prefix: /Admin}"], ""),
        (&["match: {path: /a}", "match: {path_prefix: /A}"], ""),
        (&["match: {path: /a, methods: [GET]}", "match: {path: /A}"], ""),
        (&["match: {path: /a, methods: [GET]}", "match: {path: /A, methods: [PUT]}"], ""),
        (&["match: {path: /a, hosts: [x.example]}", "match: {path: /A, hosts: [y.example]}"], ""),
        (&["match: {path_prefix: /a}", "match: {path_prefix: /ab}"], ""),
        (&["match: {path: /a}", "public: false"], ""),
    ];
    for (written, expected) in cases {
        let warnings = good(&routes("", written)).warnings;
        match expected.is_empty() {
            true => assert_eq!(warnings, [], "{written:?}"),
            false => assert!(
                warnings.len() == 1
                    && warnings[0].place == "auth.routes[1].match"
                    && warnings[0].message.starts_with("no request leads here")
                    && warnings[0].message.contains("`r0`")
                    && warnings[0].message.contains(expected),
                "{written:?}: {warnings:?}"
            ),
        }
    }
    let told_apart = routes("  case_sensitive_paths: true\n", cases[0].0);
    assert_eq!(good(&told_apart).warnings, []);
    let same_rules = routes("", cases[0].0).replace("s1", "s0");
    assert_eq!(good(&same_rules).warnings, []);
}
