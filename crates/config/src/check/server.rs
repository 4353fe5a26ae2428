//! Rules for the `server` block.

use std::{num::NonZeroUsize, time::Duration};

use super::{
    address,
    scalars::{Zero, count, file, millis, required, seconds, text, texts},
    tracing,
};
use crate::{
    NamedFileKind,
    file::{forms::Workers, server},
    report::Place,
    settings::{GrpcSettings, ListenAddress, ServerSettings, TlsSettings},
};

/// How long Envoy waits for a check unless its filter says otherwise.
const ENVOYS_TIMEOUT: Duration = Duration::from_millis(200);

/// More threads than a machine has cores.
const MOST_WORKERS: u64 = 1024;

/// More connections than a machine has descriptors for.
const MOST_CONNECTIONS: usize = 1_000_000;

pub(super) fn server(file: server::Server, place: &Place) -> ServerSettings {
    let defaults = ServerSettings::default();
    let check_timeout = place.key("check_timeout_ms");
    let grace = place.key("shutdown_grace_seconds");
    let settings = ServerSettings {
        grpc: grpc(file.grpc.unwrap_or_default(), &place.key("grpc")),
        status_page: file.admin.as_ref().and_then(|admin| admin.status_page),
        admin_address: admin(file.admin.unwrap_or_default(), &place.key("admin")),
        workers: file.workers.and_then(|workers| threads(workers, &place.key("workers"))),
        check_timeout: millis(
            file.check_timeout_ms,
            defaults.check_timeout,
            Zero::Refused,
            &check_timeout,
        ),
        shutdown_grace: seconds(
            file.shutdown_grace_seconds,
            defaults.shutdown_grace,
            Zero::Allowed,
            &grace,
        ),
        tracing: file.tracing.and_then(|tracing| tracing::tracing(tracing, &place.key("tracing"))),
    };
    if settings.check_timeout >= ENVOYS_TIMEOUT {
        check_timeout.warn(format_args!(
            "is not below Envoy's own time limit, 200 ms unless its filter says `timeout`: Envoy \
             then decides by its failure mode instead of answering 503; write less than 200, or \
             raise Envoy's `timeout` above it"
        ));
    }
    let same = settings.grpc.address == ListenAddress::Tcp(settings.admin_address.clone());
    if same && !settings.admin_address.ends_with(":0") {
        let advice = "is the address of `server.grpc` too; write another port";
        place.key("admin").key("address").wrong(&settings.admin_address, advice);
    }
    settings
}

fn grpc(file: server::Grpc, place: &Place) -> GrpcSettings {
    let address_place = place.key("address");
    let address = text(file.address, &address_place)
        .and_then(|address| address::listen(&address, &address_place))
        .unwrap_or(ServerSettings::default().grpc.address);
    let tls = file.tls.map(|tls| tls_settings(tls, &place.key("tls")));
    let default = ServerSettings::default().grpc.max_connections;
    let max_connections =
        count(file.max_connections, default.get(), MOST_CONNECTIONS, &place.key("max_connections"));
    let max_connections = NonZeroUsize::new(max_connections).unwrap_or(default);
    let age_place = place.key("max_connection_age_seconds");
    let max_connection_age = file
        .max_connection_age_seconds
        .map(|age| seconds(Some(age), Duration::MAX, Zero::Refused, &age_place));
    GrpcSettings { address, tls, max_connections, max_connection_age }
}

fn tls_settings(tls: server::Tls, place: &Place) -> TlsSettings {
    let (cert_place, key_place) = (place.key("cert_file"), place.key("key_file"));
    let cert = required(tls.cert_file, &cert_place, "write the path of a PEM certificate chain");
    let key = required(tls.key_file, &key_place, "write the path of the certificate's PEM key");
    let client_ca_place = place.key("client_ca_file");
    let client_ca_file = file(tls.client_ca_file, NamedFileKind::TrustRoots, &client_ca_place);
    let sans_place = place.key("allowed_client_sans");
    let sans_written = tls.allowed_client_sans.is_some();
    let allowed_client_sans =
        tls.allowed_client_sans.map(|sans| texts(sans, &sans_place)).unwrap_or_default();
    if sans_written && client_ca_file.is_none() {
        client_ca_place.missing(format_args!(
            "without it no client certificate is asked for, so `{sans_place}` has nothing to check"
        ));
    }
    TlsSettings {
        cert_file: file(cert, NamedFileKind::Certificates, &cert_place).unwrap_or_default(),
        key_file: file(key, NamedFileKind::PrivateKey, &key_place).unwrap_or_default(),
        client_ca_file,
        allowed_client_sans,
    }
}

fn admin(file: server::Admin, place: &Place) -> String {
    let place = place.key("address");
    text(file.address, &place)
        .filter(|address| address::host_and_port(address, &place))
        .unwrap_or(ServerSettings::default().admin_address)
}

fn threads(workers: Workers, place: &Place) -> Option<NonZeroUsize> {
    let problem = match workers {
        Workers::Auto(word) if word == "auto" => return None,
        Workers::Auto(word) => word,
        Workers::Threads(threads @ 1..=MOST_WORKERS) => {
            return usize::try_from(threads).ok().and_then(NonZeroUsize::new);
        }
        Workers::Threads(threads) => threads.to_string(),
    };
    place.wrong(&problem, format_args!("must be `auto` or a number from 1 to {MOST_WORKERS}"));
    None
}
