//! A token that is presented to a provider is one that the client sent as such,
//! whichever of several tokens counts, and a request without its token sources
//! holds no token.

#![no_main]

use std::sync::{Arc, LazyLock};

use claimgate::{
    Engine, Reason,
    decision::Verdict,
    settings::{AuthSettings, SeveralTokens, TokenPlace, TokenSourceSettings},
};
use claimgate_fuzz::{AcceptAll, NOW, TextRequest, engine};
use libfuzzer_sys::fuzz_target;

static ENGINES: LazyLock<[(Engine, Arc<AcceptAll>); 2]> =
    LazyLock::new(|| [SeveralTokens::Refuse, SeveralTokens::First].map(engine_with));

fn engine_with(several_tokens: SeveralTokens) -> (Engine, Arc<AcceptAll>) {
    let header = |name: &str, scheme: Option<&str>| TokenPlace::Header {
        name: name.into(),
        scheme: scheme.map(String::from),
    };
    let places = [
        header("authorization", Some("Bearer")),
        header("authorization", None),
        header("x-api-key", None),
        TokenPlace::Query("access_token".into()),
        TokenPlace::Cookie("session".into()),
        TokenPlace::WebSocketProtocol("key.".into()),
    ];
    let source = |place| TokenSourceSettings { place, providers: None };
    engine(AuthSettings {
        token_sources: places.into_iter().map(source).collect(),
        several_tokens,
        forward_token: false,
        public_paths: vec!["/public".into()],
        ..AuthSettings::default()
    })
}

/// Whether this header value is the token, after `Bearer` or alone.
fn carries(value: &[u8], token: &str) -> bool {
    let rest = value.trim_ascii().strip_suffix(token.as_bytes());
    rest.is_some_and(|rest| {
        let scheme = rest.trim_ascii_end();
        scheme.is_empty() || (scheme.eq_ignore_ascii_case(b"bearer") && rest.len() > scheme.len())
    })
}

/// Whether one of the protocols is the token behind its prefix.
fn offers(value: &[u8], token: &str) -> bool {
    let protocols = value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii);
    protocols.filter_map(|it| it.strip_prefix(b"key.")).any(|it| it == token.as_bytes())
}

fuzz_target!(|input: &[u8]| {
    let written = TextRequest::read(input);
    let [refusing, _] = &*ENGINES;
    let refused = decide(refusing, &written);
    for engine in &*ENGINES {
        let Some((token, verdict)) = decide(engine, &written) else { continue };
        assert!(!token.is_empty() && token.bytes().all(|byte| byte.is_ascii_graphic()));
        if !written.has_query() && written.values("cookie").next().is_none() {
            let sent = written.values("authorization").chain(written.values("x-api-key"));
            let is_sent = sent.into_iter().any(|value| carries(value, &token))
                || written.values("sec-websocket-protocol").any(|value| offers(value, &token));
            assert!(is_sent, "no source holds {token:?}");
        }
        assert_eq!(verdict, Verdict::Allow);
        // What is not ambiguous is the same token either way.
        assert!(refused.as_ref().is_none_or(|(one, _)| *one == token), "{token:?}");
    }
});

/// The token that was presented and the verdict; checks that the upstream gets
/// no token, whether or not one was looked for.
fn decide(
    (engine, provider): &(Engine, Arc<AcceptAll>),
    written: &TextRequest,
) -> Option<(String, Verdict)> {
    let request = written.request();
    let Some(decision) = engine.check_now(&request, NOW) else { panic!("no I/O is needed") };
    let token = provider.take_token();
    if decision.verdict == Verdict::Allow {
        let edited = written.edited(&engine.edits(&request, &decision));
        // On another path, where a token is looked for.
        let edited = edited.on_path("/not-public");
        let again = engine.check_now(&edited.request(), NOW).map(|decision| decision.reason);
        assert_eq!(again, Some(Reason::MissingToken), "a token is left");
        provider.take_token();
    }
    token.map(|token| (token, decision.verdict))
}
