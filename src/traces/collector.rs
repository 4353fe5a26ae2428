//! The exporter to the collector.

use std::env;

use claimgate_remote::http_client::{self, HttpClientBuilder};
use opentelemetry_otlp::{
    ExporterBuildError, SpanExporter, WithExportConfig, WithHttpConfig, WithTonicConfig,
};
use opentelemetry_sdk::{Resource, trace::SpanExporter as _};
use reqwest::Url;

use crate::{
    provider::grpc,
    settings::{OtlpProtocol, TracingSettings},
};

/// Why the exporter can't be set up; one line.
#[derive(Debug, thiserror::Error)]
pub enum ExporterError {
    /// The collector's gRPC port can't be used.
    #[error(transparent)]
    Grpc(#[from] grpc::SetupError),
    /// The HTTP client can't be set up.
    #[error(transparent)]
    Client(#[from] http_client::SetupError),
    /// The endpoint is not a URL, which the checks of a config file exclude.
    #[error("otlp_endpoint is not a URL: {0}")]
    Url(#[from] url::ParseError),
    /// One of the standard variables, `OTEL_EXPORTER_OTLP_…`, can't be used.
    #[error(transparent)]
    Exporter(#[from] ExporterBuildError),
}

/// An exporter, which connects when the first spans are sent.
pub(super) fn exporter(settings: &TracingSettings) -> Result<SpanExporter, ExporterError> {
    let mut exporter = match settings.protocol {
        OtlpProtocol::Grpc => {
            let endpoint = grpc::endpoint(&settings.endpoint, settings.ca_file.as_deref())?;
            let builder = SpanExporter::builder().with_tonic();
            builder.with_channel(endpoint.connect_lazy()).build()?
        }
        OtlpProtocol::Http => {
            let url = Url::parse(&settings.endpoint)?;
            let client =
                HttpClientBuilder::new(&url).ca_file(settings.ca_file.as_deref()).build()?;
            let builder = SpanExporter::builder().with_http().with_http_client(client);
            builder.with_endpoint(&settings.endpoint).build()?
        }
    };
    exporter.set_resource(&resource());
    Ok(exporter)
}

/// The resource that `OTEL_SERVICE_NAME` and `OTEL_RESOURCE_ATTRIBUTES` describe;
/// the service's name is `claimgate` where they set none.
fn resource() -> Resource {
    let contains = |name: &str, text: &str| {
        env::var(name).is_ok_and(|value| !value.is_empty() && value.contains(text))
    };
    let named =
        contains("OTEL_SERVICE_NAME", "") || contains("OTEL_RESOURCE_ATTRIBUTES", "service.name=");
    let resource = Resource::builder();
    match named {
        true => resource.build(),
        false => resource.with_service_name("claimgate").build(),
    }
}
