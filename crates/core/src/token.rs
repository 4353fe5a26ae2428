//! Where the token is found.

use std::borrow::Cow;

pub mod jwt;
mod survey;
pub(crate) mod times;

pub use survey::{Seen, Sighting};

use crate::{
    provider_id::ProviderFilter,
    request::Request,
    settings::{AuthSettings, SeveralTokens, TokenPlace},
};

/// The configured sources, in order.
#[derive(Debug)]
pub struct TokenSources {
    sources: Vec<Source>,
    several: SeveralTokens,
    max_bytes: usize,
}

#[derive(Debug)]
struct Source {
    place: TokenPlace,
    providers: ProviderFilter,
    /// Of a header without a scheme, the schemes with which other sources
    /// read it: what has a space in it, or is such a scheme alone, is theirs.
    leaves: Vec<String>,
}

/// The one token of a request.
#[derive(Debug, PartialEq, Eq)]
pub struct Found<'s, 'a> {
    /// The token, all of it visible ASCII.
    pub token: Cow<'a, str>,
    /// Who may be shown it.
    pub providers: Cow<'s, ProviderFilter>,
}

/// The same, before its bytes were looked at.
#[derive(Debug)]
pub(crate) struct Sought<'s, 'a> {
    pub(crate) token: Cow<'a, [u8]>,
    pub(crate) providers: Cow<'s, ProviderFilter>,
}

/// Why a request has no usable token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoToken {
    /// None was sent, or another scheme's.
    Missing,
    /// Two different ones, or a source that is repeated.
    Ambiguous,
    /// More than [`MAX_PAIRS`] query parameters, cookies or WebSocket
    /// protocols, where it may be one of them.
    Crowded,
    /// It is longer than allowed.
    TooLarge,
    /// It has a byte outside of visible ASCII, which no token has (RFC 6750,
    /// section 2.1) and no API key.
    Unreadable,
}

/// How many query parameters, cookies or WebSocket protocols are looked
/// through for a token. The usual servers read no more than a thousand
/// parameters either; browsers keep fewer than two hundred cookies of a site.
pub const MAX_PAIRS: usize = 1024;

impl TokenSources {
    /// The sources of `settings`.
    pub fn new(settings: &AuthSettings) -> Self {
        let sources = settings.token_sources.iter().map(|source| Source {
            place: source.place.clone(),
            providers: ProviderFilter::new(source.providers.as_deref(), settings),
            leaves: schemes_beside(&source.place, settings),
        });
        Self {
            sources: sources.collect(),
            several: settings.several_tokens,
            max_bytes: settings.max_token_bytes,
        }
    }

    /// The token of a request. The same token in several places is one token,
    /// shown to the providers of each. Of different ones that of the earliest
    /// source counts, if the settings say so; within one source they are
    /// always an error, since any of them may be meant.
    ///
    /// # Errors
    ///
    /// [`NoToken`]: two different tokens before a large one, and nothing is
    /// read of a large one but its length.
    pub fn find<'s, 'a>(&'s self, request: &Request<'a>) -> Result<Found<'s, 'a>, NoToken> {
        let Sought { token, providers } = self.seek(request)?;
        let token = match token {
            Cow::Borrowed(token) => Cow::Borrowed(visible(token)?),
            Cow::Owned(token) => Cow::Owned(visible(&token)?.to_owned()),
        };
        Ok(Found { token, providers })
    }

    /// The same, but for [`NoToken::Unreadable`]: the bytes of a token that is known
    /// need no look.
    pub(crate) fn seek<'s, 'a>(&'s self, request: &Request<'a>) -> Result<Sought<'s, 'a>, NoToken> {
        let mut search =
            Search { max_bytes: self.max_bytes, found: None, one_is_large: false, ignored: None };
        for source in &self.sources {
            if source.is_crowded(request) {
                return Err(NoToken::Crowded);
            }
            search.begin_source(self.several);
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
                TokenPlace::WebSocketProtocol(prefix) => {
                    for protocol in websocket_protocols(request) {
                        match protocol.strip_prefix(prefix.as_bytes()) {
                            None | Some([]) => {}
                            Some(token) => search.add(source, Sent::Plain(token))?,
                        }
                    }
                }
            }
        }
        search.result()
    }
}

