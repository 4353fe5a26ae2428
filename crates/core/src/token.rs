//! Where the token is found.

use std::borrow::Cow;

pub mod jwt;
mod survey;
pub(crate) mod times;

pub use survey::{Seen, Sighting};

use crate::{
    provider_id::ProviderFilter,
    request::Request,
    settings::{AuthSettings, TokenPlace},
};

/// The configured sources, in order.
#[derive(Debug)]
pub struct TokenSources {
    sources: Vec<Source>,
    max_bytes: usize,
}

#[derive(Debug)]
struct Source {
    place: TokenPlace,
    providers: ProviderFilter,
    /// Whether this is a header without a scheme that another source reads
    /// with one: what has a space in it is then that other's.
    leaves_schemes: bool,
}

/// The one token of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'s, 'a> {
    /// The token, all of it visible ASCII.
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
    /// More than [`MAX_PAIRS`] query parameters or cookies, where it may be
    /// one of them.
    Crowded,
    /// It is longer than allowed.
    TooLarge,
    /// It has a byte outside of visible ASCII, which no token has (RFC 6750,
    /// section 2.1) and no API key.
    Unreadable,
}

/// How many query parameters or cookies are looked through for a token. The
/// usual servers read no more than a thousand parameters either; browsers
/// keep fewer than two hundred cookies of a site.
pub const MAX_PAIRS: usize = 1024;

impl TokenSources {
    /// The sources of `settings`.
    pub fn new(settings: &AuthSettings) -> Self {
        let sources = settings.token_sources.iter().map(|source| Source {
            place: source.place.clone(),
            providers: ProviderFilter::new(source.providers.as_deref(), settings),
            leaves_schemes: settings.token_sources.iter().any(|other| {
                matches!((&source.place, &other.place), (
                    TokenPlace::Header { name, scheme: None },
                    TokenPlace::Header { name: same, scheme: Some(_) },
                ) if name == same)
            }),
        });
        Self { sources: sources.collect(), max_bytes: settings.max_token_bytes }
    }

    /// The token of a request. The same token in several places is one token,
    /// shown to the providers of each.
    ///
    /// # Errors
    ///
    /// [`NoToken`]: two different tokens before a large one, and nothing is
    /// read of a large one but its length.
    pub fn find<'s, 'a>(&'s self, request: &Request<'a>) -> Result<Found<'s, 'a>, NoToken> {
        let mut search = Search { max_bytes: self.max_bytes, found: None, one_is_large: false };
        for source in &self.sources {
            if source.is_crowded(request) {
                return Err(NoToken::Crowded);
            }
            match &source.place {
                TokenPlace::Header { name, .. } => {
                    if let Some(token) = source.in_header(request, name)? {
                        search.add(source, Sent::Plain(token))?;
                    }
                }
                TokenPlace::Query(name) => {
                    let query = request.query().unwrap_or_default();
                    for (spelled, value) in parameters(query) {
                        if !value.is_empty() && spells(spelled, name) {
                            search.add(source, Sent::Form(value))?;
                        }
                    }
                }
                TokenPlace::Cookie(name) => {
                    for cookie in cookies(request) {
                        if !cookie.value.is_empty() && cookie.name == name.as_bytes() {
                            search.add(source, Sent::Plain(cookie.value))?;
                        }
                    }
                }
            }
        }
        search.result()
    }
}

impl TokenSources {
    /// Whether a source has more places for a token than are looked through.
    pub(crate) fn are_crowded(&self, request: &Request<'_>) -> bool {
        self.sources.iter().any(|source| source.is_crowded(request))
    }
}

/// A token as it was sent.
#[derive(Clone, Copy)]
enum Sent<'a> {
    Plain(&'a [u8]),
    /// With the escapes of a form.
    Form(&'a str),
}

impl<'a> Sent<'a> {
    /// Its bytes; `None` if there are more than `max`, which is seen without
    /// undoing the escapes of a much longer one.
    fn bytes(self, max: usize) -> Option<Cow<'a, [u8]>> {
        let bytes = match self {
            Self::Plain(bytes) => Cow::Borrowed(bytes),
            Self::Form(text) if text.len() > max.saturating_mul(3) => return None,
            Self::Form(text) => decode_form(text),
        };
        Some(bytes).filter(|bytes| bytes.len() <= max)
    }

    /// Whether it is this token; undoes no more than it takes to tell.
    fn is(self, token: &[u8]) -> bool {
        match self {
            Self::Plain(bytes) => bytes == token,
            Self::Form(text) => FormBytes(text.as_bytes()).eq(token.iter().copied()),
        }
    }
}

