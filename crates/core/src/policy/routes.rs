//! Which rules apply to a request.

mod agreement;
mod draft;
mod every_reading;
mod index;
mod node;
mod reached;
mod readings;
mod route;
mod tree;

pub use agreement::rules;
pub use {
    agreement::NoRoute,
    draft::templates_overlap_too_much,
    index::Routes,
    reached::{Unreached, Why, unreached},
    readings::Difference,
    route::Route,
};

#[cfg(test)]
mod tests;
