//! A request that was written down instead of received.

use crate::{
    envoy::{
        capture::Capture,
        decode::{Names, check_request},
        wire::Malformed,
    },
    request::Request,
    settings::{TokenPlace, TokenSourceSettings},
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

impl Sent {
    /// The request of a capture, read as the service reads it.
    ///
    /// # Errors
    ///
    /// [`Malformed`], which a [`Capture`] never is.
    pub fn captured(capture: &Capture) -> Result<Self, Malformed> {
        let names = Names::new();
        let request = check_request(capture.message(), &names)?;
        Ok(Self {
            method: request.method.into(),
            host: request.host.into(),
            path: request.path.into(),
            route: request.route.map(Into::into),
            headers: request.headers.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        })
    }

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

    /// Puts the token where the first source looks for it. A header that is
    /// there already is replaced: captured requests have theirs blotted out.
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
            TokenPlace::Query(name) => {
                let separator = if self.path.contains('?') { '&' } else { '?' };
                let pair = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair(name, token)
                    .finish();
                self.path.push(separator);
                self.path.push_str(&pair);
            }
            TokenPlace::Cookie(name) => {
                self.headers.push(("cookie".into(), format!("{name}={token}").into_bytes()));
            }
        }
        Ok(())
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