/// What was found so far.
struct Search<'s, 'a> {
    max_bytes: usize,
    found: Option<(Cow<'a, [u8]>, Cow<'s, ProviderFilter>)>,
    one_is_large: bool,
}

impl<'s, 'a> Search<'s, 'a> {
    fn add(&mut self, source: &'s Source, sent: Sent<'a>) -> Result<(), NoToken> {
        match &mut self.found {
            Some((token, providers)) if sent.is(token) => {
                *providers = Cow::Owned(providers.or(&source.providers));
            }
            Some(_) => return Err(NoToken::Ambiguous),
            None => match sent.bytes(self.max_bytes) {
                Some(token) => self.found = Some((token, Cow::Borrowed(&source.providers))),
                None => self.one_is_large = true,
            },
        }
        Ok(())
    }

    fn result(self) -> Result<Found<'s, 'a>, NoToken> {
        match (self.found, self.one_is_large) {
            // One that is too large equals no other.
            (Some(_), true) => Err(NoToken::Ambiguous),
            (None, true) => Err(NoToken::TooLarge),
            (None, false) => Err(NoToken::Missing),
            (Some((token, providers)), false) => {
                Ok(Found { token: visible(token).ok_or(NoToken::Unreadable)?, providers })
            }
        }
    }
}

/// The token as text, if every byte of it is visible ASCII.
fn visible(token: Cow<'_, [u8]>) -> Option<Cow<'_, str>> {
    // No early exit, so that the loop is one of whole vectors: with `all`,
    // `whole_check` takes 30 % longer (`benches/engine.rs`).
    let is_visible = token.iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
    match token {
        _ if !is_visible => None,
        Cow::Borrowed(token) => str::from_utf8(token).ok().map(Cow::Borrowed),
        Cow::Owned(token) => String::from_utf8(token).ok().map(Cow::Owned),
    }
}

impl Source {
    /// Whether there are more than [`MAX_PAIRS`] parameters or cookies.
    fn is_crowded(&self, request: &Request<'_>) -> bool {
        let count = |separator, text| memchr::memchr_iter(separator, text).count() + 1;
        MAX_PAIRS
            < match &self.place {
                TokenPlace::Header { .. } => 0,
                TokenPlace::Query(_) => count(b'&', request.query().unwrap_or_default().as_bytes()),
                TokenPlace::Cookie(_) => {
                    request.headers.all("cookie").map(|cookies| count(b';', cookies)).sum()
                }
            }
    }

    /// What stands in a header behind its scheme, if the scheme is the wanted
    /// one.
    ///
    /// Envoy joins repeated fields with a comma, and no token holds one, so a
    /// comma means two credentials.
    fn in_header<'a>(
        &self,
        request: &Request<'a>,
        name: &str,
    ) -> Result<Option<&'a [u8]>, NoToken> {
        let mut values = request.headers.all(name);
        let Some(value) = values.next() else { return Ok(None) };
        if values.next().is_some() {
            return Err(NoToken::Ambiguous);
        }
        let Some(token) = self.credential(value) else { return Ok(None) };
        if memchr::memchr(b',', token).is_some() {
            return Err(NoToken::Ambiguous);
        }
        Ok(Some(token).filter(|token| !token.is_empty()))
    }

    /// What a value of the header holds for this source; `None` if that is
    /// another scheme's.
    fn credential<'a>(&self, value: &'a [u8]) -> Option<&'a [u8]> {
        let value = value.trim_ascii();
        match &self.place {
            TokenPlace::Header { scheme: Some(scheme), .. } => behind_scheme(value, scheme),
            _ => (!self.leaves_schemes || memchr::memchr(b' ', value).is_none()).then_some(value),
        }
    }
}