impl TokenSources {
    /// Whether of different tokens all but the first are ignored.
    pub(crate) fn may_ignore_tokens(&self) -> bool {
        self.several == SeveralTokens::First
    }

    /// Whether a source has more places for a token than are looked through.
    pub(crate) fn are_crowded(&self, request: &Request<'_>) -> bool {
        self.sources.iter().any(|source| source.is_crowded(request))
    }
}

/// The token that was checked, which stays where other tokens are removed.
#[derive(Clone, Copy)]
pub(crate) struct KeptToken<'t> {
    pub(crate) sources: &'t TokenSources,
    pub(crate) token: &'t [u8],
}

impl KeptToken<'_> {
    /// Whether this place of the request holds it. A header does if any source
    /// finds it there.
    pub(crate) fn is_in(&self, place: &TokenPlace, request: &Request<'_>) -> bool {
        match place {
            TokenPlace::Header { name, .. } => {
                let sources = self.sources.sources.iter();
                let mut here = sources.filter(
                    |it| matches!(&it.place, TokenPlace::Header { name: same, .. } if same == name),
                );
                here.any(|it| it.in_header(request, name) == Ok(Some(self.token)))
            }
            TokenPlace::Query(name) => parameters(request.query().unwrap_or_default())
                .any(|(spelled, value)| spells(spelled, name) && Sent::Form(value).is(self.token)),
            TokenPlace::Cookie(name) => cookies(request)
                .any(|cookie| cookie.name == name.as_bytes() && cookie.value == self.token),
            TokenPlace::WebSocketProtocol(prefix) => {
                websocket_protocols(request).any(|it| self.is_behind(prefix, it))
            }
        }
    }

    /// Whether any source finds it in this WebSocket protocol.
    pub(crate) fn is_protocol(&self, protocol: &[u8]) -> bool {
        self.sources.sources.iter().any(|source| match &source.place {
            TokenPlace::WebSocketProtocol(prefix) => self.is_behind(prefix, protocol),
            _ => false,
        })
    }

    fn is_behind(&self, prefix: &str, protocol: &[u8]) -> bool {
        protocol.strip_prefix(prefix.as_bytes()) == Some(self.token)
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

    /// Whether the two, of one source, are the same token.
    fn is_same(self, other: Self) -> bool {
        match (self, other) {
            (Self::Plain(one), Self::Plain(other)) => one == other,
            (Self::Form(one), Self::Form(other)) => {
                FormBytes(one.as_bytes()).eq(FormBytes(other.as_bytes()))
            }
            (Self::Plain(_), Self::Form(_)) | (Self::Form(_), Self::Plain(_)) => false,
        }
    }
}

/// What was found so far.
struct Search<'s, 'a> {
    max_bytes: usize,
    found: Option<(Cow<'a, [u8]>, Cow<'s, ProviderFilter>)>,
    one_is_large: bool,
    /// Set where an earlier source has the token that counts: the first token
    /// of the source that is looked at, if it has one.
    ignored: Option<Option<Sent<'a>>>,
}

impl<'s, 'a> Search<'s, 'a> {
    fn begin_source(&mut self, several: SeveralTokens) {
        let is_settled = self.found.is_some() || self.one_is_large;
        self.ignored = (several == SeveralTokens::First && is_settled).then_some(None);
    }

