//! The program behind a forward proxy, which the environment names.

use std::{
    path::PathBuf,
    sync::{Arc, Mutex},
};

use claimgate::issuer::signing::SigningKey;
use rcgen::{CertificateParams, IsCa, KeyPair};
use serde_json::json;
use tokio::{
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader, copy_bidirectional},
    net::{TcpListener, TcpStream},
    task::JoinHandle,
};
use tokio_rustls::TlsAcceptor;

use crate::support::{
    authority::{Authority, dns},
    folder::Folder,
    mint,
    process::{Ended, claimgate},
};

/// The name that certificates are for; only the proxy knows where it is.
const HOST: &str = "idp.corp.example";

/// A forward proxy: it tunnels (`CONNECT`) to one server, whatever name is
/// asked for, and forwards plain requests to the host they name. It notes what
/// it was asked.
struct Proxy {
    port: u16,
    asked: Arc<Mutex<Vec<String>>>,
    serving: JoinHandle<()>,
}

impl Proxy {
    async fn start(upstream: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let asked = Arc::new(Mutex::new(Vec::new()));
        let notes = Arc::clone(&asked);
        let serving = tokio::spawn(async move {
            loop {
                let (client, _) = listener.accept().await.unwrap();
                tokio::spawn(proxy(client, upstream, Arc::clone(&notes)));
            }
        });
        Self { port, asked, serving }
    }

    /// The request lines, and the credentials that came with them.
    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

async fn proxy(client: TcpStream, upstream: u16, asked: Arc<Mutex<Vec<String>>>) {
    let mut client = BufReader::new(client);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        if client.read_line(&mut line).await.unwrap_or(0) == 0 {
            return;
        }
        if line == "\r\n" {
            break;
        }
        head.push(line.trim_end().to_owned());
    }
    let authorization = head.iter().find_map(|line| {
        line.to_ascii_lowercase()
            .starts_with("proxy-authorization:")
            .then(|| line.split_once(": ").unwrap().1.to_owned())
    });
    let mut line = head[0].clone();
    if let Some(authorization) = &authorization {
        line.push_str(&format!(" ({authorization})"));
    }
    asked.lock().unwrap().push(line);
    let mut server = TcpStream::connect(("127.0.0.1", upstream)).await.unwrap();
    if head[0].starts_with("CONNECT ") {
        client.write_all(b"HTTP/1.1 200 connected\r\n\r\n").await.unwrap();
    } else {
        // In origin form, as a proxy forwards it.
        let target = head[0].split(' ').nth(1).unwrap();
        let path = &target[target.find("://").unwrap() + 3..];
        let path = &path[path.find('/').unwrap()..];
        let request = format!("GET {path} HTTP/1.1\r\nhost: {HOST}\r\nconnection: close\r\n\r\n");
        server.write_all(request.as_bytes()).await.unwrap();
    }
    let _ = copy_bidirectional(&mut client, &mut server).await;
}

/// A server that gives every request the same answer, and its port.
async fn server(acceptor: Option<TlsAcceptor>, body: String) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("0.0.0.0:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
        body.len()
    );
    let serving = tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            let (acceptor, answer) = (acceptor.clone(), answer.clone());
            tokio::spawn(async move {
                match acceptor {
                    None => respond(stream, &answer).await,
                    Some(acceptor) => match acceptor.accept(stream).await {
                        Ok(stream) => respond(stream, &answer).await,
                        Err(_) => None,
                    },
                }
            });
        }
    });
    (port, serving)
}

async fn respond(
    mut stream: impl tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin,
    answer: &str,
) -> Option<()> {
    let mut request = Vec::new();
    while !request.windows(4).any(|end| end == b"\r\n\r\n") {
        if stream.read_buf(&mut request).await.ok()? == 0 {
            return None;
        }
    }
    stream.write_all(answer.as_bytes()).await.ok()?;
    stream.shutdown().await.ok()
}

