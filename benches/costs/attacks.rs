//! The requests: none of them has a valid token, each asks for as much work
//! as Envoy's limit of 60 KiB of headers, or the 16 KiB of a token, let it.

use base64_simd::URL_SAFE_NO_PAD;
use claimgate::{
    Reason,
    issuer::signing::SigningKey,
    provider::oauth2::Algorithm,
    settings::{RouteSettings, TokenPlace},
};
use serde_json::{Value, json};

use super::{
    case::{API_KEY, Case, Config, ISSUER, RequestSpec, Signatures},
    support,
};

/// A request and its expected reason.
pub(crate) struct Attack {
    pub(crate) name: String,
    pub(crate) case: Case,
    /// The expected reason; `None` where it depends on the path.
    pub(crate) reason: Option<Reason>,
    pub(crate) signatures: Option<Signatures>,
}

/// All requests.
pub(crate) fn attacks() -> Vec<Attack> {
    let mut all = honest();
    all.extend(jwts());
    all.extend(signatures());
    all.extend(other_tokens());
    all.extend(queries());
    all.extend(cookies());
    all.extend(websocket_protocols());
    all.extend(headers());
    all.extend(paths());
    all.extend(odd_paths());
    all
}

fn attack(
    name: impl Into<String>,
    config: Config,
    spec: RequestSpec,
    reason: impl Into<Option<Reason>>,
) -> Attack {
    let reason = reason.into();
    let case = Case { snapshot: config.snapshot(), message: spec.message() };
    Attack { name: name.into(), case, reason, signatures: None }
}

const HEADERS: usize = 60_000;
const TOKEN: usize = 16_384;

/// `piece` as often as it fits into `bytes`.
fn fill(piece: &str, bytes: usize) -> String {
    piece.repeat(bytes / piece.len())
}

/// `piece` of 0, 1, 2, … until `bytes` are full.
fn many(bytes: usize, piece: impl Fn(usize) -> String) -> String {
    let mut all = String::new();
    for number in 0.. {
        let next = piece(number);
        if all.len() + next.len() > bytes {
            break;
        }
        all.push_str(&next);
    }
    all
}

fn encode(part: impl AsRef<[u8]>) -> String {
    URL_SAFE_NO_PAD.encode_to_string(part)
}

/// A token with these claims and a signature of that many bytes.
fn jwt(header: &str, claims: &str, signature: usize) -> String {
    format!("{}.{}.{}", encode(header), encode(claims), encode(vec![7; signature]))
}

/// The same with an invalid signature that is only rejected after it was
/// computed: on a curve, one made by another key.
fn forged(algorithm: Algorithm, header: &str, claims: &str, bytes: usize) -> String {
    let mut token = jwt(header, claims, bytes);
    if matches!(algorithm, Algorithm::Es256 | Algorithm::Es512 | Algorithm::EdDsa) {
        let stranger = SigningKey::generate(algorithm).expect("a key");
        let signed = stranger.sign(b"{}").expect("a signature");
        let signature = signed.rsplit('.').next().expect("a signature");
        let mut signature = URL_SAFE_NO_PAD.decode_to_vec(signature).expect("base64url");
        signature.resize(bytes, 7);
        token.truncate(token.rfind('.').expect("a token") + 1);
        token.push_str(&encode(signature));
    }
    token
}

const RS256: &str = r#"{"alg":"RS256","kid":"k"}"#;
const HS256: &str = r#"{"alg":"HS256","kid":"k"}"#;

/// The claims of a token that is just short enough.
const CLAIMS: usize = 11_700;

