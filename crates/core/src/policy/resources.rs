//! What clients may discover about the resources behind the gateway: OAuth
//! 2.0 Protected Resource Metadata (RFC 9728).

use ahash::AHashMap;

use serde_json::{Map, Value};

use super::hosts::bare_host;
use crate::{
    request::Request,
    settings::{AuthSettings, ProtectedResourceSettings, TokenPlace, TokenSourceSettings},
};

/// What stands between host and path of a metadata document's URL (RFC 9728,
/// section 3).
pub const WELL_KNOWN: &str = "/.well-known/oauth-protected-resource";

/// The position of a resource among those that clients may discover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ResourceId(pub usize);

/// The metadata documents of all resources.
#[derive(Debug, Default)]
pub struct Resources {
    documents: Vec<String>,
    /// By path; resources of one path are told apart by their hosts.
    by_path: AHashMap<String, Vec<(String, ResourceId)>>,
}

impl Resources {
    /// The documents of the resources in `settings`, each once.
    pub fn new(settings: &AuthSettings) -> Self {
        let mut resources = Self::default();
        let of_routes =
            settings.routes.iter().filter_map(|route| route.protected_resource.as_ref());
        for resource in settings.protected_resource.iter().chain(of_routes) {
            let location = Location::of(&resource.resource);
            let (path, host) = (location.path(), location.host());
            let there = resources.by_path.entry(path).or_default();
            if !there.iter().any(|(other, _)| *other == host) {
                there.push((host, ResourceId(resources.documents.len())));
                resources.documents.push(document(resource, &settings.token_sources));
            }
        }
        resources
    }

    /// The resource whose metadata a request asks for, if it asks for any.
    ///
    /// The path is compared byte for byte. Where it belongs to one resource
    /// alone the host does not matter: a client that came by another name
    /// finds out by the `resource` in the document (section 3.3).
    pub fn find(&self, request: &Request<'_>) -> Option<ResourceId> {
        let asks = request.path.starts_with(WELL_KNOWN)
            && matches!(request.method, "GET" | "HEAD" | "OPTIONS");
        if !asks {
            return None;
        }
        match self.by_path.get(request.bare_path())?.as_slice() {
            [(_, only)] => Some(*only),
            several => {
                let host = bare_host(request.host);
                let asked = several.iter().find(|(other, _)| other.eq_ignore_ascii_case(host));
                asked.map(|(_, id)| *id)
            }
        }
    }

    /// The metadata document of a resource, as JSON.
    pub fn document(&self, ResourceId(position): ResourceId) -> &str {
        self.documents.get(position).map_or("{}", String::as_str)
    }
}

/// The place of a resource's metadata document.
pub struct Location<'a> {
    /// Scheme and authority.
    origin: &'a str,
    /// What comes behind, if it is more than a slash.
    path: &'a str,
}

impl<'a> Location<'a> {
    /// Splits a resource's URL.
    pub fn of(resource: &'a str) -> Self {
        let authority = resource.find("://").map_or(0, |at| at + "://".len());
        let end = resource[authority..].find('/').map_or(resource.len(), |at| authority + at);
        let (origin, path) = resource.split_at(end);
        Self { origin, path: if path == "/" { "" } else { path } }
    }

    pub(crate) fn url(&self) -> String {
        [self.origin, WELL_KNOWN, self.path].concat()
    }

    /// The path of its metadata document.
    pub fn path(&self) -> String {
        [WELL_KNOWN, self.path].concat()
    }

    /// In lower case, without port and trailing dot.
    pub fn host(&self) -> String {
        let authority = self.origin.split_once("://").map_or(self.origin, |(_, rest)| rest);
        bare_host(authority).to_ascii_lowercase()
    }
}

fn document(resource: &ProtectedResourceSettings, sources: &[TokenSourceSettings]) -> String {
    let ProtectedResourceSettings {
        resource,
        authorization_servers,
        scopes_supported,
        resource_name,
        resource_documentation,
        resource_policy_uri,
        resource_tos_uri,
    } = resource;
    let mut document = Map::from_iter([("resource".to_owned(), resource.as_str().into())]);
    for (key, list) in [
        ("authorization_servers", authorization_servers.as_slice()),
        ("scopes_supported", scopes_supported),
        ("bearer_methods_supported", &bearer_methods(sources)),
    ] {
        if !list.is_empty() {
            document.insert(key.into(), list.into());
        }
    }
    for (key, text) in [
        ("resource_name", resource_name),
        ("resource_documentation", resource_documentation),
        ("resource_policy_uri", resource_policy_uri),
        ("resource_tos_uri", resource_tos_uri),
    ] {
        if let Some(text) = text {
            document.insert(key.into(), text.as_str().into());
        }
    }
    Value::Object(document).to_string()
}

