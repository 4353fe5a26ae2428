//! One value for every thread, so that a cache line which a thread often writes
//! to does not move between cores.
//!
//! With one for two threads, `whole_check` with the same token takes 6 % longer
//! (`benches/engine.rs`), and a call of the service 4 %, for counting.

use std::{
    sync::{
        Mutex, MutexGuard, TryLockError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    thread,
};

/// As many values as threads run at once. Two threads may share one, which is
/// slower and must still be correct.
#[derive(Debug)]
pub struct PerThread<T>(Box<[Apart<T>]>);

/// Aligned so that no two share a cache line, nor a pair of them, which
/// processors like to fetch together. Unaligned, the service's share of a call
/// takes 2 % longer on two threads.
#[derive(Debug)]
#[repr(align(128))]
struct Apart<T>(T);

const MAX_THREADS: usize = 64;

impl<T> PerThread<T> {
    /// As many as this machine runs threads.
    pub fn new(make: impl Fn() -> T) -> Self {
        let threads = thread::available_parallelism().map_or(1, |n| n.get().min(MAX_THREADS));
        Self((0..threads).map(|_| Apart(make())).collect())
    }

    /// That of this thread.
    #[inline]
    pub fn own(&self) -> &T {
        &self.0[thread_number() % self.0.len()].0
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.0.iter().map(|Apart(one)| one)
    }
}

/// A number for this thread: 0 for the first that asks, and so on.
pub fn thread_number() -> usize {
    static THREADS: AtomicUsize = AtomicUsize::new(0);
    thread_local!(static THREAD: usize = THREADS.fetch_add(1, Relaxed));
    THREAD.with(|thread| *thread)
}

/// What a lock guards, unless another thread holds it: a decision never waits
/// for a lock. Only for values that a panic can't leave half-changed.
pub fn free<T>(lock: &Mutex<T>) -> Option<MutexGuard<'_, T>> {
    match lock.try_lock() {
        Ok(held) => Some(held),
        Err(TryLockError::Poisoned(held)) => Some(held.into_inner()),
        Err(TryLockError::WouldBlock) => None,
    }
}