/// Schemes are compared without case, and spaces stand behind them (RFC 9110,
/// sections 11.1 and 11.4). A comma ends one, too: it is where Envoy joins a
/// field that holds the scheme alone with the next.
fn behind_scheme<'a>(value: &'a [u8], scheme: &str) -> Option<&'a [u8]> {
    let (sent, rest) = value.split_at_checked(scheme.len())?;
    let is_wanted = sent.eq_ignore_ascii_case(scheme.as_bytes());
    let spaces = rest.iter().take_while(|byte| **byte == b' ').count();
    let has_ended = matches!(rest.first(), None | Some(b' ' | b','));
    (is_wanted && has_ended).then(|| &rest[spaces..])
}

/// The names and values of a query, still escaped.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = Some(query);
    std::iter::from_fn(move || {
        let all = rest?;
        let end = memchr::memchr(b'&', all.as_bytes());
        let pair = &all[..end.unwrap_or(all.len())];
        rest = end.map(|end| &all[end + 1..]);
        let end_of_name = memchr::memchr(b'=', pair.as_bytes()).unwrap_or(pair.len());
        Some((&pair[..end_of_name], pair.get(end_of_name + 1..).unwrap_or_default()))
    })
}

/// Whether this is the name, however it is escaped.
#[inline]
pub(crate) fn spells(spelled: &str, name: &str) -> bool {
    // Escapes only make it longer.
    spelled.len() >= name.len() && FormBytes(spelled.as_bytes()).eq(name.bytes())
}

/// Undoes the escapes of `application/x-www-form-urlencoded`.
fn decode_form(text: &str) -> Cow<'_, [u8]> {
    if memchr::memchr2(b'%', b'+', text.as_bytes()).is_none() {
        return Cow::Borrowed(text.as_bytes());
    }
    let mut bytes = Vec::with_capacity(text.len());
    bytes.extend(FormBytes(text.as_bytes()));
    Cow::Owned(bytes)
}

/// The bytes that a form stands for, one by one, so that to compare them
/// needs no memory.
struct FormBytes<'a>(&'a [u8]);

/// What each byte is worth as a hexadecimal digit; 16 if it is none. With
/// `char::to_digit`, the search takes a sixth longer in the worst query of 8 KB.
const DIGITS: [u8; 256] = {
    let mut digits = [16; 256];
    let mut worth = 0;
    while worth < 16 {
        digits[b"0123456789abcdef"[worth] as usize] = worth as u8;
        digits[b"0123456789ABCDEF"[worth] as usize] = worth as u8;
        worth += 1;
    }
    digits
};

