//! Tokens that are valid for a provider, apart from what a case changes.

use std::{
    collections::{HashMap, hash_map::Entry},
    time::Duration,
};

use serde_json::{Map, Value, json};

use super::case::CaseJwt;
use crate::{
    claims::{self, ClaimPath},
    issuer::signing::{SigningError, SigningKey},
    keys::Algorithm,
    settings::OAuth2Settings,
    time::UnixTime,
};

/// How long a valid token lives unless the case or the provider says otherwise.
const LIFETIME: Duration = Duration::from_secs(3600);

/// Throw-away keys, by issuer and algorithm: providers of one issuer share their
/// keys, and no two issuers share any, as in production.
#[derive(Debug, Default)]
pub(super) struct Mint {
    keys: HashMap<(String, Algorithm), SigningKey>,
    strangers: HashMap<Algorithm, SigningKey>,
}

impl Mint {
    /// A token for `provider` at `now`.
    pub(super) fn token(
        &mut self,
        jwt: &CaseJwt,
        provider: &OAuth2Settings,
        now: UnixTime,
    ) -> Result<String, SigningError> {
        let first = provider.algorithms.first().copied();
        let algorithm = jwt.algorithm.or(first).unwrap_or(Algorithm::Rs256);
        let key = self.key(&provider.issuer, algorithm)?;
        let mut header = Map::new();
        header.insert("alg".into(), algorithm.as_str().into());
        header.insert("kid".into(), key.kid().into());
        change(&mut header, &jwt.header);
        let claims = Value::Object(claims_of(jwt, provider, now)).to_string();
        let header = Value::Object(header);
        if !jwt.signed_by_stranger {
            return key.sign_with(&header, claims.as_bytes());
        }
        let stranger = match self.strangers.entry(algorithm) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(SigningKey::generate(algorithm)?),
        };
        stranger.sign_with(&header, claims.as_bytes())
    }

    /// The JWK Set of an issuer: all its keys so far, and at least one.
    pub(super) fn jwks(&mut self, issuer: &str) -> Result<Value, SigningError> {
        if !self.keys.keys().any(|(of, _)| of == issuer) {
            // The fastest to generate; it signs nothing.
            self.key(issuer, Algorithm::EdDsa)?;
        }
        let of_issuer = self.keys.iter().filter(|((of, _), _)| of == issuer);
        let keys: Vec<_> = of_issuer.map(|(_, key)| key.jwk()).collect();
        Ok(json!({"keys": keys}))
    }

    fn key(&mut self, issuer: &str, algorithm: Algorithm) -> Result<&SigningKey, SigningError> {
        Ok(match self.keys.entry((issuer.into(), algorithm)) {
            Entry::Occupied(entry) => entry.into_mut(),
            Entry::Vacant(entry) => entry.insert(SigningKey::generate(algorithm)?),
        })
    }
}

/// The claims of a valid token, with the changes of the case.
fn claims_of(jwt: &CaseJwt, provider: &OAuth2Settings, now: UnixTime) -> Map<String, Value> {
    let now = now.as_seconds().floor();
    let longest = provider.max_token_lifetime.map_or(LIFETIME, |longest| longest.min(LIFETIME));
    let longest = longest.as_secs_f64();
    let expires_in = jwt.expires_in.unwrap_or(longest);
    let mut claims = Map::new();
    claims.insert("iss".into(), provider.issuer.as_str().into());
    claims.insert("sub".into(), "test-subject".into());
    if let Some(audience) = provider.audience.first() {
        claims.insert("aud".into(), audience.as_str().into());
    }
    // So that only the expiry is wrong about an expired token.
    claims.insert("iat".into(), number(now.min(now + expires_in - longest)));
    claims.insert("exp".into(), number(now + expires_in));
    if let Some(client) = provider.client_ids.first()
        && claims::clients(&jwt.claims.clone().into()).next().is_none()
    {
        claims.insert("client_id".into(), client.as_str().into());
    }
    for rule in &provider.required_claims {
        if let Some(value) = rule.any_of.first() {
            put(&mut claims, &rule.claim, value.clone());
        }
    }
    if let Some(scopes) = &jwt.scopes {
        put(&mut claims, &provider.scope_claim, scopes.join(" ").into());
    }
    change(&mut claims, &jwt.claims);
    claims
}

/// Whole seconds as whole numbers, as issuers write them.
fn number(seconds: f64) -> Value {
    match seconds.fract() == 0.0 {
        #[allow(clippy::cast_possible_truncation, reason = "whole, and a time")]
        true => (seconds as i64).into(),
        false => seconds.into(),
    }
}

/// Replaces members; null takes one out.
fn change(members: &mut Map<String, Value>, changes: &Map<String, Value>) {
    for (name, value) in changes {
        match value {
            Value::Null => drop(members.shift_remove(name)),
            value => drop(members.insert(name.clone(), value.clone())),
        }
    }
}

/// Puts a value where a claim path leads. A name with a slash is a URL, whose
/// dots mean nothing.
fn put(claims: &mut Map<String, Value>, path: &ClaimPath, value: Value) {
    let segments = match path {
        ClaimPath::Name { literal, segments } if segments.is_empty() || literal.contains('/') => {
            std::slice::from_ref(literal)
        }
        ClaimPath::Name { segments, .. } | ClaimPath::Segments(segments) => segments,
    };
    let Some((last, above)) = segments.split_last() else { return };
    let mut members = claims;
    for segment in above {
        let inner = members.entry(segment.as_str()).or_insert_with(|| json!({}));
        let Value::Object(inner) = inner else { return };
        members = inner;
    }
    members.insert(last.clone(), value);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_goes_where_its_path_leads() {
        let segments = ["kubernetes.io", "namespace"].map(String::from).to_vec();
        let cases = [
            (ClaimPath::named("scp"), json!({"scp": 1})),
            (ClaimPath::named("realm_access.roles"), json!({"realm_access": {"roles": 1}})),
            (ClaimPath::named("https://a.example/team"), json!({"https://a.example/team": 1})),
            (ClaimPath::Segments(segments), json!({"kubernetes.io": {"namespace": 1}})),
        ];
        for (path, expected) in cases {
            let mut claims = Map::new();
            put(&mut claims, &path, json!(1));
            assert_eq!(Value::Object(claims.clone()), expected);
            assert_eq!(path.find(&claims.into()), Some(&json!(1)), "{path}");
        }
    }
}
