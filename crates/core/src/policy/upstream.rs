//! What changes in a request before the upstream sees it.

use std::{borrow::Cow, sync::Arc};

use smallvec::SmallVec;

use super::identity::IdentityHeaders;
use crate::{
    identity::Identity,
    request::Request,
    settings::{TokenPlace, TokenSourceSettings},
    token::{cookies, parameters, spells},
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
    /// Sets the headers of `identity` and removes every other one that could
    /// pass for an identity header.
    pub fn identify(
        &mut self,
        headers: &'a IdentityHeaders,
        identity: Option<&'a Identity>,
        request: &Request<'a>,
    ) {
        let set = identity.map_or(&[][..], |identity| &identity.headers);
        self.set.extend(set.iter().map(|(name, value)| (&**name, (&**value).into())));
        let mut next = set.iter().map(|(name, _)| name).peekable();
        for name in headers.names() {
            // They are in the order of the names; a look at all of them is for
            // those that are left out.
            let is_next = next.next_if(|next| Arc::ptr_eq(next, name)).is_some();
            if !is_next && !set.iter().any(|(set, _)| set == name) {
                self.remove.push(Cow::Borrowed(&**name));
            }
        }
        for (name, _) in request.headers.iter() {
            let is_ours = || headers.names().iter().any(|ours| &**ours == name);
            // Envoy removes every field of a name.
            let is_last = || self.remove.last().is_some_and(|last| last == name);
            if headers.is_mistakable(name) && !is_ours() && !is_last() {
                self.remove.push(name.into());
            }
        }
    }

    /// Removes every place that may hold a token.
    pub fn hide_tokens(&mut self, sources: &'a [TokenSourceSettings], request: &Request<'a>) {
        let mut hidden_cookies: SmallVec<[&str; 2]> = SmallVec::new();
        for source in sources {
            match &source.place {
                TokenPlace::Header { name, .. } => self.remove.push(Cow::Borrowed(name)),
                TokenPlace::Query(name) => self.hide_parameter(name, request),
                TokenPlace::Cookie(name) => hidden_cookies.push(name),
            }
        }
        if !hidden_cookies.is_empty() {
            self.hide_cookies(&hidden_cookies, request);
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

    fn hide_cookies(&mut self, hidden: &[&str], request: &Request<'a>) {
        let is_hidden = |name: &[u8]| hidden.iter().any(|hidden| hidden.as_bytes() == name);
        if !cookies(request).any(|cookie| is_hidden(cookie.name)) {
            return;
        }
        let mut kept = String::with_capacity(request.headers.all("cookie").map(<[u8]>::len).sum());
        for cookie in cookies(request).filter(|cookie| !is_hidden(cookie.name)) {
            kept.push_str(if kept.is_empty() { "" } else { "; " });
            kept.push_str(&String::from_utf8_lossy(cookie.pair));
        }
        match kept.is_empty() {
            true => self.remove.push("cookie".into()),
            false => self.set.push(("cookie", kept.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::IdentityHeaderSettings;

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
        edits.identify(&headers, Some(&identity), &request);
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
            edits.hide_tokens(&sources, &request);
            assert_eq!(edits.remove_query.as_slice(), ["access%5Ftoken", "access_token"]);
            assert_eq!(edits.set.first().map(|(_, value)| &**value), kept, "{cookie}");
            assert_eq!(edits.remove.contains(&Cow::from("cookie")), removed, "{cookie}");
            assert!(edits.remove.contains(&Cow::from("authorization")));
        }
    }
}
