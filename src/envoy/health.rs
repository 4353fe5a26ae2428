//! `grpc.health.v1.Health`.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::SERVICE_NAME;

/// Says whether the service takes checks, overall (`""`) and by name.
#[derive(Clone, Debug)]
pub struct HealthSwitch(HealthReporter);

/// The health service, NOT_SERVING until the switch is turned on.
pub async fn health() -> (HealthSwitch, HealthServer<impl Health>) {
    let (reporter, server) = health_reporter();
    let switch = HealthSwitch(reporter);
    switch.set_serving(false).await;
    (switch, server)
}

impl HealthSwitch {
    /// Turns both to SERVING, or to NOT_SERVING; whoever watches is told.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", SERVICE_NAME] {
            self.0.set_service_status(service, status).await;
        }
    }
}
