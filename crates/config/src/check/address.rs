//! Rules for the addresses of listeners.

use std::net::{Ipv4Addr, Ipv6Addr};

use crate::{report::Place, settings::ListenAddress};

/// Longest path of a Unix socket: `sun_path` less its NUL.
const LONGEST_SOCKET_PATH: usize = 107;

/// `host:port`, `[::]:port` or `unix:/path`.
pub(super) fn listen(text: &str, place: &Place) -> Option<ListenAddress> {
    if place.refuses_any_bare_reference() {
        return None;
    }
    match text.strip_prefix("unix:") {
        Some(path) => unix_path(path, text, place).map(|path| ListenAddress::Unix(path.into())),
        None => host_and_port(text, place).then(|| ListenAddress::Tcp(text.into())),
    }
}

/// The path behind `unix:`, with or without the `//` of a URL.
pub(super) fn unix_path<'t>(path: &'t str, text: &str, place: &Place) -> Option<&'t str> {
    let path = path.strip_prefix("//").unwrap_or(path);
    if path.is_empty() || path.contains('\0') || path.ends_with('/') {
        place.wrong(text, "names no socket; write `unix:/path/to/socket`");
        return None;
    }
    if path.len() > LONGEST_SOCKET_PATH {
        let advice =
            format_args!("is too long for a socket; use at most {LONGEST_SOCKET_PATH} bytes");
        place.wrong(text, advice);
        return None;
    }
    Some(path)
}

/// Whether this is `host:port`; reports it otherwise.
pub(super) fn host_and_port(text: &str, place: &Place) -> bool {
    if place.refuses_any_bare_reference() {
        return false;
    }
    if let Some(port) = lone_port(text) {
        let advice = place.write_instead(&format!("0.0.0.0:{port}"));
        place.wrong(text, format_args!("is a port without a host; {advice}"));
        return false;
    }
    let problem = match text.rsplit_once(':') {
        _ if text.contains("://") => Some("must not have a scheme"),
        None => Some("has no port"),
        Some((_, port)) if !is_port(port) => Some("has no port from 0 to 65535 at its end"),
        Some((host, _)) => host_problem(host),
    };
    if let Some(problem) = problem {
        let advice = "write `host:port`, such as `0.0.0.0:9001` or `[::]:9001`";
        place.wrong(text, format_args!("{problem}; {advice}"));
    }
    problem.is_none()
}

/// A port alone, as `9001` or `:9001`.
fn lone_port(text: &str) -> Option<&str> {
    let port = text.strip_prefix(':').unwrap_or(text);
    Some(port).filter(|port| !port.is_empty() && is_port(port))
}

fn is_port(port: &str) -> bool {
    port.bytes().all(|byte| byte.is_ascii_digit()) && port.parse::<u16>().is_ok()
}

fn host_problem(host: &str) -> Option<&'static str> {
    let name_byte = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if let Some(inner) = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')) {
        let address = inner.split_once('%').map_or(inner, |(address, _zone)| address);
        return address
            .parse::<Ipv6Addr>()
            .is_err()
            .then_some("has no IPv6 address in its brackets");
    }
    match host {
        "" => Some("has no host"),
        "*" => Some("has no host; every interface is `0.0.0.0` or `[::]`"),
        _ if host.contains(':') => Some("has an IPv6 address without brackets"),
        _ if !host.bytes().all(name_byte) => Some("has an invalid host"),
        _ if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') => {
            host.parse::<Ipv4Addr>().is_err().then_some("has an invalid IPv4 address")
        }
        _ => None,
    }
}