/// Those of our token sources that have a name in RFC 6750, section 2.
fn bearer_methods(sources: &[TokenSourceSettings]) -> Vec<String> {
    let mut methods: Vec<String> = Vec::new();
    for source in sources {
        let method = match &source.place {
            TokenPlace::Header { name, scheme: Some(scheme) }
                if name == "authorization" && scheme.eq_ignore_ascii_case("bearer") =>
            {
                "header"
            }
            TokenPlace::Query(name) if name == "access_token" => "query",
            _ => continue,
        };
        if !methods.iter().any(|known| known == method) {
            methods.push(method.into());
        }
    }
    methods
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::settings::RouteSettings;

    fn resource(resource: &str) -> ProtectedResourceSettings {
        let authorization_servers = vec!["https://issuer.example".into()];
        ProtectedResourceSettings {
            resource: resource.into(),
            authorization_servers,
            ..ProtectedResourceSettings::default()
        }
    }

    fn resources(names: &[&str]) -> Resources {
        let route = |name: &&str| RouteSettings {
            protected_resource: Some(resource(name)),
            ..RouteSettings::default()
        };
        let routes = names.iter().map(route).collect();
        Resources::new(&AuthSettings { routes, ..AuthSettings::default() })
    }

    fn get<'a>(host: &'a str, path: &'a str) -> Request<'a> {
        Request { method: "GET", host, path, ..Request::default() }
    }

    #[test]
    fn the_well_known_part_goes_between_host_and_path() {
        for (resource, url) in [
            ("https://a.example", "https://a.example/.well-known/oauth-protected-resource"),
            ("https://a.example/", "https://a.example/.well-known/oauth-protected-resource"),
            (
                "https://a.example:8443/mcp",
                "https://a.example:8443/.well-known/oauth-protected-resource/mcp",
            ),
            (
                "https://a.example/mcp/b/",
                "https://a.example/.well-known/oauth-protected-resource/mcp/b/",
            ),
            ("http://[::1]:80/m", "http://[::1]:80/.well-known/oauth-protected-resource/m"),
        ] {
            assert_eq!(Location::of(resource).url(), url);
        }
    }

    #[test]
    fn a_document_is_found_by_its_exact_path() {
        let resources = resources(&["https://a.example/mcp", "https://a.example"]);
        for (method, path, expected) in [
            ("GET", "/.well-known/oauth-protected-resource/mcp", Some(0)),
            ("HEAD", "/.well-known/oauth-protected-resource/mcp", Some(0)),
            ("OPTIONS", "/.well-known/oauth-protected-resource/mcp", Some(0)),
            ("GET", "/.well-known/oauth-protected-resource/mcp?x=/", Some(0)),
            ("GET", "/.well-known/oauth-protected-resource", Some(1)),
            ("POST", "/.well-known/oauth-protected-resource/mcp", None),
            ("GET", "/.well-known/oauth-protected-resource/", None),
            ("GET", "/.well-known/oauth-protected-resource/mcp/", None),
            ("GET", "//.well-known/oauth-protected-resource/mcp", None),
            ("GET", "/.well-known/oauth%2dprotected-resource/mcp", None),
            ("GET", "/mcp", None),
        ] {
            let request = Request { method, ..get("other.example", path) };
            assert_eq!(resources.find(&request), expected.map(ResourceId), "{method} {path}");
        }
    }

    #[test]
    fn hosts_tell_resources_of_one_path_apart() {
        let names =
            ["https://a.example/mcp", "https://B.example:8443/mcp", "https://a.example/mcp"];
        let resources = resources(&names);
        let path = "/.well-known/oauth-protected-resource/mcp";
        for (host, expected) in [
            ("a.example", Some(0)),
            ("A.example.:443", Some(0)),
            ("b.example", Some(1)),
            ("c.example", None),
        ] {
            assert_eq!(resources.find(&get(host, path)), expected.map(ResourceId), "{host}");
        }
        assert_eq!(resources.documents.len(), 2);
    }

    #[test]
    fn a_document_says_what_is_known() {
        let text = |text: &str| Some(text.to_owned());
        let full = ProtectedResourceSettings {
            scopes_supported: vec!["read".into(), "write".into()],
            resource_name: text("Tools \"of\" ours"),
            resource_documentation: text("https://a.example/docs"),
            resource_policy_uri: text("https://a.example/policy"),
            resource_tos_uri: text("https://a.example/tos"),
            ..resource("https://a.example/mcp")
        };
        let place = |place| TokenSourceSettings { place, providers: None };
        let header = |name: &str, scheme: Option<&str>| {
            place(TokenPlace::Header { name: name.into(), scheme: scheme.map(String::from) })
        };
        let sources = [
            header("authorization", Some("bearer")),
            header("authorization", Some("Bearer")),
            header("x-api-key", None),
            place(TokenPlace::Query("access_token".into())),
            place(TokenPlace::Cookie("access_token".into())),
        ];
        let document = |resource, sources: &[_]| {
            serde_json::from_str::<Value>(&super::document(&resource, sources)).expect("JSON")
        };
        let expected = json!({
            "resource": "https://a.example/mcp",
            "authorization_servers": ["https://issuer.example"],
            "scopes_supported": ["read", "write"],
            "bearer_methods_supported": ["header", "query"],
            "resource_name": "Tools \"of\" ours",
            "resource_documentation": "https://a.example/docs",
            "resource_policy_uri": "https://a.example/policy",
            "resource_tos_uri": "https://a.example/tos",
        });
        assert_eq!(document(full, &sources), expected);
        let expected = json!({
            "resource": "https://a.example",
            "authorization_servers": ["https://issuer.example"],
        });
        assert_eq!(document(resource("https://a.example"), &[]), expected);
    }
}
