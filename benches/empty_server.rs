//! The yardstick: the smallest external-authorization server that tonic and
//! envoy-types give with default settings. It decodes the request, decides
//! nothing and allows. Prints its address and serves until it is killed.

use envoy_types::{
    ext_authz::v3::CheckResponseExt,
    ext_authz::v3::pb::{Authorization, AuthorizationServer, CheckRequest, CheckResponse},
};
use tokio::net::TcpListener;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::{Request, Response, Status, transport::Server};

struct AllowAll;

#[tonic::async_trait]
impl Authorization for AllowAll {
    async fn check(&self, _: Request<CheckRequest>) -> Result<Response<CheckResponse>, Status> {
        Ok(Response::new(CheckResponse::with_status(Status::ok(""))))
    }
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // `cargo bench` runs every target; this one is started by `make bench`.
    let Some(address) = std::env::args().nth(1).filter(|argument| !argument.starts_with('-'))
    else {
        return Ok(());
    };
    // What `#[tokio::main]` makes: one worker thread per core.
    tokio::runtime::Runtime::new()?.block_on(async {
        let listener = TcpListener::bind(address).await?;
        eprintln!("listening on {}", listener.local_addr()?);
        Server::builder()
            .add_service(AuthorizationServer::new(AllowAll))
            .serve_with_incoming(TcpListenerStream::new(listener))
            .await?;
        Ok(())
    })
}
