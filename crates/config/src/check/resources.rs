//! Rules for protected resources, and the lists that are filled in for them.

use std::collections::HashMap;

use claimgate_core::{
    policy::resources::Location,
    settings::{AuthSettings, ProtectedResourceSettings, ProviderKind},
};

use super::{
    scalars::{name, required, scopes},
    urls,
};
use crate::{
    file::{auth::ProtectedResource, forms::List},
    report::Place,
};

/// The resource in the file; lists that are left out stay empty.
pub(super) fn resource(
    file: ProtectedResource,
    place: &Place,
) -> Option<ProtectedResourceSettings> {
    let allow_http = file.allow_http.unwrap_or(false);
    let page = |url: Option<String>, key: &str| {
        let place = place.key(key);
        url.filter(|url| urls::fetchable(url, allow_http, &place).is_some())
    };
    let scopes_place = place.key("scopes_supported");
    let settings = ProtectedResourceSettings {
        resource: identifier(file.resource, allow_http, &place.key("resource"))?,
        authorization_servers: file
            .authorization_servers
            .map(|list| issuers(list, allow_http, &place.key("authorization_servers")))
            .unwrap_or_default(),
        scopes_supported: file
            .scopes_supported
            .map(|list| {
                refuse_empty(&list, &scopes_place);
                scopes(list, &scopes_place)
            })
            .unwrap_or_default(),
        resource_name: file
            .resource_name
            .and_then(|text| name(Some(text), &place.key("resource_name"))),
        resource_documentation: page(file.resource_documentation, "resource_documentation"),
        resource_policy_uri: page(file.resource_policy_uri, "resource_policy_uri"),
        resource_tos_uri: page(file.resource_tos_uri, "resource_tos_uri"),
    };
    Some(settings)
}

/// A URL without fragment (RFC 9728, section 1.2). With a query, its metadata
/// would have one too, and requests are not matched by their query.
fn identifier(text: Option<String>, allow_http: bool, place: &Place) -> Option<String> {
    let text = required(text, place, "write the URL that clients know the resource by")?;
    let url = urls::fetchable(&text, allow_http, place)?;
    if url.query().is_some() {
        place.wrong(&text, "has a query; write the URL without it");
        return None;
    }
    Some(text)
}

fn issuers(list: List<String>, allow_http: bool, place: &Place) -> Vec<String> {
    refuse_empty(&list, place);
    let items = list.items(place).into_iter();
    let valid = |(place, text): (Place, String)| {
        urls::fetchable(&text, allow_http, &place).is_some().then_some(text)
    };
    items.filter_map(valid).collect()
}

fn refuse_empty(list: &List<String>, place: &Place) {
    if list.is_empty() {
        place.error("is an empty list; leave it out to have it filled in");
    }
}

/// Fills in the lists that were left out from the rules under which the resource
/// is used, and refuses two descriptions of one resource.
pub(super) fn complete(auth: &mut AuthSettings, place: &Place) {
    let uses = Uses::of(auth, place);
    for (resource, uses) in uses.0.values() {
        let public = auth.public_paths.contains(&Location::of(resource).path());
        if public && let Some(first) = uses.first() {
            let resource = first.place.key("resource").quoted(resource);
            first.place.warn(format_args!(
                "the metadata of {resource} is not answered: its path is one of \
                 `auth.public_paths`, which go to the upstream"
            ));
        }
    }
    let completed: HashMap<_, _> = uses
        .0
        .into_values()
        .filter_map(|(_, uses)| {
            Some((uses.first()?.written.resource.clone(), merged(&uses, auth)?))
        })
        .collect();
    let routes = auth.routes.iter_mut().map(|route| &mut route.protected_resource);
    for resource in routes.chain([&mut auth.protected_resource]).flatten() {
        if let Some(completed) = completed.get(&resource.resource) {
            *resource = completed.clone();
        }
    }
}

/// The rules of one use of a resource: the defaults, or a route.
struct Use<'r> {
    place: Place<'r>,
    written: ProtectedResourceSettings,
    scopes: Vec<String>,
    issuers: Vec<String>,
}

/// The uses of each resource, by the path and host of its metadata.
struct Uses<'r>(std::collections::BTreeMap<(String, String), (String, Vec<Use<'r>>)>);

impl<'r> Uses<'r> {
    fn of(auth: &AuthSettings, place: &Place<'r>) -> Self {
        let mut uses = Self(Default::default());
        let default_place = place.key("protected_resource");
        let default = auth.protected_resource.as_ref();
        uses.add(default, &default_place, &auth.required_scopes, issuers_of(auth, None));
        for (index, route) in auth.routes.iter().enumerate().filter(|(_, route)| !route.public) {
            let scopes = route.required_scopes.as_ref().unwrap_or(&auth.required_scopes);
            let issuers = issuers_of(auth, route.providers.as_deref());
            let own_place = place.key("routes").index(index).key("protected_resource");
            match &route.protected_resource {
                Some(own) => uses.add(Some(own), &own_place, scopes, issuers),
                None => uses.add(default, &default_place, scopes, issuers),
            }
        }
        uses
    }

    fn add(
        &mut self,
        resource: Option<&ProtectedResourceSettings>,
        place: &Place<'r>,
        scopes: &[String],
        issuers: Vec<String>,
    ) {
        let Some(written) = resource else { return };
        let location = Location::of(&written.resource);
        let (_, uses) = self
            .0
            .entry((location.path(), location.host()))
            .or_insert_with(|| (written.resource.clone(), Vec::new()));
        if let Some(first) = uses.first()
            && first.written != *written
        {
            place.error(format_args!(
                "describes the resource of `{}` in another way; write the same in both, or \
                 another `resource`",
                first.place
            ));
        }
        let (written, scopes) = (written.clone(), scopes.to_vec());
        uses.push(Use { place: place.clone(), written, scopes, issuers });
    }
}

/// One description of a resource with several uses.
fn merged(uses: &[Use], auth: &AuthSettings) -> Option<ProtectedResourceSettings> {
    let first = uses.first()?;
    let mut resource = first.written.clone();
    if resource.authorization_servers.is_empty() {
        resource.authorization_servers = union(uses.iter().flat_map(|used| &used.issuers));
    }
    if resource.scopes_supported.is_empty() {
        resource.scopes_supported = union(uses.iter().flat_map(|used| &used.scopes));
    }
    let servers_place = first.place.key("authorization_servers");
    if resource.authorization_servers.is_empty() && auth.enabled && !servers_place.has_error() {
        servers_place.missing(
            "no provider of type `oauth2` with a URL as `issuer` is asked; write the issuers that \
             give tokens for the resource",
        );
    }
    Some(resource)
}

fn union<'a>(texts: impl Iterator<Item = &'a String>) -> Vec<String> {
    let mut union: Vec<String> = Vec::new();
    for text in texts {
        if !union.contains(text) {
            union.push(text.clone());
        }
    }
    union
}

/// The issuers of these providers that are URLs, which clients can reach.
fn issuers_of(auth: &AuthSettings, providers: Option<&[String]>) -> Vec<String> {
    let used = auth
        .providers
        .iter()
        .filter(|provider| providers.is_none_or(|names| names.contains(&provider.name)));
    let issuer = |kind: &ProviderKind| match kind {
        ProviderKind::OAuth2(oauth2) => Some(oauth2.issuer.clone()),
        ProviderKind::ApiKey(_) | ProviderKind::Grpc(_) => None,
    };
    let issuers = used.filter_map(|provider| issuer(&provider.kind));
    issuers.filter(|issuer| issuer.starts_with("http")).collect()
}
