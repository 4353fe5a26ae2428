//! A request that was written down instead of received.

use anyhow::{Context, bail};

use crate::{
    envoy::{
        capture::Capture,
        decode::{Names, check_request},
    },
    request::Request,
    settings::{TokenPlace, TokenSourceSettings},
};

/// The parts of a request.
#[derive(Clone, Default)]
pub(crate) struct Sent {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) route: Option<String>,
    /// Names in lower case.
    pub(crate) headers: Vec<(String, Vec<u8>)>,
}

impl Sent {
    /// The request of a capture, read as the service reads it.
    pub(crate) fn captured(capture: &Capture) -> anyhow::Result<Self> {
        let names = Names::new();
        let request = check_request(capture.message(), &names).context("the captured request")?;
        Ok(Self {
            method: request.method.into(),
            host: request.host.into(),
            path: request.path.into(),
            route: request.route.map(Into::into),
            headers: request.headers.iter().map(|(n, v)| (n.into(), v.into())).collect(),
        })
    }

    /// Borrowed, as the engine wants it.
    pub(crate) fn request(&self) -> Request<'_> {
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
    pub(crate) fn present(
        &mut self,
        token: &str,
        sources: &[TokenSourceSettings],
    ) -> anyhow::Result<()> {
        let Some(source) = sources.first() else { bail!("no token source is configured") };
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
