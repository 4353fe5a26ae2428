//! The decision: extract the token, ask the providers, apply the policy.

use std::sync::Arc;

use crate::{
    credential::Notes, decision::Decision, decision::ProviderId, policy::upstream::Edits,
    provider::Provider, request::Request, settings::AuthSettings, time::UnixTime,
};

/// Decides requests by one configuration.
///
/// It holds no runtime and does no I/O of its own: a request whose keys are
/// known is decided without suspending, and [`Engine::check_now`] is enough
/// where there is no executor.
pub struct Engine {
    _todo: (),
}

impl Engine {
    /// An engine for validated settings; `providers` are those of
    /// `settings.providers`, in the same order.
    pub fn new(settings: &AuthSettings, providers: Vec<Arc<dyn Provider>>) -> Self {
        let _ = (settings, providers);
        todo!()
    }

    /// Decides a request at the moment `now`.
    pub async fn check<'e>(&'e self, request: &Request<'_>, now: UnixTime) -> Decision<'e> {
        let _ = (request, now);
        todo!()
    }

    /// Decides a request if that needs no I/O; `None` means that a provider
    /// must wait for something, so [`Engine::check`] has to be awaited.
    pub fn check_now<'e>(&'e self, request: &Request<'_>, now: UnixTime) -> Option<Decision<'e>> {
        let _ = (request, now);
        todo!()
    }

    /// As [`Engine::check`], telling `notes` why.
    pub async fn explain<'e>(
        &'e self,
        request: &Request<'_>,
        now: UnixTime,
        notes: &Notes,
    ) -> Decision<'e> {
        let _ = (request, now, notes);
        todo!()
    }

    /// What changes in an allowed request before the upstream sees it.
    pub fn edits<'a>(&'a self, request: &Request<'a>, decision: &'a Decision<'_>) -> Edits<'a> {
        let _ = (request, decision);
        todo!()
    }

    /// The scopes that a denied request would have needed.
    pub fn required_scopes<'a>(&'a self, decision: &Decision<'a>) -> &'a [String] {
        let _ = decision;
        todo!()
    }

    /// The realm of the challenge.
    pub fn realm(&self) -> &str {
        todo!()
    }

    /// The provider at this position.
    pub fn provider(&self, id: ProviderId) -> &dyn Provider {
        let _ = id;
        todo!()
    }

    /// All providers, in order.
    pub fn providers(&self) -> impl ExactSizeIterator<Item = &dyn Provider> {
        std::iter::empty()
    }
}
