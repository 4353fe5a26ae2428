//! Turns the token checks of a listener into providers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use url::Url;

use super::{
    outcome::{ClaimMatch, Issuer, Outcome, Requirement},
    yaml::{Entry, Item},
};
use crate::urls::is_loopback;

/// The name of the provider that accepts no token.
pub(super) const CLOSED_PROVIDER: &str = "nobody";

/// A provider of the config file, for one issuer.
#[derive(Debug)]
pub(super) struct PlannedProvider {
    /// Its unique name.
    pub(super) name: String,
    /// The issuer of its tokens.
    pub(super) issuer: Issuer,
    /// The claim whose words are scopes.
    scope_claim: String,
    /// What every rule requires of its tokens.
    common: BTreeSet<Requirement>,
}

/// What a route requires beyond what its provider does.
#[derive(Debug, Default, PartialEq)]
pub(super) struct RouteRequirements {
    /// Scopes.
    pub(super) scopes: Vec<String>,
    /// Claims and values, one pair per requirement.
    pub(super) claims: Vec<(String, String)>,
}

impl PlannedProvider {
    /// Those that `routes` need, for issuers in the order in which they appear.
    /// An issuer has one for every claim whose words are to be scopes; `rules`
    /// are those that every token must satisfy.
    pub(super) fn all<'o>(
        routes: impl Iterator<Item = &'o Outcome> + Clone,
        rules: &[Outcome],
    ) -> Vec<Self> {
        let mut providers: Vec<Self> = Vec::new();
        // Outcomes without scopes use any of their issuer's providers.
        for has_words in [true, false] {
            for outcome in routes.clone() {
                let Outcome::Token(issuer, requirements) = outcome else { continue };
                let words = word_claim(requirements);
                if words.is_some() != has_words
                    || providers.iter().any(|provider| provider.serves(outcome))
                {
                    continue;
                }
                let base = name_of(&issuer.issuer);
                let is_free = |name: &String| providers.iter().all(|p| p.name != *name);
                let numbered = (2..).map(|number| format!("{base}-{number}"));
                let mut names = std::iter::once(base.clone()).chain(numbered);
                providers.push(Self {
                    name: names.find(is_free).unwrap_or_default(),
                    issuer: issuer.clone(),
                    scope_claim: words.unwrap_or("scope").into(),
                    common: common(issuer, rules),
                });
            }
        }
        providers
    }

    /// Whether this is the provider for an outcome.
    pub(super) fn serves(&self, outcome: &Outcome) -> bool {
        matches!(outcome, Outcome::Token(issuer, requirements) if *issuer == self.issuer
            && word_claim(requirements).is_none_or(|claim| claim == self.scope_claim))
    }

    /// What a route requires of a token beyond what this provider does.
    pub(super) fn beyond(&self, requirements: &BTreeSet<Requirement>) -> RouteRequirements {
        let mut beyond = RouteRequirements::default();
        for requirement in requirements.difference(&self.common) {
            if self.is_scope(requirement) {
                beyond.scopes.push(requirement.value.clone());
            } else {
                beyond.claims.push((requirement.claim.clone(), requirement.value.clone()));
            }
        }
        beyond
    }

    /// Whether this requirement becomes a scope.
    pub(super) fn is_scope(&self, requirement: &Requirement) -> bool {
        requirement.matching == ClaimMatch::Word
            && requirement.claim == self.scope_claim
            && is_scope(&requirement.value)
    }

    /// The entry of `auth.providers`; `requirements` are all that any rule has of
    /// its tokens.
    pub(super) fn item(&self, requirements: &BTreeSet<Requirement>) -> Item {
        let mut audience = self.common.iter().filter(|requirement| requirement.claim == "aud");
        let audience = audience.next();
        let mut entries = vec![
            Entry::value("name", escaped(&self.name)),
            Entry::value("type", "oauth2"),
            Entry::value("issuer", escaped(&self.issuer.issuer)),
        ];
        entries.extend(self.location());
        entries.push(audience_entry(audience, requirements));
        entries.push(
            Entry::value("algorithms", json!(["RS256"]))
                .note("All that ALB knew. More are possible, such as ES256, PS256 and EdDSA."),
        );
        if self.scope_claim != "scope" {
            entries.push(Entry::value("scope_claim", escaped(&self.scope_claim)));
        }
        entries.push(Entry::value("clock_skew_seconds", 30).note(
            "ALB wanted `exp`, and compared `nbf` and `iat` if they were there, and so does \
             Claimgate. AWS does not say what difference between clocks ALB tolerated; 0 is none.",
        ));
        let common = self.common.iter().filter(|requirement| Some(*requirement) != audience);
        let common: Vec<_> = common
            .map(|requirement| (requirement.claim.clone(), requirement.value.clone()))
            .collect();
        if !common.is_empty() {
            let claims = Entry::value("required_claims", required_claims(&common));
            entries.push(claims.note("Every rule with this issuer wanted these."));
        }
        Item { notes: self.unchecked(), entries }
    }

    /// The URL of the keys. ALB accepts only https.
    fn location(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let issuer_url = Url::parse(&self.issuer.issuer).ok();
        let is_loadable =
            issuer_url.as_ref().is_some_and(|url| url.scheme() == "https" || is_loopback(url));
        if !is_loadable {
            entries.push(Entry::value("allow_http", true).note(
                "Only because the issuer is not an https URL: tokens must have it in `iss` letter by \
                 letter. The keys still come over https.",
            ));
        }
        let jwks = &self.issuer.jwks;
        let is_plaintext =
            Url::parse(jwks).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url));
        entries.push(match jwks.split_once("://").filter(|_| is_plaintext) {
            Some((_, rest)) => Entry::value("jwks_uri", escaped(&format!("https://{rest}"))).note(
                "The document says http. An attacker who can change the response on its way \
                 can sign tokens, so keys are fetched over https; until they can be, tokens get 503.",
            ),
            None => Entry::value("jwks_uri", escaped(jwks)),
        });
        entries
    }

    /// What ALB did not check, about which nothing is written below.
    fn unchecked(&self) -> Vec<String> {
        let requires = |name: &str| self.common.iter().any(|requirement| requirement.claim == name);
        let mut notes = Vec::new();
        if !requires("token_use") {
            notes.push(
                "ALB did not look at the kind of token: an ID token, made for a login page, \
                 passed like an access token. For Amazon Cognito add `required_claims: \
                 {token_use: access}`; for others, a claim or an audience that only access tokens \
                 have. Claimgate refuses a header `typ` other than JWT and at+jwt \
                 (`accepted_types`), and tokens bound to a key or certificate by `cnf` \
                 (`accept_bound_tokens`); ALB looked at neither."
                    .into(),
            );
        } else {
            notes.push(
                "Claimgate refuses a header `typ` other than JWT and at+jwt (`accepted_types`), \
                 and tokens bound to a key or certificate by `cnf` (`accept_bound_tokens`); ALB \
                 looked at neither."
                    .into(),
            );
        }
        if !requires("client_id") && !requires("azp") {
            notes.push(
                "ALB did not look at the client: every client of the issuer passed. Allow yours \
                 alone with `client_ids: [a, b]`."
                    .into(),
            );
        }
        notes.push(
            "ALB did not limit how long a token lives: `max_token_lifetime_seconds: 3600` does."
                .into(),
        );
        notes
    }
}

