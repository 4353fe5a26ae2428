//! Identity headers can't be forged by another spelling of their name, and every
//! value is valid in a header and reads back the same.

#![no_main]

use std::sync::{Arc, LazyLock};

use claimgate::{
    Engine, Principal, Reason, Request,
    claims::ClaimPath,
    settings::{AuthSettings, IdentityHeaderSettings},
};
use claimgate_fuzz::{AcceptAll, NOW, engine, json};
use libfuzzer_sys::fuzz_target;

static ENGINE: LazyLock<(Engine, Arc<AcceptAll>)> = LazyLock::new(|| {
    let claims = vec![(ClaimPath::named("c"), "x-c".to_owned())];
    let headers = IdentityHeaderSettings { claims, ..IdentityHeaderSettings::default() };
    engine(AuthSettings { headers, ..AuthSettings::default() })
});

const OURS: [&str; 5] =
    ["x-auth-subject", "x-auth-scopes", "x-auth-method", "x-auth-provider", "x-c"];

/// A name as a gateway to CGI or to another language may see it.
fn folded(name: &str) -> Vec<u8> {
    let plain = |byte: u8| if byte.is_ascii_alphanumeric() { byte } else { b'-' };
    name.bytes().map(|byte| plain(byte.to_ascii_lowercase())).collect()
}

// A header's name, the subject, the scopes, the claims as JSON, a line each.
fuzz_target!(|input: &str| {
    let mut lines = input.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (name, subject, scopes, claims) = (line().to_ascii_lowercase(), line(), line(), line());
    if name == "authorization" || !name.bytes().all(|byte| byte.is_ascii_graphic()) {
        return;
    }
    let (engine, provider) = &*ENGINE;
    let subject = Some(subject.to_owned()).filter(|it| !it.is_empty());
    let scopes: Vec<_> = scopes.split('\t').map(String::from).collect();
    let claims = json::object(claims.as_bytes()).unwrap_or_default();
    provider.set_caller(Principal::new(subject.clone()).with_scopes(scopes).with_claims(claims));
    let headers = [("authorization", &b"Bearer t"[..]), (&name, b"forged")].into_iter().collect();
    let request = Request { method: "GET", path: "/", headers, ..Request::default() };
    let Some(decision) = engine.check_now(&request, NOW) else { panic!("no I/O is needed") };
    let edits = engine.edits(&request, &decision);

    let forged = OURS.iter().any(|ours| folded(ours) == folded(&name));
    let gone = edits.remove.iter().any(|it| it.eq_ignore_ascii_case(&name));
    let replaced = edits.set.iter().any(|(set, _)| *set == name);
    assert_eq!(forged, gone || replaced, "{name:?}");
    for (name, value) in &edits.set {
        assert!(OURS.contains(name) && !value.is_empty() && value.len() <= 8192);
        assert!(value.bytes().all(|byte| matches!(byte, b' '..=b'~')), "{value:?}");
        assert_eq!(value.trim_matches(' '), value);
        if *name == "x-auth-subject" {
            let read: Vec<u8> = percent_encoding::percent_decode_str(value).collect();
            assert_eq!(Some(&*read), subject.as_deref().map(str::as_bytes));
        }
    }
    assert!(decision.reason == Reason::Ok || edits.set.is_empty());
});
