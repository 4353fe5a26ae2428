//! After a config is loaded, the process's memory holds no API key.
//!
//! The test runs itself as a separate process, with the allocator of the
//! program, so that this memory has no data of the test's preparations.
//!
//! A separate binary, since an allocator applies to the whole program.

#![cfg(target_os = "linux")]
#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::unwrap_used,
    reason = "the helpers of tests fail like tests"
)]

use std::{
    env,
    fs::{self, File},
    hint::black_box,
    os::unix::fs::FileExt,
    path::Path,
    process::Command,
};

use claimgate::{
    app::offline::Offline,
    config::{self, key},
    settings::ProviderKind,
};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// The folder of the examined process.
const FOLDER: &str = "CLAIMGATE_TEST_SECRETS";

/// Keys are distinguished by their first letters; the searching process must
/// not have them in its memory, so it has them only with every bit flipped.
const KEYS: [(&str, &str); 4] = [
    ("plain", "plain-FoqMzLHq2vTnB8RkXw5YcJd7GsEa9UfPi3KbQh6Nt1Sy4ZjVxDe0rWu"),
    ("quoted", "quote-x7NpQ2LmVb9TzKfRjWc4YsHd8GuEa3XoPi6JkBh5Mt1Sy0ZqVnDe2rLw"),
    ("variable", "envir-T3kWq8NbZx5VpLmRfJc9YsHd2GuEa7XoPi4KjBh6Mt1Sy0ZqVnDe8rLw"),
    ("joined", "left-middle-H5dKw2QzXn8VbLmRfJc7YsTp4GuEa9XoPi3KjBh6Mt1Sy0ZqVn-right"),
];

const CONFIG: &str = r#"
auth:
  mode: api_key
  api_keys:
    - {name: plain, key: PLAIN}
    - {name: quoted, key: "QUOTED", scopes: [a]}
    - {name: variable, key: "${VARIABLE}"}
    - {name: joined, key: "left-${MIDDLE}-right", revoked: "${NO}"}
other:
  copy: PLAIN
"#;

fn flipped(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().map(|byte| !byte).collect()
}

#[test]
fn a_loaded_config_leaves_no_api_key_in_memory() {
    if let Some(folder) = env::var_os(FOLDER) {
        return load_and_look(Path::new(&folder));
    }
    let folder = tempfile::tempdir().unwrap();
    let [plain, quoted, variable, joined] = KEYS.map(|(_, key)| key);
    let text = CONFIG.replace("PLAIN", plain).replace("QUOTED", quoted);
    fs::write(folder.path().join("gateway.yaml"), text).unwrap();
    for (name, key) in KEYS {
        fs::write(folder.path().join(name), flipped(key.as_bytes())).unwrap();
    }
    let middle = joined.strip_prefix("left-").unwrap().strip_suffix("-right").unwrap();
    let ended = Command::new(env::current_exe().unwrap())
        .args(["--exact", "a_loaded_config_leaves_no_api_key_in_memory", "--nocapture"])
        .env_clear()
        .env(FOLDER, folder.path())
        .env("VARIABLE", variable)
        .env("MIDDLE", middle)
        .env("NO", "false")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
    assert!(ended.status.success() && said.contains("looked at 4 keys"), "{said}");
}

fn load_and_look(folder: &Path) {
    let config = folder.join("gateway.yaml");
    let loaded = config::read(&config).expect("the config is good");
    // As the service does it, up to an engine.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let offline = runtime.block_on(Offline::open(&config, &[])).expect("it can be used");
    let hash = claimgate_files::content_of(&config);
    // The search finds a key that is present.
    let canary = flipped(b"canary-wi5HxQz8Vb3TnKfRjWc7");
    let memory = flipped_memory();
    assert!(holds(&memory, b"canary-wi5HxQz8Vb3TnKfRjWc7"), "the search is blind");
    black_box((canary, hash, offline));

    let ProviderKind::ApiKey(keys) = &loaded.settings.auth.providers[0].kind else {
        panic!("these are API keys")
    };
    for (key, (name, _)) in keys.iter().zip(KEYS) {
        let wanted = fs::read(folder.join(name)).unwrap();
        // An allocator may overwrite the first bytes of what was freed.
        let parts = wanted.chunks_exact(14);
        let found = parts.clone().filter(|part| holds(&memory, part)).count();
        assert_eq!(found, 0, "{found} of {} parts of `{name}` are in memory", parts.len());
        // Last, since it makes a copy.
        let read = String::from_utf8(flipped(&wanted)).unwrap();
        assert_eq!((&*key.name, key.hash), (name, key::hash(&read)));
    }
    // With --nocapture the waiting process reads it.
    eprintln!("looked at {} keys", keys.len());
}

fn holds(memory: &[Vec<u8>], part: &[u8]) -> bool {
    memory.iter().any(|pages| memchr::memmem::find(pages, part).is_some())
}

/// The memory that this process has written, every bit flipped so that the copy
/// does not count: heap, thread stacks, anonymous maps. The main thread's stack
/// is left out: above it lies the environment, which can't be wiped.
fn flipped_memory() -> Vec<Vec<u8>> {
    const PAGE: u64 = 4096;
    let (memory, pages) =
        (File::open("/proc/self/mem").unwrap(), File::open("/proc/self/pagemap").unwrap());
    let mut found = Vec::new();
    for line in fs::read_to_string("/proc/self/maps").unwrap().lines() {
        let mut fields = line.split_whitespace();
        let (range, rights) = (fields.next().unwrap(), fields.next().unwrap());
        let name = fields.nth(3).unwrap_or_default();
        let is_own = name.is_empty() || name == "[heap]" || name.starts_with("[anon");
        if !rights.starts_with("rw") || !is_own {
            continue;
        }
        let (start, end) = range.split_once('-').unwrap();
        let number = |text: &str| u64::from_str_radix(text, 16).unwrap();
        // Adjacent pages stay together.
        let mut run = Vec::new();
        for page in number(start) / PAGE..number(end) / PAGE {
            let mut entry = [0; 8];
            pages.read_exact_at(&mut entry, page * 8).unwrap();
            // Bits 62 and 63: swapped, present.
            if u64::from_ne_bytes(entry) >> 62 == 0 {
                found.push(std::mem::take(&mut run));
                continue;
            }
            let mut content = [0; PAGE as usize];
            if memory.read_exact_at(&mut content, page * PAGE).is_ok() {
                run.extend(content.map(|byte| !byte));
            }
        }
        found.push(run);
    }
    found
}
