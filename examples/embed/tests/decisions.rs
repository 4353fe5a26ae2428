//! The program decides as its README says, and the book shows its code.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail like tests")]

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

/// The Rust that the page on embedding shows is in the program, line for line
/// but for its indentation.
#[test]
fn the_page_shows_this_program() {
    let lines = |text: &'static str| text.lines().map(str::trim).collect::<Vec<_>>();
    let program = lines(include_str!("../src/main.rs"));
    let page = include_str!("../../../docs/embedding.md");
    let snippets: Vec<_> = page.split("```rust\n").skip(1).collect();
    assert_eq!(snippets.len(), 3);
    for snippet in snippets {
        let shown = lines(snippet.split("```").next().unwrap());
        let found = program.windows(shown.len()).any(|lines| lines == shown);
        assert!(found, "copy from src/main.rs into docs/embedding.md:\n{}", shown.join("\n"));
    }
}
