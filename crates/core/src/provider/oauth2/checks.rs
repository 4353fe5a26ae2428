//! The checks of a JWT's header and claims, in the order in which they are
//! made.

use std::sync::Arc;

use serde_json::Value;

use crate::{
    claims::{self, Claims, RuleOutcome},
    credential::Credential,
    keys::Algorithm,
    principal::{Principal, Scopes},
    reason::Reason,
    sentence::{Json, Name, Span, any, list, names},
    settings::OAuth2Settings,
    time::UnixTime,
    token::{
        jwt::{Member, Unverified},
        times::Times,
    },
};

/// From here on a double can't tell one second from the next.
const END_OF_TIME: f64 = 9_007_199_254_740_992.0;

/// The times that a token states.
pub(super) struct Stated {
    /// `exp`.
    pub(super) expires_at: Option<UnixTime>,
    not_before: Option<UnixTime>,
    issued_at: Option<UnixTime>,
}

/// The header: nothing in it that asks for more than a signature, and a type
/// that stands for an access token (RFC 8725, section 3.11).
pub(super) fn header(
    settings: &OAuth2Settings,
    jwt: &Unverified,
    credential: &Credential<'_>,
) -> Result<(), Reason> {
    let header = jwt.header();
    if let Some(name) = header.asks_for {
        match name {
            "b64" => credential.because(format_args!("header member \"b64\" is not true")),
            name => {
                credential.because(format_args!("header member {} is never accepted", Name(name)));
            }
        }
        return Err(Reason::MalformedToken);
    }
    for (name, member) in [("kid", &header.kid), ("typ", &header.typ)] {
        if matches!(member, Member::Odd) {
            credential.because(format_args!("header member {name} is not a string"));
            return Err(Reason::MalformedToken);
        }
    }
    let typ = header.typ.text().map(media_type);
    if let (Some(accepted), Some(typ)) = (&settings.accepted_types, typ)
        && !accepted.iter().any(|accepted| accepted.eq_ignore_ascii_case(typ))
    {
        let accepted = names(accepted.iter().map(String::as_str));
        credential.because(format_args!("typ {}, accepted: {accepted}", Name(typ)));
        return Err(Reason::WrongTokenType);
    }
    if jwt.is_bound() && !settings.accept_bound_tokens {
        credential.because(format_args!(
            "it is bound to a key or certificate (cnf), whose proof is not checked"
        ));
        return Err(Reason::WrongTokenType);
    }
    Ok(())
}

/// The algorithm, if the provider allows it.
pub(super) fn algorithm(
    settings: &OAuth2Settings,
    jwt: &Unverified,
    credential: &Credential<'_>,
) -> Result<Algorithm, Reason> {
    let named = jwt.header().alg.as_str();
    let known = named.parse().ok().filter(|named| settings.algorithms.contains(named));
    known.ok_or_else(|| {
        let allowed = list(&settings.algorithms);
        credential.because(format_args!("signed with {}, allowed: {allowed}", Name(named)));
        Reason::AlgorithmNotAllowed
    })
}

/// The types of the registered claims, whether or not they are needed here
/// (RFC 7519, section 4.1), and the token's times.
pub(super) fn claim_types(jwt: &Unverified, credential: &Credential<'_>) -> Result<Stated, Reason> {
    let claims = jwt.claims();
    let wrong = |name: &str| {
        let value = claims.get(name).unwrap_or(&Value::Null);
        let wanted = match name {
            "aud" => "a string or a list of strings",
            "exp" | "nbf" | "iat" => "a number from 0 to 2^53",
            _ => "a string",
        };
        let value = Json(value);
        credential.because(format_args!("claim {name} is {value}, wanted: {wanted}"));
        Reason::MalformedToken
    };
    for name in ["sub", "iss", "jti"] {
        optional_text(claims, name).map_err(|_| wrong(name))?;
    }
    let audience_is_text = match claims.get("aud") {
        None | Some(Value::String(_)) => true,
        Some(Value::Array(audience)) => audience.iter().all(Value::is_string),
        Some(_) => false,
    };
    if !audience_is_text {
        return Err(wrong("aud"));
    }
    let time = |name| numeric_date(claims, name).map_err(|_| wrong(name));
    Ok(Stated { expires_at: time("exp")?, not_before: time("nbf")?, issued_at: time("iat")? })
}

