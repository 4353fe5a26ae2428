//! JWTs of OAuth 2.0 issuers (RFC 7519, RFC 9068).
//!
//! A token is read once per request ([`jwt`]), verified with a key of its
//! issuer ([`keys`], kept fresh by a [`KeyStore`]), checked ([`checks`]) and
//! cached ([`crate::token_cache`]). Only a key that the issuer does not seem to
//! have makes a request wait: one that the token names and the set lacks, or one
//! that has come in the place of the one that does not verify the token.

use std::{
    fmt,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use super::{Answer, Answering, Provider};
use crate::{
    credential::Credential,
    keys::{KeySet, KeyStore, Refresh, VerifyingKey},
    reason::Reason,
    sentence::{Name, list, names},
    settings::OAuth2Settings,
    token::{jwt::Unverified, times::Times},
    token_cache::{ProviderTag, TokenCache, VerifiedToken},
};

mod checks;

pub use crate::{
    keys::{self, Algorithm},
    token::jwt,
};

/// How often a request looks again after waiting for keys: for a refresh that
/// was under way, for the one it triggered, and for none beyond.
const MAX_WAITS: usize = 2;

/// How many keys of one issuer are tried on a token: computing signatures is
/// what a token costs. With a `kid` it is one, but for issuers that give
/// several keys the same or none at all.
const MAX_SIGNATURES: usize = 8;

/// Verifies the JWTs of one issuer.
pub struct OAuth2 {
    name: String,
    forward_token: Option<bool>,
    settings: OAuth2Settings,
    issuer: Arc<str>,
    keys: Arc<dyn KeyStore>,
    cache: Arc<TokenCache>,
    tag: ProviderTag,
}

/// Why a token was not verified.
enum Failure {
    /// It is not valid, whatever keys its issuer has.
    Refused(Reason),
    /// The keys at hand do not verify it.
    NotBy(Keys),
}

/// The keys of an issuer that do not verify a token.
struct Keys {
    tried: Arc<KeySet>,
    /// Why the token is refused if the issuer has no others:
    /// [`Reason::UnknownKid`] where none of them is the one that it names.
    reason: Reason,
}

impl From<Reason> for Failure {
    fn from(reason: Reason) -> Self {
        Self::Refused(reason)
    }
}

impl OAuth2 {
    /// A provider called `name`; `cache` may be shared by several.
    pub fn new(
        name: &str,
        forward_token: Option<bool>,
        settings: OAuth2Settings,
        keys: Arc<dyn KeyStore>,
        cache: Arc<TokenCache>,
    ) -> Self {
        static TAGS: AtomicUsize = AtomicUsize::new(0);
        Self {
            name: name.into(),
            forward_token,
            issuer: settings.issuer.as_str().into(),
            settings,
            keys,
            cache,
            tag: ProviderTag(TAGS.fetch_add(1, Ordering::Relaxed)),
        }
    }

    /// Verifies and judges a token with the keys at hand.
    fn judge(&self, credential: &Credential<'_>, jwt: &Unverified) -> Result<Answer, Failure> {
        let now = credential.now();
        // An entry that ends now would never be found.
        let lasts = jwt.expires_at().is_some_and(|exp| exp > now.as_seconds());
        if !lasts || credential.cached().is_some() {
            credential.missed_cache(None);
            return self
                .verify(credential, jwt)
                .map(|verified| Answer::Authenticated(verified.principal));
        }
        // Two requests with one new token both compute its signature: to wait
        // for another thread costs more, and with an invalid token it would
        // delay everything else that this thread has to do.
        let verified = Arc::new(self.verify(credential, jwt)?);
        credential.missed_cache(Some(Arc::clone(&verified)));
        Ok(Answer::Authenticated(Arc::clone(&verified.principal)))
    }

    fn verify(
        &self,
        credential: &Credential<'_>,
        jwt: &Unverified,
    ) -> Result<VerifiedToken, Failure> {
        let settings = &self.settings;
        checks::header(settings, jwt, credential)?;
        let algorithm = checks::algorithm(settings, jwt, credential)?;
        let key = self.verify_signature(credential, jwt, algorithm)?;
        let claims = jwt.claims();
        let read = checks::claim_types(jwt, credential).and_then(|stated| {
            let principal = checks::principal(settings, claims, stated.expires_at, credential)?;
            Ok((principal.with_claims(self.cache.worth_keeping(claims)), stated))
        });
        let (principal, stated) = read.inspect_err(|_| {
            credential.belongs_to(&checks::named(settings, claims));
        })?;
        let principal = Arc::new(principal);
        let times = self.judge_claims(credential, jwt, &stated);
        let times = times.inspect_err(|_| credential.belongs_to(&principal))?;
        Ok(VerifiedToken {
            token: credential.token().into(),
            by: self.tag,
            issuer: Arc::clone(&self.issuer),
            key,
            times,
            principal,
        })
    }

    /// Whether the claims are those of a token that is accepted now.
    fn judge_claims(
        &self,
        credential: &Credential<'_>,
        jwt: &Unverified,
        stated: &checks::Stated,
    ) -> Result<Times, Reason> {
        let settings = &self.settings;
        let times = checks::expiry(stated, credential)?;
        checks::times(settings, &times, credential)?;
        checks::lifetime(settings, &times, credential)?;
        checks::audience(settings, jwt, credential)?;
        checks::client(settings, jwt, credential)?;
        checks::required_claims(settings, jwt, credential)?;
        Ok(times)
    }

    /// The key that verifies the token: one with its `kid`, else one without
    /// any that fits. A token without a `kid` may be by any that fits.
    fn verify_signature(
        &self,
        credential: &Credential<'_>,
        jwt: &Unverified,
        algorithm: Algorithm,
    ) -> Result<Arc<VerifyingKey>, Failure> {
        let kid = jwt.header().kid.text();
        let keys = self.keys.keys();
        let not_by = |reason| Failure::NotBy(Keys { tried: Arc::clone(&keys), reason });
        let is_known = kid.is_none_or(|kid| keys.iter().any(|key| key.kid() == Some(kid)));
        let in_question = |key: &&Arc<VerifyingKey>| match is_known {
            true => kid.is_none() || key.kid() == kid,
            false => key.kid().is_none(),
        };
        let fitting = || keys.iter().filter(in_question).filter(|key| key.fits(algorithm));
        let unknown = || {
            self.tell_missing_key(kid, &keys, credential);
            not_by(Reason::UnknownKid)
        };
        if fitting().next().is_none() {
            if !is_known || keys.is_empty() {
                return Err(unknown());
            }
            let named = keys.iter().filter(in_question);
            let allowed = list(named.flat_map(|key| key.algorithms()));
            credential.because(format_args!(
                "signed with {algorithm}, the issuer's key is for {allowed}"
            ));
            return Err(not_by(Reason::AlgorithmNotAllowed));
        }
        let none_verifies = || {
            if !is_known {
                return unknown();
            }
            match kid.map(Name) {
                Some(kid) => credential.because(format_args!(
                    "the signature does not verify with the issuer's key {kid}"
                )),
                None => credential
                    .because(format_args!("the signature verifies with none of the issuer's keys")),
            }
            not_by(Reason::BadSignature)
        };
        if self.cache.refused().contains(credential.token(), &keys) {
            return Err(none_verifies());
        }
        // The same key has verified the token for another provider.
        let proven = |key: &Arc<VerifyingKey>| {
            credential.cached().is_some_and(|cached| cached.key.is_same(key))
        };
        let verifies = |key: &&Arc<VerifyingKey>| {
            proven(key)
                || key.verify(algorithm, jwt.signed_part(credential.token()), jwt.signature())
        };
        let mut tried = fitting()
            .filter(|key| key.makes_signatures_of(jwt.signature().len()))
            .take(MAX_SIGNATURES);
        tried.find(verifies).cloned().ok_or_else(|| {
            self.cache.refused().add(credential.token(), &keys);
            none_verifies()
        })
    }

    /// What makes a token another provider's.
    fn describe_other(&self, credential: &Credential<'_>) -> String {
        let ours = format!("it is not a JWT of {:?}", self.issuer);
        match credential.jwt() {
            Some(jwt) => match jwt.issuer() {
                Some(issuer) => format!("{ours}: its iss is {issuer:?}"),
                None => format!("{ours}: it has no iss"),
            },
            None if jwt::pretends_to_be_a_jwt(credential.token()) => {
                format!("{ours}: {}", jwt::defect(credential.token()))
            }
            None => ours,
        }
    }

    /// Why it is unknown whether the issuer has the token's key.
    fn note_unavailable(&self, credential: &Credential<'_>) {
        match self.keys.last_error() {
            Some(error) => credential.because(format_args!("its keys can't be fetched: {error}")),
            None => credential.because(format_args!("it has no keys to verify with")),
        }
    }

    fn tell_missing_key(&self, kid: Option<&str>, keys: &KeySet, credential: &Credential<'_>) {
        let Some(kid) = kid.map(Name) else {
            return credential.because(format_args!("it names no key, and the issuer has none"));
        };
        let known = names(keys.iter().map(|key| key.kid().unwrap_or("(no kid)")));
        credential.because(format_args!("kid {kid}, the issuer has {known}"));
    }

    /// The answer by the keys at hand; an error if other keys may give another.
    fn answer(&self, credential: &Credential<'_>, jwt: &Unverified) -> Result<Answer, Keys> {
        self.judge(credential, jwt).or_else(|failure| match failure {
            Failure::Refused(reason) => Ok(Answer::Refused(reason)),
            Failure::NotBy(keys) => Err(keys),
        })
    }

    /// Waits for keys that may have the one that signed the token.
    async fn wait_for_key(
        &self,
        credential: &Credential<'_>,
        jwt: &Unverified,
        first: impl Future<Output = ()>,
    ) -> Answer {
        first.await;
        for _ in 0..MAX_WAITS {
            let keys = match self.answer(credential, jwt) {
                Ok(answer) => return answer,
                Err(keys) => keys,
            };
            match self.keys.refresh() {
                Refresh::Settled { good } => return self.settled(credential, jwt, keys, good),
                Refresh::Wait(refresh) => refresh.await,
            }
        }
        self.answer(credential, jwt).unwrap_or_else(|keys| self.without(credential, &keys, false))
    }

    /// The answer once a refresh has settled which keys there are. It may have
    /// ended since the keys were looked at, so new ones are looked at once more.
    fn settled(
        &self,
        credential: &Credential<'_>,
        jwt: &Unverified,
        keys: Keys,
        good: bool,
    ) -> Answer {
        let are_new = !Arc::ptr_eq(&keys.tried, &self.keys.keys());
        let answer = if are_new { self.answer(credential, jwt) } else { Err(keys) };
        answer.unwrap_or_else(|keys| self.without(credential, &keys, good))
    }

    /// The answer without other keys than these. After a good refresh a missing
    /// key does not exist, after a failed one that is unknown. A signature that
    /// is not by the key it names is bad until the issuer says otherwise: an
    /// outage must not turn every forgery into a 503.
    fn without(&self, credential: &Credential<'_>, keys: &Keys, good: bool) -> Answer {
        if keys.reason == Reason::UnknownKid && (!good || keys.tried.is_empty()) {
            self.note_unavailable(credential);
            return Answer::Unavailable;
        }
        Answer::Refused(keys.reason)
    }
}

impl Provider for OAuth2 {
    fn name(&self) -> &str {
        &self.name
    }

    fn method(&self) -> &str {
        "oauth2"
    }

    fn issuer(&self) -> Option<&str> {
        Some(&self.issuer)
    }

    fn forward_token(&self) -> Option<bool> {
        self.forward_token
    }

    fn answer_cached(&self, cached: &VerifiedToken, credential: &Credential<'_>) -> Option<Answer> {
        if cached.by != self.tag {
            return None;
        }
        credential.note(|| "its signature was verified before".into());
        Some(match checks::times(&self.settings, &cached.times, credential) {
            Ok(()) => Answer::Authenticated(Arc::clone(&cached.principal)),
            Err(reason) => {
                credential.belongs_to(&cached.principal);
                Answer::Refused(reason)
            }
        })
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        let Some(jwt) = credential.jwt().filter(|jwt| jwt.issuer() == Some(&self.issuer)) else {
            credential.note(|| self.describe_other(credential));
            return Answering::Now(Answer::NotMine);
        };
        let keys = match self.answer(credential, jwt) {
            Ok(answer) => return Answering::Now(answer),
            Err(keys) => keys,
        };
        match self.keys.refresh() {
            Refresh::Settled { good } => Answering::Now(self.settled(credential, jwt, keys, good)),
            Refresh::Wait(refresh) => Answering::later(self.wait_for_key(credential, jwt, refresh)),
        }
    }
}

impl fmt::Debug for OAuth2 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OAuth2")
            .field("name", &self.name)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}
