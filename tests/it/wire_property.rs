//! The walker over `CheckRequest` reads the same as prost.

use std::collections::HashMap;

use claimgate::{
    Request,
    envoy::decode::{Names, ROUTE_EXTENSION, check_request},
};
use envoy_types::pb::{
    envoy::{
        config::core::v3::{
            Address, HeaderMap, HeaderValue, Metadata, SocketAddress, address, socket_address,
        },
        service::auth::v3::{
            AttributeContext, CheckRequest,
            attribute_context::{HttpRequest, Peer, Request as AttributeRequest, TlsSession},
        },
    },
    google::protobuf::{Struct, Timestamp, Value, value::Kind},
};
use proptest::{collection, option, prelude::*};
use prost::Message;

/// Headers as a multiset: names in lower case, sorted.
type Fields = Vec<(String, Vec<u8>)>;

fn fields(mut fields: Fields) -> Fields {
    for (name, _) in &mut fields {
        name.make_ascii_lowercase();
    }
    fields.sort();
    fields
}

/// What a `CheckRequest` says, read from the message that prost made.
#[derive(Debug, PartialEq)]
struct Facts {
    method: String,
    path: String,
    host: String,
    route: Option<String>,
    headers: Fields,
}

impl Facts {
    fn by_prost(message: &CheckRequest) -> Self {
        let attributes = message.attributes.clone().unwrap_or_default();
        let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
        let raw = http.header_map.unwrap_or_default().headers;
        let headers = match raw.is_empty() {
            true => http.headers.into_iter().map(|(k, v)| (k, v.into_bytes())).collect(),
            false => raw
                .into_iter()
                .map(|h| match h.raw_value.is_empty() {
                    true => (h.key, h.value.into_bytes()),
                    false => (h.key, h.raw_value),
                })
                .collect(),
        };
        Self {
            method: http.method,
            path: http.path,
            host: http.host,
            route: attributes.context_extensions.get(ROUTE_EXTENSION).cloned(),
            headers: fields(headers),
        }
    }

    fn by_us(request: &Request<'_>) -> Self {
        let headers = request.headers.iter().map(|(name, value)| (name.into(), value.into()));
        Self {
            method: request.method.into(),
            path: request.path.into(),
            host: request.host.into(),
            route: request.route.map(String::from),
            headers: fields(headers.collect()),
        }
    }
}

/// Short texts of any characters, long ones now and then.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![4 => "\\PC{0,8}", 4 => "[a-zA-Z0-9/:._-]{0,40}", 1 => "[a-z]{120,300}"]
}

fn map() -> impl Strategy<Value = HashMap<String, String>> {
    collection::hash_map(text(), text(), 0..24)
}

fn header_value() -> impl Strategy<Value = HeaderValue> {
    (text(), text(), collection::vec(any::<u8>(), 0..40))
        .prop_map(|(key, value, raw_value)| HeaderValue { key, value, raw_value })
}

fn http() -> impl Strategy<Value = HttpRequest> {
    let texts = collection::vec(text(), 9);
    let header_map = option::of(
        collection::vec(header_value(), 0..24).prop_map(|headers| HeaderMap { headers }),
    );
    let raw_body = collection::vec(any::<u8>(), 0..300);
    (texts, map(), header_map, any::<i64>(), raw_body).prop_map(
        |(texts, headers, header_map, size, raw_body)| {
            let mut texts = texts.into_iter();
            let mut text = || texts.next().unwrap_or_default();
            HttpRequest {
                id: text(),
                method: text(),
                headers,
                path: text(),
                host: text(),
                scheme: text(),
                query: text(),
                fragment: text(),
                size,
                protocol: text(),
                body: text(),
                raw_body,
                header_map,
            }
        },
    )
}

