//! Reading a discovery document (OpenID Connect Discovery 1.0, section 3;
//! RFC 8414).

use claimgate_core::{keys::without_byte_order_mark, urls};
use reqwest::Url;
use serde::Deserialize;

use super::error::Cause;

/// The `jwks_uri` of the discovery document of the right issuer.
#[derive(Debug)]
pub(super) struct JwksUri(pub(super) Url);

/// An issuer is a URL; what is far longer is not one, and must not fill the log.
const SHOWN_CHARS: usize = 256;

#[derive(Deserialize)]
struct Metadata {
    issuer: Option<String>,
    jwks_uri: Option<String>,
}

impl JwksUri {
    /// Reads `document`.
    ///
    /// # Errors
    /// If its issuer is not `issuer` byte for byte, or its `jwks_uri` is
    /// missing, can't be fetched as written, or is plain http to another
    /// machine without `allow_http`.
    pub(super) fn read(document: &[u8], issuer: &str, allow_http: bool) -> Result<Self, Cause> {
        // Without the text of the error, which may quote the document.
        let metadata: Metadata = serde_json::from_slice(without_byte_order_mark(document))
            .map_err(|_| Cause::Discovery("it is not a discovery document"))?;
        match metadata.issuer {
            Some(theirs) if theirs == issuer => {}
            Some(theirs) => {
                let theirs = theirs.chars().take(SHOWN_CHARS).collect();
                return Err(Cause::OtherIssuer { theirs, ours: issuer.to_owned() });
            }
            None => return Err(Cause::Discovery("it names no issuer")),
        }
        let text = metadata.jwks_uri.ok_or(Cause::Discovery("it has no jwks_uri"))?;
        let jwks = urls::exact(&text).map_err(|_| {
            Cause::Discovery("its jwks_uri is not a URL that can be fetched as written")
        })?;
        if jwks.scheme() == "https" || allow_http || urls::is_loopback(&jwks) {
            Ok(Self(jwks))
        } else {
            Err(Cause::Discovery("its jwks_uri is not https; allow_http: true would accept it"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_document_of_the_configured_issuer_is_used() {
        let read = |document: &str, allow_http| {
            JwksUri::read(document.as_bytes(), "https://a.example", allow_http)
                .map(|JwksUri(url)| url.to_string())
                .map_err(|cause| cause.to_string())
        };
        let with = |jwks_uri| format!(r#"{{"issuer":"https://a.example","jwks_uri":{jwks_uri}}}"#);

        let elsewhere = with(r#""https://keys.example//jwks""#);
        assert_eq!(read(&elsewhere, false).unwrap(), "https://keys.example//jwks");
        let marked = format!("\u{feff}{elsewhere}");
        assert_eq!(read(&marked, false).unwrap(), "https://keys.example//jwks");
        let without_slash = JwksUri::read(elsewhere.as_bytes(), "https://a.example/", false);
        assert!(without_slash.unwrap_err().to_string().ends_with("without the slash at its end"));
        assert!(read(&with(r#""http://127.0.0.1:80/jwks""#), false).is_ok());
        assert!(read(&with(r#""http://keys.example/jwks""#), true).is_ok());
        for (document, message) in [
            (with(r#""http://keys.example/jwks""#), "not https"),
            (with(r#""ftp://keys.example/jwks""#), "not a URL"),
            (with(r#""/jwks""#), "not a URL"),
            (with("null"), "no jwks_uri"),
            (with("7"), "not a discovery document"),
            ("<html>".to_owned(), "not a discovery document"),
            ("{}".to_owned(), "names no issuer"),
            (
                elsewhere.replace("https://a.example", "https://a.example/"),
                "its issuer is \"https://a.example/\", the configured one is \
                 \"https://a.example\"; write the slash at its end, too",
            ),
            (
                elsewhere.replace("https://a.example", "https://A.example"),
                "its issuer is \"https://A.example\", the configured one is \"https://a.example\"",
            ),
            (
                elsewhere.replace("https://a.example", &"x".repeat(300)),
                &format!("its issuer is \"{}\", the", "x".repeat(256)),
            ),
            (
                elsewhere.replace("https://a.example", "a\\n\\u202eb"),
                "its issuer is \"a\\n\\u{202e}b\", the",
            ),
        ] {
            let error = read(&document, false).unwrap_err();
            assert!(error.contains(message), "{document}: {error}");
        }
    }
}
