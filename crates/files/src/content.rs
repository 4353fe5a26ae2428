//! Hashes of files, to find out which have changed.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::read::read;

/// The hash of a file's content; `None` if it can't be read.
pub type Content = Option<[u8; 32]>;

/// The content of several files, by path.
pub type Contents = BTreeMap<PathBuf, Content>;

/// The hash of a file's content, which is wiped: it may hold keys. `None` if it
/// can't be read, or is not a regular file.
pub fn content_of(file: &Path) -> Content {
    let bytes = read(file).map(Zeroizing::new).ok()?;
    digest(&SHA256, &bytes).as_ref().try_into().ok()
}
