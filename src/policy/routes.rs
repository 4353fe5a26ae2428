//! Which rules apply to a request.

/// One of the configured routes.
#[derive(Debug)]
pub struct Route {
    /// Its unique name.
    pub name: String,
}
