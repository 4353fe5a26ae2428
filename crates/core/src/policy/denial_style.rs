//! How denials are told to clients.

use super::resources::Location;
use crate::settings::{AuthSettings, ErrorFormat, RouteSettings};

/// What the denials of one route have in common. Made at load, so that a
/// denial is put together from parts that lie ready.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DenialStyle {
    /// What the body looks like.
    pub format: ErrorFormat,
    /// Headers on top of those that every denial has.
    pub headers: Vec<(String, String)>,
    /// The beginning of the challenge: the scheme and the realm.
    pub challenge: String,
    /// The parameters of the challenge that say what a better token needs,
    /// from the comma on; may be empty.
    pub hints: String,
}

impl DenialStyle {
    /// The style of the denials of `route`.
    pub fn new(route: &RouteSettings, settings: &AuthSettings) -> Self {
        let scopes = route.required_scopes.as_ref().unwrap_or(&settings.required_scopes);
        let resource = route.protected_resource.as_ref().or(settings.protected_resource.as_ref());
        Self {
            format: route.error_format.unwrap_or(settings.error_format),
            headers: route.denial_headers.as_ref().unwrap_or(&settings.denial_headers).clone(),
            challenge: format!("Bearer realm=\"{}\"", quoted(&settings.realm)),
            hints: scope_hint(scopes)
                + &resource.map_or(String::new(), |resource| metadata_hint(&resource.resource)),
        }
    }
}

/// The scopes that a token would need (RFC 6750, section 3).
fn scope_hint(scopes: &[String]) -> String {
    if scopes.is_empty() {
        return String::new();
    }
    let scopes: Vec<_> = scopes.iter().map(|scope| scope_token(scope)).collect();
    format!(", scope=\"{}\"", scopes.join(" "))
}

/// Where the metadata of the resource is (RFC 9728, section 5.1).
fn metadata_hint(resource: &str) -> String {
    format!(", resource_metadata=\"{}\"", quoted(&Location::of(resource).url()))
}

/// The inside of a quoted-string (RFC 9110, section 5.6.4). A control
/// character can't be in one and would void the whole answer: it becomes a
/// space.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '"' | '\\' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push(' '),
            c => quoted.push(c),
        }
    }
    quoted
}

/// A scope in its alphabet: `%x21 / %x23-5B / %x5D-7E` (RFC 6749, section
/// 3.3). Whatever else an operator wrote is percent-encoded.
fn scope_token(scope: &str) -> String {
    let mut token = String::with_capacity(scope.len());
    for byte in scope.bytes() {
        match byte {
            0x21 | 0x23..=0x5b | 0x5d..=0x7e => token.push(char::from(byte)),
            _ => token.push_str(&format!("%{byte:02X}")),
        }
    }
    token
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::ProtectedResourceSettings;

    fn style(realm: &str, scopes: &[&str]) -> DenialStyle {
        let required_scopes = scopes.iter().map(|scope| (*scope).into()).collect();
        let settings =
            AuthSettings { realm: realm.into(), required_scopes, ..AuthSettings::default() };
        DenialStyle::new(&RouteSettings::default(), &settings)
    }

    #[test]
    fn the_challenge_names_realm_and_scopes() {
        let style = style("r", &["https://gateway.internal/invoke", "b"]);
        assert_eq!(style.challenge, "Bearer realm=\"r\"");
        assert_eq!(style.hints, ", scope=\"https://gateway.internal/invoke b\"");
    }

    #[test]
    fn no_scope_is_named_where_none_is_needed() {
        assert_eq!(style("r", &[]).hints, "");
    }

    #[test]
    fn the_resource_of_the_route_is_named_before_the_default_one() {
        let resource = |resource: &str| {
            let resource = resource.into();
            Some(ProtectedResourceSettings { resource, ..ProtectedResourceSettings::default() })
        };
        let settings = AuthSettings {
            protected_resource: resource("https://a.example"),
            required_scopes: vec!["b".into()],
            ..AuthSettings::default()
        };
        let hints = |protected_resource| {
            let route = RouteSettings { protected_resource, ..RouteSettings::default() };
            DenialStyle::new(&route, &settings).hints
        };
        let url = "https://a.example/.well-known/oauth-protected-resource";
        assert_eq!(hints(None), format!(", scope=\"b\", resource_metadata=\"{url}\""));
        let own = hints(resource("https://a.example/m"));
        assert_eq!(own, format!(", scope=\"b\", resource_metadata=\"{url}/m\""));
    }

    #[test]
    fn nothing_breaks_out_of_a_quoted_string() {
        assert_eq!(style("a\"b\\c\r\nd", &[]).challenge, r#"Bearer realm="a\"b\\c  d""#);
    }

    #[test]
    fn scopes_keep_to_their_alphabet() {
        let style = style("r", &["a\"b\\c d\u{7f}é%20!~"]);
        assert_eq!(style.hints, ", scope=\"a%22b%5Cc%20d%7F%C3%A9%20!~\"");
    }

    #[test]
    fn a_route_replaces_the_defaults() {
        let header = |name: &str| vec![(name.to_owned(), "v".to_owned())];
        let settings = AuthSettings {
            error_format: ErrorFormat::Problem,
            denial_headers: header("x-default"),
            ..AuthSettings::default()
        };
        let style = |route: &RouteSettings| DenialStyle::new(route, &settings);
        let inherited = style(&RouteSettings::default());
        assert_eq!(inherited.format, ErrorFormat::Problem);
        assert_eq!(inherited.headers, header("x-default"));
        let replaced = style(&RouteSettings {
            error_format: Some(ErrorFormat::OpenAi),
            denial_headers: Some(Vec::new()),
            ..RouteSettings::default()
        });
        assert_eq!((replaced.format, replaced.headers), (ErrorFormat::OpenAi, Vec::new()));
    }
}
