//! Commands that run once and end, as processes of their own.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    path::Path,
    process::{Command, Output},
};

use tempfile::TempDir;

fn claimgate(arguments: &[&str], folder: &Path) -> Output {
    Command::new(env!("CARGO_BIN_EXE_claimgate"))
        .args(arguments)
        .current_dir(folder)
        .env_remove("CLAIMGATE_CONFIG")
        .env("RUST_LOG", "")
        .output()
        .expect("the program runs")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("UTF-8")
}

fn folder(config: &str) -> TempDir {
    let folder = TempDir::new().expect("a folder");
    std::fs::write(folder.path().join("gateway.yaml"), config).expect("written");
    folder
}

#[test]
fn validate_refuses_what_serve_could_not_start_with() {
    let folder = folder(
        "server: {grpc: {tls: {cert_file: cert.pem, key_file: key.pem}}}
auth: {api_keys: [{name: a, key: k}]}",
    );
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("made");
    let (one, other) = (make(), make());
    let write = |name: &str, pem: String| std::fs::write(folder.path().join(name), pem).unwrap();
    write("cert.pem", one.cert.pem());
    write("key.pem", other.signing_key.serialize_pem());
    let refused = claimgate(&["validate"], folder.path());
    assert_eq!(refused.status.code(), Some(1));
    let complaint = text(&refused.stderr);
    assert!(complaint.starts_with("server.grpc.tls.key_file: key.pem does not"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");

    write("key.pem", one.signing_key.serialize_pem());
    let accepted = claimgate(&["validate"], folder.path());
    assert_eq!(accepted.status.code(), Some(0), "{}", text(&accepted.stderr));
}

#[test]
fn a_start_that_fails_says_why_once() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let folder = folder(&format!(
        "server: {{grpc: {{address: 'unix:missing/socket'}}, admin: {{address: '{address}'}}}}
auth: {{api_keys: [{{name: a, key: k}}]}}"
    ));
    let failed = claimgate(&["serve"], folder.path());
    assert_eq!(failed.status.code(), Some(1));
    let complaint = text(&failed.stderr);
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
    assert_eq!(complaint.matches("No such file or directory").count(), 1, "{complaint}");
}

#[test]
fn explain_tells_what_every_provider_says() {
    let nobody = TcpListener::bind("127.0.0.1:0").and_then(|it| it.local_addr()).expect("a port");
    let folder = folder(&format!(
        "auth:
  providers:
    - {{name: idp, type: oauth2, issuer: 'http://{nobody}', audience: a}}
    - {{name: keys, type: api_key, keys: [{{name: a, key: k}}]}}"
    ));
    let arguments = ["explain", "--path", "/x", "--header", "authorization: Bearer k"];
    let allowed = claimgate(&arguments, folder.path());
    let report = text(&allowed.stdout);
    assert_eq!(allowed.status.code(), Some(0), "{report}");
    let other = format!("provider idp: not_mine\n  it is no JWT of \"http://{nobody}\"\n");
    assert!(report.contains(&other), "{report}");
    // An empty RUST_LOG does not silence the log.
    let log = text(&allowed.stderr);
    assert!(log.contains("keys can't be fetched"), "{log}");
}

/// Answers one request after the other with these, and says what was asked.
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
    // Whoever asks has none of the service's secrets.
    let folder = folder(&format!(
        "server: {{admin: {{address: '0.0.0.0:{port}'}}}}
auth: {{api_keys: [{{name: a, key: '${{NOT_SET_HERE}}'}}]}}"
    ));
    let ready = claimgate(&["health"], folder.path());
    assert_eq!((ready.status.code(), text(&ready.stdout).as_str()), (Some(0), "ready\n"));
    let waiting = claimgate(&["health"], folder.path());
    assert_eq!(waiting.status.code(), Some(1));
    let complaint = text(&waiting.stderr);
    assert!(complaint.contains("answered 503: a: b; c"), "{complaint}");
    let alive = claimgate(&["health", "--live", "--address", &address], folder.path());
    assert_eq!((alive.status.code(), text(&alive.stdout).as_str()), (Some(0), "alive\n"));
    assert_eq!(asked.join().expect("it ends"), ["/readyz", "/readyz", "/livez"]);

    let gone = claimgate(&["health"], folder.path());
    assert_eq!(gone.status.code(), Some(1));
    let complaint = text(&gone.stderr);
    assert!(complaint.contains("nobody answers at http://127.0.0.1"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");
}
