//! What each token source of a request holds, to explain why a token
//! was or was not found. The decision itself never comes here.

use std::fmt;

use super::{
    MAX_PAIRS, Source, TokenSources, cookies, decode_form, parameters, spells, websocket_protocols,
};
use crate::{
    request::Request,
    settings::{SeveralTokens, TokenPlace},
};

/// One token source and what it holds.
#[derive(Debug)]
pub struct Sighting<'s> {
    /// Where it is.
    pub place: &'s TokenPlace,
    /// What is there.
    pub seen: Seen,
}

/// What a token source holds; never the token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Seen {
    /// There is no such header, parameter or cookie.
    Nothing,
    /// There is one, with an empty value.
    Empty,
    /// The header holds another scheme's credential.
    OtherScheme,
    /// The header is there more than once.
    Repeated,
    /// The header's credential has a comma: two joined into one.
    Comma,
    /// Too many parameters, cookies or protocols to look through.
    Crowd,
    /// A token of this many bytes.
    Token {
        /// Its length.
        bytes: usize,
        /// Whether another token was found in an earlier place, or in this one.
        differs: bool,
        /// Whether all its bytes are visible ASCII.
        visible: bool,
    },
    /// Another token of this many bytes, beside that of an earlier source,
    /// which counts.
    Ignored {
        /// Its length.
        bytes: usize,
    },
}

impl fmt::Display for Seen {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nothing => f.write_str("not sent"),
            Self::Empty => f.write_str("sent, but empty"),
            Self::OtherScheme => f.write_str("sent, but with another scheme"),
            Self::Repeated => f.write_str("sent more than once"),
            Self::Comma => f.write_str("a comma, so two credentials in one header"),
            Self::Crowd => write!(f, "more than {MAX_PAIRS}, so none was looked at"),
            Self::Token { bytes, differs, visible } => {
                match differs {
                    false => write!(f, "a token of {bytes} bytes")?,
                    true => write!(f, "another token, of {bytes} bytes")?,
                }
                match visible {
                    true => Ok(()),
                    false => f.write_str(", not all of them visible ASCII"),
                }
            }
            Self::Ignored { bytes } => write!(
                f,
                "another token, of {bytes} bytes, ignored: that of an earlier source counts \
                 (several_tokens: first)"
            ),
        }
    }
}

impl fmt::Display for TokenPlace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Header { name, scheme: Some(scheme) } => write!(f, "header {name} ({scheme})"),
            Self::Header { name, scheme: None } => write!(f, "header {name}"),
            Self::Query(name) => write!(f, "query parameter {name}"),
            Self::Cookie(name) => write!(f, "cookie {name}"),
            Self::WebSocketProtocol(prefix) => write!(f, "WebSocket protocol {prefix}…"),
        }
    }
}

impl TokenSources {
    /// The longest token that is read, in bytes.
    pub(crate) fn max_bytes(&self) -> usize {
        self.max_bytes
    }

    /// What becomes of different tokens in different sources.
    pub(crate) fn several(&self) -> SeveralTokens {
        self.several
    }

    /// Whether tokens are looked for in the query or in cookies.
    pub(crate) fn read_query_or_cookies(&self) -> bool {
        let is_it =
            |source: &Source| matches!(source.place, TokenPlace::Query(_) | TokenPlace::Cookie(_));
        self.sources.iter().any(is_it)
    }

    /// What every source holds, in order.
    pub(crate) fn survey<'s>(&'s self, request: &Request<'_>) -> Vec<Sighting<'s>> {
        let mut first = None;
        let look = |source: &'s Source| {
            let is_settled = self.several == SeveralTokens::First && first.is_some();
            let seen = match is_settled {
                false => look_at(source, request, self.max_bytes, &mut first),
                true => beside(source, request, self.max_bytes, first.as_deref()),
            };
            Sighting { place: &source.place, seen }
        };
        self.sources.iter().map(look).collect()
    }
}

/// What a place holds where the token `first` of an earlier one counts.
fn beside(source: &Source, request: &Request<'_>, max_bytes: usize, first: Option<&[u8]>) -> Seen {
    let seen = look_at(source, request, max_bytes, &mut None);
    let Seen::Token { bytes, visible, .. } = seen else { return seen };
    let values = values(source, request).unwrap_or_default();
    let mut tokens = values.iter().map(Vec::as_slice).filter(|token| !token.is_empty());
    let own = tokens.next();
    // Of large ones, too: none of them has to be read for that.
    match tokens.find(|token| Some(*token) != own) {
        Some(other) => Seen::Token { bytes: other.len(), differs: true, visible },
        None if own == first => seen,
        None => Seen::Ignored { bytes },
    }
}

