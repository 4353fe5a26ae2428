//! Commands that run once and end, as separate processes.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
};

use crate::support::{
    folder::Folder,
    ports::Reserved,
    process::{self, Ended},
};

fn claimgate(arguments: &[&str], folder: &Path) -> Ended {
    let mut command = process::claimgate(folder, arguments);
    command.env("RUST_LOG", "");
    Ended::of(command)
}

#[test]
fn validate_refuses_what_serve_could_not_start_with() {
    let folder = Folder::new(
        "server: {grpc: {tls: {cert_file: cert.pem, key_file: key.pem}}}
auth: {api_keys: [{name: a, key: a-key-of-twenty-bytes}]}",
    );
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("made");
    let (one, other) = (make(), make());
    let write = |name: &str, pem: String| folder.write(name, pem);
    write("cert.pem", one.cert.pem());
    write("key.pem", other.signing_key.serialize_pem());
    let refused = claimgate(&["validate"], folder.path());
    assert_eq!(refused.code, 1);
    let complaint = refused.stderr;
    assert!(
        complaint.starts_with("gateway.yaml:1:54: server.grpc.tls.key_file: key.pem does not"),
        "{complaint}"
    );
    assert_eq!(complaint.lines().count(), 1, "{complaint}");

    write("key.pem", one.signing_key.serialize_pem());
    let accepted = claimgate(&["validate"], folder.path());
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
}

#[test]
fn validate_says_what_it_read() {
    let folder = Folder::new("");
    let file = "server: {grpc: {address: 'unix:/run/claimgate.sock'}}
auth:
  providers:
    - {name: team, type: api_key, keys: [{name: a, key: a-key-of-twenty-bytes}]}
    - {name: idp, type: oauth2, issuer: 'https://idp.example', audience: api}
  required_scopes: [use]
  public_paths: [/v1/health]
  routes: [{name: open, match: {path_prefix: /open}, public: true}]
";
    folder.write("good.yaml", file);
    let good = claimgate(&["validate", "--strict", "good.yaml"], folder.path());
    assert_eq!((good.code, good.stderr.as_str()), (0, ""));
    assert_eq!(
        good.stdout,
        "good.yaml is valid
  gRPC          unix:/run/claimgate.sock (plaintext)
  admin         0.0.0.0:9003
  providers     2
                - team: 1 API key
                - idp: JWTs of https://idp.example, keys from https://idp.example/.well-known/jwks.json
  scopes        use
  routes        1: open (public)
  public paths  /v1/health
  tokens from   authorization: Bearer …
"
    );
}

#[test]
fn a_warning_fails_only_a_strict_validation() {
    let folder = Folder::new("models: {}\nauth: {enabled: false}");
    let told = "gateway.yaml:1:1: other top-level keys than `auth` and `server` are ignored: \
                `models`\n";
    let lenient = claimgate(&["validate"], folder.path());
    assert_eq!((lenient.code, lenient.stderr), (0, format!("warning: {told}")));
    let strict = claimgate(&["validate", "--strict"], folder.path());
    assert_eq!((strict.code, strict.stderr.as_str(), strict.stdout.as_str()), (1, told, ""));
}

#[test]
fn errors_of_the_file_and_of_files_that_it_names_are_told_at_once() {
    let folder = Folder::new(
        "auth:
  realm: 5
  oauth2: {issuer: https://idp.example, audience: a, ca_file: gone.pem}
  mode: oauth2",
    );
    let refused = claimgate(&["validate", "--config", "gateway.yaml"], folder.path());
    let places: Vec<_> = refused
        .stderr
        .lines()
        .map(|line| line.split(": ").take(2).collect::<Vec<_>>().join(": "))
        .collect();
    assert_eq!(
        places,
        ["gateway.yaml:2:10: auth.realm", "gateway.yaml:3:63: auth.oauth2.ca_file"],
        "{}",
        refused.stderr
    );
    assert_eq!(refused.code, 1);
    let both = claimgate(&["validate", "a.yaml", "--config", "b.yaml"], folder.path());
    assert!(both.code == 1 && both.stderr.contains("cannot be used with"), "{}", both.stderr);
}

#[test]
fn a_start_that_fails_says_why_once() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let folder = Folder::new(&format!(
        "server: {{grpc: {{address: 'unix:missing/socket'}}, admin: {{address: '{address}'}}}}
auth: {{api_keys: [{{name: a, key: a-key-of-twenty-bytes}}]}}"
    ));
    let failed = claimgate(&["serve"], folder.path());
    assert_eq!(failed.code, 1);
    let complaint = failed.stderr;
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert_eq!(complaint.matches("No such file or directory").count(), 1, "{complaint}");
}

#[test]
fn explain_tells_what_every_provider_says() {
    let reserved = Reserved::new();
    let closed = reserved.address;
    let folder = Folder::new(&format!(
        "auth:
  providers:
    - {{name: idp, type: oauth2, issuer: 'http://{closed}', audience: a}}
    - {{name: keys, type: api_key, keys: [{{name: a, key: k}}]}}"
    ));
    let arguments = ["explain", "--path", "/x", "--header", "authorization: Bearer k"];
    let allowed = claimgate(&arguments, folder.path());
    let report = allowed.stdout;
    assert_eq!(allowed.code, 0, "{report}");
    let other = format!("provider idp: not_mine\n  it is not a JWT of \"http://{closed}\"\n");
    assert!(report.contains(&other), "{report}");
    // An empty RUST_LOG does not silence the log.
    let log = allowed.stderr;
    assert!(log.contains("keys can't be fetched"), "{log}");
}

/// Answers one request after the other with these, and returns the requests.
fn answering(answers: Vec<&'static str>) -> (String, std::thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = listener.local_addr().expect("an address").to_string();
    let thread = std::thread::spawn(move || {
        let asked = answers.into_iter().map(|answer| {
            let (mut stream, _) = listener.accept().expect("a connection");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            stream.write_all(answer.as_bytes()).expect("answered");
            line.split(' ').nth(1).expect("a path").to_owned()
        });
        asked.collect()
    });
    (address, thread)
}

#[test]
fn health_asks_the_admin_port_of_the_config() {
    let (address, asked) = answering(vec![
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n",
        "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 8\r\nconnection: close\r\n\r\na: b\nc\n\n",
        "HTTP/1.1 200 OK\r\ncontent-length: 3\r\nconnection: close\r\n\r\nok\n",
    ]);
    let port = address.rsplit(':').next().expect("a port");
    // The command runs without the service's secrets.
    let folder = Folder::new(&format!(
        "server: {{admin: {{address: '0.0.0.0:{port}'}}}}
auth: {{api_keys: [{{name: a, key: '${{NOT_SET_HERE}}'}}]}}"
    ));
    let ready = claimgate(&["health"], folder.path());
    assert_eq!((ready.code, ready.stdout.as_str()), (0, "ready\n"));
    let waiting = claimgate(&["health"], folder.path());
    assert_eq!(waiting.code, 1);
    let complaint = waiting.stderr;
    assert!(complaint.contains("answered 503: a: b; c"), "{complaint}");
    let alive = claimgate(&["health", "--live", "--address", &address], folder.path());
    assert_eq!((alive.code, alive.stdout.as_str()), (0, "alive\n"));
    assert_eq!(asked.join().expect("it ends"), ["/readyz", "/readyz", "/livez"]);

    let gone = claimgate(&["health"], folder.path());
    assert_eq!(gone.code, 1);
    let complaint = gone.stderr;
    assert!(complaint.contains("no answer from http://127.0.0.1"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}
