//! URLs that are sent as written.

use url::{Host, Position, Url};

/// Why a URL can't be sent exactly as written.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotExact {
    /// It is not a URL with a host.
    #[error("not an absolute http or https URL")]
    NotAUrl,
    /// It would be sent in another spelling.
    #[error("this URL can't be fetched exactly as written: its path would be sent as {path:?}")]
    Respelled {
        /// How the path would be sent.
        path: String,
    },
}

/// Reads a URL that goes onto the wire byte for byte.
///
/// # Errors
/// If it is not an absolute http or https URL, or holds what the HTTP client
/// would send in another spelling (dot segments, `\`, spaces): the server
/// might serve something else there, so nothing is fetched in its stead.
pub fn exact(text: &str) -> Result<Url, NotExact> {
    let url = Url::parse(text).map_err(|_| NotExact::NotAUrl)?;
    let (_, rest) = text.split_once("://").ok_or(NotExact::NotAUrl)?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err(NotExact::NotAUrl);
    }
    let written = &rest[rest.find(['/', '\\', '?', '#']).unwrap_or(rest.len())..];
    let written = written.split_once('#').map_or(written, |(before, _)| before);
    let sent = &url[Position::BeforePath..Position::AfterQuery];
    // An empty path is sent as `/` (RFC 9110, 4.2.3).
    if sent == written || (!written.starts_with('/') && sent.strip_prefix('/') == Some(written)) {
        Ok(url)
    } else {
        Err(NotExact::Respelled { path: url.path().to_owned() })
    }
}

/// The URL as it may be shown: without user, password, query and fragment,
/// any of which may hold a secret.
pub fn shown(url: &Url) -> String {
    let host = &url[Position::BeforeHost..Position::AfterPort];
    format!("{}://{host}{}", url.scheme(), url.path())
}

/// Whether a URL stays on this machine.
pub fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name.eq_ignore_ascii_case("localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sent_is_what_was_written() {
        for (text, sent) in [
            ("https://a.example", "/"),
            ("https://a.example?x=1", "/?x=1"),
            ("https://A.example:443/b//c/", "/b//c/"),
            ("https://a.example//", "//"),
            ("https://a.example/%7Eb/%2F/c;d=e/@:!$&'()*+,", "/%7Eb/%2F/c;d=e/@:!$&'()*+,"),
            ("http://[::1]:8080/a?b=/../c&d=%20#e", "/a?b=/../c&d=%20"),
            ("https://user:pass@a.example/a", "/a"),
        ] {
            let url = exact(text).unwrap();
            assert_eq!(&url[Position::BeforePath..Position::AfterQuery], sent, "{text}");
        }
    }

    #[test]
    fn what_would_be_sent_in_another_spelling_is_refused() {
        for (text, path) in [
            ("https://a.example/b/../c", "/c"),
            ("https://a.example/./c?secret", "/c"),
            ("https://a.example/b/%2e%2E/c", "/c"),
            ("https://a.example\\c", "/c"),
            ("https://a.example/b c", "/b%20c"),
            ("https://a.example/b\tc", "/bc"),
            ("https://a.example/c ", "/c"),
            ("https://a.example/é", "/%C3%A9"),
        ] {
            assert_eq!(exact(text).unwrap_err(), NotExact::Respelled { path: path.into() });
        }
        for text in ["", "/jwks.json", "a.example/jwks.json", "https:/a.example/c", "file:///etc/c"]
        {
            assert_eq!(exact(text).unwrap_err(), NotExact::NotAUrl, "{text}");
        }
    }

    #[test]
    fn secrets_in_a_url_are_not_shown() {
        let url = exact("https://user:pass@a.example:8443/jwks//k?key=secret").unwrap();
        assert_eq!(shown(&url), "https://a.example:8443/jwks//k");
        assert_eq!(shown(&exact("http://[::1]:80").unwrap()), "http://[::1]/");
    }

    #[test]
    fn loopback_hosts_are_known() {
        for (text, loopback) in [
            ("http://localhost:1", true),
            ("http://LOCALHOST", true),
            ("http://127.0.0.1", true),
            ("http://127.1.2.3", true),
            ("http://[::1]", true),
            ("http://localhost.example", false),
            ("http://127.0.0.1.example", false),
            ("http://10.0.0.1", false),
            ("http://[::2]", false),
        ] {
            assert_eq!(is_loopback(&exact(text).unwrap()), loopback, "{text}");
        }
    }
}
