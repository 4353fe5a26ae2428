//! Shared by the fuzz targets: an engine with a scripted provider, and readers
//! that are written to be obviously right instead of fast.

pub mod json;
pub mod paths;

use std::sync::{Arc, Mutex, PoisonError};

use claimgate::{
    Answer, Answering, Credential, Engine, Principal, Provider,
    request::Request,
    settings::{AuthSettings, GrpcProviderSettings, ProviderKind, ProviderSettings},
    time::UnixTime,
    token_cache::TokenCache,
};

/// The moment of every decision.
pub const NOW: UnixTime = UnixTime::from_seconds(1_800_000_000.0);

/// A provider that accepts every token as the same caller's, and keeps the last
/// one.
#[derive(Default)]
pub struct AcceptAll {
    principal: Mutex<Option<Arc<Principal>>>,
    last_token: Mutex<Option<String>>,
}

impl AcceptAll {
    /// Every token is this caller's from now on.
    pub fn set_caller(&self, principal: Principal) {
        *self.principal.lock().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(principal));
    }

    /// The last token that was presented since the last call.
    pub fn take_token(&self) -> Option<String> {
        self.last_token.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

impl Provider for AcceptAll {
    fn name(&self) -> &str {
        "accept-all"
    }

    fn method(&self) -> &str {
        "scripted"
    }

    fn authenticate<'a>(&'a self, credential: &'a Credential<'a>) -> Answering<'a> {
        *self.last_token.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(credential.token().to_owned());
        let principal = self.principal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        Answering::Now(Answer::Authenticated(principal.unwrap_or_default()))
    }
}

/// An engine with one provider, and that provider.
pub fn engine(settings: AuthSettings) -> (Engine, Arc<AcceptAll>) {
    let named = ProviderSettings {
        name: "accept-all".into(),
        forward_token: None,
        kind: ProviderKind::Grpc(GrpcProviderSettings::default()),
    };
    let provider = Arc::new(AcceptAll::default());
    let providers = vec![Arc::clone(&provider) as Arc<dyn Provider>];
    let settings = AuthSettings { providers: vec![named], ..settings };
    (Engine::new(&settings, providers, Arc::new(TokenCache::of(&settings))), provider)
}

/// A request as text: the path with its query, then a line for each header. Names are lower case, as Envoy sends them.
pub struct TextRequest {
    path: String,
    headers: Vec<(String, Vec<u8>)>,
}

impl TextRequest {
    /// Parses it; a line without a colon is ignored.
    pub fn read(input: &[u8]) -> Self {
        let mut lines = input.split(|byte| *byte == b'\n');
        let path = String::from_utf8_lossy(lines.next().unwrap_or_default()).into_owned();
        let headers = lines.filter_map(|line| {
            let colon = line.iter().position(|byte| *byte == b':')?;
            let name = str::from_utf8(&line[..colon]).ok()?.to_ascii_lowercase();
            Some((name, line[colon + 1..].trim_ascii().to_vec()))
        });
        Self { path, headers: headers.collect() }
    }

    /// The values of this header.
    pub fn values<'w>(&'w self, name: &'w str) -> impl Iterator<Item = &'w [u8]> + 'w {
        self.headers.iter().filter(move |(other, _)| other == name).map(|(_, value)| &**value)
    }

    /// Whether there is a query.
    pub fn has_query(&self) -> bool {
        self.path.contains('?')
    }

    /// The same with another path before its query.
    pub fn on_path(mut self, path: &str) -> Self {
        let query = self.path.split_once('?').map(|(_, query)| format!("?{query}"));
        self.path = format!("{path}{}", query.unwrap_or_default());
        self
    }

    /// The request as the engine takes it.
    pub fn request(&self) -> Request<'_> {
        let headers = self.headers.iter().map(|(name, value)| (name.as_str(), value.as_slice()));
        Request {
            method: "GET",
            host: "api.example.com",
            path: &self.path,
            headers: headers.collect(),
            ..Request::default()
        }
    }

    /// The request with Envoy's edits, as the upstream gets it.
    pub fn edited(&self, edits: &claimgate::policy::upstream::Edits<'_>) -> Self {
        let mut headers = self.headers.clone();
        headers.retain(|(name, _)| !edits.remove.iter().any(|removed| removed == name));
        for (name, value) in &edits.set {
            headers.retain(|(other, _)| other != name);
            headers.push(((*name).to_owned(), value.as_bytes().to_vec()));
        }
        let path = match self.path.split_once('?') {
            Some((path, query)) => {
                let stays = |pair: &&str| {
                    let name = pair.split_once('=').map_or(*pair, |(name, _)| name);
                    !edits.remove_query.iter().any(|removed| removed == name)
                };
                let query: Vec<&str> = query.split('&').filter(stays).collect();
                format!("{path}?{}", query.join("&"))
            }
            None => self.path.clone(),
        };
        Self { path, headers }
    }
}
