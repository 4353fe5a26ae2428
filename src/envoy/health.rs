//! `grpc.health.v1.Health`.

use tonic_health::{
    ServingStatus,
    pb::health_server::{Health, HealthServer},
    server::{HealthReporter, health_reporter},
};

use super::SERVICE_NAME;

/// A request holds the name of a service. tonic allocates the announced length
/// of a message as soon as its first bytes arrive.
const MAX_REQUEST_BYTES: usize = 4 << 10;

/// Sets whether the service takes checks, overall (`""`) and by name.
#[derive(Clone, Debug)]
pub struct HealthSwitch(HealthReporter);

/// The health service, NOT_SERVING until the switch is turned on.
pub async fn health() -> (HealthSwitch, HealthServer<impl Health>) {
    let (reporter, server) = health_reporter();
    let switch = HealthSwitch(reporter);
    switch.set_serving(false).await;
    (switch, server.max_decoding_message_size(MAX_REQUEST_BYTES))
}

impl HealthSwitch {
    /// Sets both to SERVING or NOT_SERVING and notifies the watchers.
    pub async fn set_serving(&self, serving: bool) {
        let status = if serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        for service in ["", SERVICE_NAME] {
            self.0.set_service_status(service, status).await;
        }
    }
}
