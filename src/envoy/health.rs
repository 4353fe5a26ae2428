//! `grpc.health.v1.Health`.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::SERVICE_NAME;

/// A question holds the name of a service. Room for as much as one announces
/// is set aside when its first bytes come.
const LARGEST_QUESTION: usize = 4 << 10;

/// Says whether the service takes checks, overall (`""`) and by name.
#[derive(Clone, Debug)]
pub struct HealthSwitch(HealthReporter);

/// The health service, NOT_SERVING until the switch is turned on.
pub async fn health() -> (HealthSwitch, HealthServer<impl Health>) {
    let (reporter, server) = health_reporter();
    let switch = HealthSwitch(reporter);
    switch.set_serving(false).await;
    (switch, server.max_decoding_message_size(LARGEST_QUESTION))
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
