//! The client's settings, from environment variables.

use std::{ffi::OsString, fmt, path::PathBuf, time::Duration};

use url::Url;
use zeroize::Zeroizing;

use super::error::TokenError;
use crate::urls;

/// How long the whole request may take by default.
const TIMEOUT_SECONDS: u64 = 20;

/// How long before its expiry a token is replaced by default.
const MIN_VALIDITY_SECONDS: u64 = 60;

/// A client and the token that it requests.
#[derive(Clone, PartialEq, Eq)]
pub struct ClientSettings {
    pub(super) client_id: String,
    /// Wiped with the settings.
    pub(super) client_secret: Zeroizing<String>,
    pub(super) endpoint: Url,
    /// The endpoint as it was written.
    pub(super) endpoint_text: String,
    pub(super) scope: String,
    pub(super) audience: String,
    pub(super) resource: String,
    pub(super) auth: ClientAuth,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Duration,
    pub(super) min_validity: Duration,
    /// Where the token is cached; `None` if no variable says where.
    pub(super) cache: Option<CachePlace>,
}

/// How the client sends its secret (RFC 6749, section 2.3.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// In an `Authorization: Basic` header.
    Basic,
    /// In the form.
    Post,
}

/// Where tokens are cached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CachePlace {
    /// In this file.
    File(PathBuf),
    /// In a file for each client, in this folder.
    Folder(PathBuf),
}

/// Without the secret.
impl fmt::Debug for ClientSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientSettings")
            .field("client_id", &self.client_id)
            .field("scope", &self.scope)
            .finish_non_exhaustive()
    }
}

impl ClientSettings {
    /// Reads the settings; `environment` looks a variable up. An empty one counts
    /// as not set.
    ///
    /// # Errors
    /// A variable is missing or can't be used; the error names it.
    pub fn read(environment: &dyn Fn(&str) -> Option<OsString>) -> Result<Self, TokenError> {
        let text = |name: &str| match environment(name).map(OsString::into_string) {
            Some(Err(_)) => Err(TokenError::Variable(format!("{name} is not UTF-8"))),
            Some(Ok(text)) if !text.is_empty() => Ok(Some(text)),
            _ => Ok(None),
        };
        let required = |name: &str| {
            text(name)?.ok_or_else(|| TokenError::Variable(format!("{name} is not set")))
        };
        let path = |name: &str| environment(name).filter(|it| !it.is_empty()).map(PathBuf::from);
        let (client_id, client_secret) =
            (required("GATEWAY_CLIENT_ID")?, required("GATEWAY_CLIENT_SECRET")?.into());
        let endpoint_text = required("GATEWAY_TOKEN_ENDPOINT")?;
        let allow_http = text("GATEWAY_ALLOW_HTTP")?.as_deref() == Some("true");
        Ok(Self {
            client_id,
            client_secret,
            scope: text("GATEWAY_SCOPE")?.unwrap_or_default(),
            audience: text("GATEWAY_AUDIENCE")?.unwrap_or_default(),
            resource: text("GATEWAY_RESOURCE")?.unwrap_or_default(),
            auth: client_auth(text("GATEWAY_CLIENT_AUTH")?.as_deref())?,
            ca_file: path("GATEWAY_CA_FILE"),
            timeout: seconds(
                "GATEWAY_TIMEOUT_SECONDS",
                text("GATEWAY_TIMEOUT_SECONDS")?,
                TIMEOUT_SECONDS,
                1..=999,
            )?,
            min_validity: seconds(
                "GATEWAY_MIN_VALIDITY_SECONDS",
                text("GATEWAY_MIN_VALIDITY_SECONDS")?,
                MIN_VALIDITY_SECONDS,
                0..=99_999,
            )?,
            cache: path("GATEWAY_TOKEN_CACHE").map(CachePlace::File).or_else(|| {
                let cache = path("XDG_CACHE_HOME").or_else(|| Some(path("HOME")?.join(".cache")));
                Some(CachePlace::Folder(cache?.join("claimgate")))
            }),
            // Last, because its errors are of another kind.
            endpoint: endpoint(&endpoint_text, allow_http)?,
            endpoint_text,
        })
    }
}

fn client_auth(text: Option<&str>) -> Result<ClientAuth, TokenError> {
    match text {
        None | Some("client_secret_basic") => Ok(ClientAuth::Basic),
        Some("client_secret_post") => Ok(ClientAuth::Post),
        Some(_) => Err(TokenError::Variable(
            "GATEWAY_CLIENT_AUTH must be client_secret_basic or client_secret_post".into(),
        )),
    }
}

fn seconds(
    name: &str,
    text: Option<String>,
    default: u64,
    range: std::ops::RangeInclusive<u64>,
) -> Result<Duration, TokenError> {
    let seconds = text.map_or(Ok(default), |text| text.parse());
    match seconds.ok().filter(|seconds| range.contains(seconds)) {
        Some(seconds) => Ok(Duration::from_secs(seconds)),
        None => {
            let (least, most) = range.into_inner();
            let must = format!("{name} must be whole seconds from {least} to {most}");
            Err(TokenError::Variable(must))
        }
    }
}

