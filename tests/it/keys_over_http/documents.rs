//! Documents as servers, and what stands before them, send them.

use std::io::Write as _;

use axum::response::Response;
use claimgate::settings::{KeyLocation, KeySourceSettings};
use flate2::{Compression, write::GzEncoder};
use http::header;
use serde_json::json;

use super::{
    ISSUER, Opened, at, discovered,
    server::{Seen, Server, jwks, redirect, status},
};

const MARK: &str = "\u{feff}";

fn gzipped(body: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(body.as_ref()).unwrap();
    encoder.finish().unwrap()
}

fn encoded(encoding: &str, body: impl Into<axum::body::Body>) -> Response {
    let mut response = status(200, body);
    response.headers_mut().insert(header::CONTENT_ENCODING, encoding.parse().unwrap());
    response
}

fn metadata(issuer: &str, jwks_uri: &str) -> String {
    json!({"issuer": issuer, "jwks_uri": jwks_uri}).to_string()
}

#[tokio::test]
async fn gzip_and_a_byte_order_mark_are_taken_asked_for_or_not() {
    let server = Server::new(|seen| {
        assert_eq!(seen.header("accept-encoding"), "gzip");
        let document = match seen.target.split_once('/').unwrap().1 {
            "discovery" => {
                let url = format!("http://{}/gzip+mark", seen.header("host"));
                metadata(ISSUER, &url)
            }
            _ => jwks(&["a"]),
        };
        match seen.target.as_str() {
            "/plain" => status(200, document),
            "/identity" => encoded("identity", document),
            "/mark" => status(200, format!("{MARK}{document}")),
            "/gzip" | "/discovery" => encoded("gzip", gzipped(document)),
            "/x-gzip" => encoded("gzip", gzipped(document)),
            _ => encoded("gzip", gzipped(format!("{MARK}{document}"))),
        }
    })
    .await;
    for target in ["/plain", "/identity", "/mark", "/gzip", "/x-gzip", "/gzip+mark"] {
        let opened = Opened::first(&at(server.url(target))).await;
        assert_eq!(opened.kids(), ["a"], "{target}: {}", opened.last_error());
    }
    let opened = Opened::first(&discovered(server.url("/discovery"))).await;
    assert_eq!(opened.kids(), ["a"], "{}", opened.last_error());
}

#[tokio::test]
async fn what_is_decoded_is_bounded_and_what_is_not_is_named() {
    const MEBIBYTE: usize = 1 << 20;
    let server = Server::new(|seen| {
        let document = jwks(&["a"]);
        let padded = |size: usize| format!("{document}{}", " ".repeat(size - document.len()));
        match seen.target.as_str() {
            "/just" => encoded("gzip", gzipped(padded(MEBIBYTE))),
            "/over" => encoded("gzip", gzipped(padded(MEBIBYTE + 1))),
            // A hundred thousand bytes on the wire, a hundred million once decoded.
            "/bomb" => encoded("gzip", gzipped(padded(100 * MEBIBYTE))),
            "/cut" => encoded("gzip", gzipped(document)[..20].to_vec()),
            "/not" => encoded("gzip", document),
            "/br" => encoded("br", document),
            _ => encoded("gzip, gzip", gzipped(gzipped(document))),
        }
    })
    .await;
    assert_eq!(Opened::first(&at(server.url("/just"))).await.kids(), ["a"]);
    for (target, message) in [
        ("/over", "the answer is larger than 1 MiB"),
        ("/bomb", "the answer is larger than 1 MiB"),
        ("/cut", "the exchange broke off: "),
        ("/not", "the exchange broke off: "),
        ("/br", "the answer has a content-encoding that is not supported, gzip is"),
        ("/twice", "the answer has a content-encoding that is not supported, gzip is"),
    ] {
        let opened = Opened::first(&at(server.url(target))).await;
        let expected = format!("{}: {message}", server.url(target));
        let error = opened.last_error();
        assert!(error.starts_with(&expected), "{error}");
        assert!(opened.kids().is_empty());
    }
}

/// The two places of an issuer's metadata, as the config loader derives them.
fn either(server: &Server) -> KeySourceSettings {
    KeySourceSettings {
        location: KeyLocation::Discovery {
            url: server.url("/t/.well-known/openid-configuration"),
            otherwise: Some(server.url("/.well-known/oauth-authorization-server/t")),
        },
        ..at(String::new())
    }
}

#[tokio::test]
async fn metadata_is_looked_for_where_rfc_8414_has_it_if_there_is_no_openid() {
    let openid = "/t/.well-known/openid-configuration";
    let oauth = "/.well-known/oauth-authorization-server/t";
    let answer = |code: u16, here: &'static str| {
        move |seen: &Seen| match seen.target.as_str() {
            "/keys" => status(200, jwks(&["a"])),
            target if target == here => {
                status(200, metadata(ISSUER, &format!("http://{}/keys", seen.header("host"))))
            }
            _ => status(code, ""),
        }
    };
    for (code, here, expected, asked) in [
        (404, openid, Ok(()), vec![openid, "/keys"]),
        (404, oauth, Ok(()), vec![openid, oauth, "/keys"]),
        (
            404,
            "/nowhere",
            Err(format!("{openid}: the answer has status 404, as it has at ")),
            vec![openid, oauth],
        ),
        // Only 404 says that there is no such document.
        (500, oauth, Err(format!("{openid}: the answer has status 500")), vec![openid]),
        (410, oauth, Err(format!("{openid}: the answer has status 410")), vec![openid]),
        (401, oauth, Err(format!("{openid}: the answer has status 401")), vec![openid]),
    ] {
        let server = Server::new(answer(code, here)).await;
        let opened = Opened::first(&either(&server)).await;
        match expected {
            Ok(()) => assert_eq!(opened.kids(), ["a"], "{}", opened.last_error()),
            Err(message) => assert!(opened.last_error().contains(&message)),
        }
        assert_eq!(server.targets()[..asked.len()], asked[..], "{code} {here}");
    }
}

#[tokio::test]
async fn what_is_found_at_the_other_place_is_held_to_the_same_rules() {
    let oauth = "/.well-known/oauth-authorization-server/t";
    for (answer, message) in [
        (metadata("https://evil.example", "https://k.example/"), "its issuer is \"https://evil"),
        (metadata(ISSUER, "http://keys.example/"), "its jwks_uri is not https"),
        (" ".repeat((1 << 20) + 1), "the answer is larger than 1 MiB"),
        ("redirect".to_owned(), "redirects to another origin"),
    ] {
        let server = Server::new(move |seen| match seen.target.as_str() {
            target if target != oauth => status(404, ""),
            _ if answer == "redirect" => redirect("https://elsewhere.example/"),
            _ => status(200, answer.clone()),
        })
        .await;
        let error = Opened::first(&either(&server)).await.last_error();
        assert!(error.starts_with(&format!("{}: {message}", server.url(oauth))), "{error}");
    }
}
