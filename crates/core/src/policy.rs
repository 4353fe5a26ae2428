//! What is allowed to whom: pure functions of the settings, the request and
//! the caller.

pub mod denial_style;
mod hosts;
pub mod identity;
pub(crate) mod lack;
pub mod path;
pub mod resources;
pub mod routes;
pub mod upstream;
