//! The clients that may request tokens, and how they authenticate.

use std::{fmt, str::FromStr};

use aws_lc_rs::{constant_time, digest};
use url::form_urlencoded;

use super::error::OAuthError;

/// A registered client.
#[derive(Clone, PartialEq, Eq)]
pub struct Client {
    /// Its `client_id`.
    pub id: String,
    /// Its `client_secret`.
    pub secret: String,
    /// The scopes that it may request, and gets if it requests none.
    pub scopes: Vec<String>,
}

/// Without the secret.
impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("id", &self.id)
            .field("scopes", &self.scopes)
            .finish_non_exhaustive()
    }
}

/// A `--client` that can't be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("write it as ID:SECRET or ID:SECRET:SCOPE SCOPE…; only the scopes may hold colons")]
pub struct ClientError;

/// Reads `ID:SECRET[:SCOPE SCOPE…]`. Scopes may hold colons, since they are
/// often URLs; ids and secrets may not.
impl FromStr for Client {
    type Err = ClientError;

    fn from_str(text: &str) -> Result<Self, ClientError> {
        let mut parts = text.splitn(3, ':');
        let (Some(id), Some(secret)) = (parts.next(), parts.next()) else {
            return Err(ClientError);
        };
        let scopes: Vec<_> =
            parts.next().unwrap_or_default().split_whitespace().map(String::from).collect();
        if id.is_empty() || secret.is_empty() || !scopes.iter().all(|scope| is_scope(scope)) {
            return Err(ClientError);
        }
        Ok(Self { id: id.into(), secret: secret.into(), scopes })
    }
}

/// The credentials in a request (RFC 6749, section 2.3.1).
#[derive(PartialEq, Eq)]
pub(super) struct ClientCredentials {
    pub(super) id: String,
    pub(super) secret: String,
}

impl ClientCredentials {
    /// Reads an `Authorization: Basic` value. Id and secret are form-encoded
    /// before they are put together, which most client libraries do and curl's
    /// `-u` does not; a secret of letters and digits is the same either way.
    pub(super) fn from_basic(authorization: &[u8]) -> Result<Self, OAuthError> {
        const UNREADABLE: OAuthError = OAuthError::InvalidClient(
            "the Authorization header is not a readable Basic credential",
        );
        let text = std::str::from_utf8(authorization).map_err(|_| UNREADABLE)?;
        let (scheme, encoded) = text.trim().split_once(' ').ok_or(UNREADABLE)?;
        if !scheme.eq_ignore_ascii_case("basic") {
            return Err(OAuthError::InvalidClient("client authentication must be Basic"));
        }
        let decoded = base64_simd::STANDARD
            .decode_to_vec(encoded.trim().as_bytes())
            .map_err(|_| UNREADABLE)?;
        let decoded = String::from_utf8(decoded).map_err(|_| UNREADABLE)?;
        let (id, secret) = decoded.split_once(':').ok_or(UNREADABLE)?;
        Ok(Self { id: form_decode(id), secret: form_decode(secret) })
    }

    /// The client with this id, if the secret is right. Digests are compared, so
    /// that the time taken reveals nothing about the secret.
    pub(super) fn authenticate<'a>(&self, clients: &'a [Client]) -> Result<&'a Client, OAuthError> {
        const REFUSED: OAuthError = OAuthError::InvalidClient("unknown client or wrong secret");
        let sha256 = |text: &str| digest::digest(&digest::SHA256, text.as_bytes());
        let client = clients.iter().find(|client| client.id == self.id).ok_or(REFUSED)?;
        let (presented, registered) = (sha256(&self.secret), sha256(&client.secret));
        constant_time::verify_slices_are_equal(presented.as_ref(), registered.as_ref())
            .map(|()| client)
            .map_err(|_| REFUSED)
    }
}

/// Undoes the form encoding of one value; a bare `&` or `=` stands for itself.
fn form_decode(value: &str) -> String {
    let one_name = value.replace('&', "%26").replace('=', "%3D");
    form_urlencoded::parse(one_name.as_bytes())
        .next()
        .map(|(name, _)| name.into_owned())
        .unwrap_or_default()
}

/// Whether this is a `scope-token` (RFC 6749, section 3.3).
pub(super) fn is_scope(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| matches!(b, 0x21 | 0x23..=0x5b | 0x5d..=0x7e))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clients_are_read_from_one_argument() {
        let client: Client = "web:s3cret:https://gw.internal/invoke agents:read".parse().unwrap();
        assert_eq!(client.id, "web");
        assert_eq!(client.secret, "s3cret");
        assert_eq!(client.scopes, ["https://gw.internal/invoke", "agents:read"]);
        assert_eq!("web:s3cret".parse::<Client>().unwrap().scopes, [""; 0]);
        for bad in ["", "web", ":secret", "web:", "web:secret:sc\"ope"] {
            assert_eq!(bad.parse::<Client>(), Err(ClientError), "{bad:?}");
        }
    }

    #[test]
    fn debug_keeps_the_secret() {
        let client: Client = "web:s3cret".parse().unwrap();
        assert!(!format!("{client:?}").contains("s3cret"));
    }

    #[test]
    fn basic_credentials_are_form_decoded() {
        for (id, secret, wire) in [
            ("web", "secret", "web:secret"),
            ("web", "a+b:c/d%", "web:a%2Bb%3Ac%2Fd%25"),
            ("a b", "x=y&z", "a+b:x=y&z"),
            ("web", "", "web:"),
        ] {
            let header = format!("basic {}", base64_simd::STANDARD.encode_to_string(wire));
            let read = ClientCredentials::from_basic(header.as_bytes()).ok().unwrap();
            assert_eq!((read.id.as_str(), read.secret.as_str()), (id, secret));
        }
    }

    #[test]
    fn other_credentials_are_refused() {
        for header in ["Basic", "Basic !!!", "Basic bm9jb2xvbg==", "Bearer abc", "Basic /w=="] {
            let refused = ClientCredentials::from_basic(header.as_bytes()).err().unwrap();
            assert_eq!(refused.parts().0, "invalid_client", "{header}");
        }
    }
}
