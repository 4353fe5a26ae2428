//! Paths that well-behaved clients send, and the route of each: the defence
//! against look-alikes must not refuse them.

use claimgate::{
    Request,
    policy::routes::Routes,
    settings::{AuthSettings, RouteSettings},
};

/// The expectation for a refused path.
const AMBIGUOUS: &str = "400";

fn prefix(path: &str) -> RouteSettings {
    RouteSettings {
        name: path.into(),
        path_prefix: Some(path.into()),
        required_scopes: Some(vec![path.into()]),
        ..RouteSettings::default()
    }
}

fn exact(path: &str) -> RouteSettings {
    RouteSettings { path: Some(path.into()), path_prefix: None, ..prefix(path) }
}

/// A gateway in front of several services, each with its own scopes.
fn gateway() -> Vec<RouteSettings> {
    let admin = ["/admin", "/v1/admin", "/_synapse/admin"].map(prefix);
    let apis = ["/v1/models", "/v1/files", "/v1beta", "/mcp", "/graphql"].map(prefix);
    let stores =
        ["/s3", "/odata", "/npm", "/go", "/maven2", "/v2", "/pypi", "/_matrix"].map(prefix);
    let scim = ["/scim/v2/Users"].map(prefix);
    let pages = ["/status", "/v1/health", "/.well-known/openid-configuration"].map(exact);
    [&admin[..], &pages, &apis, &stores, &scim].concat()
}

fn decided(routes: &Routes, path: &str) -> String {
    let request = Request { method: "GET", path, ..Request::default() };
    match routes.find(&request) {
        Ok(route) => route.map_or(String::new(), |route| route.name.clone()),
        Err(_) => AMBIGUOUS.into(),
    }
}

