//! The service inside the test's own process, from its config file on.

use std::path::Path;

use claimgate::app::{App, Ended, listen::BoundAddress, signals::Command};
use tokio::{sync::mpsc, task::JoinHandle, time::timeout};

use super::wait::LIMIT;

pub(crate) struct Service {
    /// Where checks are taken.
    pub(crate) grpc: String,
    /// Where the admin port is.
    pub(crate) admin: String,
    pub(crate) commands: mpsc::Sender<Command>,
    pub(crate) app: JoinHandle<Ended>,
}

impl Service {
    pub(crate) async fn start(config: &Path) -> Self {
        let app = App::build(config).await.unwrap();
        let BoundAddress::Tcp(grpc) = app.grpc_address() else { panic!("not TCP") };
        let (grpc, admin) = (grpc.to_string(), app.admin_address());
        // Whatever address it is bound to, it is asked on this machine.
        let admin = format!("127.0.0.1:{}", admin.port());
        let (commands, receiver) = mpsc::channel(4);
        Self { grpc, admin, commands, app: tokio::spawn(app.run(receiver)) }
    }

    pub(crate) async fn reload(&self) {
        self.commands.send(Command::Reload).await.unwrap();
    }

    pub(crate) async fn stop(self) -> Ended {
        self.commands.send(Command::Stop).await.unwrap();
        timeout(LIMIT, self.app).await.unwrap().unwrap()
    }
}
