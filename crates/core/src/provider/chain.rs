//! The ordered chain of providers: who is asked about a token, and what
//! their answers come to.

use std::{pin::Pin, sync::Arc};

use ahash::AHashMap;
use futures_util::future::{Either, select};
use smallvec::SmallVec;

use super::{Answer, AnswerKind, Answering, Provider};
use crate::{
    credential::Credential,
    decision::{Caller, ProviderId},
    identity::{MAX_VALUE_BYTES, TooLarge},
    policy::identity::IdentityHeaders,
    provider_id::ProviderFilter,
    reason::Reason,
    token::jwt,
};

/// All providers, in order.
pub struct Chain {
    providers: Vec<Arc<dyn Provider>>,
    /// Those that any token is shown to.
    of_any_token: Vec<ProviderId>,
    /// Those that recognise the JWTs of one issuer.
    by_issuer: AHashMap<String, Vec<ProviderId>>,
}

/// How long providers may take.
pub enum Patience<'a> {
    /// No time at all. The chain stops for ever at the first that would, and
    /// whoever asked it asks again with more patience.
    None,
    /// Until this is ready; then nobody is waited for any more.
    Until(Pin<&'a mut (dyn Future<Output = ()> + Send)>),
}

/// What the chain came to.
#[derive(Debug)]
pub struct Outcome {
    /// The caller, or why there is none.
    pub result: Result<Caller, NoCaller>,
    /// Who decided.
    pub provider: Option<ProviderId>,
    /// Who was asked and what they said.
    pub answers: SmallVec<[(ProviderId, AnswerKind); 4]>,
}

/// Why nobody was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCaller {
    /// The token is no good.
    Refused(Reason),
    /// Whoever could tell can't right now.
    Unavailable,
}

impl Chain {
    /// The providers in the order in which they are asked.
    pub fn new(providers: Vec<Arc<dyn Provider>>) -> Self {
        let mut of_any_token = Vec::new();
        let mut by_issuer: AHashMap<String, Vec<ProviderId>> = AHashMap::new();
        for (id, provider) in (0..).map(ProviderId).zip(&providers) {
            match provider.issuer() {
                Some(issuer) => by_issuer.entry(issuer.into()).or_default().push(id),
                None => of_any_token.push(id),
            }
        }
        Self { providers, of_any_token, by_issuer }
    }

    /// All providers.
    pub fn providers(&self) -> &[Arc<dyn Provider>] {
        &self.providers
    }

    /// The provider at this position.
    pub fn get(&self, id: ProviderId) -> &dyn Provider {
        &*self.providers[usize::from(id.0)]
    }

    /// Asks the providers that both filters allow, in order, until one
    /// authenticates.
    pub async fn ask(
        &self,
        credential: &Credential<'_>,
        filters: [&ProviderFilter; 2],
        headers: &IdentityHeaders,
        mut patience: Patience<'_>,
    ) -> Outcome {
        let mut answers = SmallVec::new();
        let mut refusal = None;
        let mut unavailable = None;
        let mut given_up = false;
        for id in self.candidates(credential) {
            if !filters.iter().all(|filter| filter.allows(id)) {
                continue;
            }
            let provider = self.get(id);
            credential.begin_notes(Some(provider.name()));
            let answer = match provider.authenticate(credential) {
                Answering::Later(_) if given_up => {
                    credential.note(|| "the time is up, so it was not waited for".into());
                    Answer::Unavailable
                }
                Answering::Now(answer) => answer,
                Answering::Later(answer) => match &mut patience {
                    // Not polled: that would begin what nobody waits for.
                    Patience::None => std::future::pending().await,
                    Patience::Until(give_up) => match select(answer, give_up.as_mut()).await {
                        Either::Left((answer, _)) => answer,
                        Either::Right(_) => {
                            given_up = true;
                            credential.note(|| "it did not answer in time".into());
                            Answer::Unavailable
                        }
                    },
                },
            };
            let answer = identify(answer, provider, headers, credential);
            answers.push((id, answer.kind()));
            match answer {
                Identified::Yes(caller) => {
                    credential.begin_notes(None);
                    return Outcome { result: Ok(caller), provider: Some(id), answers };
                }
                Identified::No(Answer::Refused(reason)) => {
                    credential.note_refusal(reason);
                    refusal = refusal.or(Some((id, reason)));
                }
                Identified::No(Answer::Unavailable) => unavailable = unavailable.or(Some(id)),
                Identified::No(_) => {}
            }
        }
        credential.begin_notes(None);
        let (result, provider) = match (refusal, unavailable) {
            (Some((id, reason)), _) => (NoCaller::Refused(reason), Some(id)),
            (None, Some(id)) => (NoCaller::Unavailable, Some(id)),
            (None, None) => (NoCaller::Refused(self.unrecognised(credential, filters)), None),
        };
        Outcome { result: Err(result), provider, answers }
    }

