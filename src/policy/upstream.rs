//! What changes in a request before the upstream sees it.

use std::borrow::Cow;

use smallvec::SmallVec;

/// The edits of an allowed request.
#[derive(Clone, Debug, Default)]
pub struct Edits<'a> {
    /// Headers to set, replacing every value the client sent. Never empty values.
    pub set: SmallVec<[(&'a str, Cow<'a, str>); 8]>,
    /// Headers to remove; none of them is in `set`.
    pub remove: SmallVec<[Cow<'a, str>; 8]>,
    /// Query parameters to remove, spelled as the client spelled them.
    pub remove_query: SmallVec<[Cow<'a, str>; 1]>,
}
