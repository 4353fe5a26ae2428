//! A token request: its form (RFC 6749, section 4.4.2) and its errors.

use std::collections::HashMap;

use url::{Url, form_urlencoded};

use super::{
    client::{Client, ClientCredentials, is_scope},
    error::OAuthError,
};

/// Ten years: longer lifetimes, either way, are typing errors.
const LONGEST_LIFETIME: i64 = 10 * 365 * 86_400;

/// A request that is granted.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grant<'a> {
    pub(super) client: &'a Client,
    pub(super) scopes: Vec<String>,
    /// The audience of the token; empty leaves it to the issuer's settings.
    pub(super) audience: Vec<String>,
    /// Overrides the issuer's lifetime: a development aid of this issuer alone.
    pub(super) lifetime: Option<i64>,
}

/// The parameters of a form, each once; those without a value are left out
/// (RFC 6749, section 3.2).
#[derive(Default)]
struct Form {
    single: HashMap<String, String>,
    resource: Vec<String>,
    audience: Vec<String>,
}

impl Form {
    fn read(content_type: Option<&[u8]>, body: &[u8]) -> Result<Self, OAuthError> {
        let media_type = content_type.unwrap_or_default().split(|&b| b == b';').next();
        let media_type = media_type.unwrap_or_default().trim_ascii();
        if !media_type.eq_ignore_ascii_case(b"application/x-www-form-urlencoded") {
            return Err(OAuthError::InvalidRequest(
                "the body must be application/x-www-form-urlencoded",
            ));
        }
        let mut form = Self::default();
        for (name, value) in form_urlencoded::parse(body).filter(|(_, value)| !value.is_empty()) {
            let value = value.into_owned();
            match name.as_ref() {
                "resource" => form.resource.push(value),
                "audience" => form.audience.push(value),
                _ => {
                    if form.single.insert(name.into_owned(), value).is_some() {
                        return Err(OAuthError::InvalidRequest("a parameter is given twice"));
                    }
                }
            }
        }
        Ok(form)
    }

    fn get(&self, name: &str) -> Option<&str> {
        self.single.get(name).map(String::as_str)
    }
}

impl<'a> Grant<'a> {
    /// Reads a token request and decides on it.
    pub(super) fn read(
        authorization: Option<&[u8]>,
        content_type: Option<&[u8]>,
        body: &[u8],
        clients: &'a [Client],
    ) -> Result<Self, OAuthError> {
        let form = Form::read(content_type, body)?;
        let client = credentials(authorization, &form)?.authenticate(clients)?;
        match form.get("grant_type") {
            Some("client_credentials") => {}
            Some(_) => return Err(OAuthError::UnsupportedGrantType),
            None => return Err(OAuthError::InvalidRequest("grant_type is missing")),
        }
        Ok(Self {
            client,
            scopes: scopes(form.get("scope"), client)?,
            lifetime: form.get("lifetime").map(lifetime).transpose()?,
            audience: audience(form)?,
        })
    }
}

/// The client's credentials, sent in one way, not two (RFC 6749, section 2.3). A
/// Basic header may come with the same `client_id` in the form.
fn credentials(authorization: Option<&[u8]>, form: &Form) -> Result<ClientCredentials, OAuthError> {
    let (id, secret) = (form.get("client_id"), form.get("client_secret"));
    match (authorization, id, secret) {
        (Some(_), _, Some(_)) => {
            Err(OAuthError::InvalidRequest("the client authenticates in two ways"))
        }
        (Some(authorization), id, None) => {
            let credentials = ClientCredentials::from_basic(authorization)?;
            if id.is_some_and(|id| id != credentials.id) {
                return Err(OAuthError::InvalidRequest("two different client ids"));
            }
            Ok(credentials)
        }
        (None, Some(id), Some(secret)) => {
            Ok(ClientCredentials { id: id.into(), secret: secret.into() })
        }
        (None, _, _) => Err(OAuthError::InvalidClient("the client does not authenticate")),
    }
}

/// The requested scopes, in their order and each once; all of the client's if it
/// requests none.
fn scopes(asked: Option<&str>, client: &Client) -> Result<Vec<String>, OAuthError> {
    let Some(asked) = asked else {
        return Ok(client.scopes.clone());
    };
    let mut granted: Vec<String> = Vec::new();
    for scope in asked.split(' ').filter(|scope| !scope.is_empty()) {
        if !is_scope(scope) {
            return Err(OAuthError::InvalidScope("scope holds a character that no scope may have"));
        }
        if !client.scopes.iter().any(|own| own == scope) {
            return Err(OAuthError::InvalidScope("the client may not ask for this scope"));
        }
        if !granted.iter().any(|known| known == scope) {
            granted.push(scope.into());
        }
    }
    Ok(granted)
}

