//! `claimgate hash-key`: turns an API key into the value of `key_hash`.

use std::{
    io::{self, IsTerminal, Read, Write},
    process::ExitCode,
};

use zeroize::Zeroizing;

use crate::config::key;

/// Print the hash of an API key for `key_hash`.
///
/// Reads the key on stdin; from a terminal without showing it.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate hash-key < key
  claimgate hash-key        # asks for the key")]
pub struct Args {}

/// Longer input is not a key: no header can carry it.
const LONGEST: usize = 1 << 20;

/// Prints the hash of the key on stdin, or says why it could not be used.
pub fn run(_: &Args) -> io::Result<ExitCode> {
    let input = if io::stdin().is_terminal() {
        let typed = rpassword::prompt_password("the API key (what you type is not shown): ")?;
        Zeroizing::new(typed.into_bytes())
    } else {
        // As long as it may get from the start: a buffer that grows leaves copies.
        let mut input = Zeroizing::new(Vec::with_capacity(LONGEST + 1));
        io::stdin().take(LONGEST as u64 + 1).read_to_end(&mut input)?;
        input
    };
    match hash_line(&input) {
        Ok(hash) => {
            writeln!(io::stdout(), "{hash}")?;
            Ok(ExitCode::SUCCESS)
        }
        Err(defect) => {
            writeln!(io::stderr(), "error: the key {defect}, so no request could carry it")?;
            Ok(ExitCode::FAILURE)
        }
    }
}

/// The hash of a key and the line break that `echo` put behind it.
fn hash_line(input: &[u8]) -> Result<String, &'static str> {
    if input.len() > LONGEST {
        return Err("is longer than 1 MiB");
    }
    let line = str::from_utf8(input).map_err(|_| "is not UTF-8")?;
    let line = line.strip_suffix('\n').map_or(line, |line| line.strip_suffix('\r').unwrap_or(line));
    match key::defect(line) {
        Some(defect) => Err(defect),
        None => Ok(key::format_hash(&key::hash(line))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HASH_OF_ABC: &str =
        "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn one_line_break_is_not_part_of_the_key() {
        for input in ["abc", "abc\n", "abc\r\n"] {
            assert_eq!(hash_line(input.as_bytes()).as_deref(), Ok(HASH_OF_ABC), "{input:?}");
        }
    }

    #[test]
    fn keys_that_no_request_carries_are_refused() {
        for input in ["", "\n", "\r\n", "abc\n\n", "abc\r", "a b", "a,b", "a\tb", "kéy"] {
            assert!(hash_line(input.as_bytes()).is_err(), "{input:?}");
        }
        assert!(hash_line(b"\xff").is_err());
    }
}
