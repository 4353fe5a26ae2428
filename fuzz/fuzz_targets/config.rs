//! Any text results in settings or errors, and neither errors nor warnings show
//! values from the environment.

#![no_main]

use claimgate::config;
use libfuzzer_sys::fuzz_target;

/// In every variable but `N`, which is a number, and `U`, which is a URL
/// around it.
const SECRET: &str = "Pl4nted";

fn env(name: &str) -> Option<String> {
    match name {
        "GONE" => None,
        "N" => Some("7".into()),
        "U" => Some(format!("https://{SECRET}.example/{SECRET}")),
        _ => Some(SECRET.into()),
    }
}

fuzz_target!(|text: &str| {
    if text.to_ascii_lowercase().contains("pl4nted") {
        return;
    }
    let said = match config::load(text, &env) {
        Ok(loaded) => loaded.warnings.iter().map(|warning| format!("{warning}\n")).collect(),
        Err(errors) => {
            assert!(errors.iter().len() > 0, "refused without a reason");
            errors.to_string()
        }
    };
    assert!(!said.to_ascii_lowercase().contains("pl4nted"), "{said}");
});
