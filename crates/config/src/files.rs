//! Checks the files that a config names.

use std::path::Path;

use claimgate_core::keys::{KeySet, KeySetError};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject};

use super::{
    errors::{ConfigErrors, Finding},
    named_file::{NamedFile, NamedFileKind},
};

/// Reads `files` as `serve` will: each must be readable and hold what its key
/// needs.
pub fn check_files(files: &[NamedFile]) -> Result<(), ConfigErrors> {
    let problem = |file: &NamedFile| {
        let error = file.problem()?;
        let path = file.path.display();
        Some(file.finding(format!("`{path}` {error}")))
    };
    ConfigErrors::check(files.iter().filter_map(problem).collect())
}

impl ConfigErrors {
    /// These errors and those of the files that are named, which are read for
    /// that.
    #[must_use]
    pub fn with_those_of_files(self) -> Self {
        let Self { mut errors, files } = self;
        if let Err(more) = check_files(&files) {
            errors.extend(more.errors);
        }
        Self::new(errors, files)
    }

    /// Forgets the files that the keys of `block` name, where these keys mean
    /// nothing.
    #[must_use]
    pub fn without_files_of(mut self, block: &str) -> Self {
        let is_in = |file: &NamedFile| {
            file.key.strip_prefix(block).is_some_and(|rest| rest.starts_with('.'))
        };
        self.files.retain(|file| !is_in(file));
        self
    }
}

impl NamedFile {
    /// What was found in it, told of the key that names it.
    pub fn finding(&self, message: String) -> Finding {
        Finding {
            file: self.config.clone(),
            position: self.position,
            place: self.key.clone(),
            message,
        }
    }

    /// What is wrong with it, without its content.
    fn problem(&self) -> Option<String> {
        let content = match claimgate_files::read(&self.path) {
            Ok(content) => content,
            Err(error) => return Some(format!("can't be read: {error}{}", self.where_looked())),
        };
        let checked = match self.kind {
            NamedFileKind::Certificates | NamedFileKind::TrustRoots => {
                let certificates: Result<Vec<_>, _> =
                    CertificateDer::pem_slice_iter(&content).collect();
                certificates
                    .is_ok_and(|found| !found.is_empty())
                    .then_some(())
                    .ok_or("holds no PEM certificate")
            }
            NamedFileKind::PrivateKey => PrivateKeyDer::from_pem_slice(&content)
                .map(drop)
                .map_err(|_| "holds no PEM private key"),
            NamedFileKind::Jwks => return KeySet::parse(&content).err().map(unusable_keys),
            NamedFileKind::Token => str::from_utf8(&content)
                .ok()
                .filter(|token| token.trim().bytes().all(|byte| byte.is_ascii_graphic()))
                .filter(|token| !token.trim().is_empty())
                .map(drop)
                .ok_or("holds no bearer token; it must be one line of visible ASCII"),
        };
        checked.err().map(String::from)
    }
}

impl NamedFile {
    /// Where a relative path was looked for, and where else the file is.
    fn where_looked(&self) -> String {
        let path = self.path.display().to_string();
        if path.contains('$') {
            return "; a variable is written `${NAME}`".into();
        }
        if path.starts_with("~/") {
            return "; `~` is not expanded, write the whole path".into();
        }
        if self.path.is_absolute() {
            return String::new();
        }
        let folder = std::env::current_dir().unwrap_or_default();
        let looked = format!(
            "; relative paths are looked for in the working folder, `{}`",
            folder.display()
        );
        let beside = Path::new(&self.config).parent().map(|folder| folder.join(&self.path));
        let beside = beside.and_then(|beside| std::path::absolute(beside).ok());
        match beside.filter(|beside| *beside != folder.join(&self.path) && beside.exists()) {
            Some(beside) => format!(
                "{looked}, but there is one beside the config file; write `{}`",
                beside.display()
            ),
            None => looked,
        }
    }
}

/// What is wrong with a file of keys. A JWKS is public, so its keys may be named.
fn unusable_keys(error: KeySetError) -> String {
    match error {
        KeySetError::NoUsableKey(_) => format!("can't be used: {error}"),
        _ => format!("holds no JWK Set; it must be a JSON object with a list `keys` ({error})"),
    }
}
