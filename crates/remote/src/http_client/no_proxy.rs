//! `NO_PROXY`, as far as the HTTP library does not read it.
//!
//! The library knows names (`example.com`, with all below it), addresses,
//! networks and `*`. In many environments the variable also holds
//! `*.example.com` and `host:port`, as Go, Java and curl's users write them;
//! the library takes these for names that no host has.

use std::env;

use url::{Host, Url};

/// The entries that the library does not know.
#[derive(Debug, Default)]
pub(super) struct NoProxy(Vec<Entry>);

#[derive(Debug, PartialEq, Eq)]
struct Entry {
    hosts: Hosts,
    /// Any, if there is none.
    port: Option<u16>,
}

#[derive(Debug, PartialEq, Eq)]
enum Hosts {
    All,
    /// Those below this name.
    Below(String),
    /// This host and those below it, or this address.
    At(String),
}

impl NoProxy {
    /// Those of the environment, under the name that the library reads.
    pub(super) fn of_environment() -> Self {
        let list = env::var("NO_PROXY").or_else(|_| env::var("no_proxy"));
        Self::of(&list.unwrap_or_default())
    }

    fn of(list: &str) -> Self {
        Self(list.split(',').filter_map(|entry| Entry::read(entry.trim())).collect())
    }

    /// Whether this URL is to be fetched without a proxy.
    pub(super) fn holds(&self, url: &Url) -> bool {
        let Some(host) = url.host() else { return false };
        self.0.iter().any(|entry| {
            entry.port.is_none_or(|port| url.port_or_known_default() == Some(port))
                && entry.hosts.have(&host)
        })
    }
}

impl Entry {
    /// `None` for what the library knows.
    fn read(text: &str) -> Option<Self> {
        let (name, port) = match text.rsplit_once(':') {
            // Any other colon is one of a bare IPv6 address.
            Some((name, port)) if !name.contains(':') || name.ends_with(']') => {
                (name, Some(port.parse().ok()?))
            }
            _ => (text, None),
        };
        let name = name.to_ascii_lowercase();
        let hosts = match name.strip_prefix("*.") {
            Some(parent) => Hosts::Below(parent.to_owned()),
            None if port.is_none() => return None,
            None if name == "*" => Hosts::All,
            None => Hosts::At(name.trim_start_matches('.').to_owned()),
        };
        Some(Self { hosts, port })
    }
}

impl Hosts {
    fn have(&self, host: &Host<&str>) -> bool {
        // A URL has its domain in lower case.
        let name = host.to_string();
        let name = name.strip_suffix('.').unwrap_or(&name);
        let is_below = |parent: &str| {
            matches!(host, Host::Domain(_))
                && name.strip_suffix(parent).is_some_and(|before| before.ends_with('.'))
        };
        match self {
            Self::All => true,
            Self::Below(parent) => is_below(parent),
            Self::At(own) => name == own || is_below(own),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_ports_are_compared() {
        for (list, url, expected) in [
            ("*.example.com", "https://idp.example.com/", true),
            ("*.example.com", "https://a.b.example.com:8443/", true),
            ("*.Example.COM", "https://IDP.example.com/", true),
            ("*.example.com", "https://idp.example.com./", true),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://notexample.com/", false),
            ("*.example.com", "https://idp.example.com.evil.org/", false),
            ("*.0.0.1", "https://10.0.0.1/", false),
            ("x, *.example.com ,y", "https://idp.example.com/", true),
            ("*.example.com:8443", "https://idp.example.com:8443/", true),
            ("*.example.com:8443", "https://idp.example.com/", false),
            ("idp.example.com:443", "https://idp.example.com/", true),
            ("idp.example.com:443", "http://idp.example.com/", false),
            ("idp.example.com:80", "http://idp.example.com/", true),
            ("idp.example.com:8443", "https://idp.example.com:8443/", true),
            ("idp.example.com:8443", "https://a.idp.example.com:8443/", true),
            ("idp.example.com:8443", "https://idp.example.com:8444/", false),
            ("idp.example.com:8443", "https://xidp.example.com:8443/", false),
            (".example.com:8443", "https://example.com:8443/", true),
            ("10.0.0.1:8443", "https://10.0.0.1:8443/", true),
            ("10.0.0.1:8443", "https://10.0.0.2:8443/", false),
            ("[fd00::1]:8443", "https://[fd00::1]:8443/", true),
            ("[fd00::1]:8443", "https://[fd00::1]/", false),
            ("*:8443", "https://anything:8443/", true),
            ("*:8443", "https://anything/", false),
            // The library reads these itself.
            ("", "https://example.com/", false),
            ("*", "https://example.com/", false),
            ("example.com", "https://example.com/", false),
            ("10.0.0.0/8", "https://10.0.0.1/", false),
            ("fd00::1", "https://[fd00::1]/", false),
            // These mean nothing.
            (":8443", "https://example.com:8443/", false),
            ("example.com:", "https://example.com/", false),
            ("example.com:x", "https://example.com/", false),
            ("example.com:99999", "https://example.com/", false),
        ] {
            let url = Url::parse(url).unwrap();
            assert_eq!(NoProxy::of(list).holds(&url), expected, "{list} {url}");
        }
    }
}
