//! What comes out of a config file.

use super::{errors::ConfigErrors, files::check_files, named_file::NamedFile};
use crate::settings::Settings;

/// A good config file.
#[derive(Debug)]
pub struct Loaded {
    /// What it says.
    pub settings: Settings,
    /// What its author may not have meant, one sentence each.
    pub warnings: Vec<String>,
    /// Every file it names, with the key that names it.
    pub files: Vec<NamedFile>,
    /// `sha256:` and the hash of its text, before variables are put in.
    pub digest: String,
}

impl Loaded {
    /// Looks into every file that the config names, as `serve` will: it must
    /// be readable and hold what it is named for.
    pub fn check_files(&self) -> Result<(), ConfigErrors> {
        check_files(&self.files)
    }
}
