//! Trees that are wiped when they are dropped.

use serde_json::{Map, Value};
use zeroize::Zeroize;

/// A tree that is wiped when it is dropped.
#[derive(Clone, PartialEq)]
pub(super) struct Wiped(pub(super) Value);

impl Wiped {
    /// The tree of these blocks.
    pub(super) fn new(blocks: Map<String, Value>) -> Self {
        Self(Value::Object(blocks))
    }
}

impl Drop for Wiped {
    fn drop(&mut self) {
        wipe(&mut self.0);
    }
}

/// Overwrites every string of a tree, but not the names of members.
pub(super) fn wipe(tree: &mut Value) {
    match tree {
        Value::String(text) => text.zeroize(),
        Value::Array(elements) => elements.iter_mut().for_each(wipe),
        Value::Object(members) => members.values_mut().for_each(wipe),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_string_of_a_tree_is_wiped() {
        let mut tree = json!({"a": "s", "b": [{"c": "s"}, 1, null, true, "s"]});
        wipe(&mut tree);
        assert_eq!(tree, json!({"a": "", "b": [{"c": ""}, 1, null, true, ""]}));
    }
}
