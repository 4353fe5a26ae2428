//! The baseline: the smallest external-authorization server with tonic,
//! envoy-types and default settings. It decodes the request, decides
//! nothing and allows. Prints its address and serves until it is killed.

use envoy_types::{
    ext_authz::v3::CheckResponseExt,
    ext_authz::v3::pb::{Authorization, AuthorizationServer, CheckRequest, CheckResponse},
};
use tonic::{
    Request, Response, Status,
    transport::{Server, server::TcpIncoming},
};

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
    // The runtime of `#[tokio::main]`: one worker thread per core.
    tokio::runtime::Runtime::new()?.block_on(async {
        // Like `Server::serve`, without Nagle's delay.
        let incoming = TcpIncoming::bind(address.parse()?)?.with_nodelay(Some(true));
        eprintln!("listening on {}", incoming.local_addr()?);
        Server::builder()
            .add_service(AuthorizationServer::new(AllowAll))
            .serve_with_incoming(incoming)
            .await?;
        Ok(())
    })
}
