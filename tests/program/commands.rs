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
auth: {api_keys: [{name: a, key: k}]}",
    );
    let make = || rcgen::generate_simple_self_signed(vec!["localhost".into()]).expect("made");
    let (one, other) = (make(), make());
    let write = |name: &str, pem: String| folder.write(name, pem);
    write("cert.pem", one.cert.pem());
    write("key.pem", other.signing_key.serialize_pem());
    let refused = claimgate(&["validate"], folder.path());
    assert_eq!(refused.code, 1);
    let complaint = refused.stderr;
    assert!(complaint.starts_with("server.grpc.tls.key_file: key.pem does not"), "{complaint}");
    assert_eq!(complaint.lines().count(), 1, "{complaint}");

    write("key.pem", one.signing_key.serialize_pem());
    let accepted = claimgate(&["validate"], folder.path());
    assert_eq!(accepted.code, 0, "{}", accepted.stderr);
}

#[test]
fn a_start_that_fails_says_why_once() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let folder = Folder::new(&format!(
        "server: {{grpc: {{address: 'unix:missing/socket'}}, admin: {{address: '{address}'}}}}
auth: {{api_keys: [{{name: a, key: k}}]}}"
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
