//! The program runs and decides as its README says.

use std::process::Command;

/// The last code block of the README.
fn promised() -> &'static str {
    let readme = include_str!("../README.md");
    readme.rsplit("```").nth(1).unwrap().strip_prefix("text\n").unwrap()
}

#[test]
fn it_prints_what_its_readme_shows() {
    let ran = Command::new(env!("CARGO_BIN_EXE_embed")).output().unwrap();
    let [stdout, stderr] = [ran.stdout, ran.stderr].map(|text| String::from_utf8(text).unwrap());
    assert!(ran.status.success(), "{stderr}");
    assert_eq!(stdout, promised(), "{stderr}");
}
