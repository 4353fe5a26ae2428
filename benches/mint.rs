//! Makes tokens for `make bench`: writes `tokens.txt`, one per line and each
//! different from all others, and `jwks.json`, the key that verifies them.
//!
//! `mint ALGORITHM ISSUER COUNT FOLDER`

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark prints, and fails as a whole"
)]

mod support {
    pub(crate) mod claims;
}

use std::{
    error::Error,
    fs,
    io::{BufWriter, Write},
    path::Path,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use claimgate::{issuer::signing::SigningKey, provider::oauth2::Algorithm};
use serde_json::json;

use support::claims::claims;

/// RSA signatures take long enough for the second core to be worth it.
const THREADS: usize = 2;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    // `cargo bench` runs every target, with an option of its own.
    let [algorithm, issuer, count, folder] = arguments.as_slice() else { return Ok(()) };
    let (algorithm, count, folder) = (algorithm.parse()?, count.parse()?, Path::new(folder));
    let key = SigningKey::generate(algorithm)?;
    let tokens = mint(&key, algorithm, issuer, count)?;
    fs::create_dir_all(folder)?;
    fs::write(folder.join("jwks.json"), json!({"keys": [key.jwk()]}).to_string())?;
    let mut file = BufWriter::new(fs::File::create(folder.join("tokens.txt"))?);
    for token in tokens {
        writeln!(file, "{token}")?;
    }
    Ok(file.flush()?)
}

fn mint(
    key: &SigningKey,
    algorithm: Algorithm,
    issuer: &str,
    count: usize,
) -> Result<Vec<String>, Box<dyn Error>> {
    // A minute ago, so that clocks need not agree to the second.
    let issued = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs() - 60;
    let numbers: Vec<usize> = (0..count).collect();
    let share = |numbers: &[usize]| -> Result<Vec<String>, String> {
        let sign = |number: &usize| key.sign(&claims(algorithm, issuer, issued, *number));
        numbers.iter().map(sign).collect::<Result<_, _>>().map_err(|error| error.to_string())
    };
    thread::scope(|scope| {
        let shares = numbers.chunks(count.div_ceil(THREADS).max(1));
        let threads: Vec<_> = shares.map(|numbers| scope.spawn(|| share(numbers))).collect();
        let mut tokens = Vec::with_capacity(count);
        for thread in threads {
            tokens.extend(thread.join().map_err(|_| "a thread panicked")??);
        }
        Ok(tokens)
    })
}
