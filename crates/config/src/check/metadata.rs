//! Rules for the dynamic metadata.

use claimgate_core::settings::{MetadataMember, MetadataMembers};

use crate::{
    file::{auth, forms::List},
    report::Place,
};

/// The members that are wanted.
pub(super) fn members(file: List<auth::MetadataMember>, place: &Place) -> MetadataMembers {
    file.items(place).into_iter().map(|(_, member)| told(member)).collect()
}

fn told(member: auth::MetadataMember) -> MetadataMember {
    match member {
        auth::MetadataMember::Reason => MetadataMember::Reason,
        auth::MetadataMember::Provider => MetadataMember::Provider,
        auth::MetadataMember::Method => MetadataMember::Method,
        auth::MetadataMember::Subject => MetadataMember::Subject,
        auth::MetadataMember::Scopes => MetadataMember::Scopes,
        auth::MetadataMember::ClientId => MetadataMember::ClientId,
        auth::MetadataMember::ExpiresAt => MetadataMember::ExpiresAt,
        auth::MetadataMember::Claims => MetadataMember::Claims,
    }
}