fn check(routes: Vec<RouteSettings>, cases: &[(&str, &str)]) {
    let routes = Routes::new(&AuthSettings { routes, ..AuthSettings::default() });
    let wrong: Vec<_> = cases
        .iter()
        .map(|(path, expected)| (path, decided(&routes, path), expected))
        .filter(|(_, found, expected)| found != *expected)
        .collect();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[test]
fn paths_of_language_models_and_tools() {
    check(
        gateway(),
        &[
            ("/v1/chat/completions", ""),
            ("/v1/responses/resp_68A/input_items?limit=2", ""),
            ("/v1/assistants/asst_abc123", ""),
            ("/v1/models", "/v1/models"),
            ("/v1/models/", "/v1/models"),
            ("/v1/models/gpt-4.1-mini-2025-04-14", "/v1/models"),
            ("/v1/models/meta-llama/Llama-3.3-70B-Instruct", "/v1/models"),
            ("/v1/models/meta%2Fllama", "/v1/models"),
            ("/v1/models/meta-llama%2FLlama-3.3-70B", "/v1/models"),
            ("/v1/models/ft:gpt-4o:acme::AbC123", "/v1/models"),
            ("/v1/models/ft%3Agpt-4o%3Aacme%3A%3AAbC123", "/v1/models"),
            ("/v1/models/accounts%2Ffireworks%2Fmodels%2Fqwen3", "/v1/models"),
            ("/v1//chat", ""),
            ("/v1/messages/batches/msgbatch_01HkcTjaV5uDC8jWR4ZsDV8d/results", ""),
            ("/v1/files/file-abc123/content", "/v1/files"),
            ("/v1/health", "/v1/health"),
            ("/v1beta/models/gemini-pro:generateContent", "/v1beta"),
            ("/v1beta/models/gemini-2.5-flash:streamGenerateContent?alt=sse", "/v1beta"),
            ("/v1beta/cachedContents/abc-DEF_123", "/v1beta"),
            ("/openai/deployments/GPT-4o/chat/completions?api-version=2024-10-21", ""),
            ("/model/anthropic.claude-sonnet-4-20250514-v1:0/invoke", ""),
            ("/model/arn%3Aaws%3Abedrock%3Aus-east-1%3A1%3Ainference-profile%2Fx/converse", ""),
            ("/v1/projects/p/locations/us-central1/publishers/google/models/x:predict", ""),
            ("/mcp", "/mcp"),
            ("/mcp/", "/mcp"),
            ("/mcp/sse?sessionId=Ab12", "/mcp"),
            ("/.well-known/oauth-protected-resource/mcp", ""),
            ("/.well-known/openid-configuration", "/.well-known/openid-configuration"),
            ("/graphql", "/graphql"),
            ("/graphql?query=%7Bme%7Bname%7D%7D", "/graphql"),
        ],
    );
}

#[test]
fn paths_of_stores_and_registries() {
    check(
        gateway(),
        &[
            ("/s3/Bucket/Photos/2024/IMG_0001.JPG", "/s3"),
            ("/s3/bucket//double//slashes", "/s3"),
            ("/s3/bucket/with%20space+plus/%E2%82%AC.txt", "/s3"),
            ("/s3/bucket/\u{43f}\u{443}\u{442}\u{44c}/\u{e9}", "/s3"),
            ("/s3/bucket/100%25%20of%2Fit", "/s3"),
            ("/s3/bucket/a;b=c;d", "/s3"),
            ("/s3/bucket/key%3Bversion", "/s3"),
            ("/s3/bucket/..hidden/...", "/s3"),
            ("/s3/bucket/.env", "/s3"),
            ("/s3/bucket/back%5Cslash", "/s3"),
            ("/s3/bucket/a'b(c)!*~,=&$@:", "/s3"),
            ("/s3/bucket/folder/", "/s3"),
            ("/odata/$metadata", "/odata"),
            ("/odata/$batch", "/odata"),
            ("/odata/People('russellwhyte')/Friends", "/odata"),
            ("/odata/People(FirstName='A%20B',LastName='C')", "/odata"),
            ("/odata/Airports('KSFO')/Name/$value", "/odata"),
            ("/npm/@scope%2fname", "/npm"),
            ("/npm/@scope/name/-/name-1.0.0.tgz", "/npm"),
            ("/npm/-/package/@scope%2fname/dist-tags", "/npm"),
            ("/npm/JSONStream", "/npm"),
            ("/pypi/simple/Flask_SQLAlchemy/", "/pypi"),
            ("/pypi/packages/aa/bb/numpy-2.0.0-cp312-cp312-manylinux_2_17_x86_64.whl", "/pypi"),
            ("/go/github.com/!burnt!sushi/toml/@v/list", "/go"),
            ("/go/golang.org/x/net/@v/v0.30.0.mod", "/go"),
            ("/go/sumdb/sum.golang.org/latest", "/go"),
            ("/maven2/org/apache/Tomcat/10.1.0/Tomcat-10.1.0.pom.sha1", "/maven2"),
            ("/v2/", "/v2"),
            ("/v2/library/nginx/manifests/1.27-alpine", "/v2"),
            ("/v2/library/nginx/blobs/sha256:9f86d081884c7d65", "/v2"),
            ("/v2/library/nginx/blobs/sha256%3A9f86d081", "/v2"),
            ("/_matrix/client/v3/rooms/!AbC:server.example/state", "/_matrix"),
            ("/_matrix/client/v3/rooms/%21AbC%3Aserver.example/send/m.room.message/1", "/_matrix"),
            ("/_matrix/client/v3/directory/room/%23general%3Aserver.example", "/_matrix"),
            ("/_synapse/admin/v2/users/@me:server.example", "/_synapse/admin"),
            ("/scim/v2/Users/2819c223-7f76-453a-919d-413861904646", "/scim/v2/Users"),
            ("/scim/v2/Groups", ""),
        ],
    );
}

#[test]
fn paths_of_other_apis() {
    check(
        gateway(),
        &[
            ("/", ""),
            ("/index.html", ""),
            ("/repos/BurntSushi/ripgrep/contents/src/Main.rs?ref=v1.2", ""),
            ("/repos/o/r/git/refs/heads/feature%2Fone", ""),
            ("/repos/o/r/compare/main...feature", ""),
            ("/repos/o/r/issues/1/comments", ""),
            ("/users/alice%40example.com", ""),
            ("/users/alice@example.com/Calendar", ""),
            ("/search/~user/%7Euser", ""),
            ("/maps/@52.5,13.4,15z", ""),
            ("/wiki/C%2B%2B", ""),
            ("/wiki/C++", ""),
            ("/wiki/AC/DC", ""),
            ("/wiki/AC%2FDC", ""),
            ("/wiki/\u{65e5}\u{672c}", ""),
            ("/app;jsessionid=1A2B/page", ""),
            ("/api/v1.2.3/Things", ""),
            ("/Administrator", ""),
            ("/administrator/%61dmin", ""),
            ("/orders/admin/Status", ""),
            ("/status", "/status"),
            ("/status?x=//..", "/status"),
            ("/admin", "/admin"),
            ("/admin/Users/%C3%A9", "/admin"),
            ("/admin//users", "/admin"),
        ],
    );
}

/// Spellings that honest clients sometimes send, and that are still refused:
/// some server reads each as another path.
#[test]
fn what_is_refused_of_them() {
    check(
        gateway(),
        &[
            // One server's `/admin` or `/status` is another's `/Admin` or `/status/`.
            ("/Admin", AMBIGUOUS),
            ("/status/", AMBIGUOUS),
            ("/STATUS", AMBIGUOUS),
            ("/v1/Models", AMBIGUOUS),
            ("/scim/v2/users", AMBIGUOUS),
            // Where escapes, parameters and doubled slashes stand in a route's
            // own segments.
            ("/admin;jsessionid=1A2B", AMBIGUOUS),
            ("/admin%2Fusers", AMBIGUOUS),
            ("/v1%2Fmodels", AMBIGUOUS),
            ("/v1//models", AMBIGUOUS),
            ("/%76%31/health", "/v1/health"),
            // Keys and refs with dot segments, at any position.
            ("/s3/bucket/a/../b", AMBIGUOUS),
            ("/s3/bucket/a%2F..%2Fb", AMBIGUOUS),
            ("/repos/o/r/contents/./x", AMBIGUOUS),
            // A key that begins with a slash, on a bucket's own host.
            ("//key", AMBIGUOUS),
            ("/%2Fkey", AMBIGUOUS),
            ("/s3//key", "/s3"),
        ],
    );
}

/// `/v1/files` has one rule, and `/v1/files/Private` within it another.
#[test]
fn a_route_within_another() {
    let routes = vec![prefix("/v1/files/Private"), exact("/v1/files/index"), prefix("/v1/files")];
    check(
        routes,
        &[
            ("/v1/files/a%2Fb", "/v1/files"),
            ("/v1/files/A//b;c", "/v1/files"),
            ("/v1/files/Private/x%2Fy", "/v1/files/Private"),
            ("/v1/files/private/x", AMBIGUOUS),
            ("/v1/files//Private", AMBIGUOUS),
            ("/v1/files/x%2F/Private", "/v1/files"),
            ("/v1/files/index", "/v1/files/index"),
            ("/v1/files/index/", AMBIGUOUS),
            ("/v1/files/indexes/", "/v1/files"),
        ],
    );
}
