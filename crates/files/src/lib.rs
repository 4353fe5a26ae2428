//! Reads files without waiting forever.
//!
//! A path may lead to something else than a regular file: a pipe without a
//! writer, a device without an end. [`read`] refuses those. And a file may lie
//! on a mount whose server is gone. [`Lane`] reads it on a thread of its own,
//! with a time limit.

mod content;
mod lane;
mod read;

pub use content::{Content, Contents, content_of};
pub use lane::{Hung, Lane, READ_LIMIT};
pub use read::read;
