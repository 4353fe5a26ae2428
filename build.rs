//! Tells the program which revision it is made of, and how it was built.
//!
//! The revision is what `CLAIMGATE_REVISION` says, else the commit that cargo
//! wrote into the package, that git wrote into the archive, or that is checked
//! out here.

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::Command,
};

/// Where git writes the commit when it makes an archive; see `.gitattributes`.
const OF_ARCHIVE: &str = "scripts/revision.txt";

fn main() {
    println!("cargo:rerun-if-env-changed=CLAIMGATE_REVISION");
    let given =
        env::var("CLAIMGATE_REVISION").ok().filter(|it| !["", "unknown"].contains(&it.trim()));
    let revision = given.or_else(of_package).or_else(of_archive).or_else(of_repository);
    let revision = revision.unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=CLAIMGATE_REVISION={}", revision.trim());
    let built = ["PROFILE", "TARGET"].map(|name| env::var(name).unwrap_or_default());
    println!("cargo:rustc-env=CLAIMGATE_BUILD={}", built.join(", "));
}

/// What cargo wrote into the package when it was published.
fn of_package() -> Option<String> {
    // Named only if it is there: Cargo would take a missing file for a changed
    // one, and build the program again each time.
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    println!("cargo:rerun-if-changed=.cargo_vcs_info.json");
    let (_, rest) = info.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(String::from).filter(|sha| is_commit(sha))
}

/// What git wrote into the archive.
fn of_archive() -> Option<String> {
    let text = fs::read_to_string(OF_ARCHIVE).ok()?;
    println!("cargo:rerun-if-changed={OF_ARCHIVE}");
    let sha = text.lines().find(|line| !line.starts_with('#'))?.trim();
    is_commit(sha).then(|| sha.to_owned())
}

fn of_repository() -> Option<String> {
    // A repository around an archive or a package is another one.
    let top = PathBuf::from(git(&["rev-parse", "--show-toplevel"])?);
    if top.canonicalize().ok()? != Path::new(".").canonicalize().ok()? {
        return None;
    }
    // Changes with every commit and checkout.
    println!("cargo:rerun-if-changed={}", git(&["rev-parse", "--git-path", "logs/HEAD"])?);
    git(&["rev-parse", "HEAD"]).filter(|sha| is_commit(sha))
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

fn is_commit(text: &str) -> bool {
    text.len() >= 40 && text.bytes().all(|byte| byte.is_ascii_hexdigit())
}
