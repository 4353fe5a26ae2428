//! Providers by their position in the configuration.

use crate::settings::AuthSettings;

/// The position of a provider in the configuration.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ProviderId(pub u16);

impl ProviderId {
    /// How many providers there may be.
    pub const MOST: usize = 1 << 16;
}

/// Some of the providers, or all.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderFilter(Option<Box<[bool]>>);

impl ProviderFilter {
    /// The providers with these names; all, if there is no list.
    pub fn new(names: Option<&[String]>, settings: &AuthSettings) -> Self {
        let named = |names: &[String]| {
            settings.providers.iter().map(|provider| names.contains(&provider.name)).collect()
        };
        Self(names.map(named))
    }

    /// Whether this provider is one of them.
    pub fn allows(&self, provider: ProviderId) -> bool {
        self.0.as_ref().is_none_or(|allowed| allowed.get(usize::from(provider.0)) == Some(&true))
    }

    /// Those of either.
    pub fn or(&self, other: &Self) -> Self {
        let (Some(left), Some(right)) = (&self.0, &other.0) else { return Self(None) };
        Self(Some(left.iter().zip(right).map(|(l, r)| *l || *r).collect()))
    }
}
