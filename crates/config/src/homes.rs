//! Where in the file a key belongs, for keys that stand elsewhere.
//!
//! The schema knows: it is made from the types that read the file.

use serde_json::Value;

use super::schema::schema;

/// The key paths of the mappings that have this key, such as `auth.oauth2` or
/// `auth.providers[]`.
pub(super) fn of(key: &str) -> Vec<String> {
    let schema = schema();
    let mut found = Vec::new();
    let mut search = Search { schema: &schema, key, found: &mut found };
    search.visit(&schema, String::new(), 0);
    found
}

struct Search<'s, 'f> {
    schema: &'s Value,
    key: &'s str,
    found: &'f mut Vec<String>,
}

impl Search<'_, '_> {
    fn visit(&mut self, schema: &Value, place: String, depth: usize) {
        const DEEPEST: usize = 16;
        if depth > DEEPEST {
            return;
        }
        if let Some(target) = schema.get("$ref").and_then(Value::as_str) {
            let target = target.strip_prefix('#').and_then(|it| self.schema.pointer(it));
            if let Some(target) = target {
                self.visit(target, place.clone(), depth + 1);
            }
        }
        for choice in ["anyOf", "oneOf", "allOf"] {
            for schema in schema.get(choice).and_then(Value::as_array).into_iter().flatten() {
                self.visit(schema, place.clone(), depth + 1);
            }
        }
        if let Some(items) = schema.get("items") {
            self.visit(items, format!("{place}[]"), depth + 1);
        }
        let Some(properties) = schema.get("properties").and_then(Value::as_object) else { return };
        if properties.contains_key(self.key) && !self.found.contains(&place) {
            self.found.push(place.clone());
        }
        for (name, schema) in properties {
            let place = if place.is_empty() { name.clone() } else { format!("{place}.{name}") };
            self.visit(schema, place, depth + 1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_home_of_a_key_is_found() {
        for (key, expected) in [
            ("providers", vec!["auth", "auth.routes[]", "auth.token_sources[]"]),
            ("issuer", vec!["auth.oauth2", "auth.providers[]"]),
            ("path_prefix", vec!["auth.routes[].match"]),
            ("cert_file", vec!["server.grpc.tls"]),
            ("no_such_key", vec![]),
        ] {
            let mut homes = of(key);
            homes.sort();
            assert_eq!(homes, expected, "{key}");
        }
    }
}
