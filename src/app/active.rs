//! The active configuration, and how a candidate replaces it.

use std::sync::Arc;

use claimgate_remote::providers::{self, Source};
use tracing::{info, warn};

use super::{candidate::Candidate, changes::changes, connection::Tls, instruments::Instruments};
use crate::{
    check::{ConfigHandle, Snapshot},
    config::Finding,
    engine::Engine,
    limits::Counters,
    metrics::CheckMeters,
    provider::oauth2::key_source::KeySource,
    settings::{AuthSettings, ServerSettings},
    status::{ConfigInfo, StatusPage},
    time::UnixTime,
    traces::Tracer,
};

/// Everything made of the active configuration.
pub(crate) struct ActiveConfig {
    pub(crate) handle: ConfigHandle,
    pub(crate) tls: Tls,
    pub(crate) server: ServerSettings,
    /// To tell what the next reload changes.
    auth: AuthSettings,
    pub(crate) sources: Vec<Source>,
    /// The settings at the start, to which the listeners are bound.
    bound: ServerSettings,
    pub(crate) instruments: Instruments,
    status_page: Arc<StatusPage>,
}

impl ActiveConfig {
    /// Activates the first configuration.
    pub(crate) fn start(
        candidate: Candidate,
        instruments: Instruments,
        status_page: Arc<StatusPage>,
    ) -> Self {
        let Candidate { server, auth, engine, sources, tls, tracer, digest, warnings } = candidate;
        let budgets = engine.budgets().cloned();
        let snapshot = snapshot(engine, tracer, &server, &instruments, &status_page);
        instruments.metrics.export_key_expiries(&auth);
        instruments.metrics.config_loaded(UnixTime::now());
        let info = config_info(&server, auth.clone(), &sources, budgets, digest, warnings);
        status_page.set_config(info);
        Self {
            auth,
            handle: ConfigHandle::new(snapshot),
            tls: Arc::new(tls.into()),
            bound: server.clone(),
            server,
            sources,
            instruments,
            status_page,
        }
    }

    /// Replaces the active configuration. Checks in flight keep the one that
    /// they began with.
    pub(crate) fn activate(&mut self, candidate: Candidate) {
        let Candidate { server, auth, engine, sources, tls, tracer, digest, warnings } = candidate;
        let engine = engine.keeping_budgets(&self.handle.load().engine);
        let budgets = engine.budgets().cloned();
        let snapshot = snapshot(engine, tracer, &server, &self.instruments, &self.status_page);
        self.handle.store(snapshot);
        providers::adopt(&sources, &self.instruments);
        self.tls.store(tls);
        self.instruments.metrics.export_key_expiries(&auth);
        let info = config_info(&server, auth.clone(), &sources, budgets, digest, warnings);
        self.status_page.set_config(info);
        let changes = changes((&self.server, &self.auth), (&server, &auth));
        self.sources = sources;
        self.server = server;
        self.auth = auth;
        self.warn_of_restart();
        info!(changes, "configuration reloaded");
    }

    /// The signing keys of the providers that have any, by name.
    pub(crate) fn key_sources(&self) -> Vec<(String, Arc<KeySource>)> {
        by_provider(&self.sources)
    }

    /// Warns of changes that a reload can't apply: listeners stay as bound.
    fn warn_of_restart(&self) {
        let (bound, new) = (&self.bound, &self.server);
        let changes = [
            ("server.grpc.address", bound.grpc.address != new.grpc.address),
            ("server.admin.address", bound.admin_address != new.admin_address),
            ("server.grpc.max_connections", bound.grpc.max_connections != new.grpc.max_connections),
            (
                "server.grpc.max_connection_age_seconds",
                bound.grpc.max_connection_age != new.grpc.max_connection_age,
            ),
            ("server.workers", bound.workers != new.workers),
        ];
        for (key, _) in changes.into_iter().filter(|(_, changed)| *changed) {
            warn!(key, "the change takes effect after a restart");
        }
    }
}

/// What checks use of a configuration that is about to become active.
fn snapshot(
    engine: Engine,
    tracer: Option<Arc<Tracer>>,
    server: &ServerSettings,
    instruments: &Instruments,
    status_page: &StatusPage,
) -> Snapshot {
    let meters = CheckMeters::new(&instruments.metrics, &engine);
    let denials = status_page.denials(server);
    instruments.tracer.store(tracer.clone());
    Snapshot { engine, meters, check_timeout: server.check_timeout, denials, tracer }
}

/// What the status page shows of a configuration.
fn config_info(
    server: &ServerSettings,
    auth: AuthSettings,
    sources: &[Source],
    budgets: Option<Arc<Counters>>,
    digest: String,
    warnings: Vec<Finding>,
) -> ConfigInfo {
    let (sources, server) = (by_provider(sources), server.clone());
    ConfigInfo { digest, since: UnixTime::now(), warnings, server, auth, sources, budgets }
}

fn by_provider(sources: &[Source]) -> Vec<(String, Arc<KeySource>)> {
    sources.iter().map(|source| (source.provider.clone(), Arc::clone(&source.keys))).collect()
}
