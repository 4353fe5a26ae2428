//! Stands in for an OAuth 2.0 issuer, so that the example needs no network:
//! your program has the issuer's JWK Set as a file, and clients get tokens
//! from the issuer. Every run makes a new key, which is never stored.

use std::{
    env,
    error::Error,
    fs::{self, File},
    io::Write,
    path::{Path, PathBuf},
    process,
};

use claimgate_core::{
    keys::{Algorithm, signing::SigningKey},
    time::UnixTime,
};

/// An issuer with one signing key.
pub(crate) struct IdentityProvider {
    issuer: &'static str,
    key: SigningKey,
    keys_file: PathBuf,
}

impl IdentityProvider {
    /// Makes a key and writes its public half to a file.
    pub(crate) fn start(issuer: &'static str) -> Result<Self, Box<dyn Error>> {
        let key = SigningKey::generate(Algorithm::Es256)?;
        let keys_file = env::temp_dir().join(format!("claimgate-embed-{}.json", process::id()));
        // Fails if the file exists: another user may have put it there.
        write!(File::create_new(&keys_file)?, r#"{{"keys": [{}]}}"#, key.jwk())?;
        Ok(Self { issuer, key, keys_file })
    }

    /// Where the JWK Set is.
    pub(crate) fn keys_file(&self) -> &Path {
        &self.keys_file
    }

    /// A token that lasts five minutes. Its parts must need no escape in JSON.
    pub(crate) fn token(&self, subject: &str, audience: &str) -> Result<String, Box<dyn Error>> {
        let issuer = self.issuer;
        let expires = UnixTime::now().as_seconds() + 300.0;
        let claims = format!(
            r#"{{"iss": "{issuer}", "sub": "{subject}", "aud": "{audience}", "scope": "invoke", "exp": {expires}}}"#
        );
        Ok(self.key.sign(claims.as_bytes())?)
    }
}

impl Drop for IdentityProvider {
    fn drop(&mut self) {
        // What can't be removed from a temporary folder may stay there.
        let _ = fs::remove_file(&self.keys_file);
    }
}
