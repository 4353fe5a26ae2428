//! The identity headers: what the upstream is told about the caller.

use std::{
    fmt::Write as _,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use serde_json::Value;

use crate::{
    claims::ClaimPath, heap, principal::Principal, provider::Provider,
    settings::IdentityHeaderSettings,
};

/// Longer values are not sent (bytes, once encoded): most servers cap a
/// header at 8 KiB and refuse the whole request over it.
pub const MAX_VALUE_BYTES: usize = 8192;

/// What the upstream is told about one caller.
#[derive(Clone, Debug, Default)]
pub struct Identity {
    /// Headers to set: names from the settings, values encoded, never empty.
    pub headers: Vec<(Arc<str>, Box<str>)>,
    /// Headers left off because their value is over [`MAX_VALUE_BYTES`].
    pub dropped: Vec<Arc<str>>,
    /// Which claims are mapped, the same for every caller.
    pub mapped: MappedClaims,
}

/// The claims that have a header, and so are in the metadata too. Their values
/// stay with the principal.
#[derive(Clone, Debug, Default)]
pub struct MappedClaims(Arc<[MappedClaim]>);

/// A subject or a list of scopes is over [`MAX_VALUE_BYTES`]: leaving it off
/// would make the caller somebody else.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TooLarge;

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
}

/// A claim and the header that carries it.
#[derive(Debug)]
struct MappedClaim {
    path: ClaimPath,
    /// The path as the operator wrote it.
    text: Arc<str>,
    header: Arc<str>,
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
        };
        let fixed = [&headers.subject, &headers.scopes, &headers.method, &headers.provider];
        let mapped = headers.claims.0.iter().map(|claim| &claim.header);
        headers.names = fixed.into_iter().flatten().chain(mapped).cloned().collect();
        headers.folded = headers.names.iter().map(|name| fold(name)).collect();
        headers.lengths = headers.names.iter().fold(0, |bits, name| bits | length_bit(name));
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
        self.lengths & length_bit(name) != 0 && self.reads_like_ours(name)
    }

    fn reads_like_ours(&self, name: &str) -> bool {
        let same = |folded: &String| {
            folded.len() == name.len() && folded.bytes().eq(name.bytes().map(fold_byte))
        };
        self.folded.iter().any(same)
    }

    /// What the upstream is told about this caller; rendered once, however
    /// many requests it makes. Rendering it each time, `whole_check` takes 20 %
    /// longer (`benches/engine.rs`).
    ///
    /// # Errors
    ///
    /// [`TooLarge`] as described there.
    pub fn render(
        &self,
        principal: &Principal,
        by: &dyn Provider,
    ) -> Result<Arc<Identity>, TooLarge> {
        if let Some((generation, identity)) = principal.rendered.get()
            && *generation == self.generation
        {
            return Ok(Arc::clone(identity));
        }
        let identity = Arc::new(self.build(principal, by)?);
        // Another configuration's rendering stays; ours is then made anew.
        let _ = principal.rendered.set((self.generation, Arc::clone(&identity)));
        Ok(identity)
    }

    fn build(&self, principal: &Principal, by: &dyn Provider) -> Result<Identity, TooLarge> {
        let mut identity = Identity {
            headers: Vec::with_capacity(self.names.len()),
            dropped: Vec::new(),
            mapped: self.claims.clone(),
        };
        let subject = principal.subject.as_deref().map(|subject| text(subject, ""));
        identity.must_set(&self.subject, subject)?;
        identity.must_set(&self.scopes, Some(list(&principal.scopes.names)))?;
        identity.set(&self.method, Some(text(by.method(), "")));
        identity.set(&self.provider, Some(text(by.name(), "")));
        for MappedClaim { path, header, .. } in &*self.claims.0 {
            let Some(value) = path.find(&principal.claims) else { continue };
            identity.set(&Some(Arc::clone(header)), header_value(value));
        }
        identity.headers.shrink_to_fit();
        identity.dropped.shrink_to_fit();
        Ok(identity)
    }
}

