//! Where in the file something is.

use std::fmt;

/// A key path: where in the file something is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct KeyPath(Vec<Step>);

/// One step of a key path.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) enum Step {
    /// Into a mapping.
    Key(String),
    /// Into a list.
    Index(usize),
}

impl KeyPath {
    /// The steps from the top of the file.
    pub(super) fn steps(&self) -> &[Step] {
        &self.0
    }

    /// One key further down.
    pub(super) fn key(&self, key: &str) -> Self {
        self.then(Step::Key(key.into()))
    }

    /// One list element further down.
    pub(super) fn index(&self, index: usize) -> Self {
        self.then(Step::Index(index))
    }

    fn then(&self, step: Step) -> Self {
        Self(self.0.iter().cloned().chain([step]).collect())
    }

    /// Whether an API key may stand here, in its place or by mistake.
    pub(super) fn may_be_secret(&self) -> bool {
        let secret = ["key", "key_hash", "keys", "api_keys", "token", "client_secret"];
        self.last_key().is_some_and(|key| secret.contains(&key))
    }

    /// `auth.providers[].keys`, as [`super::homes`] has it.
    pub(super) fn without_positions(&self) -> String {
        let step = |(at, step): (usize, &Step)| match step {
            Step::Index(_) => "[]".to_owned(),
            Step::Key(key) if at == 0 => key.clone(),
            Step::Key(key) => format!(".{key}"),
        };
        self.0.iter().enumerate().map(step).collect()
    }

    /// The last step that is a key.
    pub(super) fn last_key(&self) -> Option<&str> {
        self.0.iter().rev().find_map(|step| match step {
            Step::Key(key) => Some(key.as_str()),
            Step::Index(_) => None,
        })
    }
}

/// `auth.providers[0].required_claims["kubernetes.io"]`.
impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
        for (at, step) in self.0.iter().enumerate() {
            match step {
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Key(key) if key.is_empty() || !key.bytes().all(plain) => {
                    write!(f, "[\"{}\"]", key.escape_debug())?;
                }
                Step::Key(key) if at == 0 => f.write_str(key)?,
                Step::Key(key) => write!(f, ".{key}")?,
            }
        }
        Ok(())
    }
}
