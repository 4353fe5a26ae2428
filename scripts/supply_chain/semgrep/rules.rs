//! What the rules beside this file find, and what they let pass.

// ruleid: no-derived-debug-on-secrets
#[derive(Clone, Debug)]
pub struct Credential<'a> {
    token: &'a str,
}

// ok: no-derived-debug-on-secrets
#[derive(Clone)]
pub struct Principal {
    subject: String,
}

fn fetch(builder: Builder) {
    // ruleid: no-unchecked-certificates
    builder.danger_accept_invalid_certs(true);
    // ok: no-unchecked-certificates
    builder.tls_certs_only(roots());
    // ruleid: no-process-or-shell
    Command::new("curl").spawn();
}
