//! The claims of an access token, shaped like Amazon Cognito's for machines.

use serde::Serialize;
use uuid::Uuid;

use super::grant::Grant;

/// How old a token is made to look that is expired when issued.
const EXPIRED_TOKEN_AGE: i64 = 3600;

/// A Cognito machine-to-machine access token's claims, in its order, and
/// `aud`, which Cognito leaves out.
#[derive(Debug, Serialize)]
pub(super) struct Claims<'a> {
    sub: &'a str,
    token_use: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    scope: Option<String>,
    auth_time: i64,
    iss: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    aud: Option<Audience<'a>>,
    pub(super) exp: i64,
    iat: i64,
    version: u8,
    jti: String,
    client_id: &'a str,
}

/// One audience is a string, several are an array (RFC 7519, section 4.1.3).
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Audience<'a> {
    One(&'a str),
    Many(&'a [String]),
}

impl<'a> Claims<'a> {
    /// The claims of a grant at `now`, in seconds since the epoch.
    pub(super) fn new(
        grant: &'a Grant<'_>,
        issuer: &'a str,
        default_audience: &'a [String],
        lifetime: i64,
        now: i64,
    ) -> Self {
        let audience = match grant.audience.as_slice() {
            [] => default_audience,
            asked => asked,
        };
        // `iat` never lies behind `exp`, so that only the expiry is wrong
        // about an expired token.
        let iat = if lifetime < 0 { now + lifetime - EXPIRED_TOKEN_AGE } else { now };
        Self {
            sub: &grant.client.id,
            token_use: "access",
            scope: (!grant.scopes.is_empty()).then(|| grant.scopes.join(" ")),
            auth_time: iat,
            iss: issuer,
            aud: match audience {
                [] => None,
                [one] => Some(Audience::One(one)),
                many => Some(Audience::Many(many)),
            },
            exp: now + lifetime,
            iat,
            version: 2,
            jti: Uuid::new_v4().to_string(),
            client_id: &grant.client.id,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::issuer::Client;

    fn claims(audience: &[&str], default_audience: &[&str], lifetime: i64) -> Value {
        let client: Client = "web:secret:read write".parse().unwrap();
        let owned = |texts: &[&str]| texts.iter().map(|text| String::from(*text)).collect();
        let (audience, default_audience): (Vec<_>, Vec<_>) =
            (owned(audience), owned(default_audience));
        let scopes = client.scopes.clone();
        let grant = Grant { client: &client, scopes, audience, lifetime: None };
        serde_json::to_value(Claims::new(&grant, "https://i", &default_audience, lifetime, 1000))
            .unwrap()
    }

    #[test]
    fn a_token_looks_like_cognitos() {
        let mut claims = claims(&[], &[], 60);
        let jti = claims["jti"].take();
        assert_eq!(
            claims,
            json!({
                "sub": "web", "token_use": "access", "scope": "read write", "auth_time": 1000,
                "iss": "https://i", "exp": 1060, "iat": 1000, "version": 2, "jti": null,
                "client_id": "web",
            })
        );
        let jti = jti.as_str().unwrap();
        assert_eq!(jti.len(), 36);
        assert_eq!(jti.as_bytes()[14], b'4');
        assert!(b"89ab".contains(&jti.as_bytes()[19]));
    }

    #[test]
    fn the_audience_asked_for_wins() {
        assert_eq!(claims(&[], &["d"], 60)["aud"], "d");
        assert_eq!(claims(&["a"], &["d"], 60)["aud"], "a");
        assert_eq!(claims(&["a", "b"], &["d"], 60)["aud"], json!(["a", "b"]));
    }

    #[test]
    fn only_the_expiry_of_an_expired_token_is_wrong() {
        let claims = claims(&[], &[], -60);
        assert_eq!(claims["exp"], 940);
        assert!(claims["iat"].as_i64() < claims["exp"].as_i64());
    }
}
