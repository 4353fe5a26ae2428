//! Reading the files that the service lives on, without waiting for ever.
//!
//! A path may hold what is not a regular file: a pipe that nothing is written
//! to, a device without an end. And a file may lie on a mount whose server is
//! gone. The first is refused ([`read`]), the second is waited for in a thread
//! of its own and for a while ([`Lane`]).

mod content;
mod lane;
mod read;

pub use content::{Content, Contents, content_of};
pub use lane::{Hung, Lane, READ_LIMIT};
pub use read::read;
