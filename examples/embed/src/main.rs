//! The engine of Claimgate inside a program: settings made in code, no config
//! file, no Envoy, no async runtime. `claimgate-core` is all it depends on.
//!
//! Run it with `cargo run -p claimgate-embed`.

#![allow(clippy::print_stdout, reason = "this program prints what it decides")]

use std::{error::Error, fs, path::Path, sync::Arc};

use claimgate_core::{
    ApiKey, Engine, Issuer, Request,
    keys::{FixedKeys, KeySet},
    request::Headers,
    response::Response,
    time::UnixTime,
};

use self::{identity_provider::IdentityProvider, sessions::Sessions};

mod identity_provider;
mod sessions;

fn main() -> Result<(), Box<dyn Error>> {
    // 1. The keys. Core reads no files, so the program reads the issuer's JWK
    //    Set itself; here a stand-in for the issuer has just written it.
    let issuer = IdentityProvider::start("https://auth.example.com")?;
    let keys = Arc::new(keys_in(issuer.keys_file())?);

    // 2. The engine. Providers are asked in the order of these calls. The API
    //    keys of your program come from its secret store, as hashes if it
    //    likes: `ApiKey::hashed`.
    let engine = Engine::builder()
        .use_api_keys([
            ApiKey::new("reports", "key-of-reports").scopes(["invoke"]),
            ApiKey::new("metrics", "key-of-metrics").scopes(["scrape"]),
        ])
        .use_oauth2(Issuer::new("https://auth.example.com").audience(["my-api"]), keys)
        .use_auth_provider(Sessions)
        .required_scopes(["invoke"])
        .public_paths(["/health"])
        .build()?;

    // 3. Decisions.
    show("no token", &engine, "/orders", None);
    show("a public path", &engine, "/health", None);
    show("an API key", &engine, "/orders", Some("key-of-reports"));
    show("an API key, other scope", &engine, "/orders", Some("key-of-metrics"));
    show("an unknown API key", &engine, "/orders", Some("unknown-key"));
    let token = issuer.token("alice", "my-api")?;
    show("a JWT", &engine, "/orders", Some(&token));
    let token = issuer.token("alice", "another-api")?;
    show("a JWT, other audience", &engine, "/orders", Some(&token));
    show("a session", &engine, "/orders", Some("sess_bob"));
    show("a session that ended", &engine, "/orders", Some("sess_carol"));

    // 4. The same program without authentication, in a test environment say.
    let open = Engine::builder().auth(false).build()?;
    show("no token, auth off", &open, "/orders", None);
    Ok(())
}

/// The keys of a JWK Set (RFC 7517).
fn keys_in(file: &Path) -> Result<FixedKeys, Box<dyn Error>> {
    let keys = KeySet::parse(&fs::read(file)?)?;
    for skipped in keys.skipped {
        println!("a key of {} can't be used: {skipped}", file.display());
    }
    Ok(FixedKeys::new(keys.set))
}

/// Decides `GET path` with this bearer token, and prints one line about it.
fn show(what: &str, engine: &Engine, path: &str, token: Option<&str>) {
    let authorization = token.map(|token| format!("Bearer {token}"));
    // Names are lower case; your HTTP server has them so already.
    let headers: Headers<'_> =
        authorization.iter().map(|value| ("authorization", value.as_bytes())).collect();
    let request =
        Request { method: "GET", host: "api.example.com", path, headers, ..Request::default() };

    // `None` would mean that a provider has to wait for something. With these
    // keys and providers none has; elsewhere await `Engine::check_until`.
    let Some(decision) = engine.check_now(&request, UnixTime::now()) else {
        println!("{what:<24} wait");
        return;
    };
    let reason = decision.reason;
    match Response::of(engine, &request, &decision) {
        // Set and remove these headers, then go on with the request.
        Response::Upstream(edits) => {
            let subject = edits.set.iter().find(|(name, _)| *name == "x-auth-subject");
            let subject = subject.map(|(name, value)| format!(", {name}: {value}"));
            println!("{what:<24} allow    - {reason}{}", subject.unwrap_or_default());
        }
        // Send this status with `response.headers()` and `response.body`.
        Response::Client(response) => {
            println!("{what:<24} deny   {} {reason}", response.status);
        }
    }
}
