//! The ordered chain of providers: which are asked about a token, and what
//! their answers come to.

use std::{pin::Pin, sync::Arc};

use ahash::AHashMap;
use futures_util::future::{Either, select};
use smallvec::SmallVec;

use super::{
    Provider,
    answer::{Answer, AnswerKind, Answering},
};
use crate::{
    credential::Credential,
    decision::{CacheResult, Caller},
    principal::Principal,
    provider_id::{ProviderFilter, ProviderId},
    reason::Reason,
    token::jwt,
    token_cache::{CacheMiss, VerifiedToken},
};

/// All providers, in order.
pub struct Chain {
    providers: Vec<Arc<dyn Provider>>,
    /// Those that are asked about any token.
    of_any_token: Vec<ProviderId>,
    /// Those that recognise the JWTs of one issuer.
    by_issuer: AHashMap<String, Vec<ProviderId>>,
}

/// How long the chain waits for providers.
pub enum Wait<'a> {
    /// Not at all. At the first provider that needs I/O the chain stays
    /// pending for ever; the caller then asks it anew and waits.
    Never,
    /// Until this is ready; then no provider is waited for any more.
    Until(Pin<&'a mut (dyn Future<Output = ()> + Send)>),
    /// No longer: the time is up.
    Over,
}

/// What the chain came to.
#[derive(Debug)]
pub struct Outcome {
    /// The caller, or why there is none.
    pub result: Result<Caller, NoCaller>,
    /// The provider that decided.
    pub provider: Option<ProviderId>,
    /// The providers that were asked, and their answers.
    pub answers: SmallVec<[(ProviderId, AnswerKind); 4]>,
    /// Whether the token was cached, if a provider looked: the last that did.
    pub cache: Option<CacheResult>,
    /// The entry to keep in the token cache: that of the first provider which
    /// verified the token.
    pub(crate) verified: Option<Arc<VerifiedToken>>,
}

/// Why no caller was authenticated.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoCaller {
    /// The token is not valid.
    Refused(Reason),
    /// No provider could decide.
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
    /// authenticates a caller that `admit` lets in.
    pub async fn ask(
        &self,
        credential: &mut Credential<'_>,
        filters: [&ProviderFilter; 2],
        admit: impl Fn(Arc<Principal>, &dyn Provider, &Credential<'_>) -> Result<Caller, Reason>,
        mut wait: Wait<'_>,
    ) -> Outcome {
        let mut answers = SmallVec::new();
        let (mut cache, mut verified) = (None, None);
        let mut refusal = None;
        let mut unavailable = None;
        for id in self.candidates(credential) {
            if !filters.iter().all(|filter| filter.allows(id)) {
                continue;
            }
            let provider = self.get(id);
            credential.begin_notes(Some(provider.name()));
            let hit = credential.cached().and_then(|it| provider.answer_cached(it, credential));
            let answer = match hit {
                Some(answer) => {
                    cache = Some(CacheResult::Hit);
                    answer
                }
                None => match provider.authenticate(credential) {
                    Answering::Now(answer) => answer,
                    Answering::Later(answer) => wait.for_answer(answer, credential).await,
                },
            };
            if let Some(CacheMiss { entry }) = credential.take_cache_miss() {
                cache = Some(CacheResult::Miss);
                verified = verified.or(entry);
            }
            let answer = match answer {
                Answer::Authenticated(principal) => match admit(principal, provider, credential) {
                    Ok(caller) => {
                        credential.begin_notes(None);
                        answers.push((id, AnswerKind::Authenticated));
                        let result = Ok(caller);
                        return Outcome { result, provider: Some(id), answers, cache, verified };
                    }
                    Err(reason) => Answer::Refused(reason),
                },
                answer => answer,
            };
            answers.push((id, answer.kind()));
            match answer {
                Answer::Refused(reason) => {
                    credential.note_refusal(reason);
                    refusal = refusal.or(Some((id, reason)));
                }
                Answer::Unavailable => unavailable = unavailable.or(Some(id)),
                Answer::NotMine | Answer::Authenticated(_) => {}
            }
        }
        credential.begin_notes(None);
        let (result, provider) = match (refusal, unavailable) {
            (Some((id, reason)), _) => (NoCaller::Refused(reason), Some(id)),
            (None, Some(id)) => (NoCaller::Unavailable, Some(id)),
            (None, None) => (NoCaller::Refused(self.unrecognised(credential, filters)), None),
        };
        Outcome { result: Err(result), provider, answers, cache, verified }
    }

    /// The providers that may recognise the token, in order: those of any
    /// token and those of its issuer. If notes are wanted, it is all of them.
    fn candidates<'c>(
        &'c self,
        credential: &Credential<'_>,
    ) -> impl Iterator<Item = ProviderId> + use<'c> {
        let (all, any_token, by_issuer) = match credential.is_noted() {
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
        (0..).map(ProviderId).take(all).chain(in_order)
    }

    /// Why a token that no provider recognises is refused.
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

impl Wait<'_> {
    /// The answer of a provider that needs I/O, if it comes in time.
    async fn for_answer(
        &mut self,
        answer: Pin<Box<dyn Future<Output = Answer> + Send + '_>>,
        credential: &Credential<'_>,
    ) -> Answer {
        match self {
            // Not polled: that would begin I/O whose end is not waited for.
            Self::Never => std::future::pending().await,
            Self::Over => {
                credential.note(|| "the time is up, so it was not waited for".into());
                Answer::Unavailable
            }
            Self::Until(give_up) => {
                if let Either::Left((answer, _)) = select(answer, give_up.as_mut()).await {
                    return answer;
                }
                credential.note(|| "it did not answer in time".into());
                *self = Self::Over;
                Answer::Unavailable
            }
        }
    }
}
