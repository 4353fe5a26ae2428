//! A server that publishes keys, and counts how often they are fetched.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use tokio::{net::TcpListener, task::JoinHandle};

/// The key of RFC 7515, appendix A.3.
pub(crate) const JWKS: &str = r#"{"keys": [{"kty": "EC", "crv": "P-256", "kid": "a", "use": "sig",
    "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
    "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0"}]}"#;

/// It stops when it is dropped.
pub(crate) struct Issuer {
    pub(crate) url: String,
    fetches: Arc<AtomicUsize>,
    serving: JoinHandle<()>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub(crate) fn on(listener: TcpListener) -> Self {
        let url = format!("http://{}", listener.local_addr().unwrap());
        let fetches = Arc::new(AtomicUsize::new(0));
        let counter = Arc::clone(&fetches);
        let keys = async move || {
            counter.fetch_add(1, Ordering::Relaxed);
            JWKS
        };
        let router = axum::Router::new().route("/.well-known/jwks.json", axum::routing::get(keys));
        let serving = tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        Self { url, fetches, serving }
    }

    pub(crate) fn fetches(&self) -> usize {
        self.fetches.load(Ordering::Relaxed)
    }
}

impl Drop for Issuer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
