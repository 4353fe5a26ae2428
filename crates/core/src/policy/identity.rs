//! The identity headers: what the upstream is told about the caller.

use std::{
    fmt::Write as _,
    sync::{
        Arc, OnceLock,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;

use crate::{
    claims,
    identity::{Identity, MappedClaim, MappedClaims, TooLarge},
    principal::Principal,
    settings::IdentityHeaderSettings,
};

/// The configured identity headers.
#[derive(Debug)]
pub struct IdentityHeaders {
    /// Tells what one configuration rendered from what another did.
    generation: u64,
    subject: Option<Arc<str>>,
    scopes: Option<Arc<str>>,
    method: Option<Arc<str>>,
    provider: Option<Arc<str>>,
    claims: MappedClaims,
    names: Vec<Arc<str>>,
    /// Each name as [`fold`] has it.
    folded: Vec<String>,
    /// A bit for the length of each name. Without it, `whole_check` takes 2 %
    /// longer (`benches/engine.rs`).
    lengths: u64,
    /// A bit for the last byte of each name as [`fold`] has it.
    ends: u64,
}

impl IdentityHeaders {
    /// The headers of `settings`.
    pub fn new(settings: &IdentityHeaderSettings) -> Self {
        static GENERATIONS: AtomicU64 = AtomicU64::new(0);
        let name = |name: &Option<String>| name.as_deref().map(Arc::<str>::from);
        let claims = settings.claims.iter().map(|(path, name)| MappedClaim {
            path: path.clone(),
            text: path.text().into(),
            header: name.as_str().into(),
        });
        let mut headers = Self {
            generation: GENERATIONS.fetch_add(1, Ordering::Relaxed),
            subject: name(&settings.subject),
            scopes: name(&settings.scopes),
            method: name(&settings.method),
            provider: name(&settings.provider),
            claims: MappedClaims(claims.collect()),
            names: Vec::new(),
            folded: Vec::new(),
            lengths: 0,
            ends: 0,
        };
        let fixed = [&headers.subject, &headers.scopes, &headers.method, &headers.provider];
        let mapped = headers.claims.0.iter().map(|claim| &claim.header);
        headers.names = fixed.into_iter().flatten().chain(mapped).cloned().collect();
        headers.folded = headers.names.iter().map(|name| fold(name)).collect();
        headers.lengths = headers.names.iter().fold(0, |bits, name| bits | length_bit(name));
        headers.ends = headers.names.iter().fold(0, |bits, name| bits | end_bit(name));
        headers
    }

    /// Every configured name.
    pub fn names(&self) -> &[Arc<str>] {
        &self.names
    }

    /// The claims that have a header.
    pub fn mapped_claims(&self) -> &MappedClaims {
        &self.claims
    }

    /// Whether some server takes `name` for one of ours. CGI and its
    /// descendants turn names into variables, in which only letters and digits
    /// keep what they are (RFC 3875, section 4.1.18): most replace `-`, some
    /// `.` as well, lighttpd every other character.
    #[inline]
    pub fn is_mistakable(&self, name: &str) -> bool {
        self.lengths & length_bit(name) != 0
            && self.ends & end_bit(name) != 0
            && self.reads_like_ours(name)
    }

    fn reads_like_ours(&self, name: &str) -> bool {
        let same = |folded: &String| {
            folded.len() == name.len() && folded.bytes().eq(name.bytes().map(fold_byte))
        };
        self.folded.iter().any(same)
    }

    /// What the upstream is told about this caller, which the provider called
    /// `provider` authenticated by `method`; rendered once, however many
    /// requests the caller makes. Rendered each time, `whole_check` takes 20 %
    /// longer (`benches/engine.rs`).
    ///
    /// # Errors
    ///
    /// [`TooLarge`] as described there.
    pub fn render(
        &self,
        principal: &Principal,
        provider: &str,
        method: &str,
    ) -> Result<Arc<Identity>, TooLarge> {
        if let Some((generation, identity)) = principal.rendered.get()
            && *generation == self.generation
        {
            return Ok(Arc::clone(identity));
        }
        let identity = Arc::new(self.build(principal, provider, method)?);
        // Another configuration's rendering stays; ours is then made again.
        let _ = principal.rendered.set((self.generation, Arc::clone(&identity)));
        Ok(identity)
    }

    fn build(
        &self,
        principal: &Principal,
        provider: &str,
        method: &str,
    ) -> Result<Identity, TooLarge> {
        let mut identity = Identity {
            headers: Vec::with_capacity(self.names.len()),
            dropped: Vec::new(),
            mapped: self.claims.clone(),
            metadata: OnceLock::new(),
            allowance: OnceLock::new(),
        };
        let subject = principal.subject.as_deref().map(|subject| text(subject, ""));
        identity.must_set(&self.subject, subject)?;
        identity.must_set(&self.scopes, Some(list(&principal.scopes.names)))?;
        identity.set(&self.method, Some(text(method, "")));
        identity.set(&self.provider, Some(text(provider, "")));
        for MappedClaim { path, header, .. } in &*self.claims.0 {
            let Some(value) = path.find(&principal.claims) else { continue };
            match claims::is_exact(value) {
                true => identity.set(&Some(Arc::clone(header)), header_value(value)),
                // Two callers would get the same header.
                false => identity.drop(header),
            }
        }
        identity.headers.shrink_to_fit();
        identity.dropped.shrink_to_fit();
        Ok(identity)
    }
}

/// All long names share a bit.
#[inline]
fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
}

#[inline]
fn end_bit(name: &str) -> u64 {
    name.as_bytes().last().map_or(0, |last| 1 << (fold_byte(*last) % 64))
}

/// The name with every byte but letters and digits read as `-`, in lower case.
fn fold(name: &str) -> String {
    name.bytes().map(fold_byte).map(char::from).collect()
}

#[inline]
fn fold_byte(byte: u8) -> u8 {
    match byte.is_ascii_alphanumeric() {
        true => byte.to_ascii_lowercase(),
        false => b'-',
    }
}

/// Scopes as RFC 6749 writes them.
fn list(scopes: &[String]) -> String {
    let mut out = String::with_capacity(scopes.iter().map(|scope| scope.len() + 1).sum());
    // A custom provider may give an empty one: no scope, and no space for it.
    for (at, scope) in scopes.iter().filter(|scope| !scope.is_empty()).enumerate() {
        if at > 0 {
            out.push(' ');
        }
        encode(scope, " ", &mut out);
    }
    out
}

/// A claim as a header value; `null` and what is empty have none.
fn header_value(claim: &Value) -> Option<String> {
    let is_scalar = |element: &Value| !element.is_array() && !element.is_object();
    match claim {
        Value::Null => None,
        Value::Array(elements) if elements.iter().all(is_scalar) => {
            let elements: Vec<_> = elements.iter().map(|element| scalar(element, ",")).collect();
            Some(elements.join(","))
        }
        Value::Array(_) | Value::Object(_) => Some(text(&claim.to_string(), "")),
        other => Some(scalar(other, "")),
    }
}

fn scalar(value: &Value, separators: &str) -> String {
    match value {
        Value::String(string) => text(string, separators),
        other => other.to_string(),
    }
}

fn text(value: &str, separators: &str) -> String {
    let mut out = String::with_capacity(value.len());
    encode(value, separators, &mut out);
    out
}

/// Percent-encodes what a header can't carry, `%` itself, spaces at either
/// end, and the characters that separate the elements of a list.
fn encode(value: &str, separators: &str, out: &mut String) {
    let is_plain = |byte: u8| (0x21..=0x7e).contains(&byte) && byte != b'%' && byte != b',';
    if value.bytes().all(is_plain) {
        return out.push_str(value);
    }
    let inner_start = value.len() - value.trim_start_matches(' ').len();
    let inner_end = value.trim_end_matches(' ').len();
    for (at, byte) in value.bytes().enumerate() {
        let plain = match byte {
            b'%' => false,
            b' ' => (inner_start..inner_end).contains(&at) && !separators.contains(' '),
            0x21..=0x7e => !separators.as_bytes().contains(&byte),
            _ => false,
        };
        match plain {
            true => out.push(char::from(byte)),
            // Writing to a string can't fail.
            false => drop(write!(out, "%{byte:02X}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{claims::ClaimPath, identity::MAX_VALUE_BYTES};

    /// As rendered for a caller of a provider whose name has a space.
    fn render(headers: &IdentityHeaders, principal: &Principal) -> Result<Arc<Identity>, TooLarge> {
        headers.render(principal, "some body", "test")
    }

    fn headers() -> IdentityHeaders {
        IdentityHeaders::new(&IdentityHeaderSettings {
            claims: vec![(ClaimPath::named("c"), "x-c".into())],
            ..IdentityHeaderSettings::default()
        })
    }

    fn with_claim(value: Value) -> Principal {
        let claims = json!({"c": value}).as_object().cloned().unwrap();
        Principal::new(Some("s".into())).with_claims(claims)
    }

    #[test]
    fn values_of_claims() {
        let cases = [
            (json!("plain text"), Some("plain text")),
            (json!("100%"), Some("100%25")),
            (json!("é\n\"q\""), Some("%C3%A9%0A\"q\"")),
            (json!("  padded "), Some("%20%20padded%20")),
            (json!(" "), Some("%20")),
            (json!("a,b"), Some("a,b")),
            (json!(42), Some("42")),
            (json!(1.5), Some("1.5")),
            (json!(true), Some("true")),
            (json!(["a", "b,c", 1, false]), Some("a,b%2Cc,1,false")),
            (json!([{"a": 1}]), Some("[{\"a\":1}]")),
            (json!({"a": [1, "b c"]}), Some("{\"a\":[1,\"b c\"]}")),
            (json!(null), None),
            (json!(""), None),
            (json!([]), None),
        ];
        for (value, expected) in cases {
            let identity = render(&headers(), &with_claim(value.clone())).unwrap();
            let header = identity.headers.iter().find(|(name, _)| &**name == "x-c");
            assert_eq!(header.map(|(_, value)| &**value), expected, "{value}");
        }
    }

    #[test]
    fn scopes_are_separated_by_the_only_spaces() {
        let scopes = ["", "a b", "", "https://x/y", ""].map(String::from).to_vec();
        let principal = Principal::new(None).with_scopes(scopes);
        let identity = render(&headers(), &principal).unwrap();
        let set: Vec<_> = identity.headers.iter().map(|(n, v)| (&**n, &**v)).collect();
        assert_eq!(
            set,
            [
                ("x-auth-scopes", "a%20b https://x/y"),
                ("x-auth-method", "test"),
                ("x-auth-provider", "some body"),
            ]
        );
    }

    #[test]
    fn a_long_subject_refuses_and_a_long_claim_is_left_off() {
        let fits = Principal::new(Some("s".repeat(MAX_VALUE_BYTES)));
        assert!(render(&headers(), &fits).is_ok());
        let long = Principal::new(Some("s".repeat(MAX_VALUE_BYTES + 1)));
        assert_eq!(render(&headers(), &long).unwrap_err(), TooLarge);
        let scopes = Principal::new(None).with_scopes(vec!["s".repeat(5000), "t".repeat(5000)]);
        assert_eq!(render(&headers(), &scopes).unwrap_err(), TooLarge);
        let claim = with_claim(json!("é".repeat(2000)));
        let identity = render(&headers(), &claim).unwrap();
        assert_eq!(identity.dropped, ["x-c".into()]);
    }

    #[test]
    fn a_number_that_was_not_read_exactly_has_no_header_and_no_metadata() {
        let cases = [
            ("9007199254740993", Some("9007199254740993")),
            ("18446744073709551615", Some("18446744073709551615")),
            ("-9223372036854775808", Some("-9223372036854775808")),
            ("9007199254740991.0", Some("9007199254740991.0")),
            ("18446744073709551616", None),
            ("-9223372036854775809", None),
            ("123456789012345678901234567890", None),
            ("9007199254740992.0", None),
            ("1e300", None),
            ("[1, 18446744073709551616]", None),
            (r#"{"a": [{"b": 18446744073709551616}]}"#, None),
            ("\"123456789012345678901234567890\"", Some("123456789012345678901234567890")),
        ];
        for (claim, expected) in cases {
            let principal = with_claim(serde_json::from_str(claim).unwrap());
            let identity = render(&headers(), &principal).unwrap();
            let header = identity.headers.iter().find(|(name, _)| &**name == "x-c");
            assert_eq!(header.map(|(_, value)| &**value), expected, "{claim}");
            assert_eq!(identity.dropped.len(), usize::from(expected.is_none()), "{claim}");
            assert_eq!(identity.claims(&principal.claims).count(), identity.headers.len() - 3);
        }
    }

    #[test]
    fn a_rendering_is_kept_for_its_own_configuration_only() {
        let principal = with_claim(json!(1));
        let (first, second) = (headers(), headers());
        let kept = render(&first, &principal).unwrap();
        assert!(Arc::ptr_eq(&kept, &render(&first, &principal).unwrap()));
        assert!(!Arc::ptr_eq(&kept, &render(&second, &principal).unwrap()));
    }

    #[test]
    fn no_character_hides_a_name() {
        let headers = headers();
        for (name, expected) in [
            ("x-auth-subject", true),
            ("x_auth_subject", true),
            ("x-auth_subject", true),
            ("x.auth.subject", true),
            ("x~auth!subject", true),
            ("x^auth`subject", true),
            ("X-Auth.Subject", true),
            ("x-auth-subjec", false),
            ("x-auth-subject-", false),
            ("xxauth-subject", false),
            ("x-auth-subjec-", false),
            ("x0auth-subject", false),
            ("x_c", true),
            ("x.c", true),
            ("xac", false),
        ] {
            assert_eq!(headers.is_mistakable(name), expected, "{name}");
        }
    }

    #[test]
    fn no_character_hides_a_long_name() {
        let long = "a".repeat(70);
        let headers = IdentityHeaders::new(&IdentityHeaderSettings {
            claims: vec![(ClaimPath::named("c"), format!("x-{long}"))],
            ..IdentityHeaderSettings::default()
        });
        assert!(headers.is_mistakable(&format!("x_{long}")));
        assert!(headers.is_mistakable(&format!("x'{long}")));
        assert!(!headers.is_mistakable(&format!("x_{long}a")));
    }
}
