//! Which facts about a decision go into the dynamic metadata.

/// A member of the dynamic metadata.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MetadataMember {
    /// Why.
    Reason,
    /// The provider that decided.
    Provider,
    /// How that provider authenticates.
    Method,
    /// Who the caller is.
    Subject,
    /// What the caller may do.
    Scopes,
    /// The OAuth 2.0 client.
    ClientId,
    /// When the token ends.
    ExpiresAt,
    /// The mapped claims.
    Claims,
}

/// Members of the dynamic metadata; all of them by default.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MetadataMembers(u8);

impl MetadataMembers {
    /// Every member there is.
    pub const ALL: Self = Self(u8::MAX);
    /// None.
    pub const NONE: Self = Self(0);

    /// Whether it is one of them.
    #[inline]
    pub const fn contains(self, member: MetadataMember) -> bool {
        self.0 & bit(member) != 0
    }
}

impl Default for MetadataMembers {
    fn default() -> Self {
        Self::ALL
    }
}

impl FromIterator<MetadataMember> for MetadataMembers {
    fn from_iter<T: IntoIterator<Item = MetadataMember>>(members: T) -> Self {
        Self(members.into_iter().fold(0, |bits, member| bits | bit(member)))
    }
}

const fn bit(member: MetadataMember) -> u8 {
    1 << member as u8
}
