//! What this program was built from, and how; `build.rs` finds it out.

/// The version of the release.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The commit it was built from; `unknown` if neither a repository nor an
/// archive told.
pub const REVISION: &str = env!("CLAIMGATE_REVISION");

/// Version, revision and build, for `--version`: the profile and the platform
/// that it was built for.
pub const DESCRIPTION: &str = concat!(
    env!("CARGO_PKG_VERSION"),
    " (revision ",
    env!("CLAIMGATE_REVISION"),
    ", build ",
    env!("CLAIMGATE_BUILD"),
    ")"
);
