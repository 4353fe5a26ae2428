//! The files that a config names.

use std::path::PathBuf;

use super::position::Position;

/// A file that a config names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NamedFile {
    /// The config file, as it was named.
    pub config: String,
    /// Where in it the file is named.
    pub position: Option<Position>,
    /// The key path that names it.
    pub key: String,
    /// Where it is; relative to the working folder if relative.
    pub path: PathBuf,
    /// What should be in it.
    pub kind: NamedFileKind,
}

/// What should be in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamedFileKind {
    /// A PEM certificate chain.
    Certificates,
    /// A PEM private key.
    PrivateKey,
    /// PEM certificates to trust.
    TrustRoots,
    /// A JWK Set.
    Jwks,
    /// A bearer token.
    Token,
}
