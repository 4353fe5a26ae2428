//! How servers, and Envoy before them, read a path. Each names the source
//! that it follows; refusals are those of the source's default settings.

/// A server.
pub(crate) struct Server {
    /// Its name.
    pub(crate) name: &'static str,
    /// The path that it compares with its handlers'; `None` if it answers
    /// without asking one (an error, a redirect).
    pub(crate) read: fn(&[u8]) -> Option<Vec<u8>>,
    /// Whether letters are compared case-insensitively.
    pub(crate) folds_case: bool,
    /// Whether a trailing slash is ignored.
    pub(crate) cuts_slash: bool,
}

/// An Envoy.
pub(crate) struct Envoy {
    /// Its settings.
    pub(crate) name: &'static str,
    /// The path that filters and upstreams see; `None` if it answers itself.
    pub(crate) read: fn(&[u8]) -> Option<Vec<u8>>,
    /// Whether it changes any path at all.
    pub(crate) changes: bool,
}

const fn server(name: &'static str, read: fn(&[u8]) -> Option<Vec<u8>>) -> Server {
    Server { name, read, folds_case: false, cuts_slash: false }
}

const fn careless(name: &'static str, read: fn(&[u8]) -> Option<Vec<u8>>) -> Server {
    Server { name, read, folds_case: true, cuts_slash: true }
}

pub(crate) const SERVERS: &[Server] = &[
    server("Tomcat", tomcat),
    server("Tomcat that decodes slashes", tomcat_lenient),
    server("Jetty", jetty),
    server("Undertow", undertow),
    server("Undertow before 2.0", undertow_1),
    server("Node URL", node_url),
    // path-to-regexp 0.1, as express/lib/router/layer.js calls it: the raw
    // path against a pattern without `sensitive` and `strict`.
    careless("Express", |path| Some(path.to_vec())),
    // starlette/routing.py: scope["path"], which uvicorn has unquoted once.
    server("Starlette", |path| Some(decode(path, |_| true))),
    careless("ASP.NET Core", asp_net_core),
    careless("IIS", iis),
    server("nginx", |path| nginx(path, true)),
    server("nginx without merging", |path| nginx(path, false)),
    server("RFC 3986", rfc_3986),
    server("lighttpd", lighttpd),
    server("Go", go),
    server("Werkzeug", werkzeug),
    server("decoded twice", |path| Some(decode(&decode(path, |_| true), |_| true))),
    server("nginx in front of Tomcat", nginx_and_tomcat),
];

pub(crate) const ENVOYS: &[Envoy] = &[
    Envoy { name: "Envoy", read: |path| Some(path.to_vec()), changes: false },
    Envoy { name: "Envoy, normalize_path", read: envoy_normalized, changes: true },
    Envoy {
        name: "Envoy, normalize_path and merge_slashes",
        read: |path| envoy_normalized(path).map(|path| merge(&path)),
        changes: true,
    },
    Envoy {
        name: "Envoy, all and UNESCAPE_AND_FORWARD",
        read: |path| envoy_normalized(&unescape_slashes(path)).map(|path| merge(&path)),
        changes: true,
    },
];

/// org.apache.catalina.connector.CoyoteAdapter.postParseRequest: parameters
/// are cut off, then UDecoder decodes (`encodedSolidusHandling="reject"`), then
/// `normalize` merges and resolves and refuses `\` and what leaves the root.
fn tomcat(path: &[u8]) -> Option<Vec<u8>> {
    let cut = cut_parameters(path);
    let decoded = decode(&cut, |byte| byte != b'/');
    let refused = decoded.contains(&b'\\') || has_escape_of(&decoded, b'/');
    if refused { None } else { resolve(&merge(&decoded), AboveRoot::Refused) }
}

/// The same with `encodedSolidusHandling="decode"` and `allowBackslash`.
fn tomcat_lenient(path: &[u8]) -> Option<Vec<u8>> {
    let decoded = backslashes(&decode(&cut_parameters(path), |_| true));
    resolve(&merge(&decoded), AboveRoot::Refused)
}

