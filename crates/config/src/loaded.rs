//! A config file that was loaded.

use super::{
    errors::{ConfigErrors, Finding},
    files::check_files,
    named_file::NamedFile,
};
use crate::settings::Settings;

/// A config file without errors.
#[derive(Debug)]
pub struct Loaded {
    /// Its settings.
    pub settings: Settings,
    /// What its author may not have intended, in the order of the file.
    pub warnings: Vec<Finding>,
    /// Every file it names, with the key that names it.
    pub files: Vec<NamedFile>,
    /// `sha256:` and the hash of its text, before variables are replaced.
    pub digest: String,
    /// Whether it says where the admin port is: within Envoy that is opened
    /// only then.
    pub names_admin_address: bool,
}

impl Loaded {
    /// Reads every file that the config names as `serve` will: it must be
    /// readable and hold what its key needs.
    pub fn check_files(&self) -> Result<(), ConfigErrors> {
        check_files(&self.files)
    }
}
