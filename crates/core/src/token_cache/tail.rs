//! The slot of a token in the tables of a thread.

/// The end of a token, which is the end of its signature: as good as random
/// for a token that was verified. A client that makes up a signature chooses
/// it, so it only ever tells where to look. Never 0.
#[inline]
pub(super) fn tail(token: &[u8]) -> Option<u64> {
    token.last_chunk().map(|tail| u64::from_le_bytes(*tail)).filter(|tail| *tail != 0)
}

/// Spreads tails over so many slots, a power of two: the product's upper bits
/// depend on all of them (Knuth, The Art of Computer Programming, volume 3,
/// section 6.4).
#[inline]
pub(super) fn slot_of<const SLOTS: usize>(tail: u64) -> usize {
    const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;
    const { assert!(SLOTS.is_power_of_two()) };
    (tail.wrapping_mul(GOLDEN) >> (u64::BITS - SLOTS.trailing_zeros())) as usize
}