fn claims(issuer: &str, list: &str) -> String {
    let list = list.trim_end_matches(',');
    format!(r#"{{"iss":"{issuer}","exp":9000000000,"list":[{list}]}}"#)
}

fn members(issuer: &str, members: &str) -> String {
    let members = members.trim_end_matches(',');
    format!(r#"{{"iss":"{issuer}","exp":9000000000,{members}}}"#)
}

/// For comparison: ordinary requests.
fn honest() -> Vec<Attack> {
    let key = SigningKey::generate(Algorithm::Rs256).expect("a key");
    let padding = format!(r#""{}","#, "x".repeat(600));
    let token = key.sign(claims(ISSUER, &padding).as_bytes()).expect("a signature");
    let config = || Config { keys: vec![key.jwk().clone()], api_keys: true, ..Config::default() };
    vec![
        attack("valid: known token", config(), RequestSpec::bearer(&token), Reason::Ok),
        attack("valid: API key", config(), RequestSpec::bearer(API_KEY), Reason::Ok),
    ]
}

fn jwts() -> Vec<Attack> {
    let of_list = |issuer, piece| jwt(RS256, &claims(issuer, &fill(piece, CLAIMS)), 256);
    let other = "https://other.example.com";
    let names = many(CLAIMS, |number| format!(r#""{number}":1,"#));
    let names = jwt(RS256, &members(other, &names), 256);
    let escaped = many(CLAIMS, |number| format!(r#""\u0061{number}":1,"#));
    let escaped = jwt(RS256, &members(other, &escaped), 256);
    let twice = many(CLAIMS, |number| format!(r#""{number}":1,"#)) + r#""0":1,"#;
    let twice = jwt(RS256, &members(other, &twice), 256);
    let small = many(CLAIMS, |n| match n % 17 {
        0 => format!(r#"}},{{"{n}":1"#),
        _ => format!(r#","{n}":1"#),
    });
    let small = jwt(RS256, &claims(other, &format!("{}}}", &small[2..])), 256);
    let long_header = format!(r#"{{"alg":"RS256","x":[{}]}}"#, fill("{},", CLAIMS) + "{}");
    let nested = "[".repeat(14) + &"]".repeat(14) + ",";
    let deep = "[".repeat(100) + &"]".repeat(100) + ",";
    let (unknown, malformed) = (Reason::UnknownIssuer, Reason::MalformedToken);
    // 12 kB in the fewest values that are allowed and the most work.
    let list = |piece: &str, of: usize, issuer| {
        let count = 2040 / of;
        let word = "w".repeat((CLAIMS / count).saturating_sub(piece.len() + 4));
        jwt(RS256, &claims(issuer, &format!(r#"{piece},"{word}","#).repeat(count)), 256)
    };
    let cases = [
        ("JWT: small objects", of_list(other, r#"{"a":1},"#), malformed),
        ("JWT: empty objects", of_list(other, "{},"), malformed),
        ("JWT: empty lists", of_list(other, "[],"), malformed),
        ("JWT: numbers", of_list(other, "7,"), malformed),
        ("JWT, other issuer: small objects", list(r#"{"a":1}"#, 3, other), unknown),
        ("JWT, other issuer: empty objects", list("{}", 2, other), unknown),
        ("JWT, other issuer: empty lists", list("[]", 2, other), unknown),
        ("JWT, other issuer: numbers", list("7", 2, other), unknown),
        ("JWT, other issuer: fractions", of_list(other, "1.5e-7,"), unknown),
        ("JWT: words", of_list(other, r#""a","#), malformed),
        ("JWT, other issuer: escaped letters", of_list(other, r#""\u4e2d\u6587","#), unknown),
        ("JWT, other issuer: escaped words", of_list(other, r#""\n\n\n\n","#), unknown),
        ("JWT: lists 15 deep", of_list(other, &nested), Reason::MalformedToken),
        ("JWT: lists 100 deep", of_list(other, &deep), Reason::MalformedToken),
        ("JWT, other issuer: 1,300 claims", names, unknown),
        ("JWT, other issuer: escaped names", escaped, unknown),
        ("JWT, other issuer: objects of 17 names", small, unknown),
        ("JWT: the last of 1,300 names twice", twice, Reason::MalformedToken),
        ("JWT: 12 kB header", jwt(&long_header, "{}", 256), malformed),
        (
            "JWT: claims end too soon",
            {
                let cut = &claims(other, &fill(r#"{"a":1},"#, CLAIMS))[..CLAIMS];
                jwt(RS256, cut, 256)
            },
            Reason::MalformedToken,
        ),
        ("JWT: 12 kB signature", jwt(RS256, &claims(other, ""), CLAIMS), unknown),
        (
            "JWT, our issuer: wrong algorithm",
            list(r#"{"a":1}"#, 3, ISSUER).replace(&encode(RS256), &encode(HS256)),
            Reason::AlgorithmNotAllowed,
        ),
        ("JWT, our issuer: unknown kid", list(r#"{"a":1}"#, 3, ISSUER), Reason::UnknownKid),
    ];
    let row = |(name, token, reason): (_, String, _)| {
        assert!((14_000..=TOKEN).contains(&token.len()), "{name}: {}", token.len());
        attack(
            name,
            Config { api_keys: true, ..Config::default() },
            RequestSpec::bearer(&token),
            reason,
        )
    };
    cases.into_iter().map(row).collect()
}

fn keys(algorithm: Algorithm, count: usize, kid: impl Fn(usize) -> Option<String>) -> Vec<Value> {
    let key = |number| {
        let mut jwk = SigningKey::generate(algorithm).expect("a key").jwk().clone();
        jwk["kid"] = json!(kid(number));
        jwk
    };
    (0..count).map(key).collect()
}

fn signatures() -> Vec<Attack> {
    let long = claims(ISSUER, &fill(r#"{"a":1},"wwwwwwwww","#, CLAIMS - 100));
    let short = claims(ISSUER, "");
    let none = r#"{"alg":"ALG"}"#;
    let known = r#"{"alg":"ALG","kid":"k0"}"#;
    // Key, signature's bytes, keys in the set, header, claims, signatures.
    let cases = [
        ("RS256 without kid, 8 keys", Algorithm::Rs256, 256, 8, none, &short, 8),
        ("RS256 without kid, 12 keys", Algorithm::Rs256, 256, 12, none, &short, 8),
        ("RS256 with kid, 8 keys, long claims", Algorithm::Rs256, 256, 8, known, &long, 1),
        ("PS256 with kid", Algorithm::Ps256, 256, 1, known, &short, 1),
        ("ES256 with kid", Algorithm::Es256, 64, 1, known, &short, 1),
        ("ES512 without kid, 4 keys", Algorithm::Es512, 132, 4, none, &short, 4),
        ("ES512 with kid, 4 keys", Algorithm::Es512, 132, 4, known, &short, 1),
        ("EdDSA with kid, long claims", Algorithm::EdDsa, 64, 1, known, &long, 1),
        (
            "RS256 without kid, 8 keys: signature too short",
            Algorithm::Rs256,
            255,
            8,
            none,
            &short,
            0,
        ),
        (
            "ES512 without kid, 4 keys: signature too long",
            Algorithm::Es512,
            133,
            4,
            none,
            &short,
            0,
        ),
    ];
    let row = |(name, algorithm, bytes, count, header, claims, signatures): (
        _,
        Algorithm,
        _,
        _,
        &str,
        &String,
        usize,
    )| {
        let token = forged(algorithm, &header.replace("ALG", algorithm.as_str()), claims, bytes);
        let keys = keys(algorithm, count, |number| Some(format!("k{number}")));
        let computed = Signatures::of(&token, algorithm, &keys[..signatures.max(1)]);
        let config = Config { keys, ..Config::default() };
        Attack {
            signatures: (signatures > 0).then_some(computed),
            ..attack(name, config, RequestSpec::bearer(&token), Reason::BadSignature)
        }
    };
    cases.into_iter().map(row).collect()
}

fn other_tokens() -> Vec<Attack> {
    let with_keys = || Config { api_keys: true, ..Config::default() };
    let header = format!(r#"{{"alg":"dir","x":[{}]}}"#, fill("{},", CLAIMS) + "{}");
    let [five, dots, opaque] = [encode(header) + "....", fill(".", TOKEN), fill("k", TOKEN)];
    let mut odd = fill("k", TOKEN - 2);
    odd.push('é');
    let large = |piece| RequestSpec::bearer(&fill(piece, HEADERS));
    let cases = [
        ("five parts, 12 kB header", RequestSpec::bearer(&five), Reason::UnknownKey),
        ("16 kB of dots", RequestSpec::bearer(&dots), Reason::UnknownKey),
        ("16 kB API key", RequestSpec::bearer(&opaque), Reason::UnknownKey),
        ("16 kB token, not ASCII", RequestSpec::bearer(&odd), Reason::MalformedToken),
        ("60 kB token", large("k"), Reason::TokenTooLarge),
        ("60 kB token, not ASCII", large("é"), Reason::TokenTooLarge),
        ("60 kB of commas", large(","), Reason::MalformedRequest),
        (
            "60 kB, another scheme",
            RequestSpec::header("authorization", fill("Basic ", HEADERS)),
            Reason::MissingToken,
        ),
    ];
    cases.into_iter().map(|(name, spec, reason)| attack(name, with_keys(), spec, reason)).collect()
}

fn queries() -> Vec<Attack> {
    let name = "access_token";
    let spelled: String = name.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let nearly: String = name
        .bytes()
        .rev()
        .skip(1)
        .collect::<Vec<_>>()
        .into_iter()
        .rev()
        .map(|byte| format!("%{byte:02x}"))
        .collect();
    let missing = Reason::MissingToken;
    let cases = [
        ("query: escapes", fill("%61", HEADERS), missing),
        (
            "query: one long value, escaped",
            format!("{name}={}", fill("%61", HEADERS)),
            Reason::TokenTooLarge,
        ),
        (
            "query: one value, all pluses",
            format!("{name}={}", fill("+", TOKEN)),
            Reason::MalformedToken,
        ),
        ("query: 1,000 parameters", fill("a=b&", 4000), missing),
        ("query: 1,000 parameters, escaped", fill("%61=%62&", 8000), missing),
        (
            "query: 1,000 names that differ at the end",
            fill(&format!("{nearly}x=%62&"), 39_000),
            missing,
        ),
        ("query: empty parameters", fill("&", HEADERS), Reason::MalformedRequest),
        ("query: 30,000 parameters", fill("a&", HEADERS), Reason::MalformedRequest),
        ("query: 15,000 escaped parameters", fill("%61&", HEADERS), Reason::MalformedRequest),
        ("query: the name without a value", fill(&format!("{name}=&"), 14_000), missing),
        (
            "query: the same token 1,000 times",
            fill(&format!("{spelled}=%61%61&"), 43_000),
            Reason::UnknownIssuer,
        ),
    ];
    let config = |public: &[&str]| Config {
        sources: vec![TokenPlace::Query(name.into())],
        public: public.iter().map(|path| (*path).into()).collect(),
        hides_tokens: true,
        ..Config::default()
    };
    let denied = cases.into_iter().map(|(name, query, reason)| {
        let reason = if reason == Reason::UnknownIssuer { Reason::MalformedToken } else { reason };
        attack(name, config(&[]), RequestSpec::path(format!("/x?{query}")), reason)
    });
    let public = [
        ("public, query: escapes", fill("%61", HEADERS)),
        ("public, query: empty parameters", fill("&", HEADERS)),
        ("public, query: 30,000 parameters", fill("a&", HEADERS)),
        ("public, query: 15,000 escaped parameters", fill("%61&", HEADERS)),
        ("public, query: 1,000 parameters", fill("a=b&", 4000)),
        ("public, query: 1,000 parameters, escaped", fill("%61=%62&", 8000)),
        ("public, query: the name, 1,000 times", fill(&format!("{name}=&"), 14_000)),
        ("public, query: the name escaped, 1,000 times", fill(&format!("{spelled}=&"), 38_000)),
        ("public, query: the name in two spellings", fill(&format!("{spelled}=&{name}=&"), 26_000)),
        (
            "public, query: 1,000 names that differ at the end",
            fill(&format!("{nearly}x=%62&"), 39_000),
        ),
        ("public, query: the name, 4,300 times", fill(&format!("{name}=&"), HEADERS)),
    ];
    let public = public.into_iter().map(|(name, query)| {
        attack(name, config(&["/x"]), RequestSpec::path(format!("/x?{query}")), None)
    });
    denied.chain(public).collect()
}

fn cookies() -> Vec<Attack> {
    let config = |public: &[&str]| Config {
        sources: vec![TokenPlace::Cookie("session".into())],
        public: public.iter().map(|path| (*path).into()).collect(),
        hides_tokens: true,
        ..Config::default()
    };
    let spec = |cookie: String, path: &str| RequestSpec {
        path: path.into(),
        ..RequestSpec::header("cookie", cookie)
    };
    let cases = [
        ("cookies: one of 60 kB", fill("a", HEADERS), Reason::MissingToken),
        ("cookies: 1,000", fill("a=b; ", 5000), Reason::MissingToken),
        ("cookies: 15,000", fill("a=b;", HEADERS), Reason::MalformedRequest),
        ("cookies: semicolons", fill(";", HEADERS), Reason::MalformedRequest),
        ("cookies: the name without a value", fill("session=;", 9000), Reason::MissingToken),
        ("cookies: spaces", fill(" ", HEADERS - 1) + "a", Reason::MissingToken),
        ("cookies: the name over and over", fill("session", HEADERS), Reason::MissingToken),
    ];
    let denied = cases
        .into_iter()
        .map(|(name, cookie, reason)| attack(name, config(&[]), spec(cookie, "/x"), reason));
    let public = [
        ("public, cookies: 15,000", fill("a=b;", HEADERS)),
        ("public, cookies: 15,000 and the token", fill("a=b;", HEADERS) + "session=x"),
        ("public, cookies: 1,000 and the token", fill("a=b;", 4000) + "session=x"),
        ("public, cookies: the token, 1,000 times", fill("session=x;", 10_000)),
        ("public, cookies: the token, 6,000 times", fill("session=x;", HEADERS)),
        ("public, cookies: semicolons and the token", fill(";", HEADERS) + "session=x"),
        ("public, cookies: the name over and over", fill("session", HEADERS)),
    ];
    let public = public
        .into_iter()
        .map(|(name, cookie)| attack(name, config(&["/x"]), spec(cookie, "/x"), None));
    denied.chain(public).collect()
}

fn websocket_protocols() -> Vec<Attack> {
    let config = |public: &[&str]| Config {
        sources: vec![TokenPlace::WebSocketProtocol("key.".into())],
        public: public.iter().map(|path| (*path).into()).collect(),
        hides_tokens: true,
        ..Config::default()
    };
    let spec = |protocols: String, path: &str| RequestSpec {
        path: path.into(),
        ..RequestSpec::header("sec-websocket-protocol", protocols)
    };
    let cases = [
        ("protocols: one of 60 kB", fill("a", HEADERS), Reason::MissingToken),
        ("protocols: 1,000", fill("a, ", 3000), Reason::MissingToken),
        ("protocols: 30,000", fill("a,", HEADERS), Reason::MalformedRequest),
        (
            "protocols: 1,000 that are nearly one",
            fill(&format!("key{},", "a".repeat(50)), 54_000),
            Reason::MissingToken,
        ),
        ("protocols: the prefix without a token", fill("key.,", 5000), Reason::MissingToken),
        (
            "protocols: the same token 1,000 times",
            fill(&format!("key.{},", "a".repeat(50)), 54_000),
            Reason::MalformedToken,
        ),
    ];
    let denied = cases
        .into_iter()
        .map(|(name, protocols, reason)| attack(name, config(&[]), spec(protocols, "/x"), reason));
    let public = [
        ("public, protocols: 1,000 and the token", fill("a,", 2000) + "key.x"),
        ("public, protocols: the token, 1,000 times", fill("key.x,", 6000)),
        ("public, protocols: 30,000", fill("a,", HEADERS)),
    ];
    let public = public
        .into_iter()
        .map(|(name, protocols)| attack(name, config(&["/x"]), spec(protocols, "/x"), None));
    denied.chain(public).collect()
}

fn headers() -> Vec<Attack> {
    let fields = |count: usize, name: &dyn Fn(usize) -> String, value: String| RequestSpec {
        headers: (0..count).map(|number| (name(number), value.clone().into())).collect(),
        ..RequestSpec::default()
    };
    let one = |name, value: String| RequestSpec::header(name, value);
    let look_alike = |number: usize| match number % 3 {
        0 => "x_auth_subject".into(),
        1 => "x.auth.subject".into(),
        _ => format!("x-auth-subjec{}", number % 10),
    };
    let cases = [
        ("headers: 100 of 600 bytes", fields(100, &|n| format!("x-header-{n:03}"), fill("v", 590))),
        ("headers: 1,000", fields(1000, &|n| format!("x-header-{n:03}"), fill("v", 40))),
        (
            "headers: 1,000 in capitals",
            fields(1000, &|n| format!("X-Header-{n:03}"), fill("v", 40)),
        ),
        ("headers: 1,000 look-alikes", fields(1000, &look_alike, fill("v", 40))),
        ("headers: 60 kB traceparent", one("traceparent", fill("00-", HEADERS))),
        ("headers: 60 kB x-request-id", one("x-request-id", fill("\u{7f}\"é", HEADERS))),
        ("headers: 60 kB content-type", one("content-type", fill("application/grpc", HEADERS))),
        ("host: 60 kB", RequestSpec { host: fill("%2e.", HEADERS), ..RequestSpec::default() }),
        ("method: 60 kB", RequestSpec { method: fill("get", HEADERS), ..RequestSpec::default() }),
    ];
    let config = || Config { routes: routes(), ..Config::default() };
    let denied =
        cases.into_iter().map(|(name, spec)| attack(name, config(), spec, Reason::MissingToken));
    let public = RequestSpec { path: "/x".into(), ..fields(100, &look_alike, fill("v", 590)) };
    let config = Config { public: vec!["/x".into()], ..Config::default() };
    denied
        .chain([attack("public, headers: 100 look-alikes", config, public, Reason::Public)])
        .collect()
}

fn routes() -> Vec<RouteSettings> {
    vec![
        RouteSettings {
            name: "admin".into(),
            path_prefix: Some("/admin".into()),
            methods: vec!["GET".into()],
            ..RouteSettings::default()
        },
        RouteSettings {
            name: "host".into(),
            hosts: vec!["*.example.com".into()],
            ..RouteSettings::default()
        },
    ]
}

fn paths() -> Vec<Attack> {
    let routed = [
        ("path, 8 KiB: ordinary", "a", 8000),
        ("path, 8 KiB: segments", "a/", 8000),
        ("path, 8 KiB: escapes", "%61", 8000),
        ("path, 8 KiB: escaped letters in capitals", "%41", 8000),
        ("path, 8 KiB: parameters", "a;b/", 8000),
        ("path, 8 KiB: semicolons", "x;", 8000),
        ("path, 8 KiB: capitals", "A/B", 8000),
        ("path, 8 KiB: slashes", "a//", 8000),
        ("path, 8 KiB: a mix", "A%41;%42//b", 8000),
        ("path, 60 kB: ordinary", "a", HEADERS),
        ("path, 60 kB: segments", "a/", HEADERS),
    ];
    let unrouted = [
        ("no routes, path, 60 kB: escapes", "%61", HEADERS),
        ("no routes, path, 60 kB: dots", "./", HEADERS),
        ("no routes, path, 60 kB: slashes", "/", HEADERS),
        ("no routes, path, 60 kB: capitals", "A;", HEADERS),
    ];
    let path = |piece: &str, bytes| RequestSpec::path(format!("/{}", fill(piece, bytes)));
    let nested = format!("/%{}41", "25".repeat(3990));
    let routed = routed.into_iter().map(|(name, piece, bytes)| (name, true, path(piece, bytes)));
    let unrouted =
        unrouted.into_iter().map(|(name, piece, bytes)| (name, false, path(piece, bytes)));
    let all = routed
        .chain([("path, 8 KiB: nested escapes", true, RequestSpec::path(nested))])
        .chain(unrouted);
    all.map(|(name, has_routes, spec)| {
        let routes = if has_routes { routes() } else { Vec::new() };
        attack(name, Config { routes, ..Config::default() }, spec, None)
    })
    .collect()
}

/// Paths that servers read in many ways, among many routes.
fn odd_paths() -> Vec<Attack> {
    let odd = support::worst().into_iter().map(|(kind, path)| {
        let config = Config { routes: support::routes(), ..Config::default() };
        attack(format!("path, 8 KiB: odd, {kind}"), config, RequestSpec::path(path), None)
    });
    odd.collect()
}
