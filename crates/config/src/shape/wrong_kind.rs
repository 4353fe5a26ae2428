//! What is said of a value of a wrong type: what it must be, and what to write.

use std::ops::RangeInclusive;

use deserr::ValueKind;
use serde_json::Value;

use crate::report::Place;

/// The message for this value where one of these types is accepted.
pub(super) fn told(place: &Place, actual: &Value, accepted: &[ValueKind]) -> String {
    let takes = |kind| accepted.contains(&kind);
    if let Some(special) = of_key(place, actual) {
        return special;
    }
    let kinds: Vec<_> = accepted.iter().map(|kind| kind_name(*kind)).collect();
    let found = match actual {
        Value::String(text) if takes(ValueKind::Boolean) && !place.is_hidden() => {
            format!("the text {}", place.quoted(text))
        }
        _ => found(place, actual),
    };
    let advice = advice(place, actual, &takes).map(|advice| format!("; {advice}"));
    format!("must be {}, not {found}{}", kinds.join(" or "), advice.unwrap_or_default())
}

/// The message for this value where a whole number in this range is accepted.
pub(super) fn told_number(place: &Place, actual: &Value, range: &RangeInclusive<u64>) -> String {
    let (least, most) = (range.start(), range.end());
    let rounded = |number: &u64| range.contains(number);
    let advice = match actual {
        Value::String(_) if place.is_hidden() => {
            hidden_advice(place, actual, &|kind| kind == ValueKind::Integer)
        }
        _ if place.is_hidden() => None,
        Value::String(text) => {
            Some(match text.trim().parse().is_ok_and(|it| range.contains(&it)) {
                true => "remove the quotes".into(),
                false => "write digits alone".into(),
            })
        }
        Value::Number(number) => {
            #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            let number =
                number.as_f64().filter(|it| it.is_sign_positive()).map(|it| it.round() as u64);
            number.filter(rounded).map(|number| format!("write `{number}`"))
        }
        _ => None,
    };
    let advice = advice.map(|advice| format!("; {advice}")).unwrap_or_default();
    format!("must be a whole number from {least} to {most}, not {}{advice}", found(place, actual))
}

fn found(place: &Place, actual: &Value) -> String {
    match actual {
        Value::Null => "nothing".into(),
        Value::Array(_) => "a list".into(),
        Value::Object(_) => "a mapping".into(),
        Value::String(text) => place.quoted(text),
        Value::Bool(_) | Value::Number(_) => place.quoted(&actual.to_string()),
    }
}

/// Keys whose wrong values tell what was meant.
fn of_key(place: &Place, actual: &Value) -> Option<String> {
    let written = || found(place, actual);
    match (place.last_key()?, actual) {
        ("address", Value::Number(port)) => Some(match place.to_string().starts_with("server") {
            true => format!(
                "must be `host:port`, not {}; write `0.0.0.0:{port}`, or `127.0.0.1:{port}` for \
                 this machine alone",
                written()
            ),
            false => format!("must be a URL, not {}; write `http://host:{port}`", written()),
        }),
        ("requests" | "tokens", Value::Number(_) | Value::String(_)) => Some(format!(
            "must say in which time, not {}; write such as `{{per_minute: 60}}`",
            written()
        )),
        ("limits", Value::Bool(_)) => Some(match place.to_string().starts_with("auth.routes") {
            true => format!("is not known; write `none`, not {}, or remove it", written()),
            false => format!(
                "must be `local`, `shadow` or `metadata`, not {}; without `auth.plans` there are \
                 no limits",
                written()
            ),
        }),
        ("audience", Value::Bool(_)) => Some(format!(
            "must be a string or a list, not {}; write what the tokens have in `aud`, or \
             `require_audience: false` if they have none",
            written()
        )),
        _ => None,
    }
}

