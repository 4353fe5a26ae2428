//! Where the token is found.

use std::borrow::Cow;

mod survey;

pub use survey::{Seen, Sighting};

use crate::{
    policy::routes::ProviderFilter,
    request::Request,
    settings::{AuthSettings, TokenPlace},
};

/// The configured sources, in order.
#[derive(Debug)]
pub struct TokenSources {
    sources: Vec<(TokenPlace, ProviderFilter)>,
    max_bytes: usize,
}

/// The one token of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'s, 'a> {
    /// The token; bytes that are no UTF-8 are replaced, so it can't match anything.
    pub token: Cow<'a, str>,
    /// Who may be shown it.
    pub providers: Cow<'s, ProviderFilter>,
}

/// Why a request has no usable token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// None was sent, or another scheme's.
    Missing,
    /// Two different ones, or a source that is repeated.
    Ambiguous,
    /// It is longer than allowed.
    TooLarge,
}

impl TokenSources {
    /// The sources of `settings`.
    pub fn new(settings: &AuthSettings) -> Self {
        let sources = settings.token_sources.iter().map(|source| {
            (source.place.clone(), ProviderFilter::new(source.providers.as_deref(), settings))
        });
        Self { sources: sources.collect(), max_bytes: settings.max_token_bytes }
    }

    /// The token of a request. The same token in several places is one token,
    /// shown to the providers of each.
    ///
    /// # Errors
    ///
    /// [`NoToken`], two different tokens before a large one.
    pub fn find<'s, 'a>(&'s self, request: &Request<'a>) -> Result<Found<'s, 'a>, NoToken> {
        let mut found: Option<Found<'s, 'a>> = None;
        for (place, providers) in &self.sources {
            let mut add = |token: Cow<'a, str>| match &mut found {
                Some(earlier) if earlier.token != token => Err(NoToken::Ambiguous),
                Some(earlier) => {
                    earlier.providers = Cow::Owned(earlier.providers.or(providers));
                    Ok(())
                }
                None => {
                    found = Some(Found { token, providers: Cow::Borrowed(providers) });
                    Ok(())
                }
            };
            match place {
                TokenPlace::Header { name, scheme } => {
                    if let Some(token) = in_header(request, name, scheme.as_deref())? {
                        add(readable(token))?;
                    }
                }
                TokenPlace::Query(name) => {
                    for (spelled, value) in parameters(request.query().unwrap_or_default()) {
                        if !value.is_empty() && decode_form(spelled) == *name {
                            add(decode_form(value))?;
                        }
                    }
                }
                TokenPlace::Cookie(name) => {
                    for cookie in cookies(request) {
                        if !cookie.value.is_empty() && cookie.name == name.as_bytes() {
                            add(readable(cookie.value))?;
                        }
                    }
                }
            }
        }
        let found = found.ok_or(NoToken::Missing)?;
        if found.token.len() > self.max_bytes { Err(NoToken::TooLarge) } else { Ok(found) }
    }
}

/// A token as text. Checking it first is what makes this cheap: the lossy
/// reading alone goes byte by byte.
fn readable(token: &[u8]) -> Cow<'_, str> {
    str::from_utf8(token).map_or_else(|_| String::from_utf8_lossy(token), Cow::Borrowed)
}

/// What stands in a header behind its scheme, if the scheme is the wanted one.
///
/// Envoy joins repeated fields with a comma, and no token holds one, so a
/// comma means two credentials.
fn in_header<'a>(
    request: &Request<'a>,
    name: &str,
    scheme: Option<&str>,
) -> Result<Option<&'a [u8]>, NoToken> {
    let mut values = request.headers.all(name);
    let Some(value) = values.next() else { return Ok(None) };
    if values.next().is_some() {
        return Err(NoToken::Ambiguous);
    }
    let Some(token) = behind_scheme(value.trim_ascii(), scheme) else { return Ok(None) };
    if memchr::memchr(b',', token).is_some() {
        return Err(NoToken::Ambiguous);
    }
    Ok(Some(token).filter(|token| !token.is_empty()))
}

/// Schemes are compared without case (RFC 9110, section 11.1).
fn behind_scheme<'a>(value: &'a [u8], scheme: Option<&str>) -> Option<&'a [u8]> {
    let Some(scheme) = scheme else { return Some(value) };
    let (sent, rest) = value.split_at_checked(scheme.len())?;
    let is_wanted = sent.eq_ignore_ascii_case(scheme.as_bytes());
    let ends_there = rest.first().is_none_or(|byte| matches!(byte, b' ' | b'\t'));
    (is_wanted && ends_there).then(|| rest.trim_ascii_start())
}

/// The names and values of a query, still escaped.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    query.split('&').map(|pair| pair.split_once('=').unwrap_or((pair, "")))
}

/// Undoes the escapes of `application/x-www-form-urlencoded`.
pub(crate) fn decode_form(text: &str) -> Cow<'_, str> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text);
    }
    let spaced = text.replace('+', " ");
    Cow::Owned(percent_encoding::percent_decode_str(&spaced).decode_utf8_lossy().into_owned())
}

