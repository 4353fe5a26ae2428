//! The closed list of reasons: one word per cause, the same in the metric
//! label, the log line, the dynamic metadata and `claimgate explain`.

macro_rules! reasons {
    ($($(#[$doc:meta])* $variant:ident = $word:literal, $sentence:literal;)+) => {
        /// Why a request was allowed or denied.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Reason { $($(#[$doc])* $variant,)+ }

        impl Reason {
            /// Every reason, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)+];

            /// The word that stands for this reason everywhere.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }

            /// One sentence for the caller; it holds nothing from the request.
            pub const fn description(self) -> &'static str {
                match self { $(Self::$variant => $sentence,)+ }
            }
        }
    };
}

reasons! {
    /// Authenticated and authorised.
    Ok = "ok", "the request is authorised";
    /// A public path or route: no token is needed.
    Public = "public", "the path is public";
    /// Authentication is switched off.
    Disabled = "disabled", "authentication is switched off";
    /// No configured source holds a token.
    MissingToken = "missing_token", "no bearer token was sent";
    /// The request can't be read, or names two tokens.
    MalformedRequest = "malformed_request", "the request is malformed or carries more than one token";
    /// The token is not a readable JWT, or a claim has the wrong type.
    MalformedToken = "malformed_token", "the token is malformed";
    /// The token is longer than `max_token_bytes`.
    TokenTooLarge = "token_too_large", "the token is too large";
    /// No provider knows this API key.
    UnknownKey = "unknown_key", "the token is not known";
    /// No provider trusts the issuer of this JWT.
    UnknownIssuer = "unknown_issuer", "the token's issuer is not trusted";
    /// The issuer has no such signing key.
    UnknownKid = "unknown_kid", "the token is signed with an unknown key";
    /// The header's `typ` is not accepted, or the token is bound to a proof.
    WrongTokenType = "wrong_token_type", "this type of token is not accepted";
    /// The provider or the key does not allow this algorithm.
    AlgorithmNotAllowed = "algorithm_not_allowed", "the token's signature algorithm is not allowed";
    /// The signature does not verify.
    BadSignature = "bad_signature", "the token's signature is not valid";
    /// `exp` has passed.
    Expired = "expired", "the token has expired";
    /// `nbf` lies ahead.
    NotYetValid = "not_yet_valid", "the token is not valid yet";
    /// `iat` lies ahead.
    IssuedInFuture = "issued_in_future", "the token was issued in the future";
    /// `exp` and `iat` are further apart than allowed.
    LifetimeTooLong = "lifetime_too_long", "the token's lifetime is too long";
    /// A claim that a rule needs is not in the token.
    MissingClaim = "missing_claim", "the token lacks a required claim";
    /// No wanted audience is in `aud`.
    WrongAudience = "wrong_audience", "the token is meant for another audience";
    /// The client is not on the allow-list.
    WrongClient = "wrong_client", "the token was issued to a client that is not allowed";
    /// A claim has another value than a rule wants.
    WrongClaim = "wrong_claim", "a claim of the token does not have the required value";
    /// The API key has expired.
    KeyExpired = "key_expired", "the API key has expired";
    /// The API key is not valid yet.
    KeyNotYetValid = "key_not_yet_valid", "the API key is not valid yet";
    /// The API key was revoked.
    KeyRevoked = "key_revoked", "the API key has been revoked";
    /// The route wants a scope that was not granted.
    InsufficientScope = "insufficient_scope", "the token does not grant the required scope";
    /// Two readings of the path lead to different routes.
    AmbiguousPath = "ambiguous_path", "the path can be read in more than one way";
    /// Envoy names a route that the configuration does not have.
    UnknownRoute = "unknown_route", "the gateway names a route that the authorization service does not know";
    /// The caller's budget does not hold enough for this request.
    RateLimited = "rate_limited", "too many requests, try again later";
    /// A provider could not answer in time.
    ProviderUnavailable = "provider_unavailable", "the token can't be checked right now";
    /// A defect of this program.
    Internal = "internal", "internal error";
}

impl Reason {
    /// Whether a provider may give it for a token that it refuses.
    pub const fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::MalformedToken
                | Self::UnknownKey
                | Self::UnknownKid
                | Self::WrongTokenType
                | Self::AlgorithmNotAllowed
                | Self::BadSignature
                | Self::Expired
                | Self::NotYetValid
                | Self::IssuedInFuture
                | Self::LifetimeTooLong
                | Self::MissingClaim
                | Self::WrongAudience
                | Self::WrongClient
                | Self::WrongClaim
                | Self::KeyExpired
                | Self::KeyNotYetValid
                | Self::KeyRevoked
        )
    }

    /// The reason that a word stands for.
    pub fn from_word(word: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|reason| reason.as_str() == word)
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_reads_back_and_is_listed_once() {
        for reason in Reason::ALL {
            assert_eq!(Reason::from_word(reason.as_str()), Some(*reason));
        }
        assert_eq!(Reason::ALL.len(), 30);
    }

    #[test]
    fn descriptions_fit_a_quoted_string_of_rfc_6750() {
        for reason in Reason::ALL {
            let fits = |b: u8| (0x20..0x7f).contains(&b) && b != b'"' && b != b'\\';
            assert!(reason.description().bytes().all(fits), "{reason}");
        }
    }
}
