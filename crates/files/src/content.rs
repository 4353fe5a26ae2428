//! Whether a file still holds what it held.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use aws_lc_rs::digest::{SHA256, digest};
use zeroize::Zeroizing;

use crate::read::read;

/// What a file holds: its hash, or `None` where it can't be read.
pub type Content = Option<[u8; 32]>;

/// The content of several files, by path.
pub type Contents = BTreeMap<PathBuf, Content>;

/// The hash of a file's content, which is wiped: it may hold keys. None where
/// it can't be read, or is not a regular file.
pub fn content_of(file: &Path) -> Content {
    let bytes = read(file).map(Zeroizing::new).ok()?;
    digest(&SHA256, &bytes).as_ref().try_into().ok()
}
