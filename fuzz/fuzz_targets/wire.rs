//! The decoder of `CheckRequest` accepts what prost accepts, and reads the same.

#![no_main]

use claimgate::envoy::decode::{Names, ROUTE_EXTENSION, check_request};
use envoy_types::pb::envoy::service::auth::v3::CheckRequest;
use libfuzzer_sys::fuzz_target;
use prost::{
    Message,
    encoding::{DecodeContext, WireType, decode_key, decode_varint, skip_field},
};

/// Whether the map with this number, in the message at this place, has an entry
/// that is not length-delimited.
fn has_odd_entry(mut message: &[u8], place: &[u32], map: u32) -> bool {
    while let Ok((number, wire_type)) = decode_key(&mut message) {
        match (place.split_first(), wire_type) {
            (Some((first, deeper)), WireType::LengthDelimited) if number == *first => {
                let length = decode_varint(&mut message).unwrap_or(u64::MAX);
                let length = usize::try_from(length).unwrap_or(usize::MAX);
                let Some((part, rest)) = message.split_at_checked(length) else { return false };
                if has_odd_entry(part, deeper, map) {
                    return true;
                }
                message = rest;
                continue;
            }
            (None, WireType::LengthDelimited) => {}
            (None, _) if number == map => return true,
            _ => {}
        }
        if skip_field(wire_type, number, &mut message, DecodeContext::default()).is_err() {
            return false;
        }
    }
    false
}

fuzz_target!(|bytes: &[u8]| {
    let names = Names::new();
    let ours = check_request(bytes, &names);
    // Parts that are not read are not looked at, so the reverse need not hold.
    let Ok(theirs) = CheckRequest::decode(bytes) else { return };
    // prost takes a map's entry for one whatever its wire type, and no other
    // reader does; libraries write what both read.
    if has_odd_entry(bytes, &[1, 4, 2], 3) || has_odd_entry(bytes, &[1], 10) {
        return;
    }
    let Ok(ours) = ours else { panic!("prost reads it") };
    let attributes = theirs.attributes.unwrap_or_default();
    let http = attributes.request.and_then(|request| request.http).unwrap_or_default();
    assert_eq!((ours.method, ours.path, ours.host), (&*http.method, &*http.path, &*http.host));
    assert_eq!(ours.route, attributes.context_extensions.get(ROUTE_EXTENSION).map(|it| &**it));
    let raw = http.header_map.unwrap_or_default().headers;
    let theirs: Vec<(String, Vec<u8>)> = if raw.is_empty() {
        http.headers.into_iter().map(|(name, value)| (name, value.into_bytes())).collect()
    } else {
        let value =
            |value: String, raw: Vec<u8>| if raw.is_empty() { value.into_bytes() } else { raw };
        raw.into_iter().map(|it| (it.key, value(it.value, it.raw_value))).collect()
    };
    // A name that a map has twice keeps both values with us.
    for (name, value) in theirs {
        let name = name.to_ascii_lowercase();
        assert!(ours.headers.all(&name).any(|it| it == value), "{name} is lost");
    }
});
