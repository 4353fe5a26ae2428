//! Rules for custom providers over gRPC.

use claimgate_core::settings::GrpcProviderSettings;
use url::Url;

use super::{
    address,
    scalars::{Zero, cache_bytes, file, millis, required, seconds},
};
use crate::{NamedFileKind, file::provider::Grpc, report::Place};

/// Bounds the memory that the cache reserves when it is made.
const MOST_ENTRIES: u64 = 10_000_000;

pub(super) fn grpc(grpc: Grpc, place: &Place) -> GrpcProviderSettings {
    let defaults = GrpcProviderSettings::default();
    let address_place = place.key("address");
    let advice = "write `http://host:port`, `https://host:port` or `unix:/path/to/socket`";
    let address = required(grpc.address, &address_place, advice)
        .and_then(|address| endpoint(&address, &address_place));
    let ca_place = place.key("ca_file");
    let ca_file = file(grpc.ca_file, NamedFileKind::TrustRoots, &ca_place);
    if ca_file.is_some() && address.as_ref().is_some_and(|it| !it.starts_with("https://")) {
        ca_place.error("is for https; write `https://…` in `address`, or remove it");
    }
    let entries_place = place.key("cache_entries");
    let entries = match grpc.cache_entries {
        Some(entries @ 0..=MOST_ENTRIES) => usize::try_from(entries).ok(),
        Some(entries) => {
            let advice = format_args!("must be from 0 to {MOST_ENTRIES}");
            entries_place.wrong(&entries.to_string(), advice);
            None
        }
        None => None,
    };
    let (timeout, cache) = (place.key("timeout_ms"), place.key("cache_seconds"));
    let bytes = place.key("cache_bytes");
    GrpcProviderSettings {
        address: address.unwrap_or_default(),
        ca_file,
        timeout: millis(grpc.timeout_ms, defaults.timeout, Zero::Refused, &timeout),
        cache_entries: entries.unwrap_or(defaults.cache_entries),
        cache_bytes: cache_bytes(grpc.cache_bytes, defaults.cache_bytes, &bytes),
        cache: seconds(grpc.cache_seconds, defaults.cache, Zero::Allowed, &cache),
    }
}

/// `http://host:port`, `https://host:port` or `unix:/path`; a bare
/// `host:port` is plain http, as in `server.grpc.address`.
fn endpoint(text: &str, place: &Place) -> Option<String> {
    if place.refuses_any_bare_reference() {
        return None;
    }
    if let Some(path) = text.strip_prefix("unix:") {
        return address::unix_path(path, text, place).map(|path| format!("unix:{path}"));
    }
    if !text.contains("://") {
        return address::host_and_port(text, place).then(|| format!("http://{text}"));
    }
    let is_valid = |url: &Url| {
        matches!(url.scheme(), "http" | "https")
            && url.username().is_empty()
            && url.password().is_none()
            && url.path() == "/"
            && url.query().is_none()
            && url.fragment().is_none()
            && text.bytes().all(|byte| byte.is_ascii_graphic())
    };
    match Url::parse(text) {
        Ok(url) if is_valid(&url) => Some(text.trim_end_matches('/').into()),
        _ => {
            // What holds an `@` may hold a password, so it is not shown.
            let advice = "write `http://host:port`, `https://host:port` or `unix:/path/to/socket`";
            match text.contains('@') {
                true => place.error(format_args!("is not the address of a gRPC service; {advice}")),
                false => place
                    .wrong(text, format_args!("is not the address of a gRPC service; {advice}")),
            }
            None
        }
    }
}