fn tls(chain: rustls::pki_types::CertificateDer<'static>, key: KeyPair) -> TlsAcceptor {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key.into())
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// A config for keys at this URL, and a token that they verify.
struct Desk {
    folder: Folder,
    token: PathBuf,
}

const ISSUER: &str = "https://issuer.example";

impl Desk {
    fn new(key: &SigningKey) -> Self {
        let folder = Folder::new("");
        let claims = json!({"iss": ISSUER, "exp": 4_000_000_000_u64}).to_string();
        folder.write("token", key.sign(claims.as_bytes()).unwrap());
        let token = folder.at("token");
        Self { folder, token }
    }

    /// Explains the token with keys from this URL.
    async fn explain(&self, url: &str, environment: &[(&str, String)]) -> Ended {
        let ca_file = self.folder.at("ca.pem");
        let ca_file = match ca_file.exists() {
            true => format!(", ca_file: '{}'", ca_file.display()),
            false => String::new(),
        };
        self.folder.write(
            "gateway.yaml",
            format!(
                "auth:\n  providers:\n    - {{name: idp, type: oauth2, issuer: '{ISSUER}', \
                 require_audience: false, jwks_uri: '{url}', allow_http: true, algorithms: \
                 [ES256]{ca_file}}}\n"
            ),
        );
        let token = self.token.to_str().unwrap();
        let arguments =
            ["explain", "--config", "gateway.yaml", "--path", "/", "--token-file", token];
        let mut command = claimgate(self.folder.path(), &arguments);
        for name in ["HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY"] {
            command.env_remove(name).env_remove(name.to_lowercase());
        }
        command.envs(environment.iter().map(|(name, value)| (name, value)));
        tokio::task::spawn_blocking(move || Ended::of(command)).await.unwrap()
    }
}

fn key() -> SigningKey {
    SigningKey::generate(claimgate::keys::Algorithm::Es256).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn keys_are_fetched_through_the_proxy_that_the_environment_names() {
    let (key, authority) = (key(), Authority::new());
    let (leaf, leaf_key) = authority.issue(dns(HOST));
    let acceptor = tls(leaf.der().clone(), leaf_key);
    let (port, _serving) = server(Some(acceptor), mint::jwks(&[&key])).await;
    let proxy = Proxy::start(port).await;
    let desk = Desk::new(&key);
    desk.folder.write("ca.pem", authority.pem());
    let url = format!("https://{HOST}/jwks");
    let at = |user: &str| format!("http://{user}127.0.0.1:{}", proxy.port);
    let connect = format!("CONNECT {HOST}:443 HTTP/1.1");
    let basic = format!("{connect} (Basic dXNlcjpwYXNz)");
    let elsewhere = || "*.example.org,idp.corp.example:8443,corp.example:80".to_owned();
    for (environment, asked) in [
        (vec![("HTTPS_PROXY", at(""))], &connect),
        (vec![("https_proxy", at(""))], &connect),
        (vec![("ALL_PROXY", at(""))], &connect),
        (vec![("HTTPS_PROXY", at("user:pass@"))], &basic),
        (vec![("HTTPS_PROXY", at("")), ("NO_PROXY", elsewhere())], &connect),
    ] {
        let ended = desk.explain(&url, &environment).await;
        assert!(ended.stdout.starts_with("allow: ok"), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(proxy.asked(), [asked.as_str()], "{environment:?}");
    }
    // No proxy knows the name, and neither does anything else.
    for exception in
        ["*.corp.example", "idp.corp.example:443", "corp.example", "*", "*.corp.example:443"]
    {
        let environment = [("HTTPS_PROXY", at("")), ("NO_PROXY", exception.to_owned())];
        let ended = desk.explain(&url, &environment).await;
        assert!(ended.stdout.starts_with("deny: provider_unavailable"), "{}", ended.stdout);
        assert!(ended.stdout.contains("can't connect"), "{}", ended.stdout);
        assert_eq!(proxy.asked(), [""; 0], "{exception}");
    }
}

/// An address of this machine that is not a loopback one, so that a proxy would
/// be used.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_proxy_names_by_host_and_port_is_reached_directly() {
    let key = key();
    let (port, _serving) = server(None, mint::jwks(&[&key])).await;
    let proxy = Proxy::start(port).await;
    let desk = Desk::new(&key);
    let url = format!("http://0.0.0.0:{port}/jwks");
    let through = format!("GET {url} HTTP/1.1");
    for (no_proxy, asked) in [
        (String::new(), vec![through.as_str()]),
        ("0.0.0.0:1".to_owned(), vec![through.as_str()]),
        (format!("0.0.0.0:{port}"), vec![]),
        (format!("idp.example, *:{port}"), vec![]),
        ("0.0.0.0".to_owned(), vec![]),
    ] {
        let proxies = format!("http://127.0.0.1:{}", proxy.port);
        let environment = [("HTTP_PROXY", proxies), ("NO_PROXY", no_proxy.clone())];
        let ended = desk.explain(&url, &environment).await;
        assert!(ended.stdout.starts_with("allow: ok"), "{}{}", ended.stdout, ended.stderr);
        assert_eq!(proxy.asked(), asked, "{no_proxy}");
    }
    // This machine is never reached through a proxy.
    let proxies = format!("http://127.0.0.1:{}", proxy.port);
    let url = format!("http://127.0.0.1:{port}/jwks");
    let ended = desk.explain(&url, &[("HTTP_PROXY", proxies)]).await;
    assert!(ended.stdout.starts_with("allow: ok"), "{}{}", ended.stdout, ended.stderr);
    assert_eq!(proxy.asked(), [""; 0]);
}

/// `claimgate token` at an endpoint whose certificate is its own authority's.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_requested_from_a_server_with_a_listed_self_signed_certificate() {
    let own = |name: &str| {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params.subject_alt_names = vec![dns(name)];
        (params.self_signed(&key).unwrap(), key)
    };
    let (certificate, key) = own("localhost");
    let answer = json!({"access_token": "a.b.c", "token_type": "Bearer"}).to_string();
    let (port, _serving) = server(Some(tls(certificate.der().clone(), key)), answer).await;
    let folder = Folder::new("");
    let request = async |listed: String| {
        folder.write("ca.pem", listed);
        let mut command = claimgate(folder.path(), &["token", "--no-cache"]);
        command.env("GATEWAY_TOKEN_ENDPOINT", format!("https://localhost:{port}/token"));
        command.env("GATEWAY_CLIENT_ID", "id").env("GATEWAY_CLIENT_SECRET", "secret");
        command.env("GATEWAY_CA_FILE", "ca.pem");
        tokio::task::spawn_blocking(move || Ended::of(command)).await.unwrap()
    };
    let ended = request(certificate.pem()).await;
    assert_eq!((ended.code, ended.stdout.trim()), (0, "a.b.c"), "{}", ended.stderr);
    let ended = request(own("localhost").0.pem()).await;
    assert_eq!(ended.code, 2);
    let advice = "list this very certificate in ca_file (claimgate token: GATEWAY_CA_FILE)";
    assert!(ended.stderr.contains(advice), "{}", ended.stderr);
}
