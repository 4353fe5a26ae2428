//! What the upstream is told about a caller.

use std::sync::{Arc, OnceLock};

use serde_json::Value;

use crate::{
    allowance::Allowance,
    claims::{self, ClaimPath, Claims},
    heap,
};

/// Longer values are not sent (bytes, once encoded): most servers cap a
/// header at 8 KiB and refuse the whole request over it.
pub const MAX_VALUE_BYTES: usize = 8192;

/// What the upstream is told about one caller.
///
/// In this order, what an allowed request reads of it begins in the cache line
/// that holds the counts of the `Arc` around it.
#[derive(Clone, Debug, Default)]
#[repr(C)]
pub struct Identity {
    /// What of the limits depends on the caller alone, once it was limited.
    pub allowance: OnceLock<Allowance>,
    /// The metadata of this caller's allowed requests in the bytes of the
    /// door, where that has them kept.
    pub metadata: OnceLock<Box<[u8]>>,
    /// Headers to set: names from the settings, values encoded, never empty.
    pub headers: Vec<(Arc<str>, Box<str>)>,
    /// Headers left off because their value is over [`MAX_VALUE_BYTES`], or
    /// has a number that was not read exactly ([`claims::is_exact`]).
    pub dropped: Vec<Arc<str>>,
    /// Which claims are mapped, the same for every caller.
    pub mapped: MappedClaims,
}

const COUNTS_OF_AN_ARC: usize = 2 * size_of::<usize>();
const _: () = assert!(COUNTS_OF_AN_ARC + size_of::<Identity>() <= 128);

/// The claims that have a header, and so are in the metadata too. Their values
/// stay with the principal.
#[derive(Clone, Debug, Default)]
pub struct MappedClaims(pub(crate) Arc<[MappedClaim]>);

/// A subject or a list of scopes is over [`MAX_VALUE_BYTES`]: leaving it off
/// would change who the caller is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

/// A claim and the header that carries it.
#[derive(Debug)]
pub(crate) struct MappedClaim {
    pub(crate) path: ClaimPath,
    /// The path as the operator wrote it.
    pub(crate) text: Arc<str>,
    pub(crate) header: Arc<str>,
}

impl Identity {
    /// The mapped claims that this caller has, by claim path as the operator
    /// wrote it, but for those with a number that was not read exactly;
    /// `claims` are those of the principal that this was rendered for.
    pub fn claims<'p>(
        &'p self,
        claims: &'p Claims,
    ) -> impl DoubleEndedIterator<Item = (&'p str, &'p Value)> + Clone {
        let found = |claim: &'p MappedClaim| {
            let value = claim.path.find(claims)?;
            // A claim that is not exact has its header among the dropped.
            let is_told = self.dropped.is_empty() || claims::is_exact(value);
            is_told.then_some((&*claim.text, value))
        };
        self.mapped.0.iter().filter_map(found)
    }

    /// How many claims are mapped, which is as many as a caller can have.
    pub fn most_claims(&self) -> usize {
        self.mapped.0.len()
    }

    /// How much memory it takes behind an `Arc`, without what all identities
    /// share.
    pub(crate) fn heap_bytes(&self) -> usize {
        let values = self.headers.iter().map(|(_, value)| heap::allocation(value.len()));
        let metadata = self.metadata.get().map_or(0, |bytes| heap::allocation(bytes.len()));
        heap::shared::<Self>()
            + heap::list::<(Arc<str>, Box<str>)>(self.headers.capacity())
            + heap::list::<Arc<str>>(self.dropped.capacity())
            + values.sum::<usize>()
            + metadata
            + self.allowance.get().map_or(0, Allowance::heap_bytes)
    }

    /// Sets a header that may not be left off.
    pub(crate) fn must_set(
        &mut self,
        name: &Option<Arc<str>>,
        value: Option<String>,
    ) -> Result<(), TooLarge> {
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE_BYTES) && name.is_some() {
            return Err(TooLarge);
        }
        self.set(name, value);
        Ok(())
    }

    /// Sets a header unless its value is empty; one that is too long is dropped.
    pub(crate) fn set(&mut self, name: &Option<Arc<str>>, value: Option<String>) {
        let (Some(name), Some(value)) = (name, value) else { return };
        if value.len() > MAX_VALUE_BYTES {
            self.drop(name);
        } else if !value.is_empty() {
            self.headers.push((Arc::clone(name), value.into()));
        }
    }

    /// Leaves a header off, which is logged and counted.
    pub(crate) fn drop(&mut self, name: &Arc<str>) {
        self.dropped.push(Arc::clone(name));
    }
}
