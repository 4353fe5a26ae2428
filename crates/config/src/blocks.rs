//! The blocks of the file: those of this program, and those of others, which
//! are left out.

use serde_json::{Map, Value};

use super::{homes, report::Place, spelling::is_meant, wiped};

/// The blocks of this program.
const OWN_BLOCKS: [&str; 2] = ["auth", "server"];

/// Removes the blocks of other programs, with one warning that lists them. Keys
/// of an own block that stand beside it, not in it, are errors where it is
/// empty.
pub(super) fn set_other_blocks_apart(tree: &mut Map<String, Value>, root: &Place) {
    let mut others: Vec<String> = Vec::new();
    let is_empty = |block: &str| tree.get(block).is_none_or(Value::is_null);
    let empty: Vec<_> = OWN_BLOCKS.into_iter().filter(|block| is_empty(block)).collect();
    retain(tree, |name| {
        let own = OWN_BLOCKS.contains(&name);
        if !own {
            others.push(name.into());
        }
        own
    });
    let mut advice = Vec::new();
    for name in &others {
        let Some(block) = block_of(name) else {
            let meant = OWN_BLOCKS
                .into_iter()
                .find(|block| is_meant(name, block) || name.starts_with(block));
            match meant.filter(|block| empty.contains(block)) {
                Some("auth") => {
                    root.key("auth").is_misspelt();
                    root.key(name).wrong_key("is not a block of Claimgate; did you mean `auth`?");
                }
                Some(block) => {
                    advice.push(format!("did you mean `{block}` by `{}`?", name.escape_debug()))
                }
                None => {}
            }
            continue;
        };
        if block == "auth" && empty.contains(&block) {
            root.key(block).is_misspelt();
            root.key(name).wrong_key(format_args!(
                "is a key of `{block}`, but stands beside it; write it, and all that belongs to \
                 it, below a line `{block}:` and indented by two spaces"
            ));
        } else {
            advice.push(format!(
                "`{name}` is also a key of `{block}`: indent it if it is meant there"
            ));
        }
    }
    if !others.is_empty() {
        let names: Vec<_> =
            others.iter().map(|name| format!("`{}`", name.escape_debug())).collect();
        let advice: String = advice.iter().map(|advice| format!("; {advice}")).collect();
        root.warn(format_args!(
            "other top-level keys than `auth` and `server` are ignored: {}{advice}",
            names.join(", ")
        ));
    }
}

/// Removes and wipes every block for whose name `stays` returns false.
pub(super) fn retain(tree: &mut Map<String, Value>, mut stays: impl FnMut(&str) -> bool) {
    tree.retain(|name, block| {
        let stays = stays(name);
        if !stays {
            wiped::wipe(block);
        }
        stays
    });
}

/// `auth` or `server`, if it has this key.
fn block_of(key: &str) -> Option<&'static str> {
    let homes = homes::of(key);
    OWN_BLOCKS.into_iter().find(|block| homes.iter().any(|home| home == block))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_own_block_that_has_a_key_is_found() {
        assert_eq!(block_of("routes"), Some("auth"));
        assert_eq!(block_of("grpc"), Some("server"));
        assert_eq!(block_of("issuer"), None);
    }
}