impl Iterator for FormBytes<'_> {
    type Item = u8;

    #[inline]
    fn next(&mut self) -> Option<u8> {
        let digit = |byte: u8| DIGITS[usize::from(byte)];
        let (byte, rest) = match self.0 {
            [b'%', high, low, rest @ ..] => match (digit(*high), digit(*low)) {
                (high @ ..16, low @ ..16) => (high << 4 | low, rest),
                _ => (b'%', &self.0[1..]),
            },
            [b'+', rest @ ..] => (b' ', rest),
            [byte, rest @ ..] => (*byte, rest),
            [] => return None,
        };
        self.0 = rest;
        Some(byte)
    }
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
    let pairs = request.headers.all("cookie").flat_map(|header| {
        let ends = memchr::memchr_iter(b';', header).chain([header.len()]);
        let mut start = 0;
        ends.map(move |end| {
            let pair = &header[start..end];
            start = end + 1;
            pair
        })
    });
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
            ("Bearer\tabc", Err(NoToken::Missing)),
            ("Bearer \tabc", Err(NoToken::Unreadable)),
            ("Bearer abc\t", Ok("abc")),
            ("Bearer\t", Err(NoToken::Missing)),
            ("Bearer a\tb", Err(NoToken::Unreadable)),
            ("Bearer abc def", Err(NoToken::Unreadable)),
            ("Bearer é", Err(NoToken::Unreadable)),
            ("Bearer \u{7f}", Err(NoToken::Unreadable)),
            ("Bearer 1234567890 12345678901", Err(NoToken::TooLarge)),
            ("Bearer éééééééééé1", Err(NoToken::TooLarge)),
            ("Bearer", Err(NoToken::Missing)),
            ("Bearer ", Err(NoToken::Missing)),
            ("Bearerabc", Err(NoToken::Missing)),
            ("Basic abc", Err(NoToken::Missing)),
            ("Basic abc, Bearer abc", Err(NoToken::Missing)),
            ("Bearer abc,Bearer def", Err(NoToken::Ambiguous)),
            ("Bearer abc, Basic x", Err(NoToken::Ambiguous)),
            ("Bearer ,", Err(NoToken::Ambiguous)),
            ("Bearer,Bearer abc", Err(NoToken::Ambiguous)),
            ("Bearer,", Err(NoToken::Ambiguous)),
            ("Bearers,Bearer abc", Err(NoToken::Missing)),
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

    /// Each of them was read as one and the same text before.
    #[test]
    fn bytes_that_are_no_text_are_no_token() {
        for (header, value) in [
            ("authorization", &b"Bearer \xff"[..]),
            ("authorization", b"Bearer \xc3\x28"),
            ("x-api-key", b"k\xfe"),
            ("cookie", b"session=\x80"),
        ] {
            let headers = [(header, value)].into_iter().collect();
            let request = Request { path: "/", headers, ..Request::default() };
            assert_eq!(everywhere().find(&request).unwrap_err(), NoToken::Unreadable, "{value:?}");
        }
    }

    #[test]
    fn names_are_told_however_they_are_escaped() {
        for (spelled, name, expected) in [
            ("token", "token", true),
            ("%74oken", "token", true),
            ("%74%6F%6b%65%6E", "token", true),
            ("%2574oken", "token", false),
            ("tokens", "token", false),
            ("toke", "token", false),
            ("toke%", "token", false),
            ("toke%6", "token", false),
            ("TOKEN", "token", false),
            ("a+b", "a b", true),
            ("a%2Bb", "a b", false),
            ("a%2bb", "a+b", true),
            ("a%b", "a%b", true),
            ("%+", "% ", true),
            ("", "", true),
        ] {
            assert_eq!(spells(spelled, name), expected, "{spelled} {name}");
        }
    }

    #[test]
    fn a_large_token_is_not_read() {
        let escaped = |count: usize| format!("/?access_token={}", "%61".repeat(count));
        for (path, expected) in [
            (escaped(20), Ok("a".repeat(20))),
            (escaped(21), Err(NoToken::TooLarge)),
            (escaped(2000), Err(NoToken::TooLarge)),
            (escaped(2000) + "&access_token=a", Err(NoToken::Ambiguous)),
            (escaped(2000) + "&access_token=" + &"b".repeat(21), Err(NoToken::TooLarge)),
            (format!("/?access_token={}", "%ff".repeat(21)), Err(NoToken::TooLarge)),
        ] {
            assert_eq!(find(&path, &[]), expected, "{path}");
        }
    }

    #[test]
    fn a_crowd_is_not_looked_through() {
        for (count, expected) in
            [(MAX_PAIRS - 1, Ok("t".to_owned())), (MAX_PAIRS, Err(NoToken::Crowded))]
        {
            let path = format!("/?{}access_token=t", "a&".repeat(count));
            assert_eq!(find(&path, &[]), expected, "{count} parameters");
            let cookies = format!("{}session=t", "a;".repeat(count));
            assert_eq!(find("/", &[("cookie", &cookies)]), expected, "{count} cookies");
        }
        let half = "a;".repeat(MAX_PAIRS / 2);
        let halves = [("cookie", &*half), ("cookie", &*half)];
        assert_eq!(find("/", &halves), Err(NoToken::Crowded));
        let authorization = [("authorization", "Bearer t"), ("x-other", &half)];
        assert_eq!(find("/", &authorization), Ok("t".into()));
    }

    #[test]
    fn of_a_header_with_a_scheme_the_other_source_takes_no_spaces() {
        let sources =
            sources(vec![header("authorization", Some("Bearer")), header("authorization", None)]);
        for (value, expected) in [
            ("Bearer k", Ok("k")),
            ("k", Ok("k")),
            (" k ", Ok("k")),
            ("Basic k", Err(NoToken::Missing)),
            ("Basic k, l", Err(NoToken::Missing)),
            ("k,l", Err(NoToken::Ambiguous)),
            ("Bearer k, l", Err(NoToken::Ambiguous)),
            ("Bearer k l", Err(NoToken::Unreadable)),
        ] {
            let headers = [("authorization", value.as_bytes())].into_iter().collect();
            let request = Request { path: "/", headers, ..Request::default() };
            let found = sources.find(&request).map(|found| found.token.into_owned());
            assert_eq!(found, expected.map(String::from), "{value}");
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