impl Identity {
    /// The mapped claims that this caller has, by claim path as the operator
    /// wrote it; `principal` is the one that this was rendered for.
    pub fn claims<'p>(
        &'p self,
        principal: &'p Principal,
    ) -> impl DoubleEndedIterator<Item = (&'p str, &'p Value)> + Clone {
        let found = |claim: &'p MappedClaim| {
            claim.path.find(&principal.claims).map(|value| (&*claim.text, value))
        };
        self.mapped.0.iter().filter_map(found)
    }

    /// How many claims are mapped, which is as many as a caller can have.
    pub(crate) fn most_claims(&self) -> usize {
        self.mapped.0.len()
    }

    /// How much memory it takes behind an `Arc`, without what it shares with
    /// every other.
    pub(crate) fn heap_bytes(&self) -> usize {
        let values = self.headers.iter().map(|(_, value)| heap::allocation(value.len()));
        heap::shared::<Self>()
            + heap::list::<(Arc<str>, Box<str>)>(self.headers.capacity())
            + heap::list::<Arc<str>>(self.dropped.capacity())
            + values.sum::<usize>()
    }

    fn must_set(&mut self, name: &Option<Arc<str>>, value: Option<String>) -> Result<(), TooLarge> {
        if value.as_ref().is_some_and(|value| value.len() > MAX_VALUE_BYTES) && name.is_some() {
            return Err(TooLarge);
        }
        self.set(name, value);
        Ok(())
    }

    fn set(&mut self, name: &Option<Arc<str>>, value: Option<String>) {
        let (Some(name), Some(value)) = (name, value) else { return };
        if value.len() > MAX_VALUE_BYTES {
            self.dropped.push(Arc::clone(name));
        } else if !value.is_empty() {
            self.headers.push((Arc::clone(name), value.into()));
        }
    }
}

/// All long names share a bit.
fn length_bit(name: &str) -> u64 {
    1 << name.len().min(63)
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
    use crate::{credential::Credential, provider::Answering};

    struct Somebody;

    impl Provider for Somebody {
        fn name(&self) -> &str {
            "some body"
        }
        fn method(&self) -> &str {
            "test"
        }
        fn authenticate<'a>(&'a self, _: &'a Credential<'a>) -> Answering<'a> {
            unreachable!()
        }
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
            let identity = headers().render(&with_claim(value.clone()), &Somebody).unwrap();
            let header = identity.headers.iter().find(|(name, _)| &**name == "x-c");
            assert_eq!(header.map(|(_, value)| &**value), expected, "{value}");
        }
    }

    #[test]
    fn scopes_are_separated_by_the_only_spaces() {
        let scopes = ["", "a b", "", "https://x/y", ""].map(String::from).to_vec();
        let principal = Principal::new(None).with_scopes(scopes);
        let identity = headers().render(&principal, &Somebody).unwrap();
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
        assert!(headers().render(&fits, &Somebody).is_ok());
        let long = Principal::new(Some("s".repeat(MAX_VALUE_BYTES + 1)));
        assert_eq!(headers().render(&long, &Somebody).unwrap_err(), TooLarge);
        let scopes = Principal::new(None).with_scopes(vec!["s".repeat(5000), "t".repeat(5000)]);
        assert_eq!(headers().render(&scopes, &Somebody).unwrap_err(), TooLarge);
        let claim = with_claim(json!("é".repeat(2000)));
        let identity = headers().render(&claim, &Somebody).unwrap();
        assert_eq!(identity.dropped, ["x-c".into()]);
    }

    #[test]
    fn a_rendering_is_kept_for_its_own_configuration_only() {
        let principal = with_claim(json!(1));
        let (first, second) = (headers(), headers());
        let kept = first.render(&principal, &Somebody).unwrap();
        assert!(Arc::ptr_eq(&kept, &first.render(&principal, &Somebody).unwrap()));
        assert!(!Arc::ptr_eq(&kept, &second.render(&principal, &Somebody).unwrap()));
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
