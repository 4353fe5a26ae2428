//! How hosts are compared.

/// A host without port and trailing dot.
pub(super) fn bare_host(host: &str) -> &str {
    let end_of_address = host.rfind(']').map_or(0, |at| at + 1);
    let end = host[end_of_address..].find(':').map_or(host.len(), |at| end_of_address + at);
    let host = &host[..end];
    host.strip_suffix('.').unwrap_or(host)
}

/// `*.example.com` stands for every host below `example.com`, not for itself.
pub(super) fn host_matches(allowed: &str, host: &str) -> bool {
    match allowed.strip_prefix('*') {
        Some(suffix) => {
            let (host, suffix) = (host.as_bytes(), suffix.as_bytes());
            host.len() > suffix.len()
                && host[host.len() - suffix.len()..].eq_ignore_ascii_case(suffix)
        }
        None => host.eq_ignore_ascii_case(allowed),
    }
}
