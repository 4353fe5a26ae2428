//! One fetch of a key document over HTTP.
//!
//! A fetch is bounded in time, size and redirects, and goes nowhere but to
//! the configured origin, or, with discovery, to where that origin points.

use std::{
    future::Future,
    path::PathBuf,
    time::{Duration, SystemTime},
};

use claimgate_core::{
    settings::{KeyLocation, KeySourceSettings},
    urls::{self, NotExact},
};
use claimgate_files::Lane;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use reqwest::{Response, Url};

use self::discovery::JwksUri;
use crate::http_client::{Clients, HttpClientBuilder};

pub use self::{
    error::{Cause, FetchError, SetupError},
    limits::{MAX_BODY_BYTES, MAX_REDIRECTS},
};

mod discovery;
mod error;
mod limits;
mod pause;

/// Fetches a key document.
pub(super) trait Fetcher: Send + 'static {
    /// Fetches it, unless it is still at the version `have`.
    fn fetch(
        &self,
        have: Option<&Version>,
    ) -> impl Future<Output = Result<Fetched, FetchError>> + Send;
}

/// The answer to a fetch.
pub(super) enum Fetched {
    /// The document at this URL has not changed.
    NotModified { url: String },
    /// The current document.
    Document(Document),
}

/// A fetched document, not parsed yet.
pub(super) struct Document {
    /// Where it came from, without what may be secret.
    pub(super) url: String,
    /// Its bytes.
    pub(super) body: Vec<u8>,
    /// Its version, if the server sent one.
    pub(super) version: Option<Version>,
}

/// A version of the document at a URL (RFC 9110, 8.8.3).
pub(super) struct Version {
    url: Url,
    etag: HeaderValue,
}

/// Fetches over HTTP or HTTPS.
pub(super) struct HttpFetcher {
    clients: Clients,
    place: Place,
    fetch_token_file: Option<PathBuf>,
    /// Reads that file: a mount that hangs must not take one thread for every
    /// retry.
    lane: Lane,
    timeout: Duration,
}

/// The URL of the JWKS, or of the document that names it.
enum Place {
    Jwks(Url),
    Discovery {
        url: Url,
        /// Where it is if it is not there.
        otherwise: Option<Url>,
        issuer: String,
        allow_http: bool,
    },
}

impl HttpFetcher {
    /// A fetcher of the keys that `settings` name, for this issuer.
    ///
    /// # Errors
    /// If the location is a file or a URL that can't be fetched as written, or
    /// if the trust roots can't be read.
    pub(super) fn new(issuer: &str, settings: &KeySourceSettings) -> Result<Self, SetupError> {
        let place = match &settings.location {
            KeyLocation::File(_) => return Err(NotExact::NotAUrl.into()),
            KeyLocation::Url(text) => Place::Jwks(urls::exact(text)?),
            KeyLocation::Discovery { url, otherwise } => Place::Discovery {
                url: urls::exact(url)?,
                otherwise: otherwise.as_deref().map(urls::exact).transpose()?,
                issuer: issuer.to_owned(),
                allow_http: settings.allow_http,
            },
        };
        // Fetches are minutes apart: an idle connection would have gone stale.
        let mut client = HttpClientBuilder::new(place.first_url())
            .ca_file(settings.ca_file.as_deref())
            .takes_gzip()
            .without_idle_connections();
        if matches!(place, Place::Discovery { .. }) {
            client = client.may_lead_to_https();
        }
        Ok(Self {
            clients: client.build_all()?,
            place,
            fetch_token_file: settings.fetch_token_file.clone(),
            lane: Lane::default(),
            timeout: settings.timeout,
        })
    }

    async fn fetch_jwks(&self, have: Option<&Version>) -> Result<Fetched, FetchError> {
        let headers = self.authorization().await?;
        match &self.place {
            Place::Jwks(url) => self.fetch_from(url, headers, have).await,
            Place::Discovery { url, otherwise, issuer, allow_http } => {
                let (url, response) = self.discover(url, otherwise.as_ref(), &headers).await?;
                let body = read_body(url, ok(url, response)?).await?;
                let JwksUri(jwks) = JwksUri::read(&body, issuer, *allow_http)
                    .map_err(|cause| FetchError::at(url, cause))?;
                self.fetch_from(&jwks, headers, have).await
            }
        }
    }

