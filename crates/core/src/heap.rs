//! How much memory values take, for caches that are bounded by it.

use serde_json::{Map, Value};

/// What an allocation of so many bytes takes.
///
/// The allocator of the program (mimalloc) hands out multiples of 16 bytes up
/// to 128, and above that four sizes between one power of two and the next.
pub const fn allocation(bytes: usize) -> usize {
    match bytes {
        0 => 0,
        1..=128 => bytes.next_multiple_of(16),
        _ => bytes.next_multiple_of(1 << ((bytes - 1).ilog2() - 2)),
    }
}

/// A value behind an `Arc`, with the two counts beside it.
pub const fn shared<T>() -> usize {
    allocation(size_of::<T>() + 2 * size_of::<usize>())
}

/// The elements of a list, without what they own themselves.
pub const fn list<T>(capacity: usize) -> usize {
    allocation(capacity * size_of::<T>())
}

/// Everything that a list of texts owns.
pub fn texts(texts: &Vec<String>) -> usize {
    let each: usize = texts.iter().map(|text| allocation(text.capacity())).sum();
    list::<String>(texts.capacity()) + each
}

/// Everything that a JSON value owns.
pub fn json(value: &Value) -> usize {
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
        Value::String(text) => allocation(text.capacity()),
        Value::Array(elements) => {
            list::<Value>(elements.capacity()) + elements.iter().map(json).sum::<usize>()
        }
        Value::Object(members) => object(members),
    }
}

/// A map that keeps the order of its members is a list of them with their
/// hashes, and a table of positions in it with a byte beside each, an eighth
/// of it free.
fn object(members: &Map<String, Value>) -> usize {
    let room = members.len().next_power_of_two();
    let table = 2 * room * (size_of::<usize>() + 1) + 16;
    let list = list::<(usize, String, Value)>(room);
    let each = members.iter().map(|(name, value)| allocation(name.capacity()) + json(value));
    list + allocation(table) + each.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn allocations_come_in_certain_sizes() {
        let cases = [
            (0, 0),
            (1, 16),
            (16, 16),
            (17, 32),
            (128, 128),
            (129, 160),
            (160, 160),
            (161, 192),
            (256, 256),
            (257, 320),
            (1000, 1024),
            (1025, 1280),
            (16_385, 20_480),
        ];
        for (bytes, expected) in cases {
            assert_eq!(allocation(bytes), expected, "{bytes}");
        }
    }

    #[test]
    fn a_value_takes_what_it_owns() {
        assert_eq!(json(&json!([1, null, true, 1.5])), list::<Value>(4));
        assert_eq!(json(&json!("x".repeat(100))), 112);
        let nested = json!([["a".repeat(20)]]);
        assert_eq!(json(&nested), 2 * list::<Value>(1) + 32);
        let object = json(&json!({"name": "v".repeat(40)}));
        assert!((16 + 48 + size_of::<Value>()..500).contains(&object), "{object}");
    }
}