/// Parts that the walker skips.
fn peer() -> impl Strategy<Value = Peer> {
    (text(), map(), text(), any::<u32>()).prop_map(|(address, labels, principal, port)| {
        let port = socket_address::PortSpecifier::PortValue(port);
        let address =
            SocketAddress { address, port_specifier: Some(port), ..SocketAddress::default() };
        let address = Address { address: Some(address::Address::SocketAddress(address)) };
        Peer { address: Some(address), labels, principal, ..Peer::default() }
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    (text(), text(), any::<f64>()).prop_map(|(filter, key, number)| {
        let value = Value { kind: Some(Kind::NumberValue(number)) };
        let fields = HashMap::from([(key, value)]);
        let filter_metadata = HashMap::from([(filter, Struct { fields })]);
        Metadata { filter_metadata, ..Metadata::default() }
    })
}

fn attributes() -> impl Strategy<Value = AttributeContext> {
    let time = option::of((any::<i64>(), any::<i32>()));
    let request = (option::of(http()), time).prop_map(|(http, time)| AttributeRequest {
        http,
        time: time.map(|(seconds, nanos)| Timestamp { seconds, nanos }),
    });
    let extensions = (map(), option::of(text())).prop_map(|(mut map, route)| {
        map.extend(route.map(|route| (ROUTE_EXTENSION.to_owned(), route)));
        map
    });
    (
        option::of(peer()),
        option::of(peer()),
        option::of(request),
        extensions,
        option::of(metadata()),
        option::of(text()),
    )
        .prop_map(|(source, destination, request, context_extensions, metadata, sni)| {
            AttributeContext {
                source,
                destination,
                request,
                context_extensions,
                metadata_context: metadata.clone(),
                route_metadata_context: metadata,
                tls_session: sni.map(|sni| TlsSession { sni }),
            }
        })
}

fn message() -> impl Strategy<Value = CheckRequest> {
    option::of(attributes()).prop_map(|attributes| CheckRequest { attributes })
}

/// Any message, with bytes of it changed, cut off or put in.
fn damaged() -> impl Strategy<Value = Vec<u8>> {
    let edits = collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..6);
    (message(), edits).prop_map(|(message, edits)| {
        let mut bytes = message.encode_to_vec();
        for (at, byte, edit) in edits {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            match edit {
                0 => bytes[at] = byte,
                1 => bytes.insert(at, byte),
                _ => drop(bytes.remove(at)),
            }
        }
        bytes
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_prost_encodes_is_read_alike(message in message()) {
        let bytes = message.encode_to_vec();
        let names = Names::new();
        let request = check_request(&bytes, &names).expect("prost's own encoding");
        prop_assert_eq!(Facts::by_us(&request), Facts::by_prost(&message));
    }

    /// A message that comes in two parts is one: protobuf merges them.
    #[test]
    fn parts_are_merged_alike(first in message(), second in message()) {
        let bytes = [first.encode_to_vec(), second.encode_to_vec()].concat();
        let merged = CheckRequest::decode(bytes.as_slice()).expect("two messages are one");
        let names = Names::new();
        let request = check_request(&bytes, &names).expect("two messages are one");
        let (ours, theirs) = (Facts::by_us(&request), Facts::by_prost(&merged));
        prop_assert_eq!((&ours.method, &ours.path, &ours.host, &ours.route),
            (&theirs.method, &theirs.path, &theirs.host, &theirs.route));
        // The walker keeps both values of a name that occurs twice.
        for field in &theirs.headers {
            prop_assert!(ours.headers.contains(field), "{:?}", field);
        }
    }

    /// The walker accepts what prost accepts and reads the same; the reverse need
    /// not hold, because it does not decode unused parts.
    #[test]
    fn damaged_messages_are_read_alike_or_not_at_all(bytes in damaged()) {
        let names = Names::new();
        let ours = check_request(&bytes, &names);
        if let Ok(message) = CheckRequest::decode(bytes.as_slice()) {
            let (ours, theirs) = (Facts::by_us(&ours.expect("prost reads it")), Facts::by_prost(&message));
            prop_assert_eq!((&ours.method, &ours.path, &ours.host, &ours.route),
                (&theirs.method, &theirs.path, &theirs.host, &theirs.route));
            for field in &theirs.headers {
                prop_assert!(ours.headers.contains(field), "{:?}", field);
            }
        }
    }

    #[test]
    fn no_bytes_make_it_panic(bytes in collection::vec(any::<u8>(), 0..300)) {
        let names = Names::new();
        let _ = check_request(&bytes, &names);
    }
}
