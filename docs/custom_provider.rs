//! An authorization service for Envoy with a custom provider.

use std::{collections::HashMap, error::Error, sync::Arc, time::Duration};

use claimgate::{
    Answer, Answering, Credential, Engine, Principal, Provider, Reason,
    check::{ConfigHandle, Snapshot},
    envoy::service::AuthorizationServer,
    metrics::{CheckMeters, Metrics},
    time::UnixTime,
};
use tokio::{net::TcpListener, sync::RwLock};
use tokio_stream::wrappers::TcpListenerStream;
use tonic::transport::Server;

/// Checks the sessions of a web site; their tokens are `sess_` and an id.
pub struct Sessions {
    by_id: RwLock<HashMap<String, Session>>,
}

/// A user who has signed in.
pub struct Session {
    pub user: String,
    pub until: UnixTime,
}

impl Sessions {
    pub fn new(by_id: HashMap<String, Session>) -> Self {
        Self { by_id: RwLock::new(by_id) }
    }
}

impl Provider for Sessions {
    fn name(&self) -> &str {
        "sessions"
    }

    fn method(&self) -> &str {
        "session"
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        let Some(id) = credential.token().strip_prefix("sess_") else {
            credential.note(|| "it does not start with sess_".into());
            return Answering::Now(Answer::NotMine);
        };
        match self.by_id.try_read() {
            Ok(sessions) => Answering::Now(judge(sessions.get(id), credential.now())),
            Err(_) => {
                Answering::later(
                    async move { judge(self.by_id.read().await.get(id), credential.now()) },
                )
            }
        }
    }

    // The upstream does not need the session token.
    fn forward_token(&self) -> Option<bool> {
        Some(false)
    }
}

fn judge(session: Option<&Session>, now: UnixTime) -> Answer {
    match session {
        None => Answer::Refused(Reason::UnknownKey),
        Some(session) if session.until <= now => Answer::Refused(Reason::Expired),
        Some(session) => Answer::Authenticated(Arc::new(
            Principal::new(Some(session.user.clone()))
                .with_scopes(vec!["web".to_owned()])
                .with_expires_at(Some(session.until)),
        )),
    }
}

/// Answers Envoy's checks on `listener`.
pub async fn serve(
    listener: TcpListener,
    sessions: Sessions,
) -> Result<(), Box<dyn Error + Send + Sync>> {
    let engine = Engine::builder()
        .use_auth_provider(sessions)
        .required_scopes(["web"])
        .public_paths(["/v1/health"])
        .build()?;

    let metrics = Metrics::new(env!("CARGO_PKG_VERSION"), "unknown")?;
    let meters = CheckMeters::new(&metrics, &engine);
    let check_timeout = Duration::from_millis(150);
    let snapshot = Snapshot { engine, meters, check_timeout, denials: None, tracer: None };
    // Storing another `Snapshot` replaces the configuration.
    let checks = AuthorizationServer::new(ConfigHandle::new(snapshot));
    Server::builder()
        .add_service(checks)
        .serve_with_incoming(TcpListenerStream::new(listener))
        .await?;
    Ok(())
}
