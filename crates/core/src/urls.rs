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

/// Why a URL does not name its server safely.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotSecure {
    /// It is not a URL, or a parser would drop or encode some of it.
    #[error("is not a valid URL")]
    NotAUrl,
    /// It holds a user name or a password.
    #[error("holds a user name or password")]
    User,
    /// It has a fragment.
    #[error("has a fragment")]
    Fragment,
    /// Anyone on the way may answer in the server's place.
    #[error("is not https")]
    NotHttps,
}

/// Reads a URL without user and fragment that is https, unless that is waived
/// by `allow_http` or its host is a loopback one.
///
/// # Errors
/// If it is not one.
pub fn secure(text: &str, allow_http: bool) -> Result<Url, NotSecure> {
    let url = Url::parse(text).map_err(|_| NotSecure::NotAUrl)?;
    if has_odd_characters(text) {
        return Err(NotSecure::NotAUrl);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err(NotSecure::User);
    }
    if url.fragment().is_some() {
        return Err(NotSecure::Fragment);
    }
    if url.scheme() == "https" || allow_http || (url.scheme() == "http" && is_loopback(&url)) {
        return Ok(url);
    }
    Err(NotSecure::NotHttps)
}

/// Looks at an issuer. It is compared byte for byte, so whatever `iss` says
/// may be written where `allow_http` waives the https rule.
///
/// # Errors
/// If it is empty, or neither such a text nor a URL that is [`secure`].
pub fn check_issuer(text: &str, allow_http: bool) -> Result<(), NotSecure> {
    let is_url = text.contains("://");
    if allow_http && !is_url && !text.is_empty() && !has_odd_characters(text) {
        return Ok(());
    }
    secure(text, allow_http).map(drop)
}

/// What the URL parser would silently drop or encode.
fn has_odd_characters(text: &str) -> bool {
    !text.bytes().all(|byte| byte.is_ascii_graphic())
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

    #[test]
    fn a_url_is_secure_or_says_why_not() {
        for (text, allow_http, expected) in [
            ("https://a.example/b?c", false, Ok(())),
            ("http://127.0.0.1:1", false, Ok(())),
            ("http://a.example", false, Err(NotSecure::NotHttps)),
            ("http://a.example", true, Ok(())),
            ("file:///a", false, Err(NotSecure::NotHttps)),
            ("https://me:pass@a.example", true, Err(NotSecure::User)),
            ("https://a.example/#b", true, Err(NotSecure::Fragment)),
            ("https://a.example/ b", true, Err(NotSecure::NotAUrl)),
            ("https://a.example/\n", true, Err(NotSecure::NotAUrl)),
            ("a.example", true, Err(NotSecure::NotAUrl)),
            ("", true, Err(NotSecure::NotAUrl)),
        ] {
            assert_eq!(secure(text, allow_http).map(drop), expected, "{text} {allow_http}");
        }
    }

    #[test]
    fn an_issuer_is_a_secure_url_unless_that_is_waived() {
        for (text, allow_http, expected) in [
            ("https://a.example", false, Ok(())),
            ("http://a.example", false, Err(NotSecure::NotHttps)),
            ("my-service", false, Err(NotSecure::NotAUrl)),
            ("my-service", true, Ok(())),
            ("my service", true, Err(NotSecure::NotAUrl)),
            ("", true, Err(NotSecure::NotAUrl)),
        ] {
            assert_eq!(check_issuer(text, allow_http), expected, "{text} {allow_http}");
        }
    }
}