/// The entry for `aud`; `common` is what every rule requires of it.
fn audience_entry(common: Option<&Requirement>, requirements: &BTreeSet<Requirement>) -> Entry {
    let unchecked = Entry::value("require_audience", false);
    match common {
        Some(requirement) => Entry::value("audience", escaped(&requirement.value)),
        None if requirements.iter().any(|requirement| requirement.claim == "aud") => unchecked.note(
            "Not every rule wanted the same `aud`. Those that wanted one have it in the \
             `required_claims` of their routes; the others did not look at `aud`.",
        ),
        None => unchecked.note(
            "ALB did not look at `aud`: a token that the issuer made for another service passed. If \
             these tokens have an `aud`, write `audience` here instead. Amazon Cognito's access \
             tokens have none; their scopes say what they are for.",
        ),
    }
}

/// The entry of the provider that accepts no token.
pub(super) fn closed_provider() -> Item {
    let key = json!({
        "name": CLOSED_PROVIDER,
        "key_hash": format!("sha256:{}", "0".repeat(64)),
        "revoked": true,
    });
    Item {
        notes: vec![
            "Denies every request: for routes of what ALB did not pass on, or not in a way that \
             Claimgate can check. Its only key is revoked, and no client has it."
                .into(),
        ],
        entries: vec![
            Entry::value("name", CLOSED_PROVIDER),
            Entry::value("type", "api_key"),
            Entry::value("keys", json!([key])),
        ],
    }
}

/// The value of `required_claims`. The list form, with exact segments, where
/// a name has a dot or occurs twice.
pub(super) fn required_claims(claims: &[(String, String)]) -> Value {
    let names: BTreeSet<_> = claims.iter().map(|(name, _)| name).collect();
    if names.len() == claims.len() && !names.iter().any(|name| name.contains('.')) {
        let members = claims.iter().map(|(name, value)| (name.clone(), escaped(value).into()));
        return Value::Object(members.collect());
    }
    let rule =
        |(name, value): &(String, String)| json!({"claim": [escaped(name)], "is": escaped(value)});
    claims.iter().map(rule).collect()
}

/// A string for the file, in which `$` begins a variable.
pub(super) fn escaped(text: &str) -> String {
    text.replace('$', "$$")
}

/// The claim whose words are scopes: one of those that are lists of words.
fn word_claim(requirements: &BTreeSet<Requirement>) -> Option<&str> {
    let words =
        || requirements.iter().filter(|d| d.matching == ClaimMatch::Word && is_scope(&d.value));
    let scope = words().find(|requirement| requirement.claim == "scope");
    Some(scope.or_else(|| words().next())?.claim.as_str())
}

/// The claims, scopes aside, that every rule with this issuer requires.
fn common(issuer: &Issuer, rules: &[Outcome]) -> BTreeSet<Requirement> {
    let mut each = rules.iter().filter_map(|outcome| match outcome {
        Outcome::Token(own, requirements) if own == issuer => Some(requirements),
        _ => None,
    });
    let mut common = each.next().cloned().unwrap_or_default();
    common.retain(|requirement| requirement.matching == ClaimMatch::Value);
    each.for_each(|requirements| common.retain(|requirement| requirements.contains(requirement)));
    common
}

/// What a challenge can name (RFC 6750, section 3).
fn is_scope(value: &str) -> bool {
    let quotable = |byte: u8| byte.is_ascii_graphic() && byte != b'"' && byte != b'\\';
    !value.is_empty() && value.bytes().all(quotable)
}

/// A name for logs and metrics.
fn name_of(issuer: &str) -> String {
    let host = Url::parse(issuer).ok().and_then(|url| url.host_str().map(String::from));
    match host {
        Some(host) if host.starts_with("cognito-idp.") => "cognito".into(),
        Some(host) if host != CLOSED_PROVIDER => {
            host.replace(|char: char| !char.is_ascii_alphanumeric(), "-")
        }
        _ => "issuer".into(),
    }
}
