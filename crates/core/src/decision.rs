//! What the engine says about a request.
//!
//! No status codes here: those of denials are in `response/denial.rs`.

use std::sync::Arc;

use smallvec::SmallVec;

use crate::{
    identity::Identity,
    limits::{LimitOutcome, Limited},
    policy::routes::Route,
    principal::Principal,
    provider::answer::AnswerKind,
    reason::Reason,
};

pub use crate::{policy::resources::ResourceId, provider_id::ProviderId};

/// The outcome of one check, with the trail that led to it.
#[derive(Clone, Debug)]
pub struct Decision<'e> {
    /// Allowed or denied.
    pub verdict: Verdict,
    /// Why.
    pub reason: Reason,
    /// Who authenticated the request, whose refusal is answered, or who was
    /// unavailable; `None` where no provider decided.
    pub provider: Option<ProviderId>,
    /// The route that the request matched; `None` for the defaults and for
    /// requests decided before routing.
    pub route: Option<&'e Route>,
    /// The caller, once authenticated; a denial may have one too.
    pub caller: Option<Caller>,
    /// Whose token was refused, where a provider verified that before it
    /// refused: the signature was good, or the API key is known. For log,
    /// status page and span alone; that caller was not let in.
    pub refused: Option<Arc<Principal>>,
    /// What the deciding provider told of its refusal, or of why it can't
    /// answer; [`Engine::detail`](crate::Engine::detail) has a sentence for
    /// every denial.
    pub cause: Option<Box<str>>,
    /// Who was asked and what they said, in order.
    pub answers: SmallVec<[(ProviderId, AnswerKind); 4]>,
    /// Whether the token was cached, if a provider looked.
    pub cache: Option<CacheResult>,
    /// What the limits came to, if the caller has any.
    pub limited: Option<Limited<'e>>,
}

impl Decision<'_> {
    /// Who sent the request, as far as that is verified: the caller, or whose
    /// token was refused.
    pub fn principal(&self) -> Option<&Principal> {
        let caller = self.caller.as_ref().map(|caller| &caller.principal);
        caller.or(self.refused.as_ref()).map(|principal| &**principal)
    }

    /// Whether limits that are only tried out would have denied the request.
    pub fn would_be_over(&self) -> bool {
        let outcome = self.limited.as_ref().and_then(|limited| limited.outcome.as_ref());
        matches!(outcome, Some(LimitOutcome::WouldBeOver(_)))
    }
}

/// Allow, or one of the ways to deny.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Let it through.
    Allow,
    /// Turn it away.
    Deny(Denial),
    /// Respond to it here with this resource's public metadata; the upstream
    /// does not see it.
    Respond(ResourceId),
}

/// The kinds of denial that a caller must tell apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denial {
    /// The request itself is wrong (`invalid_request`).
    BadRequest,
    /// No token was sent: a challenge without an error (RFC 6750, section 3.1).
    Challenge,
    /// The token is not valid (`invalid_token`).
    InvalidToken,
    /// The token is good, but not for this (`insufficient_scope`).
    Forbidden,
    /// The caller has used up its budget for now.
    RateLimited,
    /// No provider could decide; the client should retry.
    Unavailable,
    /// Something is set up wrongly on our side.
    Internal,
}

/// An authenticated caller and what the upstream is told about it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is.
    pub principal: Arc<Principal>,
    /// The identity headers.
    pub identity: Arc<Identity>,
}

/// Whether a verified token was cached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum CacheResult {
    /// It was.
    Hit,
    /// It was not, so its signature was computed.
    Miss,
    /// Another request was just computing it. Kept for readers of the metric:
    /// no request waits for another one's signature any more.
    Wait,
}

impl CacheResult {
    /// All three.
    pub const ALL: [Self; 3] = [Self::Hit, Self::Miss, Self::Wait];

    /// The metric label.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Hit => "hit",
            Self::Miss => "miss",
            Self::Wait => "wait",
        }
    }
}