/// A token must end.
pub(super) fn expiry(stated: &Stated, credential: &Credential<'_>) -> Result<Times, Reason> {
    let Some(expires_at) = stated.expires_at else {
        credential.because(format_args!("missing claim exp"));
        return Err(Reason::MissingClaim);
    };
    Ok(Times { expires_at, not_before: stated.not_before, issued_at: stated.issued_at })
}

/// Whether the token is valid at this moment.
pub(super) fn times(
    settings: &OAuth2Settings,
    times: &Times,
    credential: &Credential<'_>,
) -> Result<(), Reason> {
    let (now, skew) = (credential.now(), settings.clock_skew);
    if now >= times.expires_at + skew {
        let end = times.expires_at;
        let ago = Span(now.as_seconds() - end.as_seconds());
        let skew = skew.as_secs();
        credential.because(format_args!("expired {ago} ago, at {end} ({skew} s of skew allowed)"));
        return Err(Reason::Expired);
    }
    if let Some(start) = times.not_before.filter(|start| *start > now + skew) {
        let ahead = Span(start.as_seconds() - now.as_seconds());
        let skew = skew.as_secs();
        credential
            .because(format_args!("valid in {ahead}, from {start} ({skew} s of skew allowed)"));
        return Err(Reason::NotYetValid);
    }
    if let Some(issued) = times.issued_at.filter(|issued| *issued > now + skew) {
        let ahead = Span(issued.as_seconds() - now.as_seconds());
        let skew = skew.as_secs();
        credential.because(format_args!(
            "issued {ahead} ahead of this clock, at {issued} ({skew} s of skew allowed)"
        ));
        return Err(Reason::IssuedInFuture);
    }
    Ok(())
}

/// Whether its whole lifetime is short enough.
pub(super) fn lifetime(
    settings: &OAuth2Settings,
    times: &Times,
    credential: &Credential<'_>,
) -> Result<(), Reason> {
    let Some(longest) = settings.max_token_lifetime else { return Ok(()) };
    let Some(issued) = times.issued_at else {
        credential
            .because(format_args!("missing claim iat, which max_token_lifetime_seconds needs"));
        return Err(Reason::MissingClaim);
    };
    if times.expires_at > issued + longest {
        let lifetime = times.expires_at.as_seconds() - issued.as_seconds();
        let longest = longest.as_secs();
        credential.because(format_args!("valid for {lifetime} s in all, allowed: {longest} s"));
        return Err(Reason::LifetimeTooLong);
    }
    Ok(())
}

/// Whether it is meant for us (RFC 7519, section 4.1.3).
pub(super) fn audience(
    settings: &OAuth2Settings,
    jwt: &Unverified,
    credential: &Credential<'_>,
) -> Result<(), Reason> {
    if settings.audience.is_empty() {
        return Ok(());
    }
    let wanted = || any(settings.audience.iter().map(|audience| Name(audience)));
    let is_ours = |audience: &str| settings.audience.iter().any(|ours| ours == audience);
    let named = match jwt.claims().get("aud") {
        None => {
            credential.because(format_args!("missing claim aud, wanted: {}", wanted()));
            return Err(Reason::MissingClaim);
        }
        Some(Value::Array(audience)) => audience.iter().filter_map(Value::as_str).any(is_ours),
        Some(audience) => audience.as_str().is_some_and(is_ours),
    };
    if named {
        return Ok(());
    }
    let named = Json(&jwt.claims()["aud"]);
    credential.because(format_args!("aud is {named}, wanted: {}", wanted()));
    Err(Reason::WrongAudience)
}

/// Whether its client is on the list.
pub(super) fn client(
    settings: &OAuth2Settings,
    jwt: &Unverified,
    credential: &Credential<'_>,
) -> Result<(), Reason> {
    if settings.client_ids.is_empty() {
        return Ok(());
    }
    let mut named = claims::clients(jwt.claims()).peekable();
    if named.peek().is_none() {
        credential.because(format_args!(
            "missing claim client_id (or azp, appid, cid), allowed: {}",
            names(settings.client_ids.iter().map(String::as_str))
        ));
        return Err(Reason::MissingClaim);
    }
    if named.any(|client| settings.client_ids.iter().any(|allowed| allowed == client)) {
        return Ok(());
    }
    let named = names(claims::clients(jwt.claims()));
    let allowed = names(settings.client_ids.iter().map(String::as_str));
    credential.because(format_args!("client {named}, allowed: {allowed}"));
    Err(Reason::WrongClient)
}