/// One cookie of a request.
pub(crate) struct Cookie<'a> {
    /// Name and value as sent.
    pub(crate) pair: &'a [u8],
    /// What stands before the first `=`.
    pub(crate) name: &'a [u8],
    /// What stands behind it.
    pub(crate) value: &'a [u8],
}

/// The cookies of a request, in order (RFC 6265, section 4.2).
pub(crate) fn cookies<'s, 'a>(request: &'s Request<'a>) -> impl Iterator<Item = Cookie<'a>> + 's {
    let pairs = request.headers.all("cookie").flat_map(|header| header.split(|byte| *byte == b';'));
    pairs.map(<[u8]>::trim_ascii).filter(|pair| !pair.is_empty()).map(|pair| {
        let end_of_name = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        Cookie {
            pair,
            name: &pair[..end_of_name],
            value: pair.get(end_of_name + 1..).unwrap_or_default(),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TokenSourceSettings;

    fn sources(places: Vec<TokenPlace>) -> TokenSources {
        let token_sources = places
            .into_iter()
            .map(|place| TokenSourceSettings { place, providers: None })
            .collect();
        TokenSources::new(&AuthSettings {
            token_sources,
            max_token_bytes: 20,
            ..AuthSettings::default()
        })
    }

    fn header(name: &str, scheme: Option<&str>) -> TokenPlace {
        TokenPlace::Header { name: name.into(), scheme: scheme.map(Into::into) }
    }

    fn everywhere() -> TokenSources {
        sources(vec![
            header("authorization", Some("Bearer")),
            header("x-api-key", None),
            TokenPlace::Query("access_token".into()),
            TokenPlace::Cookie("session".into()),
        ])
    }

    fn find(path: &str, headers: &[(&str, &str)]) -> Result<String, NoToken> {
        let headers = headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
        let request = Request { path, headers, ..Request::default() };
        everywhere().find(&request).map(|found| found.token.into_owned())
    }

    #[test]
    fn tokens_in_headers() {
        let auth = |value| [("authorization", value)];
        let cases = [
            ("Bearer abc", Ok("abc")),
            ("bearer abc", Ok("abc")),
            ("BEARER   abc ", Ok("abc")),
            ("Bearer\tabc", Ok("abc")),
            ("Bearer", Err(NoToken::Missing)),
            ("Bearer ", Err(NoToken::Missing)),
            ("Bearerabc", Err(NoToken::Missing)),
            ("Basic abc", Err(NoToken::Missing)),
            ("Basic abc, Bearer abc", Err(NoToken::Missing)),
            ("Bearer abc,Bearer def", Err(NoToken::Ambiguous)),
            ("Bearer abc, Basic x", Err(NoToken::Ambiguous)),
            ("Bearer ,", Err(NoToken::Ambiguous)),
            ("abc", Err(NoToken::Missing)),
            ("", Err(NoToken::Missing)),
            ("Bearer 12345678901234567890", Ok("12345678901234567890")),
            ("Bearer 123456789012345678901", Err(NoToken::TooLarge)),
        ];
        for (value, expected) in cases {
            assert_eq!(find("/", &auth(value)), expected.map(String::from), "{value:?}");
        }
    }

    #[test]
    fn tokens_in_other_places() {
        let cases: [(&str, &[(&str, &str)], _); 14] = [
            ("/", &[("x-api-key", "k")], Ok("k")),
            ("/", &[("x-api-key", "k,l")], Err(NoToken::Ambiguous)),
            ("/?access_token=q", &[], Ok("q")),
            ("/?access%5ftoken=a%2Bb", &[], Ok("a+b")),
            ("/?access_token=q&access_token=q", &[], Ok("q")),
            ("/?access_token=q&access_token=r", &[], Err(NoToken::Ambiguous)),
            ("/?access_token=&x", &[], Err(NoToken::Missing)),
            ("/", &[("cookie", "a=b; session=c")], Ok("c")),
            ("/", &[("cookie", "a=b;session=c==")], Ok("c==")),
            ("/", &[("cookie", "session=c"), ("cookie", "session=d")], Err(NoToken::Ambiguous)),
            ("/", &[("cookie", "session")], Err(NoToken::Missing)),
            (
                "/?access_token=t",
                &[("authorization", "Bearer t"), ("cookie", "session=t")],
                Ok("t"),
            ),
            ("/?access_token=u", &[("authorization", "Bearer t")], Err(NoToken::Ambiguous)),
            (
                "/",
                &[("authorization", "Bearer t"), ("authorization", "Bearer t")],
                Err(NoToken::Ambiguous),
            ),
        ];
        for (path, headers, expected) in cases {
            assert_eq!(find(path, headers), expected.map(String::from), "{path} {headers:?}");
        }
    }

    #[test]
    fn two_schemes_may_share_a_header() {
        let sources = sources(vec![
            header("authorization", Some("Bearer")),
            header("authorization", Some("ApiKey")),
        ]);
        let request = Request {
            headers: [("authorization", &b"ApiKey k"[..])].into_iter().collect(),
            ..Request::default()
        };
        assert_eq!(sources.find(&request).map(|found| found.token), Ok("k".into()));
    }
}
