//! `claimgate new-key`: makes an API key.

use std::{
    io::{self, Write},
    process::ExitCode,
    time::Duration,
};

use anyhow::{Context, bail};
use aws_lc_rs::{digest, rand};
use jiff::{SignedDuration, Timestamp};
use zeroize::Zeroizing;

use crate::config::{self, key};

/// Make an API key of 256 random bits.
///
/// Prints the key on stdout, this once, and its entry for the config file on
/// stderr: the entry holds the key's hash only. A key is `cg_`, 64 hex digits,
/// and 8 that are the beginning of the SHA-256 of what stands before them, so
/// that a scanner can tell a key from other text.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate new-key --name laptop-anna --scope models > key
  claimgate new-key --name ci --scope read --scope write --expires-in 90d")]
pub struct Args {
    /// Whose key it is; becomes the subject.
    #[arg(long)]
    name: String,

    /// A scope that it grants; repeatable [default: all, as `*`].
    #[arg(long = "scope", value_name = "SCOPE")]
    scopes: Vec<String>,

    /// How long it is valid, such as 90d, 12h or 30m [default: forever].
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    expires_in: Option<Duration>,

    /// The plan whose limits it has.
    #[arg(long)]
    plan: Option<String>,
}

/// A whole number and its unit.
fn duration(text: &str) -> Result<Duration, &'static str> {
    const WANTED: &str = "write a whole number and s, m, h, d or w, such as 90d";
    let (number, unit) = text.split_at_checked(text.len().saturating_sub(1)).ok_or(WANTED)?;
    let seconds = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 86_400,
        "w" => 7 * 86_400,
        _ => return Err(WANTED),
    };
    let number: u64 = number.parse().map_err(|_| WANTED)?;
    match number.checked_mul(seconds).filter(|seconds| *seconds <= LONGEST) {
        None => Err("is too long; leave it out for a key that never expires"),
        Some(0) => Err("is zero; leave it out for a key that never expires"),
        Some(seconds) => Ok(Duration::from_secs(seconds)),
    }
}

/// A hundred years.
const LONGEST: u64 = 100 * 366 * 86_400;

/// Prints a new key and its entry.
///
/// # Errors
/// The entry would not be accepted in a config file, or the key can't be
/// written.
pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    if args.plan.is_some() && !knows_plans() {
        bail!("--plan: this version has no plans; leave it out");
    }
    let key = generate()?;
    let entry = entry(args, &key, Timestamp::now())?;
    check(&entry)?;
    // First the key: without it, the entry is of no use.
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{}", *key).and_then(|()| stdout.flush()).context("cannot write the key")?;
    drop(stdout);
    let plan = args.plan.as_ref().map(|plan| format!("  plan: {}\n", quoted(plan)));
    write!(
        io::stderr(),
        "# For the list api_keys, or keys of a provider of type api_key:\n{entry}{}",
        plan.unwrap_or_default()
    )
    .context("cannot write the entry")?;
    Ok(ExitCode::SUCCESS)
}

const PREFIX: &str = "cg_";

fn generate() -> anyhow::Result<Zeroizing<String>> {
    let mut bits = Zeroizing::new([0; 32]);
    rand::fill(&mut *bits).map_err(|_| anyhow::anyhow!("the system has no random numbers"))?;
    Ok(written(&bits))
}

/// The key of these bits.
fn written(bits: &[u8; 32]) -> Zeroizing<String> {
    // As long as it gets from the start: a string that grows leaves copies.
    let mut key = Zeroizing::new(String::with_capacity(PREFIX.len() + 64 + 8));
    let digits = Zeroizing::new(hex::encode(bits));
    key.push_str(PREFIX);
    key.push_str(&digits);
    let checksum = digest::digest(&digest::SHA256, key.as_bytes());
    key.push_str(&hex::encode(&checksum.as_ref()[..4]));
    key
}

/// The key's entry, as YAML.
fn entry(args: &Args, key: &str, now: Timestamp) -> anyhow::Result<String> {
    let hash = key::format_hash(&key::hash(key));
    let mut entry = format!("- name: {}\n  key_hash: {}\n", quoted(&args.name), quoted(&hash));
    if !args.scopes.is_empty() {
        let scopes: Vec<_> = args.scopes.iter().map(|scope| quoted(scope)).collect();
        entry.push_str(&format!("  scopes: [{}]\n", scopes.join(", ")));
    }
    if let Some(validity) = args.expires_in {
        let end = now.checked_add(SignedDuration::try_from(validity)?)?;
        entry.push_str(&format!("  expires_at: {}\n", end.strftime("%Y-%m-%dT%H:%M:%SZ")));
    }
    Ok(entry)
}

/// A string of YAML that no environment variable is put into.
fn quoted(text: &str) -> String {
    serde_json::Value::from(text.replace('$', "$$")).to_string()
}

/// Whether a config file may hold the entry.
fn check(entry: &str) -> anyhow::Result<()> {
    let file = format!("auth:\n  api_keys:\n{}", indented(entry));
    let Err(errors) = config::load(&file, &|_| None) else { return Ok(()) };
    let errors: Vec<_> = errors
        .iter()
        .map(|error| {
            error.to_string().replace("auth.api_keys[0].", "").replace("scopes", "--scope")
        })
        .collect();
    bail!("{}", errors.join("; "))
}

fn indented(entry: &str) -> String {
    entry.lines().map(|line| format!("    {line}\n")).collect()
}

/// Whether the config file of this version has `plan` in an API key's entry.
fn knows_plans() -> bool {
    config::schema().pointer("/$defs/ApiKey/properties/plan").is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_ends_in_its_checksum() {
        let key = written(&[0xab; 32]);
        let (body, checksum) = key.split_at(PREFIX.len() + 64);
        assert_eq!(body, format!("cg_{}", "ab".repeat(32)));
        assert_eq!(checksum, &hex::encode(key::hash(body))[..8]);
        assert_eq!(key::defect(&key), None);
        assert_ne!(*generate().unwrap(), *generate().unwrap());
    }

    #[test]
    fn durations_have_a_unit() {
        for (text, seconds) in [("90d", 90 * 86_400), ("12h", 43_200), ("1w", 604_800), ("5s", 5)] {
            assert_eq!(duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        for text in ["", "d", "90", "0d", "-1d", "1.5h", "90D", "90 d", "9999999999999999999w", "é"]
        {
            assert!(duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn the_entry_is_accepted_as_it_is() {
        let args = |name: &str, scopes: &[&str]| Args {
            name: name.into(),
            scopes: scopes.iter().map(|&scope| scope.into()).collect(),
            expires_in: Some(Duration::from_secs(90 * 86_400)),
            plan: None,
        };
        let now = Timestamp::from_second(1_800_000_000).unwrap();
        let made = entry(&args("an \"odd\" ${NAME}: #1", &["a", "b:c/${D}"]), "key", now).unwrap();
        check(&made).unwrap();
        assert!(made.contains("expires_at: 2027-04-15T08:00:00Z"), "{made}");
        let loaded = config::load(&format!("auth:\n  api_keys:\n{}", indented(&made)), &|_| None);
        let loaded = format!("{:?}", loaded.unwrap().settings);
        assert!(loaded.contains("an \\\"odd\\\" ${NAME}: #1"), "{loaded}");
        for (name, scopes) in [("", &[][..]), ("a", &[""]), ("a\u{1b}", &[])] {
            let made = entry(&args(name, scopes), "key", now).unwrap();
            assert!(check(&made).is_err(), "{made}");
        }
    }
}
