//! Tells the program which revision it is made of: what `CLAIMGATE_REVISION`
//! says, else the commit of the repository or of the package.

use std::{env, fs, process::Command};

fn main() {
    println!("cargo:rerun-if-env-changed=CLAIMGATE_REVISION");
    if env::var_os("CLAIMGATE_REVISION").is_some() {
        return;
    }
    if let Some(revision) = of_package().or_else(of_repository) {
        println!("cargo:rustc-env=CLAIMGATE_REVISION={revision}");
    }
}

/// What cargo wrote into the package when it was published.
fn of_package() -> Option<String> {
    println!("cargo:rerun-if-changed=.cargo_vcs_info.json");
    let info = fs::read_to_string(".cargo_vcs_info.json").ok()?;
    let (_, rest) = info.split_once("\"sha1\"")?;
    rest.split('"').nth(1).map(String::from).filter(|sha| is_commit(sha))
}

fn of_repository() -> Option<String> {
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
