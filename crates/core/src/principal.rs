//! Who the caller is, as a provider established it.

use std::{
    fmt,
    sync::{Arc, OnceLock},
};

use crate::{claims::Claims, heap, identity::Identity, time::UnixTime};

/// An authenticated caller.
///
/// Built with [`Principal::new`] and the `with_…` methods.
#[derive(Default)]
pub struct Principal {
    /// Who it is; a machine's token may name none.
    pub subject: Option<String>,
    /// What it may do.
    pub scopes: Scopes,
    /// Everything else that is known, by claim name.
    pub claims: Claims,
    /// The OAuth 2.0 client that got the token.
    pub client_id: Option<String>,
    /// When the token ends.
    pub expires_at: Option<UnixTime>,
    /// The plan it is on, where its provider says so; else a claim may.
    pub plan: Option<String>,
    /// What the upstream is told, once rendered; the number is that of the
    /// [`crate::policy::identity::IdentityHeaders`] that rendered it.
    pub(crate) rendered: OnceLock<(u64, Arc<Identity>)>,
}

impl Principal {
    /// A caller with this subject and nothing else.
    pub fn new(subject: Option<String>) -> Self {
        Self { subject, ..Self::default() }
    }

    /// The same, what the upstream is told not rendered yet.
    pub(crate) fn copied(&self) -> Self {
        Self {
            subject: self.subject.clone(),
            scopes: self.scopes.clone(),
            claims: self.claims.clone(),
            client_id: self.client_id.clone(),
            expires_at: self.expires_at,
            plan: self.plan.clone(),
            rendered: OnceLock::new(),
        }
    }

    /// How much memory it takes, behind an `Arc` and with what was rendered
    /// so far.
    pub fn heap_bytes(&self) -> usize {
        let text = |text: &Option<String>| {
            text.as_ref().map_or(0, |text| heap::allocation(text.capacity()))
        };
        let rendered = self.rendered.get().map_or(0, |(_, identity)| identity.heap_bytes());
        heap::shared::<Self>()
            + text(&self.subject)
            + text(&self.client_id)
            + text(&self.plan)
            + heap::texts(&self.scopes.names)
            + self.claims.heap_bytes()
            + rendered
    }

    /// With these scopes.
    pub fn with_scopes(mut self, scopes: impl Into<Scopes>) -> Self {
        self.scopes = scopes.into();
        self
    }

    /// With these claims.
    pub fn with_claims(mut self, claims: impl Into<Claims>) -> Self {
        self.claims = claims.into();
        self
    }

    /// With this OAuth 2.0 client.
    pub fn with_client_id(mut self, client_id: Option<String>) -> Self {
        self.client_id = client_id;
        self
    }

    /// On this plan.
    pub fn with_plan(mut self, plan: Option<String>) -> Self {
        self.plan = plan;
        self
    }

    /// Until this moment.
    pub fn with_expires_at(mut self, expires_at: Option<UnixTime>) -> Self {
        self.expires_at = expires_at;
        self
    }
}

/// Granted scopes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Scopes {
    /// Each scope as granted, compared literally (RFC 6749, section 3.3).
    pub names: Vec<String>,
    /// A scope `*` among them grants every scope. Only an operator's own
    /// words mean that much, so tokens need `wildcard_scope` for it.
    pub wildcard: bool,
}

impl Scopes {
    /// Whether `scope` is granted.
    pub fn grant(&self, scope: &str) -> bool {
        self.names.iter().any(|name| name == scope || (self.wildcard && name == "*"))
    }
}

/// Scopes written by the operator, or by a provider of the operator's own:
/// `*` grants all.
impl From<Vec<String>> for Scopes {
    fn from(names: Vec<String>) -> Self {
        Self { names, wildcard: true }
    }
}

/// Claim values may be personal data: their names are enough for a log.
impl fmt::Debug for Principal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Principal")
            .field("subject", &self.subject)
            .field("scopes", &self.scopes)
            .field("claims", &self.claims)
            .field("client_id", &self.client_id)
            .field("expires_at", &self.expires_at)
            .field("plan", &self.plan)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_grants_all_only_where_it_may() {
        let mut scopes = Scopes::from(vec!["*".to_owned()]);
        assert!(scopes.grant("anything"));
        scopes.wildcard = false;
        assert!(!scopes.grant("anything"));
        assert!(scopes.grant("*"));
    }
}
