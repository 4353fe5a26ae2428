//! One issuer of JWTs as a program names it.

use crate::{
    settings::{KeyLocation, KeySourceSettings, OAuth2Settings},
    urls::{self, NotSecure},
};

/// What the provider of [`use_oauth2`](super::EngineBuilder::use_oauth2) is
/// called unless it is given a name.
const OAUTH2: &str = "oauth2";

/// An issuer for [`use_oauth2`](super::EngineBuilder::use_oauth2), and which
/// of its tokens are accepted.
#[derive(Clone, Debug)]
#[must_use]
pub struct Issuer {
    pub(super) name: String,
    pub(super) settings: OAuth2Settings,
    any_audience: bool,
}

impl Issuer {
    /// The issuer whose tokens have exactly this `iss`, an https URL.
    pub fn new(issuer: impl Into<String>) -> Self {
        // Nothing is fetched from here: `use_oauth2` is given the keys.
        let keys = KeySourceSettings::new(KeyLocation::Url(String::new()));
        let settings = OAuth2Settings::new(issuer, keys);
        Self { name: OAUTH2.into(), settings, any_audience: false }
    }

    /// The provider's name, `oauth2` unless this is called. A second issuer
    /// needs one of its own.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Accepts tokens for any one of these audiences.
    pub fn audience<S: Into<String>>(mut self, audience: impl IntoIterator<Item = S>) -> Self {
        self.settings.audience = audience.into_iter().map(Into::into).collect();
        self
    }

    /// Accepts tokens for any audience and for none, unless
    /// [`Issuer::audience`] names some.
    pub fn any_audience(mut self) -> Self {
        self.any_audience = true;
        self
    }

    /// Accepts an issuer that is not an https URL.
    pub fn allow_http(mut self) -> Self {
        self.settings.keys.allow_http = true;
        self
    }

    /// Changes settings that have no method here: algorithms, required
    /// claims, clock skew, …. They are taken as they are, so they must be as
    /// [`OAuth2Settings`] describes them. Where its keys come from is not
    /// looked at.
    pub fn settings(mut self, change: impl FnOnce(&mut OAuth2Settings)) -> Self {
        change(&mut self.settings);
        self
    }

    /// Everything that is wrong with it.
    pub(super) fn defects(&self) -> Vec<String> {
        let mut defects = Vec::new();
        let OAuth2Settings { issuer, audience, algorithms, keys, .. } = &self.settings;
        if let Err(error) = urls::check_issuer(issuer, keys.allow_http) {
            let advice = match error {
                NotSecure::NotHttps => "give an https URL, or call `allow_http`",
                _ => "give the exact `iss` of its tokens",
            };
            defects.push(format!("{error}; {advice}"));
        }
        if audience.is_empty() && !self.any_audience {
            defects.push(
                "has no audience; call `audience` with what must be in the tokens' `aud`, or \
                 `any_audience` if they have none"
                    .into(),
            );
        }
        if audience.iter().any(String::is_empty) {
            defects.push("has an empty audience; leave it out".into());
        }
        if algorithms.is_empty() {
            defects.push("has no algorithm, so no token could pass; list at least one".into());
        }
        defects
    }
}
