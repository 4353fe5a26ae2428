//! No request is asked less than ALB asked, over random rules.

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;
use crate::{
    Request, config,
    import_alb::{
        alb::{Action, Claim, ClaimFormat, Condition, Field, Listener, Validation},
        pattern::{Glob, is_within},
        produce,
    },
    policy::routes,
};

const PATHS: [&str; 16] = [
    "/", "/a", "/a/", "/a/b", "/ab", "/ab/c", "/a/b/c", "/b", "/b/a", "/c", "/a/c/b", "/abc",
    "/a/bb", "/b/", "/a/c/d/b", "/a//b",
];
const HOSTS: [&str; 4] = ["x.test", "a.x.test", "b.a.x.test", "y.test"];
const METHODS: [&str; 4] = ["GET", "POST", "PUT", "HEAD"];

fn one_of(values: &'static [&'static str]) -> impl Strategy<Value = Vec<String>> {
    prop::sample::subsequence(values, 1..=2)
        .prop_map(|values| values.iter().map(ToString::to_string).collect())
}

fn conditions() -> impl Strategy<Value = Vec<Condition>> {
    const PATTERNS: [&str; 23] = [
        "/a", "/a/*", "/a*", "/*", "*", "/a/*/b", "/a/?", "*b", "/b", "/b/*", "/ab*", "/", "/a/b",
        "/?", "/a/b*", "/A", "/A/*", "/a/", "/%61/*", "/b;*", "/*/b", "/*/*/b", "/a/*/b/*",
    ];
    const HOST_PATTERNS: [&str; 6] =
        ["x.test", "*.x.test", "*.a.x.test", "?.x.test", "*", "*.test"];
    let make = |field: Field| {
        move |values| Condition { field: field.clone(), values, regexes: Vec::new() }
    };
    let paths = prop::option::weighted(0.8, one_of(&PATTERNS).prop_map(make(Field::Path)));
    let hosts = prop::option::weighted(0.3, one_of(&HOST_PATTERNS).prop_map(make(Field::Host)));
    let methods = prop::option::weighted(0.3, one_of(&METHODS).prop_map(make(Field::Method)));
    let header = prop::option::weighted(0.1, Just(Vec::new()))
        .prop_map(move |it| it.map(make(Field::Header("x-a".into()))));
    (paths, hosts, methods, header).prop_map(|(paths, hosts, methods, header)| {
        [paths, hosts, methods, header].into_iter().flatten().collect()
    })
}

fn actions() -> impl Strategy<Value = Vec<Action>> {
    let check = |(issuer, scope): (&str, &str)| {
        let values = vec![scope.to_owned()];
        let claim = Claim { name: "scope".into(), format: ClaimFormat::Words, values };
        let (issuer, jwks) = (issuer.to_owned(), "keys".into());
        Action::Validate(Validation { issuer, jwks, claims: vec![claim] })
    };
    prop_oneof![
        2 => Just(vec![Action::Forward]),
        4 => (prop::sample::select(vec!["i", "j"]), prop::sample::select(vec!["r", "w"]))
            .prop_map(move |it| vec![check(it), Action::Forward]),
        1 => Just(vec![Action::Answer("no".into())]),
    ]
}

fn rules() -> impl Strategy<Value = Vec<Rule>> {
    let rule = (conditions(), actions());
    (prop::collection::vec(rule, 0..5), actions()).prop_map(|(rules, default)| {
        let rules = rules.into_iter().enumerate().map(|(at, (conditions, actions))| Rule {
            priority: Some(at as u64),
            conditions,
            actions,
            transforms: Vec::new(),
        });
        let default =
            Rule { priority: None, conditions: vec![], actions: default, transforms: vec![] };
        rules.chain([default]).collect()
    })
}

/// What ALB does, written down independently of how routes are made.
fn alb(rules: &[Rule], path: &str, host: &str, method: &str, header: bool) -> Outcome {
    let holds = |condition: &Condition| match condition.field {
        Field::Path => condition.values.iter().any(|p| Glob::new(p).matches(path)),
        Field::Host => condition.values.iter().any(|p| Glob::new(p).matches(host)),
        Field::Method => condition.values.iter().any(|value| value == method),
        _ => header,
    };
    let first = rules.iter().find(|rule| rule.conditions.iter().all(holds));
    first.map_or(Outcome::Closed, Rule::outcome)
}

