//! The rules for one kind of request, and which requests these are.

use crate::{
    policy::{denial_style::DenialStyle, hosts::host_matches},
    provider_id::ProviderFilter,
    settings::{AuthSettings, ClaimRule, RouteLimit, RouteSettings},
};

/// The rules for one kind of request, defaults filled in.
#[derive(Debug)]
pub struct Route {
    /// Its unique name; empty for the defaults.
    pub name: String,
    /// Its place among the routes, from 1 on; 0 for the defaults.
    pub number: usize,
    /// No token is needed.
    pub public: bool,
    /// Scopes that must all be granted.
    pub required_scopes: Vec<String>,
    /// Claims that the caller must have.
    pub required_claims: Vec<ClaimRule>,
    /// Who may be asked.
    pub providers: ProviderFilter,
    /// How its denials are told.
    pub denials: DenialStyle,
    /// What its requests take from the budgets of their callers.
    pub limit: RouteLimit,
    pub(super) is_template: bool,
    pub(super) methods: Vec<String>,
    pub(super) hosts: Vec<String>,
    /// The same number for routes with the same rules; 0 for no route.
    pub(super) rules: usize,
}

/// What is compared beside the path.
#[derive(Clone, Copy, Debug)]
pub(super) struct Asked<'r> {
    pub(super) method: &'r str,
    /// Without port and trailing dot.
    pub(super) host: &'r str,
    /// Whether methods are compared letter for letter.
    pub(super) as_sent: bool,
}

impl Route {
    pub(super) fn new(route: &RouteSettings, settings: &AuthSettings) -> Self {
        let required_scopes = route.required_scopes.as_ref().unwrap_or(&settings.required_scopes);
        Self {
            name: route.name.clone(),
            number: 0,
            public: route.public,
            required_scopes: required_scopes.clone(),
            required_claims: route.required_claims.clone(),
            providers: ProviderFilter::new(route.providers.as_deref(), settings),
            denials: DenialStyle::new(route, settings),
            limit: route.limit,
            is_template: route.path_template.is_some(),
            methods: route.methods.clone(),
            hosts: route.hosts.clone(),
            rules: 0,
        }
    }

    pub(super) fn fits(&self, asked: &Asked<'_>) -> bool {
        (self.methods.is_empty() || self.methods.iter().any(|allowed| asked.by_method(allowed)))
            && (self.hosts.is_empty()
                || self.hosts.iter().any(|allowed| host_matches(allowed, asked.host)))
    }
}

impl Asked<'_> {
    /// Some frameworks raise a method to upper case, and most answer `HEAD`
    /// as they answer `GET`.
    pub(super) fn by_method(&self, allowed: &str) -> bool {
        if self.as_sent {
            return allowed == self.method;
        }
        allowed.eq_ignore_ascii_case(self.method)
            || allowed.eq_ignore_ascii_case("GET") && self.method.eq_ignore_ascii_case("HEAD")
    }
}
