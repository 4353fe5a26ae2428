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
    credential::{Cause, Credential},
    decision::{CacheResult, Caller},
    principal::Principal,
    provider_id::{ProviderFilter, ProviderId},
    reason::Reason,
    sentence::{Name, Sentence, names},
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
    /// The issuers, in the order of their first providers.
    issuers: Vec<String>,
}

/// The longest token that is read once more to say what is wrong with it, in
/// bytes: any client may send one.
const MAX_READ_AGAIN: usize = 4096;

/// How long the chain waits for providers.
pub enum Wait<'a> {
    /// Not at all. At the first provider that needs I/O the chain stays
    /// pending forever; the caller then asks it again and waits.
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
    /// What that provider told of its answer.
    pub(crate) cause: Cause,
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
        let (mut of_any_token, mut issuers) = (Vec::new(), Vec::new());
        let mut by_issuer: AHashMap<String, Vec<ProviderId>> = AHashMap::new();
        for (id, provider) in (0..).map(ProviderId).zip(&providers) {
            match provider.issuer() {
                Some(issuer) => {
                    let of_issuer = by_issuer.entry(issuer.into()).or_default();
                    if of_issuer.is_empty() {
                        issuers.push(issuer.to_owned());
                    }
                    of_issuer.push(id);
                }
                None => of_any_token.push(id),
            }
        }
        Self { providers, of_any_token, by_issuer, issuers }
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
                        let cause = Cause::default();
                        return Outcome {
                            result,
                            cause,
                            provider: Some(id),
                            answers,
                            cache,
                            verified,
                        };
                    }
                    Err(reason) => Answer::Refused(reason),
                },
                answer => answer,
            };
            answers.push((id, answer.kind()));
            match answer {
                Answer::Refused(reason) => {
                    credential.note_refusal(reason);
                    let cause = credential.take_cause();
                    refusal = refusal.or(Some((id, reason, cause)));
                }
                Answer::Unavailable => {
                    let cause = credential.take_cause();
                    unavailable = unavailable.or(Some((id, cause)));
                }
                Answer::NotMine | Answer::Authenticated(_) => drop(credential.take_cause()),
            }
        }
        credential.begin_notes(None);
        let (result, provider, cause) = match (refusal, unavailable) {
            (Some((id, reason, cause)), _) => (NoCaller::Refused(reason), Some(id), cause),
            (None, Some((id, cause))) => (NoCaller::Unavailable, Some(id), cause),
            (None, None) => {
                let (reason, sentence) = self.unrecognised(credential, filters);
                let cause = Cause { sentence: Some(sentence), principal: None };
                (NoCaller::Refused(reason), None, cause)
            }
        };
        Outcome { result: Err(result), cause, provider, answers, cache, verified }
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

    /// Why a token that no provider recognises is refused, and a sentence on
    /// that.
    fn unrecognised(
        &self,
        credential: &Credential<'_>,
        filters: [&ProviderFilter; 2],
    ) -> (Reason, String) {
        let is_asked = |id: &&ProviderId| filters.iter().all(|filter| filter.allows(**id));
        if let Some(jwt) = credential.jwt() {
            let is_trusted = |issuer: &&str| self.by_issuer[*issuer].iter().any(|id| is_asked(&id));
            let trusted = names(self.issuers.iter().map(String::as_str).filter(is_trusted));
            let sentence = match jwt.issuer() {
                Some(issuer) => {
                    Sentence::of(format_args!("iss {}, trusted: {trusted}", Name(issuer)))
                }
                None => Sentence::of(format_args!("missing claim iss, trusted: {trusted}")),
            };
            return (Reason::UnknownIssuer, sentence);
        }
        let opaque = self.of_any_token.iter().filter(is_asked).map(|id| self.get(*id));
        let mut opaque =
            opaque.filter(|provider| provider.takes_opaque_tokens()).map(Provider::name).peekable();
        if jwt::pretends_to_be_a_jwt(credential.token()) {
            let bytes = credential.token().len();
            let sentence = match bytes <= MAX_READ_AGAIN {
                true => Sentence::of(format_args!("{}", jwt::defect(credential.token()))),
                false => Sentence::of(format_args!(
                    "its {bytes} bytes can't be read as a JWT; `claimgate explain` says where"
                )),
            };
            return (Reason::MalformedToken, sentence);
        }
        if opaque.peek().is_none() {
            let sentence = "it is not a JWT, and no provider of other tokens is asked";
            return (Reason::MalformedToken, sentence.into());
        }
        let opaque = names(opaque);
        (Reason::UnknownKey, Sentence::of(format_args!("not known to {opaque}")))
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
                credential.because(format_args!("the time is up, so it was not waited for"));
                Answer::Unavailable
            }
            Self::Until(give_up) => {
                if let Either::Left((answer, _)) = select(answer, give_up.as_mut()).await {
                    return answer;
                }
                credential.because(format_args!("it did not answer in time"));
                *self = Self::Over;
                Answer::Unavailable
            }
        }
    }
}