/// What one place holds; `first` is the first token that was seen anywhere.
fn look_at(
    source: &Source,
    request: &Request<'_>,
    max_bytes: usize,
    first: &mut Option<Vec<u8>>,
) -> Seen {
    let values = match values(source, request) {
        Ok(values) => values,
        Err(seen) => return seen,
    };
    let mut seen = if values.is_empty() { Seen::Nothing } else { Seen::Empty };
    for value in values.into_iter().filter(|value| !value.is_empty()) {
        let bytes = value.len();
        let visible = value.iter().all(u8::is_ascii_graphic);
        let first = first.get_or_insert_with(|| value.clone());
        // Of those that are too large only the length is read.
        let both_are_large = first.len() > max_bytes && bytes > max_bytes;
        let differs = !both_are_large && *first != value;
        let differed = matches!(seen, Seen::Token { differs: true, .. });
        if !differed {
            seen = Seen::Token { bytes, differs, visible };
        }
    }
    seen
}

/// The values of one place, empty ones too; what is there if none can be read.
fn values(source: &Source, request: &Request<'_>) -> Result<Vec<Vec<u8>>, Seen> {
    if source.is_crowded(request) {
        return Err(Seen::Crowd);
    }
    Ok(match &source.place {
        TokenPlace::Header { name, .. } => {
            let mut values = request.headers.all(name);
            let Some(value) = values.next() else { return Err(Seen::Nothing) };
            if values.next().is_some() {
                return Err(Seen::Repeated);
            }
            let Some(token) = source.credential(value) else {
                let is_empty = value.trim_ascii().is_empty();
                return Err(if is_empty { Seen::Empty } else { Seen::OtherScheme });
            };
            if token.contains(&b',') {
                return Err(Seen::Comma);
            }
            vec![token.into()]
        }
        TokenPlace::Query(name) => parameters(request.query().unwrap_or_default())
            .filter(|(spelled, _)| spells(spelled, name))
            .map(|(_, value)| decode_form(value).into_owned())
            .collect(),
        TokenPlace::Cookie(name) => cookies(request)
            .filter(|cookie| cookie.name == name.as_bytes())
            .map(|cookie| cookie.value.into())
            .collect(),
        TokenPlace::WebSocketProtocol(prefix) => websocket_protocols(request)
            .filter_map(|protocol| protocol.strip_prefix(prefix.as_bytes()))
            .map(Into::into)
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*};

    use super::{
        Seen::{Comma, Crowd, Empty, Nothing, OtherScheme, Repeated},
        *,
    };
    use crate::{
        settings::{AuthSettings, TokenSourceSettings},
        token::NoToken,
    };

    fn sources(several_tokens: SeveralTokens) -> TokenSources {
        let header = |name: &str, scheme: Option<&str>| TokenPlace::Header {
            name: name.into(),
            scheme: scheme.map(Into::into),
        };
        let places = [
            header("authorization", Some("Bearer")),
            header("x-api-key", None),
            TokenPlace::Query("access_token".into()),
            TokenPlace::Cookie("session".into()),
            TokenPlace::WebSocketProtocol("key.".into()),
        ];
        let token_sources =
            places.into_iter().map(|place| TokenSourceSettings { place, providers: None });
        TokenSources::new(&AuthSettings {
            token_sources: token_sources.collect(),
            max_token_bytes: 20,
            several_tokens,
            ..AuthSettings::default()
        })
    }

    /// What the survey says comes to what the search finds.
    #[track_caller]
    fn assert_agrees(sources: &TokenSources, request: &Request<'_>) -> Vec<Seen> {
        let seen: Vec<_> =
            sources.survey(request).into_iter().map(|sighting| sighting.seen).collect();
        let ambiguous =
            |seen: &Seen| matches!(seen, Repeated | Comma | Seen::Token { differs: true, .. });
        let token = seen.iter().find_map(|seen| match seen {
            Seen::Token { bytes, visible, .. } => Some((*bytes, *visible)),
            _ => None,
        });
        let told = match (seen.iter().any(ambiguous), token) {
            _ if seen.contains(&Crowd) => Err(NoToken::Crowded),
            (true, _) => Err(NoToken::Ambiguous),
            (false, None) => Err(NoToken::Missing),
            (false, Some((21.., _))) => Err(NoToken::TooLarge),
            (false, Some((_, false))) => Err(NoToken::Unreadable),
            (false, Some((bytes, true))) => Ok(bytes),
        };
        let found = sources.find(request).map(|found| found.token.len());
        // The search ends at the first error that it comes to.
        let both = [found, told]
            .map(|it| it.is_err_and(|it| matches!(it, NoToken::Crowded | NoToken::Ambiguous)));
        assert!(found == told || both == [true; 2], "{found:?} {seen:?} {request:?}");
        seen
    }

    /// What is told never contradicts what was decided.
    #[test]
    fn the_survey_agrees_with_the_search() {
        let token = |bytes, differs| Seen::Token { bytes, differs, visible: true };
        let odd = |bytes| Seen::Token { bytes, differs: false, visible: false };
        let (many, crowd) = (";".repeat(MAX_PAIRS), ";".repeat(MAX_PAIRS - 1));
        let long = "k".repeat(30);
        type Case<'a> = (&'a str, &'a [(&'a str, &'a str)], [Seen; 4]);
        let cases: [Case<'_>; 22] = [
            ("/", &[], [Nothing; 4]),
            ("/", &[("authorization", "Basic x")], [OtherScheme, Nothing, Nothing, Nothing]),
            ("/", &[("authorization", "Bearer")], [Empty, Nothing, Nothing, Nothing]),
            ("/", &[("authorization", "")], [Empty, Nothing, Nothing, Nothing]),
            ("/", &[("authorization", "bearer t")], [token(1, false), Nothing, Nothing, Nothing]),
            ("/", &[("authorization", "Bearer a,b")], [Comma, Nothing, Nothing, Nothing]),
            ("/", &[("x-api-key", "a"), ("x-api-key", "a")], [Nothing, Repeated, Nothing, Nothing]),
            (
                "/?access_token=t%21&x",
                &[("cookie", "session=u; a=b")],
                [Nothing, Nothing, token(2, false), token(1, true)],
            ),
            ("/?access_token=t&access_token=u", &[], [Nothing, Nothing, token(1, true), Nothing]),
            (
                "/?access_token=",
                &[("cookie", "session=; session=t"), ("x-api-key", "t")],
                [Nothing, token(1, false), Empty, token(1, false)],
            ),
            (
                "/",
                &[("authorization", "Bearer 123456789012345678901")],
                [token(21, false), Nothing, Nothing, Nothing],
            ),
            ("/", &[("authorization", "Bearer\ta")], [OtherScheme, Nothing, Nothing, Nothing]),
            ("/", &[("authorization", "Bearer a b")], [odd(3), Nothing, Nothing, Nothing]),
            ("/", &[("authorization", "Bearer \ta")], [odd(2), Nothing, Nothing, Nothing]),
            ("/", &[("x-api-key", "é")], [Nothing, odd(2), Nothing, Nothing]),
            ("/?access_token=%ff", &[], [Nothing, Nothing, odd(1), Nothing]),
            ("/", &[("cookie", &many)], [Nothing, Nothing, Nothing, Crowd]),
            ("/", &[("cookie", &crowd), ("x-api-key", "é")], [Nothing, odd(2), Nothing, Nothing]),
            // Of two that are too large neither is read.
            (
                "/?access_token=1234567890123456789012",
                &[("authorization", "Bearer 123456789012345678901")],
                [token(21, false), Nothing, token(22, false), Nothing],
            ),
            (
                "/?access_token=1",
                &[("authorization", "Bearer 123456789012345678901")],
                [token(21, false), Nothing, token(1, true), Nothing],
            ),
            (
                "/?access_token=123456789012345678901",
                &[("authorization", "Bearer 1")],
                [token(1, false), Nothing, token(21, true), Nothing],
            ),
            ("/", &[("x-api-key", &long)], [Nothing, token(30, false), Nothing, Nothing]),
        ];
        let sources = sources(SeveralTokens::Refuse);
        for (path, headers, expected) in cases {
            let headers = headers.iter().map(|(name, value)| (*name, value.as_bytes())).collect();
            let request = Request { method: "GET", path, headers, ..Request::default() };
            let seen = assert_agrees(&sources, &request);
            assert_eq!(seen[..4], expected, "{request:?}");
            assert_eq!(seen[4], Nothing, "{request:?}");
        }
    }

    #[test]
    fn ignored_tokens_are_told_as_such() {
        let token = |bytes| Seen::Token { bytes, differs: false, visible: true };
        let ignored = |bytes| Seen::Ignored { bytes };
        let headers: [(&str, &[u8]); 4] = [
            ("authorization", b"Bearer t"),
            ("x-api-key", b"other"),
            ("cookie", b"session=t"),
            ("sec-websocket-protocol", b"a, key.another"),
        ];
        let headers = headers.into_iter().collect();
        let request = Request { path: "/?access_token=%74", headers, ..Request::default() };
        let seen = assert_agrees(&sources(SeveralTokens::First), &request);
        assert_eq!(seen, [token(1), ignored(5), token(1), token(1), ignored(7)]);
    }

    proptest! {
        /// With few letters, so that tokens are often the same.
        #[test]
        fn the_survey_agrees_with_the_search_on_anything(
            first in any::<bool>(),
            query in "(access_token=(t|u|%74|%ff|a{22})?&?){0,3}",
            fields in vec(prop_oneof![
                ("authorization|x-api-key", "((Bearer|bearer|Basic) ?)?[ tu,]{0,4}"),
                ("authorization|x-api-key", "Bearer (a{22}|b{22}|é)"),
                ("cookie", "(session=(t|u|a{22})?; ?){0,3}"),
                ("sec-websocket-protocol", "((key\\.)?[tu]{0,2}, ?){0,3}"),
            ], 0..5),
        ) {
            let several = if first { SeveralTokens::First } else { SeveralTokens::Refuse };
            let headers = fields.iter().map(|(name, value)| (&**name, value.as_bytes())).collect();
            let path = format!("/?{query}");
            let request = Request { path: &path, headers, ..Request::default() };
            assert_agrees(&sources(several), &request);
        }
    }
}