/// org.eclipse.jetty.util.URIUtil.canonicalPath with `UriCompliance.LEGACY`:
/// parameters are cut off and dot segments resolved, escaped ones too, then
/// the servlet path is decoded in full. `//` stays.
fn jetty(path: &[u8]) -> Option<Vec<u8>> {
    let canonical = decode(&cut_parameters(path), |byte| byte != b'/' && byte != b'%');
    Some(decode(&resolve(&canonical, AboveRoot::Refused)?, |_| true))
}

/// io.undertow.server.protocol.http.HttpRequestParser of 2.x: parameters are
/// cut off each segment, what is left is decoded once
/// (`ALLOW_ENCODED_SLASH`). Nothing is merged or resolved.
fn undertow(path: &[u8]) -> Option<Vec<u8>> {
    Some(decode(&cut_parameters(path), |_| true))
}

/// The same class before 2.0: `handlePathParameters` reads up to the query.
fn undertow_1(path: &[u8]) -> Option<Vec<u8>> {
    let end = path.iter().position(|byte| *byte == b';').unwrap_or(path.len());
    Some(decode(&path[..end], |_| true))
}

/// `new URL(req.url, base).pathname`: the URL Standard's path state. `\` is
/// `/`, `//` begins a host, `%2e` counts as a dot, nothing else is decoded.
fn node_url(path: &[u8]) -> Option<Vec<u8>> {
    let path = backslashes(path);
    let path = match path.strip_prefix(b"//") {
        // More slashes are ignored in front of a special URL's host.
        Some(rest) => {
            let rest: Vec<_> = rest.iter().copied().skip_while(|byte| *byte == b'/').collect();
            let host = rest.iter().position(|byte| *byte == b'/').unwrap_or(rest.len());
            if host == 0 {
                return None;
            }
            rest[host..].to_vec()
        }
        None => path,
    };
    let path = if path.is_empty() { b"/".to_vec() } else { path };
    resolve(&decode(&path, |byte| byte == b'.'), AboveRoot::Ignored)
}

/// Microsoft.AspNetCore.Server.Kestrel.Core.Internal.Http.PathDecoder: all but
/// `%2F` is decoded, then PathNormalizer removes dot segments. Routing has no
/// case and ignores a slash at the end.
fn asp_net_core(path: &[u8]) -> Option<Vec<u8>> {
    resolve(&decode(path, |byte| byte != b'/'), AboveRoot::Ignored)
}

/// http.sys canonicalises: decoded once, `\` is `/`, dot segments resolved.
fn iis(path: &[u8]) -> Option<Vec<u8>> {
    resolve(&merge(&backslashes(&decode(path, |_| true))), AboveRoot::Refused)
}

/// ngx_http_parse_complex_uri: decoded once, merged (`merge_slashes`), dot
/// segments resolved, those that leave the root refused.
fn nginx(path: &[u8], merges: bool) -> Option<Vec<u8>> {
    let decoded = decode(path, |_| true);
    resolve(&if merges { merge(&decoded) } else { decoded }, AboveRoot::Refused)
}

/// Section 6.2.2: unreserved characters decoded, then 5.2.4, Remove Dot
/// Segments, as written.
fn rfc_3986(path: &[u8]) -> Option<Vec<u8>> {
    let unreserved = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    resolve(&decode(path, unreserved), AboveRoot::Ignored)
}

/// lighttpd's burl_normalize with `url-path-2f-decode` and
/// `url-path-backslash-trans`, then buffer_path_simplify.
fn lighttpd(path: &[u8]) -> Option<Vec<u8>> {
    resolve(&merge(&backslashes(&decode(path, |_| true))), AboveRoot::Ignored)
}

/// net/http.ServeMux: URL.Path is decoded once; where cleaning it changes it,
/// the client is redirected to the clean path.
fn go(path: &[u8]) -> Option<Vec<u8>> {
    let decoded = decode(path, |_| true);
    (resolve(&merge(&decoded), AboveRoot::Ignored)? == decoded).then_some(decoded)
}

