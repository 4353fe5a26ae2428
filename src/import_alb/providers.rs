//! From the token checks of a listener to providers.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use url::Url;

use super::{
    outcome::{Demand, Issuer, Outcome, Want},
    yaml::{Entry, Item},
};
use crate::urls::is_loopback;

/// The name of the provider that lets nobody in.
pub(super) const NOBODY: &str = "nobody";

/// A provider to be, for one issuer.
#[derive(Debug)]
pub(super) struct Provider {
    /// Its unique name.
    pub(super) name: String,
    /// Whose tokens.
    pub(super) issuer: Issuer,
    /// The claim whose words are scopes.
    scope_claim: String,
    /// What every rule wants of its tokens.
    common: BTreeSet<Demand>,
}

/// What a route asks beyond what its provider does.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Asked {
    /// Scopes.
    pub(super) scopes: Vec<String>,
    /// Claims and values, one pair per demand.
    pub(super) claims: Vec<(String, String)>,
}

impl Provider {
    /// Those that `routes` need, for issuers in the order in which they appear.
    /// An issuer has one for every claim whose words are to be scopes; `rules`
    /// tell what all its tokens must say.
    pub(super) fn all<'o>(
        routes: impl Iterator<Item = &'o Outcome> + Clone,
        rules: &[Outcome],
    ) -> Vec<Self> {
        let mut providers: Vec<Self> = Vec::new();
        // Those that want no scopes take any of their issuer's providers.
        for wants_words in [true, false] {
            for outcome in routes.clone() {
                let Outcome::Token(issuer, demands) = outcome else { continue };
                let words = word_claim(demands);
                if words.is_some() != wants_words
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
        matches!(outcome, Outcome::Token(issuer, demands) if *issuer == self.issuer
            && word_claim(demands).is_none_or(|claim| claim == self.scope_claim))
    }

    /// What is asked of a token beside what this provider asks anyway.
    pub(super) fn asked(&self, demands: &BTreeSet<Demand>) -> Asked {
        let mut asked = Asked::default();
        for demand in demands.difference(&self.common) {
            if self.is_scope(demand) {
                asked.scopes.push(demand.value.clone());
            } else {
                asked.claims.push((demand.claim.clone(), demand.value.clone()));
            }
        }
        asked
    }

    /// Whether this demand becomes a scope.
    pub(super) fn is_scope(&self, demand: &Demand) -> bool {
        demand.want == Want::Word && demand.claim == self.scope_claim && is_scope(&demand.value)
    }

    /// The entry of `auth.providers`; `demands` are all that any rule wants of
    /// its tokens.
    pub(super) fn item(&self, demands: &BTreeSet<Demand>) -> Item {
        let mut audience = self.common.iter().filter(|demand| demand.claim == "aud");
        let audience = audience.next();
        let mut entries = vec![
            Entry::value("name", escaped(&self.name)),
            Entry::value("type", "oauth2"),
            Entry::value("issuer", escaped(&self.issuer.issuer)),
        ];
        entries.extend(self.location());
        entries.push(audience_entry(audience, demands));
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
        let common = self.common.iter().filter(|demand| Some(*demand) != audience);
        let common: Vec<_> =
            common.map(|demand| (demand.claim.clone(), demand.value.clone())).collect();
        if !common.is_empty() {
            let claims = Entry::value("required_claims", required_claims(&common));
            entries.push(claims.note("Every rule with this issuer wanted these."));
        }
        Item { notes: self.unchecked(), entries }
    }

    /// Where the keys are. ALB takes https alone.
    fn location(&self) -> Vec<Entry> {
        let mut entries = Vec::new();
        let issuer_url = Url::parse(&self.issuer.issuer).ok();
        let is_loadable =
            issuer_url.as_ref().is_some_and(|url| url.scheme() == "https" || is_loopback(url));
        if !is_loadable {
            entries.push(Entry::value("allow_http", true).note(
                "Only because the issuer is no https URL: tokens must have it in `iss` letter by \
                 letter. The keys still come over https.",
            ));
        }
        let jwks = &self.issuer.jwks;
        let is_plaintext =
            Url::parse(jwks).is_ok_and(|url| url.scheme() == "http" && !is_loopback(&url));
        entries.push(match jwks.split_once("://").filter(|_| is_plaintext) {
            Some((_, rest)) => Entry::value("jwks_uri", escaped(&format!("https://{rest}"))).note(
                "The document says http. Whoever can change the answer on its way can sign \
                 tokens, so keys are fetched over https; until they can be, tokens get 503.",
            ),
            None => Entry::value("jwks_uri", escaped(jwks)),
        });
        entries
    }

    /// What ALB did not check, about which nothing is written below.
    fn unchecked(&self) -> Vec<String> {
        let wants = |name: &str| self.common.iter().any(|demand| demand.claim == name);
        let mut notes = Vec::new();
        if !wants("token_use") {
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
        if !wants("client_id") && !wants("azp") {
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

/// What becomes of `aud`: `common` is what every rule wants of it.
fn audience_entry(common: Option<&Demand>, demands: &BTreeSet<Demand>) -> Entry {
    let unchecked = Entry::value("require_audience", false);
    match common {
        Some(demand) => Entry::value("audience", escaped(&demand.value)),
        None if demands.iter().any(|demand| demand.claim == "aud") => unchecked.note(
            "Not every rule wanted the same `aud`. Those that wanted one have it in the \
             `required_claims` of their routes; the others did not look at `aud`.",
        ),
        None => unchecked.note(
            "ALB did not look at `aud`: a token that the issuer made for somebody else passed. If \
             these tokens have an `aud`, write `audience` here instead. Amazon Cognito's access \
             tokens have none; their scopes say what they are for.",
        ),
    }
}

/// The entry of the provider that lets nobody in.
pub(super) fn nobody() -> Item {
    let key = json!({
        "name": NOBODY,
        "key_hash": format!("sha256:{}", "0".repeat(64)),
        "revoked": true,
    });
    Item {
        notes: vec![
            "Lets nobody in: for routes of what ALB did not pass on, or not in a way that \
             Claimgate can check. Its only key is revoked, and nobody knows it."
                .into(),
        ],
        entries: vec![
            Entry::value("name", NOBODY),
            Entry::value("type", "api_key"),
            Entry::value("keys", json!([key])),
        ],
    }
}

/// The value of `required_claims`. The list form, with exact segments, where
/// a name has a dot or is wanted twice.
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
fn word_claim(demands: &BTreeSet<Demand>) -> Option<&str> {
    let words = || demands.iter().filter(|d| d.want == Want::Word && is_scope(&d.value));
    let scope = words().find(|demand| demand.claim == "scope");
    Some(scope.or_else(|| words().next())?.claim.as_str())
}

/// The claims, scopes aside, that every rule with this issuer wants.
fn common(issuer: &Issuer, rules: &[Outcome]) -> BTreeSet<Demand> {
    let mut each = rules.iter().filter_map(|outcome| match outcome {
        Outcome::Token(own, demands) if own == issuer => Some(demands),
        _ => None,
    });
    let mut common = each.next().cloned().unwrap_or_default();
    common.retain(|demand| demand.want == Want::Value);
    each.for_each(|demands| common.retain(|demand| demands.contains(demand)));
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
        Some(host) if host != NOBODY => {
            host.replace(|char: char| !char.is_ascii_alphanumeric(), "-")
        }
        _ => "issuer".into(),
    }
}
