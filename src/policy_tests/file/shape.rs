//! The types of a policy-test file, before the values are checked.

use deserr::{Deserr, IntoValue, Value, ValueKind, ValuePointerRef};

use crate::config::document::{Entries, List, OneOrMany, Problems, Scalar, Switchable, wrong_kind};

/// Derives what every mapping of the file needs.
macro_rules! block {
    ($(#[$meta:meta])* struct $name:ident { $($(#[$field_meta:meta])* $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Default, Deserr)]
        #[deserr(error = Problems, deny_unknown_fields)]
        pub(super) struct $name {
            $($(#[$field_meta])* #[deserr(default)] pub(super) $field: $type,)*
        }
    };
}

block! {
    /// The whole file.
    struct CasesFile {
        /// The config file under test, relative to this file.
        config: Option<String>,
        /// Environment variables, before those of the process.
        env: Option<Entries<Scalar>>,
        /// The time of every case that has none.
        at: Option<Scalar>,
        /// The cases.
        cases: Option<List<CaseFile>>,
    }
}

block! {
    /// One case.
    struct CaseFile {
        /// A unique name.
        name: Option<String>,
        /// `GET /path`, or the request's parts.
        request: Option<Either<RequestFile>>,
        /// A captured CheckRequest instead.
        check_request: Option<String>,
        /// The token as it is sent.
        token: Option<String>,
        /// A file that holds it.
        token_file: Option<String>,
        /// An API key of the config, by name.
        api_key: Option<Either<ApiKeyFile>>,
        /// A JWT made for the case.
        jwt: Option<JwtFile>,
        /// The time of the request.
        at: Option<Scalar>,
        /// How often the same request came before.
        requests_before: Option<u64>,
        /// Providers that can't be reached.
        unavailable: Option<List<String>>,
        /// The answers of custom providers.
        answers: Option<Entries<Either<AnswerFile>>>,
        /// The expected decision.
        expect: Option<Either<ExpectFile>>,
    }
}

block! {
    /// The parts of a request.
    struct RequestFile {
        /// `GET` if left out.
        method: Option<String>,
        /// `localhost` if left out.
        host: Option<String>,
        /// With its query.
        path: Option<String>,
        /// By name; a list for a header that is sent more than once.
        headers: Option<Entries<OneOrMany<String>>>,
        /// What Envoy's own route names.
        route: Option<String>,
    }
}

block! {
    /// Which API key.
    struct ApiKeyFile {
        /// Its name.
        name: Option<String>,
        /// Its provider, where several have one of that name.
        provider: Option<String>,
        /// Which of several of that name, from 1.
        nth: Option<u64>,
    }
}

block! {
    /// A JWT: valid for its provider, apart from what is written here.
    struct JwtFile {
        /// The provider that is to accept it.
        provider: Option<String>,
        /// Claims; null leaves one out.
        claims: Option<Entries<serde_json::Value>>,
        /// Scopes, put where the provider looks for them.
        scopes: Option<List<String>>,
        /// Seconds until it expires.
        expires_in: Option<Scalar>,
        /// Signs it; the first that the provider allows if left out.
        algorithm: Option<String>,
        /// Header members; null leaves one out.
        header: Option<Entries<serde_json::Value>>,
        /// `issuer`, or `stranger` for a key that is not the issuer's.
        signed_by: Option<String>,
    }
}

block! {
    /// The answer of a custom provider: the caller, or a refusal.
    struct AnswerFile {
        /// The caller's subject.
        subject: Option<String>,
        /// The caller's scopes.
        scopes: Option<List<String>>,
        /// The caller's claims.
        claims: Option<Entries<serde_json::Value>>,
        /// The reason of a refusal.
        refused: Option<String>,
    }
}

block! {
    /// The expected decision; what is left out may be anything.
    struct ExpectFile {
        /// `allow` or `deny`.
        decision: Option<String>,
        /// The client's status; 200 for allow.
        status: Option<u64>,
        /// A word of the closed list.
        reason: Option<String>,
        /// The deciding provider; null for none.
        provider: Switchable<String>,
        /// The route; null for the defaults.
        route: Switchable<String>,
        /// The caller's subject; null for none.
        subject: Switchable<String>,
        /// The granted scopes, in any order.
        scopes: Option<List<String>>,
        /// Headers of the request as the upstream sees it, or of the response
        /// as the client does; null for none of that name.
        headers: Option<Entries<String>>,
    }
}

/// A word, or the mapping that it abbreviates.
pub(super) enum Either<T> {
    /// The word.
    Word(String),
    /// The mapping.
    Full(T),
}

impl<T: Deserr<Problems>> Deserr<Problems> for Either<T> {
    fn deserialize_from_value<V: IntoValue>(
        value: Value<V>,
        location: ValuePointerRef,
    ) -> Result<Self, Problems> {
        match value {
            Value::String(word) => Ok(Self::Word(word)),
            Value::Map(_) => T::deserialize_from_value(value, location).map(Self::Full),
            other => Err(wrong_kind(other, &[ValueKind::String, ValueKind::Map], location)),
        }
    }
}

/// The variables of the block `env`, taken as they are: they are needed
/// before anything else is read. Errors in the block are reported later.
pub(super) fn variables(block: Option<&serde_json::Value>) -> Vec<(String, String)> {
    let members = block.and_then(serde_json::Value::as_object).into_iter().flatten();
    members.filter_map(|(name, value)| Some((name.clone(), scalar_text(value)?))).collect()
}

/// The text of a scalar, as an environment variable holds it.
pub(super) fn scalar_text(value: &serde_json::Value) -> Option<String> {
    match value {
        serde_json::Value::String(text) => Some(text.clone()),
        serde_json::Value::Bool(_) | serde_json::Value::Number(_) => Some(value.to_string()),
        _ => None,
    }
}