/// werkzeug.routing.Map: PATH_INFO is decoded once; where there are repeated
/// slashes the client is redirected (`merge_slashes`).
fn werkzeug(path: &[u8]) -> Option<Vec<u8>> {
    let decoded = decode(path, |_| true);
    (merge(&decoded) == decoded).then_some(decoded)
}

/// `proxy_pass http://tomcat/` hands on the path that nginx has normalised,
/// with its `%` escaped again (ngx_escape_uri).
fn nginx_and_tomcat(path: &[u8]) -> Option<Vec<u8>> {
    // `$uri` in proxy_pass escapes nothing, which is the worse of the two.
    tomcat_lenient(&nginx(path, true)?)
}

/// source/common/http/path_utility.cc: Chromium's canonicalisation. `\` is
/// `/`, unreserved characters are decoded, dot segments resolved.
fn envoy_normalized(path: &[u8]) -> Option<Vec<u8>> {
    rfc_3986(&backslashes(path))
}

/// PathWithEscapedSlashesAction: `%2F` and `%5C` become what they stand for.
fn unescape_slashes(path: &[u8]) -> Vec<u8> {
    decode(path, |byte| byte == b'/' || byte == b'\\')
}

/// A path decoded as often as its tokens take, with every `\` a slash.
pub(crate) fn with_slashes(path: &[u8]) -> Vec<u8> {
    backslashes(&decode(&decode(path, |_| true), |_| true))
}

/// How `..` at the root is handled.
#[derive(Clone, Copy, PartialEq, Eq)]
enum AboveRoot {
    Refused,
    Ignored,
}

/// Decodes the escapes of these bytes once.
fn decode(path: &[u8], is_decoded: impl Fn(u8) -> bool) -> Vec<u8> {
    let mut out = Vec::with_capacity(path.len());
    let mut at = 0;
    while at < path.len() {
        let (byte, length) = match escape(&path[at..]) {
            Some(decoded) if is_decoded(decoded) => (decoded, 3),
            _ => (path[at], 1),
        };
        out.push(byte);
        at += length;
    }
    out
}

fn escape(text: &[u8]) -> Option<u8> {
    let [b'%', digits @ ..] = text else { return None };
    let digit = |byte: u8| char::from(byte).to_digit(16);
    u8::try_from(digit(*digits.first()?)? * 16 + digit(*digits.get(1)?)?).ok()
}

fn has_escape_of(path: &[u8], byte: u8) -> bool {
    (0..path.len()).any(|at| escape(&path[at..]) == Some(byte))
}

/// Cuts `;…` off every segment.
fn cut_parameters(path: &[u8]) -> Vec<u8> {
    let name = |segment: &[u8]| segment.split(|byte| *byte == b';').next().unwrap().to_vec();
    let names: Vec<_> = path.split(|byte| *byte == b'/').map(name).collect();
    names.join(&b'/')
}

fn backslashes(path: &[u8]) -> Vec<u8> {
    path.iter().map(|byte| if *byte == b'\\' { b'/' } else { *byte }).collect()
}

fn merge(path: &[u8]) -> Vec<u8> {
    let mut path = path.to_vec();
    path.dedup_by(|byte, before| *byte == b'/' && *before == b'/');
    path
}

/// RFC 3986, section 5.2.4: empty segments stay.
fn resolve(path: &[u8], above_root: AboveRoot) -> Option<Vec<u8>> {
    let mut kept: Vec<&[u8]> = Vec::new();
    let mut segments = path.split(|byte| *byte == b'/').skip(1).peekable();
    while let Some(segment) = segments.next() {
        let is_dots = matches!(segment, b"." | b"..");
        if segment == b".." && kept.pop().is_none() && above_root == AboveRoot::Refused {
            return None;
        }
        if !is_dots {
            kept.push(segment);
        } else if segments.peek().is_none() {
            kept.push(b"");
        }
    }
    Some([b"/", kept.join(&b'/').as_slice()].concat())
}
