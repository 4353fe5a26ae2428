//! The checks of a JWT's header and claims, in the order in which they are
//! made.

use serde_json::Value;

use crate::{
    claims::{self, Claims, RuleOutcome},
    credential::Credential,
    keys::Algorithm,
    principal::{Principal, Scopes},
    reason::Reason,
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
        credential.note(|| match name {
            "b64" => "its header's \"b64\" is not true, which is never accepted".into(),
            name => format!("its header has {name:?}, which is never accepted"),
        });
        return Err(Reason::MalformedToken);
    }
    for (name, member) in [("kid", &header.kid), ("typ", &header.typ)] {
        if matches!(member, Member::Odd) {
            credential.note(|| format!("its header's {name:?} is no string"));
            return Err(Reason::MalformedToken);
        }
    }
    let typ = header.typ.text().map(media_type);
    if let (Some(accepted), Some(typ)) = (&settings.accepted_types, typ)
        && !accepted.iter().any(|accepted| accepted.eq_ignore_ascii_case(typ))
    {
        credential.note(|| format!("its header says typ {typ:?}, accepted are {accepted:?}"));
        return Err(Reason::WrongTokenType);
    }
    if jwt.is_bound() && !settings.accept_bound_tokens {
        credential
            .note(|| "it is bound to a key or certificate (cnf) whose proof is not checked".into());
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
    let named_one = named.parse::<Algorithm>().ok();
    named_one.filter(|algorithm| settings.algorithms.contains(algorithm)).ok_or_else(|| {
        credential.note(|| {
            let allowed: Vec<_> =
                settings.algorithms.iter().map(|allowed| allowed.as_str()).collect();
            format!("it is signed with {named:?}, allowed are {}", allowed.join(", "))
        });
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
        credential.note(|| format!("its claim {name:?} is {value}, wanted is {wanted}"));
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
        credential.note(|| "it has no exp".into());
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
        credential.note(|| {
            let (end, skew) = (times.expires_at, settings.clock_skew.as_secs());
            format!("it expired at {end} (plus {skew} s for clock skew), it is {now} now")
        });
        return Err(Reason::Expired);
    }
    if let Some(start) = times.not_before.filter(|start| *start > now + skew) {
        credential.note(|| {
            let skew = settings.clock_skew.as_secs();
            format!("it is valid from {start} on (less {skew} s for clock skew), it is {now} now")
        });
        return Err(Reason::NotYetValid);
    }
    if let Some(issued) = times.issued_at.filter(|issued| *issued > now + skew) {
        credential.note(|| {
            let skew = settings.clock_skew.as_secs();
            format!("it was issued at {issued} (less {skew} s for clock skew), it is {now} now")
        });
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
        credential.note(|| "it has no iat, which max_token_lifetime_seconds needs".into());
        return Err(Reason::MissingClaim);
    };
    if times.expires_at > issued + longest {
        credential.note(|| {
            let lifetime = times.expires_at.as_seconds() - issued.as_seconds();
            format!("it lives for {lifetime} s, allowed are {} s", longest.as_secs())
        });
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
    let is_ours = |audience: &str| settings.audience.iter().any(|ours| ours == audience);
    let named = match jwt.claims().get("aud") {
        None => {
            credential.note(|| format!("it has no aud, wanted is one of {:?}", settings.audience));
            return Err(Reason::MissingClaim);
        }
        Some(Value::Array(audience)) => audience.iter().filter_map(Value::as_str).any(is_ours),
        Some(audience) => audience.as_str().is_some_and(is_ours),
    };
    if named {
        return Ok(());
    }
    credential.note(|| {
        format!("its aud is {}, wanted is one of {:?}", jwt.claims()["aud"], settings.audience)
    });
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
        credential.note(|| {
            let wanted = &settings.client_ids;
            format!("it names no client (client_id, azp, appid or cid), allowed are {wanted:?}")
        });
        return Err(Reason::MissingClaim);
    }
    if named.any(|client| settings.client_ids.iter().any(|allowed| allowed == client)) {
        return Ok(());
    }
    credential.note(|| {
        let named: Vec<_> = claims::clients(jwt.claims()).collect();
        format!("its client is {named:?}, allowed are {:?}", settings.client_ids)
    });
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
        credential.note(|| rule.describe(jwt.claims()));
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
            credential.note(|| format!("its claim {name:?}, the subject, is {value}, no string"));
            return Err(Reason::MalformedToken);
        }
    };
    let names = settings.scope_claim.find(claims).map_or(Ok(Vec::new()), scopes);
    let names = names.inspect_err(|_| {
        let name = settings.scope_claim.text();
        credential.note(|| {
            format!("its claim {name:?}, the scopes, is neither a string nor a list of strings")
        });
    })?;
    let client = claims::clients(claims).next().map(Into::into);
    Ok(Principal::new(subject)
        .with_scopes(Scopes { names, wildcard: settings.wildcard_scope })
        .with_client_id(client)
        .with_expires_at(expires_at))
}

/// One string of scopes (RFC 8693, section 4.2) or an array of them (Okta).
/// An empty scope is none: it would only be a space too many in a header.
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