    /// Asks for the discovery document, and if there is none for the one
    /// at the other place.
    async fn discover<'u>(
        &self,
        url: &'u Url,
        otherwise: Option<&'u Url>,
        headers: &HeaderMap,
    ) -> Result<(&'u Url, Response), FetchError> {
        let response = self.send(url, headers.clone()).await?;
        let Some(other) = otherwise.filter(|_| response.status() == StatusCode::NOT_FOUND) else {
            return Ok((url, response));
        };
        let response = self.send(other, headers.clone()).await?;
        match response.status() {
            StatusCode::NOT_FOUND => {
                Err(FetchError::at(url, Cause::NotFoundAtEither(urls::shown(other))))
            }
            _ => Ok((other, response)),
        }
    }

    async fn fetch_from(
        &self,
        url: &Url,
        mut headers: HeaderMap,
        have: Option<&Version>,
    ) -> Result<Fetched, FetchError> {
        let known = have.filter(|version| version.url == *url);
        if let Some(version) = known {
            headers.insert(header::IF_NONE_MATCH, version.etag.clone());
        }
        let response = self.send(url, headers).await?;
        if known.is_some() && response.status() == StatusCode::NOT_MODIFIED {
            return Ok(Fetched::NotModified { url: urls::shown(url) });
        }
        let response = ok(url, response)?;
        let etag = response.headers().get(header::ETAG).cloned();
        let version = etag.map(|etag| Version { url: url.clone(), etag });
        let body = read_body(url, response).await?;
        Ok(Fetched::Document(Document { url: urls::shown(url), body, version }))
    }

    /// Sends a GET, following redirects within the origin of `url`.
    async fn send(&self, url: &Url, headers: HeaderMap) -> Result<Response, FetchError> {
        let mut target = url.clone();
        for _ in 0..=MAX_REDIRECTS {
            let request = self.clients.of(&target).get(target.clone()).headers(headers.clone());
            let response =
                request.send().await.map_err(|error| FetchError::transport(url, &error))?;
            if !is_redirect(response.status()) {
                return Ok(response);
            }
            let next = response
                .headers()
                .get(header::LOCATION)
                .and_then(|location| target.join(location.to_str().ok()?).ok())
                .ok_or_else(|| FetchError::at(url, Cause::Status(response.status().as_u16())))?;
            if next.origin() != url.origin() {
                let origin = next.origin().ascii_serialization();
                return Err(FetchError::at(url, Cause::ForeignRedirect(origin)));
            }
            target = next;
        }
        Err(FetchError::at(url, Cause::TooManyRedirects))
    }

    /// The bearer token, read from the file for each fetch: such files are
    /// rewritten before their token expires.
    async fn authorization(&self) -> Result<HeaderMap, FetchError> {
        let mut headers = HeaderMap::new();
        if let Some(path) = &self.fetch_token_file {
            let unreadable = |cause: String| FetchError::token_file(path, cause);
            let file = path.clone();
            let token = self.lane.run(move || claimgate_files::read(&file)).await;
            let token = token
                .map_err(|hung| unreadable(hung.to_string()))?
                .map_err(|error| unreadable(error.to_string()))?;
            let token = token.trim_ascii();
            if token.is_empty() {
                return Err(unreadable("it is empty".to_owned()));
            }
            let mut value = HeaderValue::from_bytes(&[b"Bearer ", token].concat())
                .map_err(|_| unreadable("it does not hold one line with a token".to_owned()))?;
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        Ok(headers)
    }
}

impl Fetcher for HttpFetcher {
    async fn fetch(&self, have: Option<&Version>) -> Result<Fetched, FetchError> {
        tokio::time::timeout(self.timeout, self.fetch_jwks(have)).await.unwrap_or_else(|_| {
            Err(FetchError::at(self.place.first_url(), Cause::Timeout(self.timeout)))
        })
    }
}

impl Place {
    fn first_url(&self) -> &Url {
        match self {
            Self::Jwks(url) | Self::Discovery { url, .. } => url,
        }
    }
}

fn is_redirect(status: StatusCode) -> bool {
    matches!(status.as_u16(), 301 | 302 | 303 | 307 | 308)
}

fn ok(url: &Url, response: Response) -> Result<Response, FetchError> {
    match response.status() {
        // What was decoded no longer has the header.
        StatusCode::OK => match response.headers().get(header::CONTENT_ENCODING) {
            Some(encoding) if encoding != "identity" => Err(FetchError::at(url, Cause::Encoding)),
            _ => Ok(response),
        },
        status => {
            let pause = pause::wanted(status, response.headers(), SystemTime::now());
            Err(FetchError::at(url, Cause::Status(status.as_u16())).retry_after(pause))
        }
    }
}

/// Reads up to [`MAX_BODY_BYTES`] of what is decoded, whatever the
/// `content-length`.
async fn read_body(url: &Url, mut response: Response) -> Result<Vec<u8>, FetchError> {
    let too_large = || FetchError::at(url, Cause::TooLarge);
    if response.content_length().is_some_and(|length| length > MAX_BODY_BYTES as u64) {
        return Err(too_large());
    }
    let mut body = Vec::new();
    while let Some(chunk) =
        response.chunk().await.map_err(|error| FetchError::transport(url, &error))?
    {
        if body.len() + chunk.len() > MAX_BODY_BYTES {
            return Err(too_large());
        }
        body.extend_from_slice(&chunk);
    }
    Ok(body)
}