fn advice(place: &Place, actual: &Value, takes: &impl Fn(ValueKind) -> bool) -> Option<String> {
    let is_scalar = matches!(actual, Value::String(_) | Value::Bool(_) | Value::Number(_));
    if is_scalar && place.is_hidden() {
        return hidden_advice(place, actual, takes);
    }
    match actual {
        Value::Bool(_) | Value::Number(_) if takes(ValueKind::String) => {
            Some("put it in quotes".into())
        }
        Value::String(text) if takes(ValueKind::Boolean) => Some(boolean(text)),
        Value::Number(_) if takes(ValueKind::Boolean) => Some("write `true` or `false`".into()),
        Value::String(text) if takes(ValueKind::Integer) => number(text, place.last_key()?),
        Value::String(text) if takes(ValueKind::Float) => {
            text.parse::<f64>().ok().map(|_| "remove the quotes".into())
        }
        Value::Number(number) if takes(ValueKind::Integer) => {
            let rounded = number.as_f64().filter(|number| (1.0..1e15).contains(number))?;
            Some(format!("write `{rounded:.0}`"))
        }
        _ if takes(ValueKind::Sequence) && is_scalar => Some(format!("write `{}`", list(actual))),
        Value::Object(_) if takes(ValueKind::Sequence) && !takes(ValueKind::Map) => {
            Some("begin each element with `- `".into())
        }
        Value::Array(_) if takes(ValueKind::Map) => {
            Some("write its keys without `- ` in front".into())
        }
        Value::Array(_) if takes(ValueKind::String) => {
            Some("write one value without brackets and `- `".into())
        }
        _ if takes(ValueKind::Map) && is_scalar => {
            Some("write its keys below it, indented, each with its value".into())
        }
        _ => None,
    }
}

/// Nothing of the value may be shown.
fn hidden_advice(
    place: &Place,
    actual: &Value,
    takes: &impl Fn(ValueKind) -> bool,
) -> Option<String> {
    let from_variable = || !place.is_secret();
    match actual {
        Value::Bool(_) | Value::Number(_) if takes(ValueKind::String) => {
            Some("put it in quotes".into())
        }
        _ if takes(ValueKind::Boolean) && from_variable() => {
            Some("set the variable to `true` or `false`".into())
        }
        _ if takes(ValueKind::Integer) && from_variable() => {
            Some("set the variable to digits alone".into())
        }
        _ if takes(ValueKind::Sequence) && from_variable() => {
            Some("a variable holds one element: write `[\"${NAME}\"]`".into())
        }
        _ if takes(ValueKind::Sequence) => Some("begin each element with `- `".into()),
        _ => None,
    }
}

fn boolean(text: &str) -> String {
    match text.trim().to_ascii_lowercase().as_str() {
        word @ ("true" | "false") => format!("write `{word}` without quotes, in small letters"),
        "yes" | "on" | "y" | "1" | "enabled" => "write `true`".into(),
        "no" | "off" | "n" | "0" | "disabled" => "write `false`".into(),
        _ => "write `true` or `false`".into(),
    }
}

/// What to write for a number in quotes or with a unit.
fn number(text: &str, key: &str) -> Option<String> {
    let text = text.trim();
    let digits = text.len() - text.trim_start_matches(|char: char| char.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let number: u64 = number.parse().ok()?;
    let millis = match unit.trim() {
        "" => return Some("remove the quotes".into()),
        "ms" => Some(1),
        "s" | "sec" | "seconds" => Some(1000),
        "m" | "min" | "minutes" => Some(60_000),
        "h" | "hours" => Some(3_600_000),
        "d" | "days" => Some(86_400_000),
        _ => None,
    };
    let bytes = match unit.trim().trim_end_matches(['b', 'B', 'i']).to_ascii_lowercase().as_str() {
        "" => Some(1),
        "k" => Some(1 << 10),
        "m" => Some(1 << 20),
        "g" => Some(1 << 30),
        _ => None,
    };
    let value = match key {
        _ if key.ends_with("_seconds") => number.checked_mul(millis?)?.div_ceil(1000),
        _ if key.ends_with("_ms") => number.checked_mul(millis?)?,
        _ if key.ends_with("_bytes") => number.checked_mul(bytes?)?,
        _ => return None,
    };
    Some(format!("write `{value}`"))
}

/// A scalar as a list of one element, or of those between its commas.
fn list(value: &Value) -> String {
    let Value::String(text) = value else { return format!("[{value}]") };
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/_-.".contains(&byte);
    let element = |text: &str| match !text.is_empty() && text.bytes().all(plain) {
        true => text.to_owned(),
        false => format!("{text:?}"),
    };
    let elements: Vec<_> = text.split(',').map(|part| element(part.trim())).collect();
    format!("[{}]", elements.join(", "))
}

fn kind_name(kind: ValueKind) -> &'static str {
    match kind {
        ValueKind::Null => "null",
        ValueKind::Boolean => "`true` or `false`",
        ValueKind::Integer => "a whole number from 0 up",
        ValueKind::NegativeInteger => "a negative number",
        ValueKind::Float => "a number",
        ValueKind::String => "a string",
        ValueKind::Sequence => "a list",
        ValueKind::Map => "a mapping",
    }
}