    /// The providers that may recognise the token, in order: those of any
    /// token and those of its issuer. Whoever wants to know why hears from
    /// all of them.
    fn candidates(&self, credential: &Credential<'_>) -> impl Iterator<Item = ProviderId> {
        let (everybody, any_token, by_issuer) = match credential.is_noted() {
            true => (self.providers.len(), &[][..], false),
            false => (0, &self.of_any_token[..], !self.by_issuer.is_empty()),
        };
        let of_issuer = match (by_issuer, credential.cached()) {
            (false, _) => None,
            (true, Some(cached)) => self.by_issuer.get(&*cached.issuer),
            (true, None) => credential.jwt().and_then(|jwt| self.by_issuer.get(jwt.issuer()?)),
        };
        let mut of_issuer = of_issuer.into_iter().flatten().copied().peekable();
        let mut of_any_token = any_token.iter().copied().peekable();
        let in_order = std::iter::from_fn(move || match (of_issuer.peek(), of_any_token.peek()) {
            (Some(issuers), Some(any)) if issuers > any => of_any_token.next(),
            (Some(_), _) => of_issuer.next(),
            (None, _) => of_any_token.next(),
        });
        (0..).map(ProviderId).take(everybody).chain(in_order)
    }

    /// Why a token that nobody recognises is no good.
    fn unrecognised(&self, credential: &Credential<'_>, filters: [&ProviderFilter; 2]) -> Reason {
        if credential.jwt().is_some() {
            return Reason::UnknownIssuer;
        }
        let takes_opaque = |id: &ProviderId| {
            filters.iter().all(|filter| filter.allows(*id)) && self.get(*id).takes_opaque_tokens()
        };
        match jwt::pretends_to_be_a_jwt(credential.token())
            || !self.of_any_token.iter().any(takes_opaque)
        {
            true => Reason::MalformedToken,
            false => Reason::UnknownKey,
        }
    }
}

/// An answer, with the identity headers of whoever was authenticated.
enum Identified {
    Yes(Caller),
    No(Answer),
}

impl Identified {
    fn kind(&self) -> AnswerKind {
        match self {
            Self::Yes(_) => AnswerKind::Authenticated,
            Self::No(answer) => answer.kind(),
        }
    }
}

/// A caller that the upstream can't be told about is not let through.
fn identify(
    answer: Answer,
    provider: &dyn Provider,
    headers: &IdentityHeaders,
    credential: &Credential<'_>,
) -> Identified {
    match answer {
        Answer::Authenticated(principal) => {
            match headers.render(&principal, provider.name(), provider.method()) {
                Ok(identity) => Identified::Yes(Caller { principal, identity }),
                Err(TooLarge) => {
                    credential.note(|| {
                        format!(
                            "its subject or its scopes are over {MAX_VALUE_BYTES} bytes as a header"
                        )
                    });
                    Identified::No(Answer::Refused(Reason::MalformedToken))
                }
            }
        }
        other => Identified::No(other),
    }
}
