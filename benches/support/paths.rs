//! The most expensive paths of 8 KiB, and routes that make them so.

use claimgate::settings::RouteSettings;

/// The longest path that is matched.
const BYTES: usize = 8192;

/// A hundred sibling routes and some nested ones, with and without a trailing
/// slash.
pub(crate) fn routes() -> Vec<RouteSettings> {
    let deep = (1..12).map(|depth| (format!("/v1{}/admin", "/a".repeat(depth)), depth % 2 == 0));
    let wide = (0..100).map(|number| (format!("/v1/tenants/tenant-{number}/keys"), true));
    let others = [("/v1/admin/".into(), false), ("/v1/Users/admin".into(), true)];
    deep.chain(wide)
        .chain(others)
        .map(|(path, is_prefix): (String, bool)| RouteSettings {
            name: path.clone(),
            path: Some(path.clone()).filter(|_| !is_prefix),
            path_prefix: Some(path.clone()).filter(|_| is_prefix),
            required_scopes: Some(vec![path]),
            ..RouteSettings::default()
        })
        .collect()
}

/// Paths of 8 KiB, each with what it is made of.
pub(crate) fn worst() -> Vec<(&'static str, String)> {
    let kinds = [
        ("letters", "x"),
        ("capitals", "X"),
        ("segments", "a/"),
        ("segments in capitals", "A/"),
        ("dots", "/.a"),
        ("escapes", "%C3%89"),
        ("escapes of escapes", "%252525252525252561"),
        ("slashes", "/"),
        ("escaped slashes", "%2f"),
        ("twice escaped slashes", "%252f"),
        ("slashes of all kinds", "/%2f%252f"),
        ("parameters", ";/"),
        ("long parameters", ";xxxxxxxxxxxxxxxx/"),
        ("parameters with backslashes", ";\\/"),
        ("parameters with slashes", ";%2f/"),
        ("parameters in parameters", ";%3b%253b/"),
        ("parameters with all of it", ";%2f%252f\\%5c%255c%3b%253b/"),
        ("parameters with names", ";\\a/"),
        ("parameters with escaped names", ";%2fa/"),
        ("all of it without slashes", "%2f;%252f\\%5c%255c%3b%253b"),
    ];
    kinds.map(|(kind, unit)| (kind, fill(unit))).into()
}

/// `/v1/`, as much of `unit` as fits, and a segment that readings differ in.
fn fill(unit: &str) -> String {
    let (start, end) = ("/v1/", "/a%252fb");
    let times = (BYTES - start.len() - end.len()) / unit.len();
    [start, &unit.repeat(times), end].concat()
}
