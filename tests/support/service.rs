//! The service inside the test's own process, from its config file on.

use std::path::Path;

use claimgate::app::{App, Ended, listen::BoundAddress, signals::Order};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::wait::LIMIT;

pub(crate) struct Service {
    /// The address of the gRPC listener.
    pub(crate) grpc: String,
    /// The address of the admin port.
    pub(crate) admin: String,
    pub(crate) orders: mpsc::Sender<Order>,
    pub(crate) app: JoinHandle<Ended>,
}

impl Service {
    pub(crate) async fn start(config: &Path) -> Self {
        let app = App::build(config).await.unwrap();
        let BoundAddress::Tcp(grpc) = app.grpc_address() else { panic!("not TCP") };
        let (grpc, admin) = (grpc.to_string(), app.admin_address());
        // Tests connect on this machine, whatever address it is bound to.
        let admin = format!("127.0.0.1:{}", admin.port());
        let (orders, taken) = mpsc::channel(4);
        Self { grpc, admin, orders, app: tokio::spawn(app.run(taken)) }
    }

    pub(crate) async fn reload(&self) {
        self.orders.send(Order::Reload).await.unwrap();
    }

    pub(crate) async fn stop(self) -> Ended {
        self.orders.send(Order::Stop).await.unwrap();
        timeout(LIMIT, self.app).await.unwrap().unwrap()
    }
}
