//! Taking parameters out of a request target.

/// Appends `target` without the query parameters whose names are spelled like
/// one of `names`; the others stay as the client wrote them, in its order.
pub(crate) fn append_without<'n>(
    to: &mut Vec<u8>,
    target: &[u8],
    names: impl Iterator<Item = &'n str> + Clone,
) {
    let (path, query) = split_once(target, b'?');
    to.extend_from_slice(path);
    let Some(query) = query else { return };
    let is_kept = |pair: &&[u8]| {
        let (name, _) = split_once(pair, b'=');
        !names.clone().any(|removed| removed.as_bytes() == name)
    };
    for (index, pair) in query.split(|byte| *byte == b'&').filter(is_kept).enumerate() {
        to.push(if index == 0 { b'?' } else { b'&' });
        to.extend_from_slice(pair);
    }
}

fn split_once(text: &[u8], at: u8) -> (&[u8], Option<&[u8]>) {
    match text.iter().position(|byte| *byte == at) {
        Some(index) => (&text[..index], Some(&text[index + 1..])),
        None => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_go_and_the_rest_stays_as_it_was() {
        let cases = [
            ("/a?t=1", "/a"),
            ("/a?t", "/a"),
            ("/a?t=1&b=2", "/a?b=2"),
            ("/a?b=2&t=1", "/a?b=2"),
            ("/a?c&t=1&b=%20&t=3&d=", "/a?c&b=%20&d="),
            ("/a?b=2", "/a?b=2"),
            ("/a?tt=1&T=2", "/a?tt=1&T=2"),
            ("/a", "/a"),
            ("/a?t=1?t=2&b=t", "/a?b=t"),
        ];
        for (target, expected) in cases {
            let mut to = Vec::new();
            append_without(&mut to, target.as_bytes(), ["t"].into_iter());
            assert_eq!(String::from_utf8(to).unwrap(), expected, "{target}");
        }
    }
}
