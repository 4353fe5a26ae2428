//! A request that was written down instead of received.

use crate::{
    request::Request,
    settings::{TokenPlace, TokenSourceSettings},
    token::{WEBSOCKET_PROTOCOL, cookies, spells, websocket_protocols},
};

/// The parts of a request, owned.
#[derive(Clone, Default)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The host.
    pub host: String,
    /// The path with its query.
    pub path: String,
    /// What Envoy's own route names (`claimgate_route`).
    pub route: Option<String>,
    /// Headers in order, names in lower case.
    pub headers: Vec<(String, Vec<u8>)>,
}

/// There is no place to put a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no token source is configured")]
pub struct NoTokenSource;

impl From<&Request<'_>> for Sent {
    fn from(request: &Request<'_>) -> Self {
        Self {
            method: request.method.into(),
            host: request.host.into(),
            path: request.path.into(),
            route: request.route.map(Into::into),
            headers: request.headers.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        }
    }
}

impl Sent {
    /// Borrowed, as the engine wants it.
    pub fn request(&self) -> Request<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Request {
            method: &self.method,
            host: &self.host,
            path: &self.path,
            route: self.route.as_deref(),
            headers: headers.collect(),
        }
    }

    /// Puts the token where the first source looks for it. What is there
    /// already is replaced: captured requests have theirs blotted out.
    ///
    /// # Errors
    ///
    /// [`NoTokenSource`] if there is none.
    pub fn present(
        &mut self,
        token: &str,
        sources: &[TokenSourceSettings],
    ) -> Result<(), NoTokenSource> {
        let source = sources.first().ok_or(NoTokenSource)?;
        match &source.place {
            TokenPlace::Header { name, scheme } => {
                let value = match scheme {
                    Some(scheme) => format!("{scheme} {token}"),
                    None => token.into(),
                };
                self.headers.retain(|(other, _)| other != name);
                self.headers.push((name.clone(), value.into_bytes()));
            }
            TokenPlace::Query(name) => self.present_parameter(name, token),
            TokenPlace::Cookie(name) => self.present_cookie(name, token),
            TokenPlace::WebSocketProtocol(prefix) => self.present_protocol(prefix, token),
        }
        Ok(())
    }

    fn present_parameter(&mut self, name: &str, token: &str) {
        let request = self.request();
        let others = request.query().unwrap_or_default().split('&').filter(|pair| {
            let spelled = pair.split('=').next().unwrap_or_default();
            !pair.is_empty() && !spells(spelled, name)
        });
        let mut pairs: Vec<String> = others.map(Into::into).collect();
        let mut own = url::form_urlencoded::Serializer::new(String::new());
        pairs.push(own.append_pair(name, token).finish());
        self.path = format!("{}?{}", request.bare_path(), pairs.join("&"));
    }

    fn present_cookie(&mut self, name: &str, token: &str) {
        let request = self.request();
        let others = cookies(&request).filter(|cookie| cookie.name != name.as_bytes());
        let mut pairs: Vec<Vec<u8>> = others.map(|cookie| cookie.pair.into()).collect();
        pairs.push(format!("{name}={token}").into_bytes());
        self.headers.retain(|(other, _)| other != "cookie");
        self.headers.push(("cookie".into(), pairs.join(&b"; "[..])));
    }

    fn present_protocol(&mut self, prefix: &str, token: &str) {
        let request = self.request();
        let others = websocket_protocols(&request).filter(|it| !it.starts_with(prefix.as_bytes()));
        let mut protocols: Vec<Vec<u8>> = others.map(Into::into).collect();
        protocols.push(format!("{prefix}{token}").into_bytes());
        self.headers.retain(|(other, _)| other != WEBSOCKET_PROTOCOL);
        self.headers.push((WEBSOCKET_PROTOCOL.into(), protocols.join(&b", "[..])));
    }
}

/// Method and host: the rest may hold a token.
impl std::fmt::Debug for Sent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sent")
            .field("method", &self.method)
            .field("host", &self.host)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_takes_the_place_of_what_is_there() {
        let present = |place: TokenPlace| {
            let mut sent = Sent {
                path: "/x?a=1&access%5Ftoken=old&b".into(),
                headers: vec![
                    ("cookie".into(), b"a=1; s=old".to_vec()),
                    ("x-key".into(), b"old".to_vec()),
                    (WEBSOCKET_PROTOCOL.into(), b"a, key.old".to_vec()),
                ],
                ..Sent::default()
            };
            sent.present("new", &[TokenSourceSettings { place, providers: None }]).unwrap();
            let text = |(name, value): &(String, Vec<u8>)| {
                format!("{name}: {}", String::from_utf8_lossy(value))
            };
            (sent.path.clone(), sent.headers.iter().map(text).collect::<Vec<_>>().join(", "))
        };
        let path = "/x?a=1&access%5Ftoken=old&b";
        let protocols = "sec-websocket-protocol: a, key.old";
        let headers = format!("cookie: a=1; s=old, x-key: old, {protocols}");
        for (place, expected) in [
            (
                TokenPlace::Query("access_token".into()),
                ("/x?a=1&b&access_token=new".to_owned(), headers),
            ),
            (
                TokenPlace::Cookie("s".into()),
                (path.to_owned(), format!("x-key: old, {protocols}, cookie: a=1; s=new")),
            ),
            (
                TokenPlace::Header { name: "x-key".into(), scheme: None },
                (path.to_owned(), format!("cookie: a=1; s=old, {protocols}, x-key: new")),
            ),
            (
                TokenPlace::WebSocketProtocol("key.".into()),
                (
                    path.to_owned(),
                    "cookie: a=1; s=old, x-key: old, sec-websocket-protocol: a, key.new".to_owned(),
                ),
            ),
        ] {
            assert_eq!(present(place), expected);
        }
    }
}
