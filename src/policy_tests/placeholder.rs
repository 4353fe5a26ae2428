//! The placeholder for a token in requests and expectations.

/// Stands in a path or a header for the token of the case. If a request has it
/// nowhere, the token goes where the first source looks for it.
pub const TOKEN: &str = "{token}";

/// Puts the token of a case into its path and headers; false if neither has the
/// placeholder.
pub(super) fn fill_in(token: &str, path: &mut String, headers: &mut [(String, Vec<u8>)]) -> bool {
    let mut filled = path.contains(TOKEN);
    *path = path.replace(TOKEN, token);
    for (_, value) in headers {
        let text = String::from_utf8_lossy(value);
        if text.contains(TOKEN) {
            *value = text.replace(TOKEN, token).into_bytes();
            filled = true;
        }
    }
    filled
}

/// A text with the placeholder instead of these tokens, which may be real ones.
pub(super) fn redact(text: &str, tokens: &[Option<&str>]) -> String {
    let tokens = tokens.iter().flatten().filter(|token| !token.is_empty());
    tokens.fold(text.to_owned(), |text, token| text.replace(token, TOKEN))
}