/// The claims that the provider requires.
pub(super) fn required_claims(
    settings: &OAuth2Settings,
    jwt: &Unverified,
    credential: &Credential<'_>,
) -> Result<(), Reason> {
    for rule in &settings.required_claims {
        let reason = match rule.check(jwt.claims()) {
            RuleOutcome::Holds => continue,
            RuleOutcome::Missing => Reason::MissingClaim,
            RuleOutcome::Differs => Reason::WrongClaim,
        };
        credential.because(format_args!("{}", rule.broken_by(jwt.claims())));
        return Err(reason);
    }
    Ok(())
}

/// Who the token is for, its other claims left out.
pub(super) fn principal(
    settings: &OAuth2Settings,
    claims: &Claims,
    expires_at: Option<UnixTime>,
    credential: &Credential<'_>,
) -> Result<Principal, Reason> {
    let subject = match settings.subject_claim.find(claims) {
        None => None,
        Some(Value::String(subject)) => Some(subject.clone()),
        Some(value) => {
            let name = settings.subject_claim.text();
            let (name, value) = (Name(&name), Json(value));
            credential.because(format_args!("claim {name}, the subject, is {value}, not a string"));
            return Err(Reason::MalformedToken);
        }
    };
    let names = settings.scope_claim.find(claims).map_or(Ok(Vec::new()), scopes);
    let names = names.inspect_err(|_| {
        let name = settings.scope_claim.text();
        credential.because(format_args!(
            "claim {}, the scopes, is neither a string nor a list of strings",
            Name(&name)
        ));
    })?;
    let client = claims::clients(claims).next().map(Into::into);
    Ok(Principal::new(subject)
        .with_scopes(Scopes { names, wildcard: settings.wildcard_scope })
        .with_client_id(client)
        .with_expires_at(expires_at))
}

/// Who a token names whose claims can't all be read.
pub(super) fn named(settings: &OAuth2Settings, claims: &Claims) -> Arc<Principal> {
    let subject = settings.subject_claim.find(claims).and_then(Value::as_str);
    let client = claims::clients(claims).next();
    let principal = Principal::new(subject.map(Into::into));
    Arc::new(principal.with_client_id(client.map(Into::into)))
}

/// One string of scopes (RFC 8693, section 4.2) or an array of them (Okta).
/// An empty scope is not a scope: it would only be a space too many in a header.
fn scopes(claim: &Value) -> Result<Vec<String>, Reason> {
    match claim {
        Value::String(list) => {
            Ok(list.split(' ').filter(|scope| !scope.is_empty()).map(Into::into).collect())
        }
        Value::Array(scopes) => {
            let name = |scope: &Value| scope.as_str().map(Into::into).ok_or(Reason::MalformedToken);
            let names: Result<Vec<String>, _> = scopes.iter().map(name).collect();
            names.map(|names| names.into_iter().filter(|name| !name.is_empty()).collect())
        }
        _ => Err(Reason::MalformedToken),
    }
}

fn optional_text<'a>(members: &'a Claims, name: &str) -> Result<Option<&'a str>, Reason> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Reason::MalformedToken),
    }
}

fn numeric_date(claims: &Claims, name: &str) -> Result<Option<UnixTime>, Reason> {
    let Some(claim) = claims.get(name) else { return Ok(None) };
    let seconds = claim.as_f64().filter(|seconds| (0.0..END_OF_TIME).contains(seconds));
    seconds.map(|seconds| Some(UnixTime::from_seconds(seconds))).ok_or(Reason::MalformedToken)
}

/// RFC 7515, section 4.1.9: `application/` is left off where nothing else has a slash.
fn media_type(typ: &str) -> &str {
    match typ.split_at_checked("application/".len()) {
        Some((prefix, rest)) if prefix.eq_ignore_ascii_case("application/") => rest,
        _ => typ,
    }
}