    fn add(&mut self, source: &'s Source, sent: Sent<'a>) -> Result<(), NoToken> {
        if let Some(of_this_source) = &mut self.ignored {
            if !of_this_source.get_or_insert(sent).is_same(sent) {
                return Err(NoToken::Ambiguous);
            }
            if let Some((token, providers)) = &mut self.found
                && sent.is(token)
            {
                *providers = Cow::Owned(providers.or(&source.providers));
            }
            return Ok(());
        }
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

    fn result(self) -> Result<Sought<'s, 'a>, NoToken> {
        match (self.found, self.one_is_large) {
            // One that is too large equals no other.
            (Some(_), true) => Err(NoToken::Ambiguous),
            (None, true) => Err(NoToken::TooLarge),
            (None, false) => Err(NoToken::Missing),
            (Some((token, providers)), false) => Ok(Sought { token, providers }),
        }
    }
}

/// The token as text.
///
/// # Errors
///
/// [`NoToken::Unreadable`] if a byte of it is not visible ASCII.
pub(crate) fn visible(token: &[u8]) -> Result<&str, NoToken> {
    // No early exit, so that the loop is one of whole vectors: with `all`,
    // `whole_check` takes 30 % longer (`benches/engine.rs`).
    let is_visible = token.iter().fold(true, |all, byte| all & byte.is_ascii_graphic());
    let text = str::from_utf8(token).ok().filter(|_| is_visible);
    text.ok_or(NoToken::Unreadable)
}

/// The schemes with which other sources read the header that this place reads
/// without one.
fn schemes_beside(place: &TokenPlace, settings: &AuthSettings) -> Vec<String> {
    let TokenPlace::Header { name, scheme: None } = place else { return Vec::new() };
    let others = settings.token_sources.iter().filter_map(|other| match &other.place {
        TokenPlace::Header { name: same, scheme } if same == name => scheme.clone(),
        _ => None,
    });
    others.collect()
}

impl Source {
    /// Whether there are more than [`MAX_PAIRS`] parameters, cookies or
    /// protocols.
    fn is_crowded(&self, request: &Request<'_>) -> bool {
        let count = |separator, text| memchr::memchr_iter(separator, text).count() + 1;
        let all = |name, separator| request.headers.all(name).map(|it| count(separator, it)).sum();
        MAX_PAIRS
            < match &self.place {
                TokenPlace::Header { .. } => 0,
                TokenPlace::Query(_) => count(b'&', request.query().unwrap_or_default().as_bytes()),
                TokenPlace::Cookie(_) => all("cookie", b';'),
                TokenPlace::WebSocketProtocol(_) => all(WEBSOCKET_PROTOCOL, b','),
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
            _ if self.leaves.is_empty() => Some(value),
            _ => {
                let is_scheme =
                    self.leaves.iter().any(|it| value.eq_ignore_ascii_case(it.as_bytes()));
                (!is_scheme && memchr::memchr(b' ', value).is_none()).then_some(value)
            }
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

/// What each byte is worth as a hexadecimal digit; 16 if it is not one. With
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
    elements(request, "cookie", b';').map(|pair| {
        let end_of_name = memchr::memchr(b'=', pair).unwrap_or(pair.len());
        Cookie {
            pair,
            name: &pair[..end_of_name],
            value: pair.get(end_of_name + 1..).unwrap_or_default(),
        }
    })
}

/// The header in which a WebSocket client offers protocols.
pub(crate) const WEBSOCKET_PROTOCOL: &str = "sec-websocket-protocol";

/// The protocols that a WebSocket client offers, in order: a list, in one
/// field or in several (RFC 6455, section 11.3.4).
pub(crate) fn websocket_protocols<'s, 'a>(
    request: &'s Request<'a>,
) -> impl Iterator<Item = &'a [u8]> + 's {
    elements(request, WEBSOCKET_PROTOCOL, b',')
}

/// The elements of a list that may be spread over several fields of one name,
/// without empty ones.
fn elements<'s, 'a>(
    request: &'s Request<'a>,
    name: &'s str,
    separator: u8,
) -> impl Iterator<Item = &'a [u8]> + 's {
    let parts = request.headers.all(name).flat_map(move |field| {
        let ends = memchr::memchr_iter(separator, field).chain([field.len()]);
        let mut start = 0;
        ends.map(move |end| {
            let part = &field[start..end];
            start = end + 1;
            part
        })
    });
    parts.map(<[u8]>::trim_ascii).filter(|part| !part.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::TokenSourceSettings;

    fn sources(places: Vec<TokenPlace>) -> TokenSources {
        sources_with(SeveralTokens::Refuse, places)
    }

    fn sources_with(several_tokens: SeveralTokens, places: Vec<TokenPlace>) -> TokenSources {
        let token_sources = places
            .into_iter()
            .map(|place| TokenSourceSettings { place, providers: None })
            .collect();
        TokenSources::new(&AuthSettings {
            token_sources,
            several_tokens,
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
            // The scheme alone is not a key of that name.
            ("Bearer", Err(NoToken::Missing)),
            ("bearer ", Err(NoToken::Missing)),
            ("Bearerk", Ok("Bearerk")),
            ("k,Bearer l", Err(NoToken::Missing)),
            ("Bearer,Bearer", Err(NoToken::Ambiguous)),
            ("Bearer\tk", Err(NoToken::Unreadable)),
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

    type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], Result<&'a str, NoToken>);

    #[track_caller]
    fn assert_finds(sources: &TokenSources, cases: &[Case<'_>]) {
        for (path, headers, expected) in cases {
            let headers = headers.iter().map(|(n, v)| (*n, v.as_bytes())).collect();
            let request = Request { path, headers, ..Request::default() };
            let found = sources.find(&request).map(|found| found.token.into_owned());
            assert_eq!(found, expected.map(String::from), "{path} {request:?}");
        }
    }

    /// As browsers send them on realtime APIs.
    #[test]
    fn tokens_in_websocket_protocols() {
        const NAME: &str = "sec-websocket-protocol";
        let sources = sources(vec![
            header("authorization", Some("Bearer")),
            TokenPlace::WebSocketProtocol("key.".into()),
        ]);
        let crowd = "a,".repeat(MAX_PAIRS);
        let many: Vec<_> = (0..=MAX_PAIRS).map(|_| (NAME, "a")).collect();
        let most = "a,".repeat(MAX_PAIRS - 1) + "key.t";
        assert_finds(
            &sources,
            &[
                ("/", &[(NAME, "realtime, key.t, beta.v1")], Ok("t")),
                ("/", &[(NAME, "realtime"), (NAME, "key.t"), (NAME, "beta.v1")], Ok("t")),
                ("/", &[(NAME, "key.a.b-c_d")], Ok("a.b-c_d")),
                ("/", &[(NAME, " \tkey.t\t, ,")], Ok("t")),
                ("/", &[(NAME, "key.t,key.t")], Ok("t")),
                ("/", &[(NAME, "key.t,key.u")], Err(NoToken::Ambiguous)),
                ("/", &[(NAME, "key.t"), (NAME, "key.u")], Err(NoToken::Ambiguous)),
                ("/", &[(NAME, "realtime, key.")], Err(NoToken::Missing)),
                ("/", &[(NAME, "realtime, KEY.t, xkey.t")], Err(NoToken::Missing)),
                ("/", &[(NAME, "\"key.t\"")], Err(NoToken::Missing)),
                ("/", &[(NAME, "")], Err(NoToken::Missing)),
                ("/", &[(NAME, "key.a b")], Err(NoToken::Unreadable)),
                ("/", &[(NAME, "key.\u{e9}")], Err(NoToken::Unreadable)),
                ("/", &[(NAME, "key.123456789012345678901")], Err(NoToken::TooLarge)),
                ("/", &[(NAME, "a, key.t"), ("authorization", "Bearer t")], Ok("t")),
                (
                    "/",
                    &[(NAME, "a, key.t"), ("authorization", "Bearer u")],
                    Err(NoToken::Ambiguous),
                ),
                ("/", &[(NAME, &crowd)], Err(NoToken::Crowded)),
                ("/", &many, Err(NoToken::Crowded)),
                ("/", &[(NAME, &most)], Ok("t")),
            ],
        );
    }

    /// Of different tokens the earlier source's counts, where that is wanted.
    /// What is ambiguous within one source stays an error, in any of them.
    #[test]
    fn the_token_of_the_earliest_source_may_count() {
        let places = || {
            vec![
                header("x-api-key", None),
                header("authorization", Some("Bearer")),
                TokenPlace::Query("t".into()),
                TokenPlace::Cookie("s".into()),
            ]
        };
        let (key, bearer) = (("x-api-key", "k"), ("authorization", "Bearer own"));
        let large = ("x-api-key", "123456789012345678901");
        assert_finds(
            &sources_with(SeveralTokens::First, places()),
            &[
                ("/", &[key, bearer], Ok("k")),
                ("/", &[bearer, key], Ok("k")),
                ("/", &[bearer], Ok("own")),
                ("/", &[key], Ok("k")),
                ("/", &[], Err(NoToken::Missing)),
                ("/?t=u", &[key, bearer, ("cookie", "s=v")], Ok("k")),
                ("/?t=u", &[("cookie", "s=v")], Ok("u")),
                ("/?t=u", &[bearer, ("cookie", "s=v")], Ok("own")),
                ("/?t=k&t=k", &[key], Ok("k")),
                ("/?t=u&t=%75", &[key], Ok("k")),
                // An empty one is not a token, nor is another scheme's.
                ("/", &[("x-api-key", ""), bearer], Ok("own")),
                ("/", &[key, ("authorization", "Basic x, y")], Ok("k")),
                // It counts as it is: nothing later takes its place.
                ("/", &[("x-api-key", "a b"), bearer], Err(NoToken::Unreadable)),
                ("/", &[large, bearer], Err(NoToken::TooLarge)),
                ("/?t=u&t=u", &[large, bearer], Err(NoToken::TooLarge)),
                ("/", &[key, ("authorization", "Bearer a b")], Ok("k")),
                ("/?t=123456789012345678901", &[key], Ok("k")),
                // Repeated.
                ("/", &[key, key, bearer], Err(NoToken::Ambiguous)),
                ("/", &[("x-api-key", "k,k"), bearer], Err(NoToken::Ambiguous)),
                ("/", &[key, bearer, bearer], Err(NoToken::Ambiguous)),
                ("/", &[key, ("authorization", "Bearer a,Bearer b")], Err(NoToken::Ambiguous)),
                ("/?t=u&t=v", &[], Err(NoToken::Ambiguous)),
                ("/?t=u&t=v", &[key], Err(NoToken::Ambiguous)),
                ("/?t=u&t=k", &[key], Err(NoToken::Ambiguous)),
                ("/?t=u&t=k", &[large], Err(NoToken::Ambiguous)),
                ("/", &[key, ("cookie", "s=a; s=b")], Err(NoToken::Ambiguous)),
            ],
        );
        assert_finds(&sources(places()), &[("/", &[key, bearer], Err(NoToken::Ambiguous))]);
    }

    /// The providers of a place are asked only about a token that is there.
    #[test]
    fn an_ignored_token_adds_no_providers() {
        let provider = |name: &str| crate::settings::ProviderSettings {
            name: name.into(),
            forward_token: None,
            kind: crate::settings::ProviderKind::ApiKey(Vec::new()),
        };
        let source = |name: &str, provider: &str| TokenSourceSettings {
            place: header(name, None),
            providers: Some(vec![provider.into()]),
        };
        let settings = AuthSettings {
            providers: ["a", "b", "c"].map(provider).into(),
            token_sources: vec![source("x-a", "a"), source("x-b", "b"), source("x-c", "c")],
            several_tokens: SeveralTokens::First,
            ..AuthSettings::default()
        };
        let sources = TokenSources::new(&settings);
        let headers = [("x-a", &b"t"[..]), ("x-b", b"u"), ("x-c", b"t")].into_iter().collect();
        let request = Request { path: "/", headers, ..Request::default() };
        let shown = ProviderFilter::new(Some(&["a".into(), "c".into()]), &settings);
        assert_eq!(sources.find(&request).map(|found| found.providers.into_owned()), Ok(shown));
    }
}
