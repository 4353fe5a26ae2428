//! What changes in a request before the upstream sees it.

use std::{borrow::Cow, sync::Arc};

use smallvec::SmallVec;

use super::identity::IdentityHeaders;
use crate::{
    identity::Identity,
    request::Request,
    settings::{TokenPlace, TokenSourceSettings},
    token::{KeptToken, WEBSOCKET_PROTOCOL, cookies, parameters, spells, websocket_protocols},
};

/// The edits of an allowed request.
#[derive(Clone, Debug, Default)]
pub struct Edits<'a> {
    /// Headers to set, replacing every value the client sent. Never empty values.
    /// Those of the identity come first, in its order.
    pub set: SmallVec<[(&'a str, Cow<'a, str>); 8]>,
    /// Headers to remove; none of them is in `set`.
    pub remove: SmallVec<[Cow<'a, str>; 8]>,
    /// Query parameters to remove, spelled as the client spelled them.
    pub remove_query: SmallVec<[Cow<'a, str>; 1]>,
}

impl<'a> Edits<'a> {
    /// Sets the headers of `identity`.
    pub(crate) fn identify(&mut self, identity: &'a Identity) {
        let set = identity.headers.iter();
        self.set.extend(set.map(|(name, value)| (&**name, Cow::from(&**value))));
    }

    /// Removes every header that could pass for an identity header and is not one
    /// of `identity`; if `is_complete`, which is that all of the client's headers are
    /// in `request`, only those that are there.
    pub(crate) fn remove_others(
        &mut self,
        headers: &'a IdentityHeaders,
        identity: Option<&'a Identity>,
        request: &Request<'a>,
        is_complete: bool,
    ) {
        let set = identity.map_or(&[][..], |identity| &identity.headers);
        let mut next = set.iter().map(|(name, _)| name).peekable();
        for name in headers.names() {
            // They are in the order of the names; a look at all of them is for
            // those that are left out.
            let is_next = next.next_if(|next| Arc::ptr_eq(next, name)).is_some();
            let may_be_there = || !is_complete || request.headers.first(name).is_some();
            if !is_next && may_be_there() && !set.iter().any(|(set, _)| set == name) {
                self.remove.push(Cow::Borrowed(&**name));
            }
        }
        for (name, _) in request.headers.iter() {
            if !headers.is_mistakable(name) {
                continue;
            }
            let is_ours = headers.names().iter().any(|ours| &**ours == name);
            // Envoy removes every field of a name.
            let is_last = || self.remove.last().is_some_and(|last| last == name);
            if !is_ours && !is_last() {
                self.remove.push(name.into());
            }
        }
    }

    /// Removes every place that may hold a token, but those that hold `kept`.
    pub(crate) fn hide_tokens(
        &mut self,
        sources: &'a [TokenSourceSettings],
        request: &Request<'a>,
        kept: Option<KeptToken<'_>>,
    ) {
        let mut hidden_cookies: SmallVec<[&str; 2]> = SmallVec::new();
        let mut hidden_protocols: SmallVec<[&str; 2]> = SmallVec::new();
        for source in sources {
            if kept.is_some_and(|kept| kept.is_in(&source.place, request)) {
                continue;
            }
            match &source.place {
                TokenPlace::Header { name, .. } => self.remove.push(Cow::Borrowed(name)),
                TokenPlace::Query(name) => self.hide_parameter(name, request),
                TokenPlace::Cookie(name) => hidden_cookies.push(name),
                TokenPlace::WebSocketProtocol(prefix) => hidden_protocols.push(prefix),
            }
        }
        if !hidden_cookies.is_empty() {
            let all = || cookies(request).map(|cookie| (cookie.name, cookie.pair));
            let is_hidden = |name: &[u8]| hidden_cookies.iter().any(|it| it.as_bytes() == name);
            self.keep("cookie", "; ", all, is_hidden);
        }
        if !hidden_protocols.is_empty() {
            let all = || websocket_protocols(request).map(|protocol| (protocol, protocol));
            let is_hidden = |it: &[u8]| {
                hidden_protocols.iter().any(|prefix| it.starts_with(prefix.as_bytes()))
                    && !kept.is_some_and(|kept| kept.is_protocol(it))
            };
            self.keep(WEBSOCKET_PROTOCOL, ", ", all, is_hidden);
        }
    }

    /// However the client escaped its name.
    fn hide_parameter(&mut self, name: &str, request: &Request<'a>) {
        for (spelled, _) in parameters(request.query().unwrap_or_default()) {
            // Envoy removes every parameter of a name.
            let is_last = || self.remove_query.last().is_some_and(|last| last == spelled);
            if spells(spelled, name) && !is_last() {
                self.remove_query.push(spelled.into());
            }
        }
    }

    /// Keeps of a header that lists elements, each given with its name, those
    /// that are not hidden; all of its fields become one.
    fn keep<'h, I: Iterator<Item = (&'h [u8], &'h [u8])>>(
        &mut self,
        header: &'static str,
        separator: &str,
        all: impl Fn() -> I,
        is_hidden: impl Fn(&[u8]) -> bool,
    ) {
        let is_removed = || self.remove.iter().any(|removed| removed == header);
        if !all().any(|(name, _)| is_hidden(name)) || is_removed() {
            return;
        }
        let room = all().map(|(_, element)| element.len() + separator.len()).sum();
        let mut kept = String::with_capacity(room);
        for (_, element) in all().filter(|(name, _)| !is_hidden(name)) {
            kept.push_str(if kept.is_empty() { "" } else { separator });
            kept.push_str(&String::from_utf8_lossy(element));
        }
        match kept.is_empty() {
            true => self.remove.push(header.into()),
            false => self.set.push((header, kept.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        settings::{AuthSettings, IdentityHeaderSettings, SeveralTokens},
        token::TokenSources,
    };

    fn source(place: TokenPlace) -> TokenSourceSettings {
        TokenSourceSettings { place, providers: None }
    }

    #[test]
    fn identity_headers_are_set_or_removed_and_look_alikes_always_removed() {
        let headers = IdentityHeaders::new(&IdentityHeaderSettings::default());
        let identity = Identity {
            headers: vec![("x-auth-subject".into(), "me".into())],
            ..Identity::default()
        };
        let request = Request {
            headers: [
                ("x-auth-subject", &b"root"[..]),
                ("x_auth_subject", b"root"),
                ("x_auth-scopes", b"*"),
            ]
            .into_iter()
            .collect(),
            ..Request::default()
        };
        let mut edits = Edits::default();
        edits.identify(&identity);
        edits.remove_others(&headers, Some(&identity), &request, false);
        assert_eq!(edits.set.as_slice(), [("x-auth-subject", Cow::from("me"))]);
        assert_eq!(
            edits.remove.as_slice(),
            [
                "x-auth-scopes",
                "x-auth-method",
                "x-auth-provider",
                "x_auth_subject",
                "x_auth-scopes"
            ]
        );
    }

    #[test]
    fn tokens_are_hidden_in_every_place() {
        let sources = [
            source(TokenPlace::Header {
                name: "authorization".into(),
                scheme: Some("Bearer".into()),
            }),
            source(TokenPlace::Query("access_token".into())),
            source(TokenPlace::Cookie("session".into())),
        ];
        let cases = [
            ("a=1; session=t; b=2", Some("a=1; b=2"), false),
            ("session=t", None, true),
            ("a=1", None, false),
        ];
        for (cookie, kept, removed) in cases {
            let request = Request {
                path: "/x?access%5Ftoken=t&a=1&access_token=u&access_token=w&access_tokens=v",
                headers: [("cookie", cookie.as_bytes())].into_iter().collect(),
                ..Request::default()
            };
            let mut edits = Edits::default();
            edits.hide_tokens(&sources, &request, None);
            assert_eq!(edits.remove_query.as_slice(), ["access%5Ftoken", "access_token"]);
            assert_eq!(edits.set.first().map(|(_, value)| &**value), kept, "{cookie}");
            assert_eq!(edits.remove.contains(&Cow::from("cookie")), removed, "{cookie}");
            assert!(edits.remove.contains(&Cow::from("authorization")));
        }
    }

    #[test]
    fn of_websocket_protocols_only_the_token_is_hidden() {
        let sources = [source(TokenPlace::WebSocketProtocol("key.".into()))];
        let cases: [(&[&str], Option<&str>, bool); 9] = [
            (&["realtime, key.t, beta.v1"], Some("realtime, beta.v1"), false),
            (&["realtime", "key.t,beta.v1"], Some("realtime, beta.v1"), false),
            (&["realtime,,key.t, ,key.u"], Some("realtime"), false),
            (&["\tkey.t ", "x"], Some("x"), false),
            (&["key.t"], None, true),
            (&["key."], None, true),
            (&["realtime, beta.v1"], None, false),
            (&["KEY.t, xkey.t"], None, false),
            (&[], None, false),
        ];
        for (fields, kept, removed) in cases {
            let fields = fields.iter().map(|value| (WEBSOCKET_PROTOCOL, value.as_bytes()));
            let request = Request { path: "/", headers: fields.collect(), ..Request::default() };
            let mut edits = Edits::default();
            edits.hide_tokens(&sources, &request, None);
            assert_eq!(edits.set.first().map(|(_, value)| &**value), kept, "{request:?}");
            assert_eq!(edits.remove.as_slice() == [WEBSOCKET_PROTOCOL], removed, "{request:?}");
        }
    }

    /// A header that goes as a whole is not set again.
    #[test]
    fn what_is_removed_is_not_set() {
        let header = |name: &str| TokenPlace::Header { name: name.into(), scheme: None };
        let sources = [
            source(TokenPlace::Cookie("s".into())),
            source(TokenPlace::WebSocketProtocol("key.".into())),
            source(header("cookie")),
            source(header(WEBSOCKET_PROTOCOL)),
        ];
        let headers = [("cookie", &b"a=1; s=t"[..]), (WEBSOCKET_PROTOCOL, b"a, key.t")];
        let headers = headers.into_iter().collect();
        let request = Request { path: "/", headers, ..Request::default() };
        let mut edits = Edits::default();
        edits.hide_tokens(&sources, &request, None);
        assert_eq!(edits.remove.as_slice(), ["cookie", WEBSOCKET_PROTOCOL]);
        assert!(edits.set.is_empty());
    }

    /// Where the upstream may have the token that was checked, those that were
    /// ignored are hidden alone.
    #[test]
    fn places_of_the_token_that_is_kept_stay() {
        let places = || {
            [
                TokenPlace::Header { name: "authorization".into(), scheme: Some("Bearer".into()) },
                TokenPlace::Header { name: "authorization".into(), scheme: None },
                TokenPlace::Header { name: "x-api-key".into(), scheme: None },
                TokenPlace::Query("t".into()),
                TokenPlace::Query("u".into()),
                TokenPlace::Cookie("s".into()),
                TokenPlace::WebSocketProtocol("key.".into()),
                TokenPlace::WebSocketProtocol("key.a.".into()),
            ]
        };
        let settings = AuthSettings {
            token_sources: places().map(source).into(),
            several_tokens: SeveralTokens::First,
            ..AuthSettings::default()
        };
        let sources = TokenSources::new(&settings);
        type Texts = &'static [&'static str];
        type Headers = &'static [(&'static str, &'static str)];
        // Path, headers; what is removed of headers and parameters, and set.
        type Case = (&'static str, Headers, Texts, Texts, Texts);
        let all: Headers = &[
            ("authorization", "bearer one"),
            ("x-api-key", "two"),
            ("cookie", "a=1; s=two"),
            (WEBSOCKET_PROTOCOL, "chat, key.two"),
        ];
        let cases: [Case; 7] = [
            ("/?t=two", all, &["x-api-key"], &["t"], &["a=1", "chat"]),
            ("/", &[("authorization", "one"), ("x-api-key", "two")], &["x-api-key"], &[], &[]),
            ("/", &[("x-api-key", "one")], &["authorization", "authorization"], &[], &[]),
            // A source with the token loses nothing; Envoy removes by name.
            (
                "/?t=&t=%6fne&u=two",
                &[("authorization", "Basic x y")],
                &["authorization", "authorization", "x-api-key"],
                &["u"],
                &[],
            ),
            (
                "/?u=two",
                &[("cookie", "s=one"), (WEBSOCKET_PROTOCOL, "key.two")],
                &["authorization", "authorization", "x-api-key", "cookie"],
                &[],
                &[],
            ),
            (
                "/",
                &[(WEBSOCKET_PROTOCOL, "key.a.one")],
                &["authorization", "authorization", "x-api-key"],
                &[],
                &[],
            ),
            (
                "/",
                &[("cookie", "s=one"), (WEBSOCKET_PROTOCOL, "chat, key.two, x")],
                &["authorization", "authorization", "x-api-key"],
                &[],
                &["chat, x"],
            ),
        ];
        for (path, headers, removed, removed_query, set) in cases {
            let fields = headers.iter().map(|(name, value)| (*name, value.as_bytes()));
            let request = Request { path, headers: fields.collect(), ..Request::default() };
            let found = sources.find(&request).unwrap();
            let kept = KeptToken { sources: &sources, token: found.token.as_bytes() };
            let mut edits = Edits::default();
            edits.hide_tokens(&settings.token_sources, &request, Some(kept));
            assert_eq!(edits.remove.as_slice(), removed, "{path} {headers:?}");
            assert_eq!(edits.remove_query.as_slice(), removed_query, "{path} {headers:?}");
            let values: Vec<_> = edits.set.iter().map(|(_, value)| &**value).collect();
            assert_eq!(values, set, "{path} {headers:?}");
        }
    }
}