/// `resource` (RFC 8707) and `audience` (as other issuers call it) both end up
/// in `aud`.
fn audience(form: Form) -> Result<Vec<String>, OAuthError> {
    let absolute = |text: &String| Url::parse(text).is_ok_and(|url| url.fragment().is_none());
    if !form.resource.iter().all(absolute) {
        return Err(OAuthError::InvalidTarget(
            "resource must be an absolute URI without a fragment",
        ));
    }
    let mut audience = form.resource;
    for text in form.audience {
        if !audience.contains(&text) {
            audience.push(text);
        }
    }
    Ok(audience)
}

fn lifetime(text: &str) -> Result<i64, OAuthError> {
    let seconds: Option<i64> = text.parse().ok();
    seconds
        .filter(|seconds| (-LONGEST_LIFETIME..=LONGEST_LIFETIME).contains(seconds))
        .ok_or(OAuthError::InvalidRequest("lifetime must be seconds, ten years at the most"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const FORM: Option<&[u8]> = Some(b"application/x-www-form-urlencoded; charset=UTF-8");

    fn clients() -> [Client; 2] {
        ["web:secret:read write".parse().unwrap(), "bare:secret".parse().unwrap()]
    }

    fn refused(authorization: Option<&str>, body: &str) -> &'static str {
        let clients = clients();
        let grant = Grant::read(authorization.map(str::as_bytes), FORM, body.as_bytes(), &clients);
        grant.err().map_or("granted", |error| error.parts().0)
    }

    #[test]
    fn what_is_asked_for_is_granted() {
        let clients = clients();
        let body = "grant_type=client_credentials&client_id=web&client_secret=secret\
            &scope=write+write&resource=https%3A%2F%2Fapi&audience=x&audience=x&lifetime=-5\
            &empty=&empty=";
        let grant = Grant::read(None, FORM, body.as_bytes(), &clients).unwrap();
        assert_eq!(grant.client.id, "web");
        assert_eq!(grant.scopes, ["write"]);
        assert_eq!(grant.audience, ["https://api", "x"]);
        assert_eq!(grant.lifetime, Some(-5));
    }

    #[test]
    fn asking_for_no_scope_grants_all_of_the_client() {
        let clients = clients();
        for (id, expected) in [("web", vec!["read", "write"]), ("bare", vec![])] {
            let body = format!("grant_type=client_credentials&client_id={id}&client_secret=secret");
            let grant = Grant::read(None, FORM, body.as_bytes(), &clients).unwrap();
            assert_eq!(grant.scopes, expected);
        }
    }

    #[test]
    fn a_basic_header_may_repeat_the_client_id() {
        let basic = "Basic d2ViOnNlY3JldA==";
        let body = "grant_type=client_credentials";
        assert_eq!(refused(Some(basic), body), "granted");
        assert_eq!(refused(Some(basic), &format!("{body}&client_id=web")), "granted");
        assert_eq!(refused(Some(basic), &format!("{body}&client_id=bare")), "invalid_request");
        assert_eq!(refused(Some(basic), &format!("{body}&client_secret=x")), "invalid_request");
    }

    #[test]
    fn each_mistake_has_its_error() {
        let good = "client_id=web&client_secret=secret&grant_type=client_credentials";
        for (body, expected) in [
            ("grant_type=client_credentials", "invalid_client"),
            ("grant_type=client_credentials&client_id=web", "invalid_client"),
            ("client_id=web&client_secret=wrong&grant_type=client_credentials", "invalid_client"),
            ("client_id=who&client_secret=secret&grant_type=client_credentials", "invalid_client"),
            ("client_id=web&client_secret=secret", "invalid_request"),
            ("client_id=web&client_secret=secret&grant_type=password", "unsupported_grant_type"),
            (&format!("{good}&grant_type=client_credentials"), "invalid_request"),
            (&format!("{good}&scope=admin"), "invalid_scope"),
            (&format!("{good}&scope=read%22"), "invalid_scope"),
            (&format!("{good}&resource=not-absolute"), "invalid_target"),
            (&format!("{good}&resource=https://api%23part"), "invalid_target"),
            (&format!("{good}&lifetime=soon"), "invalid_request"),
            (&format!("{good}&lifetime=9223372036854775807"), "invalid_request"),
        ] {
            assert_eq!(refused(None, body), expected, "{body}");
        }
    }

    #[test]
    fn the_body_must_be_a_form() {
        for content_type in [None, Some(&b"application/json"[..])] {
            let grant = Grant::read(None, content_type, b"{}", &[]);
            assert_eq!(grant.unwrap_err().parts().0, "invalid_request");
        }
    }
}
