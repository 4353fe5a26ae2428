//! What is refused as it stands, and what readings make of the rest.

use std::collections::BTreeSet;

use super::*;

#[test]
fn what_is_refused_as_it_stands() {
    use Defect::{Control, DotSegment, Fragment, LeadingSlashes, NotAbsolute, TooLong};
    let long = "/".to_owned() + &"x".repeat(MAX_BYTES);
    let cases = [
        ("", NotAbsolute),
        ("*", NotAbsolute),
        ("a", NotAbsolute),
        ("http://host/a", NotAbsolute),
        ("/a#b", Fragment),
        ("/a%00", Control),
        ("/a%2500", Control),
        ("/%%300", Control),
        ("/a\tb", Control),
        ("/a%7f", Control),
        ("/a/..", DotSegment),
        ("/../../a", DotSegment),
        ("/a/.", DotSegment),
        ("/.", DotSegment),
        ("/a/./b", DotSegment),
        ("/a/%2e%2E/b", DotSegment),
        ("/a/.%252e/b", DotSegment),
        ("/a%2f..%2fb", DotSegment),
        ("/a\\..\\b", DotSegment),
        ("/a/..;x/b", DotSegment),
        ("/a/..%3b/b", DotSegment),
        ("/a/.;/b", DotSegment),
        ("/a;/../b", DotSegment),
        ("//", LeadingSlashes),
        ("//a", LeadingSlashes),
        ("/\\a", LeadingSlashes),
        ("/%2fa", LeadingSlashes),
        ("/%255ca", LeadingSlashes),
        ("/;x/a", LeadingSlashes),
        ("/%3b/a", LeadingSlashes),
        (long.as_str(), TooLong),
    ];
    for (path, expected) in cases {
        assert_eq!(read(path, true).err(), Some(expected), "{path}");
        let anyway = [NotAbsolute, Fragment, Control].contains(&expected).then_some(expected);
        assert_eq!(read(path, false).err(), anyway, "{path} without routes");
    }
    for (unit, expected) in [("%C3%A9", None), ("%25", Some(TooLong)), ("%0a", Some(Control))] {
        let long = "/".to_owned() + &unit.repeat(10_000);
        assert_eq!(read(&long, false).err(), expected, "{unit} without routes");
    }
}

#[test]
fn readings_of_a_path() {
    let cases: [(&str, &[&str]); 16] = [
        ("/", &["/"]),
        ("/v1/chat/completions", &["/v1/chat/completions"]),
        ("/.well-known/x", &["/.well-known/x"]),
        ("/a/.../b", &["/a/.../b"]),
        ("/\u{e9}", &["/\u{e9}"]),
        ("/a//b", &["/a//b", "/a/b"]),
        ("/%61dmin", &["/admin"]),
        ("/100%", &["/100%"]),
        ("/%zz", &["/%zz"]),
        ("/%2561", &["/%2561", "/%61", "/a"]),
        ("/meta%2Fllama", &["/meta%2Fllama", "/meta/llama"]),
        ("/a\\b", &["/a\\b", "/a/b"]),
        ("/a;x=1/b", &["/a;x=1/b", "/a/b", "/a"]),
        ("/a;%2fx", &["/a;%2fx", "/a;/x", "/a", "/a/x"]),
        ("/a%3bx/b", &["/a%3bx/b", "/a;x/b", "/a/b"]),
        ("/a;\\x", &["/a;\\x", "/a;/x", "/a", "/a/x"]),
    ];
    for (path, expected) in cases {
        let texts = READINGS.iter().map(|reading| reading.text(path.as_bytes()));
        let texts: BTreeSet<_> =
            texts.map(|text| String::from_utf8_lossy(&text).into_owned()).collect();
        assert_eq!(texts, expected.iter().map(ToString::to_string).collect(), "{path}");
        assert_eq!(is_plain(path), expected == [path] && !path.contains('%'), "{path}");
    }
}

#[test]
fn decoding_in_one_pass_is_decoding_until_nothing_changes() {
    let fully = READINGS[8];
    proptest::proptest!(|(path in "/[%2-6a-f/.]{0,40}")| {
        let (slow, decoded) = (fully.text(path.as_bytes()), Decoded::of(path.as_bytes()));
        proptest::prop_assert_eq!(decoded.bytes(), slow, "{}", fully);
    });
}
