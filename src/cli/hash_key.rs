//! `claimgate hash-key`: turns an API key into the value of `key_hash`.

use std::{
    io::{self, IsTerminal, Read, Write},
    process::ExitCode,
    time::Duration,
};

use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use tokio::{
    runtime::Builder,
    signal::unix::{SignalKind, signal},
    task::spawn_blocking,
    time::timeout,
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
        match typed() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                return Ok(ExitCode::from(INTERRUPTED));
            }
            typed => typed?,
        }
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

/// The exit status of a program killed by SIGINT, as shells report it.
const INTERRUPTED: u8 = 130;

/// Asks for a key on the terminal, without showing what is typed.
fn typed() -> io::Result<Zeroizing<Vec<u8>>> {
    let runtime = Builder::new_current_thread().enable_all().build()?;
    let typed = runtime.block_on(async {
        // With a handler, Ctrl-C does not end the program before the terminal is
        // put right again.
        let mut interrupt = signal(SignalKind::interrupt())?;
        // Before the prompt is there, so that nothing typed after it is shown.
        let _quiet = Quiet::new()?;
        let prompt = "the API key (what you type is not shown): ";
        let mut reading = spawn_blocking(move || rpassword::prompt_password(prompt));
        tokio::select! {
            typed = &mut reading => typed.map_err(io::Error::other)?,
            _ = interrupt.recv() => {
                // It changes the terminal once more if it saw Ctrl-C itself.
                let _ = timeout(Duration::from_millis(200), reading).await;
                Err(io::ErrorKind::Interrupted.into())
            }
        }
    });
    runtime.shutdown_background();
    typed.map(|typed| Zeroizing::new(typed.into_bytes()))
}

/// The terminal without echo, until this is dropped.
struct Quiet(Termios);

impl Quiet {
    fn new() -> io::Result<Self> {
        let before = tcgetattr(io::stdin())?;
        let mut quiet = before.clone();
        quiet.local_modes.remove(LocalModes::ECHO);
        tcsetattr(io::stdin(), OptionalActions::Now, &quiet)?;
        Ok(Self(before))
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        // A terminal that has gone needs no echo.
        let _ = tcsetattr(io::stdin(), OptionalActions::Now, &self.0);
        let _ = writeln!(io::stderr());
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
