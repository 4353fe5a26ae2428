//! How much a request allocates.

use std::{
    alloc::{GlobalAlloc, Layout, System},
    cell::Cell,
    fs, ptr,
    time::{Duration, Instant},
};

use claimgate::{
    app::instruments::Instruments,
    check::Snapshot,
    issuer::signing::SigningKey,
    metrics::{CheckMeters, Metrics},
    provider::oauth2::Algorithm,
};
use claimgate_core::time::UnixTime;
use claimgate_files::{Contents, content_of};
use serde_json::json;
use tokio::runtime::Builder;

use crate::{
    abi::{self, Fields, HeaderRoom},
    decide,
    filter::Filter,
    metadata, open,
    request::BorrowedRequest,
};

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The allocator of the module, counting what this thread asks of it.
struct Counting;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

fn count() {
    ALLOCATIONS.set(ALLOCATIONS.get() + 1);
}

#[expect(unsafe_code, reason = "an allocator can't be written without")]
// SAFETY: hands every call on as it came.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count();
        unsafe { System.alloc(layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        count();
        unsafe { System.realloc(pointer, layout, size) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        unsafe { System.dealloc(pointer, layout) }
    }
}

const ISSUER: &str = "https://issuer.example.com";

/// What decides about the tokens of one issuer, and such a token.
fn scene() -> (Snapshot, String) {
    let key = SigningKey::generate(Algorithm::Es256).unwrap();
    let folder = std::env::temp_dir().join(format!("claimgate-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let jwks = folder.join("jwks.json");
    fs::write(&jwks, json!({"keys": [key.jwk()]}).to_string()).unwrap();
    let provider = json!({
        "name": "machines", "type": "oauth2", "issuer": ISSUER, "jwks_file": jwks,
        "algorithms": ["ES256"], "require_audience": false,
    });
    let headers = json!({"claims": {"client_id": "x-auth-client-id"}});
    let auth = json!({"providers": [provider], "required_scopes": ["read"], "headers": headers});
    let config = json!({ "auth": auth }).to_string();
    let loaded = claimgate_config::load(&config, &|_| None).unwrap();

    let contents = Contents::from([(jwks.clone(), content_of(&jwks))]);
    let metrics = Metrics::new("1", "r").unwrap();
    let runtime = Builder::new_current_thread().enable_all().build().unwrap();
    let instruments = Instruments::from(metrics.clone());
    let settings = &loaded.settings;
    let opened = open::open(settings, &contents, &[], &instruments, runtime.handle());
    fs::remove_dir_all(&folder).unwrap();
    let engine = opened.unwrap().engine.keeping_metadata(metadata::of_caller);
    let meters = CheckMeters::new(&metrics, &engine);
    let check_timeout = Duration::from_secs(1);
    let snapshot = Snapshot { engine, meters, check_timeout, denials: None, tracer: None };

    let now = UnixTime::now().as_seconds() as u64;
    let claims = json!({
        "iss": ISSUER, "sub": "caller", "scope": "read write", "client_id": "client",
        "iat": now - 60, "exp": now + 600,
    });
    (snapshot, key.sign(claims.to_string().as_bytes()).unwrap())
}

#[test]
fn a_request_with_a_known_token_allocates_once() {
    let (snapshot, token) = scene();
    let authorization = format!("Bearer {token}");
    let fields = [
        (":method", "GET"),
        (":path", "/orders?limit=10"),
        (":authority", "api.example.com"),
        ("authorization", authorization.as_str()),
        ("x-request-id", "9b1e"),
    ];
    let mut room = HeaderRoom::default();
    let config = ptr::dangling();
    let mut allocations = 0;
    for _ in 0..10 {
        let before = ALLOCATIONS.get();
        let held = abi::filter_new::<Filter>(config);
        let request = BorrowedRequest::with(Fields::of(
            &fields.map(|(name, value)| (name.as_bytes(), value.as_bytes())),
            room,
        ));
        let effects = decide::now(&snapshot, &request, Instant::now()).unwrap();
        assert_eq!(effects.status(), None);
        effects.give_back();
        room = request.into_room();
        abi::tests::destroy::<Filter>(held);
        allocations = ALLOCATIONS.get() - before;
    }
    // The state of the stream.
    assert_eq!(allocations, 1);
}
