//! Rules for `server.tracing`.

use url::Url;

use super::scalars::{file, required};
use crate::{
    NamedFileKind,
    file::server,
    report::Place,
    settings::{OtlpProtocol, TracingSettings},
};

const ADVICE: &str = "write `http://host:port` or `https://host:port` of an OTLP collector";

/// The path of traces below a collector's URL, by the OTLP specification.
const TRACES: &str = "/v1/traces";

pub(super) fn tracing(tracing: server::Tracing, place: &Place) -> Option<TracingSettings> {
    let protocol = match tracing.protocol {
        Some(server::OtlpProtocol::Http) => OtlpProtocol::Http,
        Some(server::OtlpProtocol::Grpc) | None => OtlpProtocol::Grpc,
    };
    let endpoint_place = place.key("otlp_endpoint");
    let endpoint = required(tracing.otlp_endpoint, &endpoint_place, ADVICE)
        .and_then(|text| endpoint(&text, protocol, &endpoint_place));
    let ratio_place = place.key("sample_ratio");
    let sample_ratio = tracing.sample_ratio.unwrap_or(0.0);
    if !(0.0..=1.0).contains(&sample_ratio) {
        ratio_place.wrong(&sample_ratio.to_string(), "must be from 0 to 1");
    }
    let ca_place = place.key("ca_file");
    let ca_file = file(tracing.ca_file, NamedFileKind::TrustRoots, &ca_place);
    let endpoint = endpoint?;
    if ca_file.is_some() && !endpoint.starts_with("https://") {
        ca_place.error("is for https; write `https://…` in `otlp_endpoint`, or remove it");
    }
    Some(TracingSettings { endpoint, protocol, sample_ratio, ca_file })
}

/// The URL that spans are sent to.
fn endpoint(text: &str, protocol: OtlpProtocol, place: &Place) -> Option<String> {
    if place.refuses_any_bare_reference() {
        return None;
    }
    let is_valid = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.has_host()
            && url.username().is_empty()
            && url.password().is_none()
            && url.query().is_none()
            && url.fragment().is_none()
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    let Some(url) = Url::parse(text).ok().filter(is_valid) else {
        // What holds an `@` may hold a password, and a query may hold a key.
        match text.contains(['@', '?']) {
            true => place.error(format_args!("is not the URL of a collector; {ADVICE}")),
            false => place.wrong(text, format_args!("is not the URL of a collector; {ADVICE}")),
        }
        return None;
    };
    let text = text.trim_end_matches('/');
    match protocol {
        OtlpProtocol::Grpc if url.path() == "/" => Some(text.into()),
        OtlpProtocol::Grpc => {
            place.wrong(
                text,
                "has a path, which gRPC has no use for; write `protocol: http`, or remove it",
            );
            None
        }
        OtlpProtocol::Http if text.ends_with(TRACES) => Some(text.into()),
        OtlpProtocol::Http => Some(format!("{text}{TRACES}")),
    }
}
