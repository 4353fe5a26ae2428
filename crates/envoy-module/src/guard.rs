//! The one guard between Envoy and everything here.

use std::panic::{AssertUnwindSafe, catch_unwind};

/// Runs a hook. A panic that left it would end Envoy, so `recover` gives the
/// result then, and `otherwise` is it if that panics too.
pub(crate) fn guarded<R>(hook: impl FnOnce() -> R, recover: impl FnOnce() -> R, otherwise: R) -> R {
    let caught = catch_unwind(AssertUnwindSafe(hook));
    let recovered = caught.or_else(|_| catch_unwind(AssertUnwindSafe(recover)));
    recovered.unwrap_or(otherwise)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_ends_here() {
        assert_eq!(guarded(|| 1, || 2, 3), 1);
        assert_eq!(guarded(|| panic!("planted"), || 2, 3), 2);
        assert_eq!(guarded(|| panic!("planted"), || panic!("again"), 3), 3);
    }
}