/// Where the secret is sent. An unusable URL counts as a failed request, like
/// any other URL that gives no token.
fn endpoint(text: &str, allow_http: bool) -> Result<Url, TokenError> {
    let error = |what: &str| TokenError::Request(format!("GATEWAY_TOKEN_ENDPOINT {what}"));
    let graphic = text.bytes().all(|byte| byte.is_ascii_graphic());
    let url = Url::parse(text).ok().filter(|_| graphic).ok_or_else(|| error("is not a URL"))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(error("must not hold a user name or password"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || urls::is_loopback(&url) => Ok(url),
        "http" => {
            Err(error("must be https: the secret goes there (GATEWAY_ALLOW_HTTP=true allows http)"))
        }
        _ => Err(error("must start with https://")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: [(&str, &str); 3] = [
        ("GATEWAY_CLIENT_ID", "web"),
        ("GATEWAY_CLIENT_SECRET", "s3cret"),
        ("GATEWAY_TOKEN_ENDPOINT", "https://id.example/token"),
    ];

    /// The good variables, replaced by these; the last of a name wins.
    fn read(changes: &[(&str, &str)]) -> Result<ClientSettings, TokenError> {
        let all = [&GOOD, changes].concat();
        ClientSettings::read(&|name| {
            all.iter().rev().find(|(known, _)| *known == name).map(|(_, value)| value.into())
        })
    }

    #[test]
    fn three_variables_are_enough() {
        let settings = read(&[]).unwrap();
        assert_eq!(settings.auth, ClientAuth::Basic);
        assert_eq!(settings.timeout, Duration::from_secs(20));
        assert_eq!(settings.min_validity, Duration::from_secs(60));
        assert_eq!(settings.cache, None);
        assert!(!format!("{settings:?}").contains("s3cret"));
    }

    #[test]
    fn the_cache_is_where_the_most_particular_variable_says() {
        let home = ("HOME", "/home/me");
        let folder = |path: &str| Some(CachePlace::Folder(path.into()));
        for (changes, expected) in [
            (vec![home], folder("/home/me/.cache/claimgate")),
            (vec![home, ("XDG_CACHE_HOME", "/c")], folder("/c/claimgate")),
            (vec![home, ("GATEWAY_TOKEN_CACHE", "t")], Some(CachePlace::File("t".into()))),
        ] {
            assert_eq!(read(&changes).unwrap().cache, expected, "{changes:?}");
        }
    }

    #[test]
    fn errors_name_the_variable() {
        let (variable, request) = ("Variable", "Request");
        for (name, value, kind, message) in [
            ("GATEWAY_CLIENT_ID", "", variable, "GATEWAY_CLIENT_ID is not set"),
            ("GATEWAY_CLIENT_SECRET", "", variable, "GATEWAY_CLIENT_SECRET is not set"),
            ("GATEWAY_TOKEN_ENDPOINT", "", variable, "GATEWAY_TOKEN_ENDPOINT is not set"),
            ("GATEWAY_CLIENT_AUTH", "basic", variable, "must be client_secret_basic or"),
            ("GATEWAY_TIMEOUT_SECONDS", "0", variable, "whole seconds from 1 to 999"),
            ("GATEWAY_TIMEOUT_SECONDS", "1.5", variable, "whole seconds from 1 to 999"),
            ("GATEWAY_MIN_VALIDITY_SECONDS", "-1", variable, "whole seconds from 0 to 99999"),
            ("GATEWAY_TOKEN_ENDPOINT", "id.example/token", request, "is not a URL"),
            ("GATEWAY_TOKEN_ENDPOINT", "https://id.example/ token", request, "is not a URL"),
            (
                "GATEWAY_TOKEN_ENDPOINT",
                "https://me:x@id.example/",
                request,
                "user name or password",
            ),
            ("GATEWAY_TOKEN_ENDPOINT", "file:///etc/passwd", request, "must start with https://"),
            ("GATEWAY_TOKEN_ENDPOINT", "http://id.example/token", request, "must be https"),
        ] {
            let error = read(&[(name, value)]).unwrap_err();
            assert!(format!("{error:?}").starts_with(kind), "{name}={value}");
            assert!(error.to_string().contains(message), "{error}");
        }
    }

    #[test]
    fn plain_http_is_for_this_machine_or_where_it_is_allowed() {
        let http = |url| ("GATEWAY_TOKEN_ENDPOINT", url);
        assert!(read(&[http("http://127.0.0.1:9010/oauth2/token")]).is_ok());
        assert!(read(&[http("http://id.example/t"), ("GATEWAY_ALLOW_HTTP", "true")]).is_ok());
        assert!(read(&[http("http://id.example/t"), ("GATEWAY_ALLOW_HTTP", "no")]).is_err());
    }
}