/// What the routes do where a path and a method are what they seem to be.
fn claimgate<'r>(
    routes: &'r [PlannedRoute],
    path: &str,
    host: &str,
    method: &str,
) -> &'r PlannedRoute {
    let matches = |route: &&PlannedRoute| {
        let Some(region) = &route.region else { return false };
        let on_path = match &region.path {
            PathSet::Exact(exact) => exact == path,
            PathSet::Under(folder) => is_within(path, folder),
            PathSet::Template(segments) => {
                let names: Vec<_> = path.split('/').skip(1).collect();
                let fits = |(name, wanted): (&&str, &Option<String>)| {
                    wanted.as_ref().map_or(!name.is_empty(), |wanted| wanted == name)
                };
                names.len() == segments.len() && names.iter().zip(segments).all(fits)
            }
        };
        let on_host = region.hosts.as_ref().is_none_or(|hosts| {
            hosts.iter().any(|allowed| match allowed.strip_prefix('*') {
                Some(suffix) => host.len() > suffix.len() && host.ends_with(suffix),
                None => allowed == host,
            })
        });
        let on_method = |methods: &BTreeSet<String>| {
            methods.contains(method) || method == "HEAD" && methods.contains("GET")
        };
        on_path && on_host && region.methods.as_ref().is_none_or(on_method)
    };
    routes.iter().find(matches).expect("the default action matches everything")
}

fn is_expressible(rules: &[Rule]) -> bool {
    rules.iter().all(|rule| Matcher::of(rule).vague.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn nothing_is_asked_less_than_alb_asked(rules in rules()) {
        let routes = routes(&rules);
        let names: BTreeSet<_> = routes.iter().map(|r| &r.name).collect();
        prop_assert_eq!(names.len(), routes.len());
        for path in PATHS {
            for host in HOSTS {
                for method in METHODS {
                    let got = &claimgate(&routes, path, host, method).outcome;
                    for header in [false, true] {
                        let wanted = alb(&rules, path, host, method, header);
                        prop_assert_eq!(
                            &got.and(&wanted), got, "{} {}{}: {:?}", method, host, path, wanted
                        );
                        if is_expressible(&rules) {
                            prop_assert_eq!(got, &wanted, "{} {}{}", method, host, path);
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn whatever_differs_is_said(rules in rules()) {
        let routes = routes(&rules);
        for path in PATHS {
            for method in METHODS {
                let route = claimgate(&routes, path, "x.test", method);
                let wanted = alb(&rules, path, "x.test", method, false);
                let is_said = !route.notes.is_empty()
                    || rules.iter().any(|rule| !Matcher::of(rule).reasons.is_empty());
                prop_assert!(route.outcome == wanted || is_said, "{path}");
            }
        }
    }

    #[test]
    fn a_public_route_is_only_where_alb_was_public(rules in rules()) {
        for route in routes(&rules).iter().filter(|route| route.outcome == Outcome::Public) {
            prop_assert_eq!(rules[route.rule].outcome(), Outcome::Public);
        }
    }

    /// Through the file that is written and the routes that are matched, with
    /// paths and methods as clients may spell them.
    #[test]
    fn no_spelling_is_asked_less_than_alb_asked(
        rules in rules(),
        requests in prop::collection::vec((path_as_sent(), method_as_sent()), 60),
    ) {
        let listener = Listener { rules: rules.clone(), ..Listener::of_rules(Vec::new()) };
        let Ok(file) = produce::config(&listener, &[]) else { return Ok(()) };
        let settings = config::load(&file, &|_| None).expect("it loads").settings.auth;
        let engine = routes::Routes::new(&settings);
        let planned = super::routes(&rules);
        for (path, method) in requests {
            let request = Request { method, host: "a.x.test", path: &path, ..Request::default() };
            let Ok(found) = engine.find(&request) else { continue };
            // The last may have become the defaults.
            let route = found.map_or(planned.last(), |found| {
                planned.iter().find(|route| route.name == found.name)
            });
            let got = &route.expect("one of those planned").outcome;
            let wanted = alb(&rules, &path, "a.x.test", method, false);
            prop_assert_eq!(&got.and(&wanted), got, "{} {}: {:?}\n{}", method, path, wanted, file);
        }
    }
}

/// Paths that are spelled in every way that these tests know.
fn path_as_sent() -> impl Strategy<Value = String> {
    const TOKENS: [&str; 26] = [
        "/", "/", "/", "/", "a", "b", "ab", "c", "A", "B", "%61", "%62", "%41", "%2561", "%2f",
        "%5c", "\\", ";", ";x", "%3b", ".", "..", "%2e", "//", "x", "a/b",
    ];
    prop::collection::vec(prop::sample::select(TOKENS.to_vec()), 0..6)
        .prop_map(|tokens| format!("/{}", tokens.concat()))
}

fn method_as_sent() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec!["GET", "GET", "HEAD", "POST", "PUT", "get", "Head", "post"])
}
