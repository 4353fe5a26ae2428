//! Every reading of a path, computed step by step without optimizations.

use percent_encoding::percent_decode;

/// What is done about `;…` parameters.
#[derive(Clone, Copy, PartialEq)]
enum Parameters {
    Kept,
    /// As servlet containers do.
    CutFirst,
    CutDecoded,
}

/// How much is decoded.
#[derive(Clone, Copy)]
enum Decoding {
    /// What never changes the meaning (RFC 3986, section 6.2.2.2).
    Unreserved,
    Once,
    Always,
}

/// All readings of a path, its query cut off.
pub fn readings(path: &str) -> Vec<Vec<u8>> {
    let path = path.split('?').next().unwrap_or_default().as_bytes();
    let mut readings = Vec::new();
    for parameters in [Parameters::Kept, Parameters::CutFirst, Parameters::CutDecoded] {
        for decoding in [Decoding::Unreserved, Decoding::Once, Decoding::Always] {
            // Backslashes, double slashes, case, the slash at the end.
            for choice in 0..16_u8 {
                readings.push(read(path, parameters, decoding, choice));
            }
        }
    }
    readings.sort();
    readings.dedup();
    readings
}

fn read(path: &[u8], parameters: Parameters, decoding: Decoding, choice: u8) -> Vec<u8> {
    let mut path = path.to_vec();
    if parameters == Parameters::CutFirst {
        path = cut_parameters(&path);
    }
    path = match decoding {
        Decoding::Unreserved => decode_unreserved(&path),
        Decoding::Once => percent_decode(&path).collect(),
        Decoding::Always => decode_always(path),
    };
    if choice & 1 != 0 {
        path.iter_mut().filter(|byte| **byte == b'\\').for_each(|byte| *byte = b'/');
    }
    if parameters == Parameters::CutDecoded {
        path = cut_parameters(&path);
    }
    if choice & 2 != 0 {
        path.dedup_by(|later, earlier| *later == b'/' && *earlier == b'/');
    }
    if choice & 4 != 0 {
        path = match str::from_utf8(&path) {
            Ok(text) => text.to_uppercase().to_lowercase().into_bytes(),
            Err(_) => path.to_ascii_lowercase(),
        };
    }
    if choice & 8 != 0 && path.len() > 1 && path.ends_with(b"/") {
        path.pop();
    }
    path
}

fn cut_parameters(path: &[u8]) -> Vec<u8> {
    let segments = path.split(|byte| *byte == b'/');
    let bare =
        segments.map(|segment| segment.split(|byte| *byte == b';').next().unwrap_or(segment));
    bare.collect::<Vec<_>>().join(&b'/')
}

fn decode_unreserved(path: &[u8]) -> Vec<u8> {
    let mut decoded = Vec::new();
    let mut rest = path;
    while let Some((first, behind)) = rest.split_first() {
        let unit = if *first == b'%' && rest.len() >= 3 { &rest[..3] } else { &rest[..1] };
        let meant: Vec<u8> = percent_decode(unit).collect();
        let unreserved = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~".contains(byte);
        if meant.len() == 1 && unit.len() == 3 && meant.iter().all(unreserved) {
            decoded.extend(meant);
            rest = &rest[3..];
        } else {
            decoded.push(*first);
            rest = behind;
        }
    }
    decoded
}

fn decode_always(mut path: Vec<u8>) -> Vec<u8> {
    loop {
        let next: Vec<u8> = percent_decode(&path).collect();
        if next == path {
            return path;
        }
        path = next;
    }
}
