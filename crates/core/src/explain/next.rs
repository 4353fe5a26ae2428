//! What to do about a decision.

use serde::Serialize;

use crate::{
    Provider,
    decision::{Decision, ProviderId},
    engine::Engine,
    reason::Reason,
    request::Request,
    settings::SeveralTokens,
    token::{Seen, jwt},
};

/// Where the reasons are described.
const REASONS: &str = concat!(env!("CARGO_PKG_REPOSITORY"), "/blob/main/docs/reasons.md");

/// The next step after a denial.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Next {
    /// What to do, in one sentence.
    pub step: String,
    /// The URL of the page on the reason, at its section.
    pub see: String,
}

impl Next {
    /// The next step after this denial.
    pub(super) fn of(engine: &Engine, request: &Request<'_>, decision: &Decision<'_>) -> Self {
        let step = match decision.reason {
            Reason::MissingToken => no_token(engine),
            Reason::MalformedRequest => malformed_request(engine, request),
            Reason::MalformedToken => malformed_token(engine, request, decision),
            reason => usual(reason).into(),
        };
        Self { step, see: format!("{REASONS}#{}", decision.reason.as_str()) }
    }
}

/// What to do about a reason that needs no look at the request.
const fn usual(reason: Reason) -> &'static str {
    match reason {
        Reason::Ok | Reason::Public | Reason::Disabled => "nothing: the request is allowed",
        Reason::MissingToken | Reason::MalformedRequest => "send one token, once",
        Reason::MalformedToken => "get a new token, and send it unchanged",
        Reason::RateLimited => {
            "wait as long as retry-after says, or put the caller on another plan"
        }
        Reason::TokenTooLarge => {
            "ask the issuer for fewer scopes or groups, or raise auth.max_token_bytes"
        }
        Reason::UnknownKey => {
            "compare the key's hash (`claimgate hash-key`) with the config, and look for a reload \
             that failed"
        }
        Reason::UnknownIssuer => {
            "add a provider for this issuer, byte for byte as iss has it, or use another's token"
        }
        Reason::UnknownKid => {
            "get a new token; if that has the same kid, it is not this issuer's, whatever iss says"
        }
        Reason::WrongTokenType => {
            "send an access token; if the type is right, name it in accepted_types"
        }
        Reason::AlgorithmNotAllowed => "name the issuer's algorithm in the provider's algorithms",
        Reason::BadSignature => {
            "get a new token: this one was changed on its way or signed with another key"
        }
        Reason::Expired => "get a new token: the client must renew it before it expires",
        Reason::NotYetValid | Reason::IssuedInFuture => {
            "compare the clocks of issuer and gateway; clock_skew_seconds forgives a little"
        }
        Reason::LifetimeTooLong => {
            "let the issuer's tokens live shorter, or raise max_token_lifetime_seconds"
        }
        Reason::MissingClaim | Reason::WrongClaim => {
            "let the issuer add the claim to this client's tokens, or correct required_claims"
        }
        Reason::WrongAudience => {
            "let the client ask for the audience that is wanted, or add its own to audience"
        }
        Reason::WrongClient => "add the client to client_ids if it may call",
        Reason::KeyExpired => "give the client a new key (`claimgate new-key`)",
        Reason::KeyNotYetValid => "wait until not_before, or change it",
        Reason::KeyRevoked => "give the client a new key if it may still call",
        Reason::InsufficientScope => {
            "let the issuer grant the client the missing scopes, or correct required_scopes"
        }
        Reason::AmbiguousPath => "send the path in its plain form: decoded once, without dots",
        Reason::UnknownRoute => "write the route's name alike in Envoy's config and in routes",
        Reason::ProviderUnavailable => {
            "try again; if it stays, see whether this machine reaches the issuer or provider"
        }
        Reason::Internal => "please report it, with the log line",
    }
}

fn no_token(engine: &Engine) -> String {
    let places: Vec<_> =
        engine.token_sources().iter().map(|source| source.place.to_string()).collect();
    format!("send a token in one of the places that are looked at: {}", places.join(", "))
}

fn malformed_request(engine: &Engine, request: &Request<'_>) -> String {
    let seen: Vec<_> = engine.sources().survey(request).iter().map(|it| it.seen).collect();
    let holding = seen.iter().filter(|seen| matches!(seen, Seen::Token { .. })).count();
    let is_repeated = seen.iter().any(|seen| matches!(seen, Seen::Repeated | Seen::Comma));
    let may_choose = engine.sources().several() == SeveralTokens::Refuse;
    match may_choose && !is_repeated && holding > 1 {
        true => "send one token, once; if the client has two, `several_tokens: first` lets the \
                 earliest source's count"
            .into(),
        false => usual(Reason::MalformedRequest).into(),
    }
}

/// It may be a good API key whose provider was not asked.
fn malformed_token(engine: &Engine, request: &Request<'_>, decision: &Decision<'_>) -> String {
    let Ok(found) = engine.sources().find(request) else {
        return "send the token alone: letters, digits and signs, without spaces".into();
    };
    if jwt::pretends_to_be_a_jwt(&found.token) || decision.provider.is_some() {
        return usual(Reason::MalformedToken).into();
    }
    let opaque = || {
        let all = (0..).map(ProviderId).zip(engine.providers());
        all.filter(|(_, provider)| provider.takes_opaque_tokens())
    };
    let names: Vec<_> = opaque().map(|(_, provider)| Provider::name(provider)).collect();
    if names.is_empty() {
        return "if it is an API key: the config has no provider of API keys".into();
    }
    let names = names.join(" or ");
    match decision.route.filter(|route| !opaque().any(|(id, _)| route.providers.allows(id))) {
        Some(route) => format!(
            "if it is an API key: route {} asks no provider of API keys; add {names} to its \
             providers, or call it with a JWT",
            route.name
        ),
        None => format!(
            "if it is an API key: the source that it was found in asks no provider of API keys; \
             add {names} to its providers, or send the key in another place"
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_step_fits_into_two_lines() {
        for reason in Reason::ALL {
            let step = usual(*reason);
            assert!(!step.is_empty() && step.len() < 100, "{reason:?}: {step}");
        }
    }
}
