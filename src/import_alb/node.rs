//! JSON values that know their place in the document, for errors.

use serde_json::Value;

/// What is wrong with a document, where, and what it should be.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("{place}: {message}")]
pub struct DocumentError {
    place: String,
    message: String,
}

impl DocumentError {
    /// An error of the document as a whole.
    pub(super) fn whole(message: impl Into<String>) -> Self {
        Self { place: "the document".into(), message: message.into() }
    }
}

/// A value and where it stands.
#[derive(Clone, Debug)]
pub(super) struct Node<'v> {
    value: &'v Value,
    place: String,
}

impl<'v> Node<'v> {
    /// The whole document.
    pub(super) fn root(value: &'v Value) -> Self {
        Self { value, place: String::new() }
    }

    /// Where this is, as `Rules[0].Actions`.
    pub(super) fn place(&self) -> &str {
        if self.place.is_empty() { "the document" } else { &self.place }
    }

    /// An error about this value.
    pub(super) fn error(&self, message: impl Into<String>) -> DocumentError {
        DocumentError { place: self.place().into(), message: message.into() }
    }

    /// Whether this is an object.
    pub(super) fn is_object(&self) -> bool {
        self.value.is_object()
    }

    /// Whether this is `true`.
    pub(super) fn is_true(&self) -> bool {
        self.value == &Value::Bool(true)
    }

    /// Whether this is a list.
    pub(super) fn is_list(&self) -> bool {
        self.value.is_array()
    }

    /// A member, if it is there and not null.
    pub(super) fn get(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let dot = if self.place.is_empty() { "" } else { "." };
        Some(Self { value, place: format!("{}{dot}{name}", self.place) })
    }

    /// The first of these members that is there.
    pub(super) fn any(&self, names: &[&str]) -> Option<Self> {
        names.iter().find_map(|name| self.get(name))
    }

    /// The first of these members; one of them must be there.
    pub(super) fn need(&self, names: &[&str], meaning: &str) -> Result<Self, DocumentError> {
        if !self.is_object() {
            return Err(self.error("must be an object"));
        }
        let name = names.first().copied().unwrap_or_default();
        self.any(names).ok_or_else(|| self.error(format!("has no {name}, {meaning}")))
    }

    /// The elements of a list.
    pub(super) fn items(&self) -> Result<Vec<Self>, DocumentError> {
        let elements = self.value.as_array().ok_or_else(|| self.error("must be a list"))?;
        let item = |(index, value)| Self { value, place: format!("{}[{index}]", self.place) };
        Ok(elements.iter().enumerate().map(item).collect())
    }

    /// The elements of a list, or a lone object: Terraform writes a block that
    /// occurs once as a list of one.
    pub(super) fn blocks(&self) -> Result<Vec<Self>, DocumentError> {
        if self.is_object() { Ok(vec![self.clone()]) } else { self.items() }
    }

    /// The elements of a list of blocks that may be missing.
    pub(super) fn all(&self, names: &[&str]) -> Result<Vec<Self>, DocumentError> {
        self.any(names).map_or(Ok(Vec::new()), |list| list.blocks())
    }

    /// A string with something in it.
    pub(super) fn text(&self) -> Result<&'v str, DocumentError> {
        match self.value.as_str() {
            Some("") => Err(self.error("is empty")),
            Some(text) => Ok(text),
            None => Err(self.error("must be a string")),
        }
    }

    /// The strings of a list.
    pub(super) fn texts(&self) -> Result<Vec<String>, DocumentError> {
        self.items()?.iter().map(|item| item.text().map(String::from)).collect()
    }

    /// The strings of a list that may be missing.
    pub(super) fn texts_of(&self, name: &str) -> Result<Vec<String>, DocumentError> {
        self.get(name).map_or(Ok(Vec::new()), |list| list.texts())
    }

    /// A whole number, which the AWS CLI also writes as a string.
    pub(super) fn number(&self) -> Result<u64, DocumentError> {
        let number = match self.value {
            Value::String(digits) => digits.parse().ok(),
            other => other.as_u64(),
        };
        number.ok_or_else(|| self.error("must be a whole number"))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn errors_say_where() {
        let value = json!({"Rules": [{"Priority": "x", "Actions": {}, "Name": "", "Gone": null}]});
        let rules =
            Node::root(&value).need(&["Rules"], "").expect("there").items().expect("a list");
        let error = |result: Result<(), DocumentError>| result.expect_err("wrong").to_string();
        let rule = &rules[0];
        let cases = [
            (
                rule.get("Priority").expect("there").number().map(drop),
                "Rules[0].Priority: must be a whole number",
            ),
            (
                rule.get("Actions").expect("there").items().map(drop),
                "Rules[0].Actions: must be a list",
            ),
            (rule.get("Name").expect("there").text().map(drop), "Rules[0].Name: is empty"),
            (rule.need(&["Gone"], "its end").map(drop), "Rules[0]: has no Gone, its end"),
            (Node::root(&json!([])).text().map(drop), "the document: must be a string"),
        ];
        for (result, expected) in cases {
            assert_eq!(error(result), expected);
        }
    }
}
