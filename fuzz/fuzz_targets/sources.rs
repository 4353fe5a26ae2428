//! A token that is presented to a provider is one that the client sent as such,
//! and a request without its token sources holds no token.

#![no_main]

use std::sync::{Arc, LazyLock};

use claimgate::{
    Engine, Reason,
    decision::Verdict,
    settings::{AuthSettings, TokenPlace, TokenSourceSettings},
};
use claimgate_fuzz::{AcceptAll, NOW, TextRequest, engine};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<(Engine, Arc<AcceptAll>)> = LazyLock::new(|| {
    let header = |name: &str, scheme: Option<&str>| TokenPlace::Header {
        name: name.into(),
        scheme: scheme.map(String::from),
    };
    let places = [
        header("authorization", Some("Bearer")),
        header("x-api-key", None),
        TokenPlace::Query("access_token".into()),
        TokenPlace::Cookie("session".into()),
    ];
    let source = |place| TokenSourceSettings { place, providers: None };
    engine(AuthSettings {
        token_sources: places.into_iter().map(source).collect(),
        forward_token: false,
        ..AuthSettings::default()
    })
});

/// Whether this header value is the token, after `Bearer` or alone.
fn carries(value: &[u8], token: &str) -> bool {
    let rest = value.trim_ascii().strip_suffix(token.as_bytes());
    rest.is_some_and(|rest| {
        let scheme = rest.trim_ascii_end();
        scheme.is_empty() || (scheme.eq_ignore_ascii_case(b"bearer") && rest.len() > scheme.len())
    })
}

fuzz_target!(|input: &[u8]| {
    let (engine, provider) = &*ENGINE;
    let written = TextRequest::read(input);
    let request = written.request();
    let Some(decision) = engine.check_now(&request, NOW) else { panic!("no I/O is needed") };
    let Some(token) = provider.take_token() else { return };
    assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
    if !written.has_query() && written.values("cookie").next().is_none() {
        let sent = written.values("authorization").chain(written.values("x-api-key"));
        assert!(sent.into_iter().any(|value| carries(value, &token)), "no source holds {token:?}");
    }
    assert_eq!(decision.verdict, Verdict::Allow);
    let edited = written.edited(&engine.edits(&request, &decision));
    let again = engine.check_now(&edited.request(), NOW).map(|decision| decision.reason);
    assert_eq!(again, Some(Reason::MissingToken), "a token is left");
});
