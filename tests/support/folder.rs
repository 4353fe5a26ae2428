//! A temporary folder for a test.

use std::path::{Path, PathBuf};

use claimgate::issuer::signing::SigningKey;
use tempfile::TempDir;

use super::mint::jwks;

/// A folder with a `gateway.yaml`.
pub(crate) struct Folder(TempDir);

impl Folder {
    pub(crate) fn new(config: &str) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("gateway.yaml", config);
        folder
    }

    /// A folder that also holds a `jwks.json` with these keys; `JWKS` in the
    /// config is its path.
    pub(crate) fn with_keys(config: &str, keys: &[&SigningKey]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.write("jwks.json", jwks(keys));
        folder.write(
            "gateway.yaml",
            config.replace("JWKS", folder.at("jwks.json").to_str().unwrap()),
        );
        folder
    }

    pub(crate) fn path(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn at(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.at("gateway.yaml")
    }

    /// Replaces a file atomically, so that half of it is never read.
    pub(crate) fn write(&self, name: &str, content: impl AsRef<[u8]>) {
        let new = self.at(".new");
        std::fs::write(&new, content).unwrap();
        std::fs::rename(&new, self.at(name)).unwrap();
    }
}
