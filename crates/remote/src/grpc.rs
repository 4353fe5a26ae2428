//! Custom providers in any language, called over gRPC
//! (`proto/claimgate/provider/v1/provider.proto`).

use std::{fmt, time::Duration};

use claimgate_core::{
    credential::Credential,
    provider::{Answering, Provider},
    settings::GrpcProviderSettings,
};
use tokio::runtime::Handle;
use tonic::transport::Channel;

pub use self::endpoint::{SetupError, endpoint};

use self::proto::{AuthenticateRequest, RequestFacts, provider_client::ProviderClient};
use crate::remote_answers::{Limits, RemoteAnswer, RemoteAnswers, RequestIds};

mod endpoint;
mod response;

/// The generated client, server and messages.
#[expect(missing_docs, reason = "generated code")]
pub mod proto {
    tonic::include_proto!("claimgate.provider.v1");
}

/// Calls a custom provider, and caches its answers.
pub struct GrpcProvider {
    name: String,
    forward_token: Option<bool>,
    /// How long an answer without an end of its own is cached.
    lifetime: Duration,
    client: ProviderClient<Channel>,
    answers: RemoteAnswers,
}

impl GrpcProvider {
    /// A provider called `name` that connects for its first call; calls run
    /// on `runtime`.
    ///
    /// # Errors
    ///
    /// [`SetupError`] if the address or the trust roots can't be used.
    pub fn new(
        name: &str,
        forward_token: Option<bool>,
        settings: &GrpcProviderSettings,
        runtime: Handle,
    ) -> Result<Self, SetupError> {
        let endpoint = endpoint(&settings.address, settings.ca_file.as_deref())?
            .connect_timeout(settings.timeout)
            .timeout(settings.timeout);
        let channel = {
            let _inside = runtime.enter();
            endpoint.connect_lazy()
        };
        let limits = Limits {
            cache_entries: settings.cache_entries,
            cache_bytes: settings.cache_bytes,
            timeout: settings.timeout,
        };
        Ok(Self {
            name: name.into(),
            forward_token,
            lifetime: settings.cache,
            client: ProviderClient::new(channel),
            answers: RemoteAnswers::new(name, "custom provider", limits, runtime),
        })
    }

    /// One call about a credential.
    fn call(
        &self,
        credential: &Credential<'_>,
    ) -> impl Future<Output = RemoteAnswer> + Send + use<> {
        let (request, now) = (credential.request(), credential.now());
        let message = AuthenticateRequest {
            token: credential.token().into(),
            request: Some(RequestFacts {
                method: request.method.into(),
                host: request.host.into(),
                path: request.bare_path().into(),
            }),
        };
        let (mut client, lifetime, provider) =
            (self.client.clone(), self.lifetime, self.name.clone());
        let RequestIds { request_id, trace_id } = RequestIds::of(credential);
        async move {
            match client.authenticate(message).await {
                Ok(response) => response::read(response.into_inner(), now, lifetime),
                Err(status) => {
                    let code = status.code();
                    tracing::warn!(provider, ?code, request_id, trace_id, "custom provider failed");
                    RemoteAnswer::unavailable(format!("the call failed: {code:?}"))
                }
            }
        }
    }
}

impl Provider for GrpcProvider {
    fn name(&self) -> &str {
        &self.name
    }

    fn method(&self) -> &str {
        "grpc"
    }

    fn forward_token(&self) -> Option<bool> {
        self.forward_token
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        self.answers.answer(credential, || self.call(credential))
    }
}

impl fmt::Debug for GrpcProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GrpcProvider").field("name", &self.name).finish_non_exhaustive()
    }
}
