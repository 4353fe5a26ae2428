//! Everything that the status page shows, as of one moment.

use std::cell::OnceCell;

use serde::Serialize;

use super::{
    ConfigInfo, StatusPage,
    denials::{self, DenialRecord, Group},
    filter::{Filter, Traits},
    history::{BUCKET_SECONDS, BUCKETS, Bucket, History},
    requirement::{self, requirement},
    text::Moment,
};
use crate::{
    metrics::{ByDuration, checks::decision_of, quantile},
    policy::routes::Routes,
    provider::{
        api_key,
        oauth2::key_source::{KeyStatus, Status},
    },
    readiness::State,
    reason::Reason,
    settings::{ApiKeySettings, KeyLocation, OAuth2Settings, ProviderKind, ProviderSettings},
    time::UnixTime,
};

mod limits;
mod problems;
mod routes;

pub use limits::{LimitedCaller, LimitsReport, PlanReport};
pub use problems::Problem;

/// The report; `/status.json` is its JSON.
#[derive(Debug, Serialize)]
pub struct Report {
    /// When it was made.
    pub now: Moment,
    /// The program's version.
    pub version: &'static str,
    /// The source revision it was built from.
    pub revision: &'static str,
    /// When the process started.
    pub started: Moment,
    /// `ready`, `not_ready` or `draining`.
    pub state: &'static str,
    /// What it waits for until it is ready, such as `okta: no signing keys yet`.
    pub waiting_for: Vec<String>,
    /// Current problems, the worst first.
    pub problems: Vec<Problem>,
    /// The configuration.
    pub config: ConfigReport,
    /// The checks of the last minutes.
    pub checks: ChecksReport,
    /// The denials of the last ten minutes, counted by what they have in common,
    /// the most frequent first.
    pub causes: Vec<CauseReport>,
    /// The last denials, the latest first.
    pub denials: Vec<DenialReport>,
    /// The plans, and which callers meet their limits; null without plans.
    pub limits: Option<LimitsReport>,
    /// All providers, in the order in which they are asked.
    pub providers: Vec<ProviderReport>,
    /// All routes, in the order in which they are matched; the last, without a
    /// name, has what applies to all other requests.
    pub routes: Vec<RouteReport>,
    /// All API keys: those that expire first, then the rest by name.
    pub api_keys: Vec<ApiKeyReport>,
}

/// The active configuration, and the last failed reload.
#[derive(Debug, Serialize)]
pub struct ConfigReport {
    /// Its file.
    pub path: String,
    /// `sha256:` and the hash of the file.
    pub digest: String,
    /// When it was loaded.
    pub loaded: Moment,
    /// Whether authentication is on.
    pub enabled: bool,
    /// What its author may not have intended, with file, line and column.
    pub warnings: Vec<String>,
    /// The last reload, if it failed.
    pub failed_reload: Option<FailedReload>,
}

/// A reload that failed.
#[derive(Debug, Serialize)]
pub struct FailedReload {
    /// When.
    pub at: Moment,
    /// Why.
    pub error: String,
}

/// The checks of the last minutes.
#[derive(Debug, Serialize)]
pub struct ChecksReport {
    /// Allowed checks per second, over the last 10 to 20 seconds.
    pub allowed_per_second: f64,
    /// Denied ones.
    pub denied_per_second: f64,
    /// How much time a bucket covers, in seconds.
    pub bucket_seconds: u64,
    /// At most how many buckets there are.
    pub max_buckets: usize,
    /// Counts over time, the current stretch last.
    pub buckets: Vec<BucketReport>,
    /// The reasons of all checks in these buckets, the most frequent first.
    pub reasons: Vec<ReasonReport>,
    /// Half of the checks in these buckets took at most so many microseconds;
    /// null without checks. Durations are counted in the metric's buckets.
    pub p50_us: Option<u64>,
    /// And 99 of 100 of them.
    pub p99_us: Option<u64>,
    /// Tokens that were found in the cache of verified ones.
    pub token_cache_hits: u64,
    /// Those that were not, whose signature was computed.
    pub token_cache_misses: u64,
}

/// Denials of the last ten minutes with the same reason, provider, route and
/// caller. 1000 of them are kept, those with the most denials.
#[derive(Debug, Serialize)]
pub struct CauseReport {
    /// The reason's word.
    #[serde(serialize_with = "word")]
    pub reason: Reason,
    /// The provider that decided.
    pub provider: Option<String>,
    /// The route that they matched, or that Envoy named.
    pub route: Option<String>,
    /// Who sent them, where that is verified.
    pub subject: Option<String>,
    /// The OAuth 2.0 client, likewise.
    pub client_id: Option<String>,
    /// The name of the API key.
    pub key: Option<String>,
    /// The plan whose limit they were over.
    pub plan: Option<String>,
    /// Whose budget was used up.
    pub limit_key: Option<String>,
    /// How many.
    pub count: u64,
    /// When about the last one was.
    pub last: Moment,
    /// What it rested on.
    pub detail: Option<String>,
}

/// A route, and what it asks for.
#[derive(Debug, Serialize)]
pub struct RouteReport {
    /// Its name; null for what applies where no route matches.
    pub name: Option<String>,
    /// What requests it matches, as `key: value` of the configuration.
    pub matches: Vec<String>,
    /// What it asks for, likewise.
    pub rules: Vec<String>,
    /// Allowed checks since the start of the process.
    pub allowed: u64,
    /// Denied ones.
    pub denied: u64,
}

/// One stretch of time.
#[derive(Debug, Serialize)]
pub struct BucketReport {
    /// When it begins.
    pub start: Moment,
    /// Allowed checks.
    pub allowed: u64,
    /// Denied ones.
    pub denied: u64,
}

/// One reason.
#[derive(Debug, Serialize)]
pub struct ReasonReport {
    /// Its word.
    #[serde(serialize_with = "word")]
    pub reason: Reason,
    /// `allow` or `deny`.
    pub decision: &'static str,
    /// How many checks in all buckets.
    pub count: u64,
    /// How many in each.
    pub counts: Vec<u64>,
}

/// A denied request. Absent values are null; none is longer than 256 bytes.
#[derive(Debug, Serialize)]
pub struct DenialReport {
    /// When.
    pub time: Moment,
    /// The reason's word.
    #[serde(serialize_with = "word")]
    pub reason: Reason,
    /// What the reason rests on, in one sentence.
    pub detail: Option<String>,
    /// What the active configuration requires here.
    pub wanted: Option<String>,
    /// The provider that decided.
    pub provider: Option<String>,
    /// The route that it matched, or that Envoy named.
    pub route: Option<String>,
    /// Who sent it, where that is verified, also of a token that was refused.
    pub subject: Option<String>,
    /// The OAuth 2.0 client, likewise.
    pub client_id: Option<String>,
    /// The name of the API key.
    pub key: Option<String>,
    /// The plan whose limit it was over.
    pub plan: Option<String>,
    /// Whose budget was used up.
    pub limit_key: Option<String>,
    /// It was allowed: limits are only tried out.
    pub would_be: bool,
    /// The method.
    pub method: Option<String>,
    /// The path without its query.
    pub path: Option<String>,
    /// The host.
    pub host: Option<String>,
    /// `x-request-id`.
    pub request_id: Option<String>,
    /// From `traceparent`.
    pub trace_id: Option<String>,
}

/// A provider.
#[derive(Debug, Serialize)]
pub struct ProviderReport {
    /// Its name.
    pub name: String,
    /// `api_key`, `oauth2` or `grpc`.
    #[serde(rename = "type")]
    pub kind: &'static str,
    /// The issuer of its tokens.
    pub issuer: Option<String>,
    /// Checks since the start of the process that it decided and that were
    /// allowed.
    pub allowed: u64,
    /// Denied ones.
    pub denied: u64,
    /// What it requires of a token, as `key: value` of the configuration.
    pub rules: Vec<String>,
    /// How many API keys it has.
    pub api_keys: Option<usize>,
    /// Its signing keys.
    pub keys: Option<KeysReport>,
}

/// The signing keys of a provider.
#[derive(Debug, Serialize)]
pub struct KeysReport {
    /// `jwks_uri`, `discovery` or `jwks_file`.
    pub source: &'static str,
    /// The usable keys.
    pub usable: Vec<KeyReport>,
    /// When the last fetch began; null for a file.
    pub last_fetch: Option<Moment>,
    /// When one last succeeded.
    pub last_success: Option<Moment>,
    /// When the next one is due.
    pub next_fetch: Option<Moment>,
    /// Why the last one failed, if it did.
    pub last_error: Option<String>,
}

/// A signing key.
#[derive(Debug, Serialize)]
pub struct KeyReport {
    /// Its id, if it has one.
    pub kid: Option<String>,
    /// The algorithms it may verify.
    pub algorithms: Vec<&'static str>,
    /// When it was first seen.
    pub since: Moment,
}

/// An API key.
#[derive(Debug, Serialize)]
pub struct ApiKeyReport {
    /// The provider that knows it.
    pub provider: String,
    /// Its name.
    pub name: String,
    /// `valid`, `expired`, `not_yet_valid` or `revoked`.
    pub state: &'static str,
    /// The key is refused before this time.
    pub not_before: Option<Moment>,
    /// The key is refused from this time on.
    pub expires_at: Option<Moment>,
}

fn word<S: serde::Serializer>(reason: &Reason, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(reason.as_str())
}

impl StatusPage {
    /// The report of this moment; `None` if the page is off.
    pub fn report(&self) -> Option<Report> {
        let config = self.config().filter(|config| self.is_on(&config.server))?;
        self.update_history();
        let now = UnixTime::now();
        let checks = ChecksReport::of(&self.state().history, now);
        let failure = self.state().failure.clone();
        let api_keys = api_keys(&config, now);
        let mut providers: Vec<_> =
            config.auth.providers.iter().map(|known| provider(known, &config)).collect();
        let readiness = self.readiness.state();
        let by_provider = self.metrics.checks_by_provider();
        for provider in &mut providers {
            let split = by_provider.get(&provider.name).copied().unwrap_or_default();
            (provider.allowed, provider.denied) = (split.allowed, split.denied);
        }
        let routes = OnceCell::new();
        let groups = self.denials.groups(now);
        let recent = self.denials.latest();
        let recent = recent.iter().map(|record| denial(record, &config, &routes));
        let (would_be_denials, denials) = recent.partition(|denial| denial.would_be);
        let mut report = Report {
            now: Moment(now),
            version: env!("CARGO_PKG_VERSION"),
            revision: self.revision,
            started: Moment(self.started),
            state: match readiness {
                State::Ready => "ready",
                State::Waiting(_) => "not_ready",
                State::Draining => "draining",
            },
            waiting_for: match &readiness {
                State::Waiting(missing) => missing.clone(),
                State::Ready | State::Draining => Vec::new(),
            },
            problems: Vec::new(),
            config: ConfigReport {
                path: self.config_path.display().to_string(),
                digest: config.digest.clone(),
                loaded: Moment(config.since),
                enabled: config.auth.enabled,
                warnings: config.warnings.iter().map(ToString::to_string).collect(),
                failed_reload: failure
                    .map(|failure| FailedReload { at: Moment(failure.at), error: failure.error }),
            },
            checks,
            causes: groups.iter().filter(|group| !group.last.would_be).map(cause).collect(),
            denials,
            limits: limits::of(&config, &self.metrics.limits_by_plan(), &groups, would_be_denials),
            providers,
            routes: routes::of(&config.auth, &self.metrics.checks_by_route()),
            api_keys,
        };
        report.problems = problems::of(&report, &readiness);
        Some(report)
    }
}

impl Report {
    /// The state as it is shown.
    pub fn state_words(&self) -> String {
        self.state.replace('_', " ")
    }

    /// The share of tokens that were found in the cache, in percent.
    pub fn cache_hits(&self) -> Option<u64> {
        let checks = &self.checks;
        let all = checks.token_cache_hits + checks.token_cache_misses;
        (checks.token_cache_hits * 100).checked_div(all)
    }

    /// Keeps the denials that a reader asked for.
    pub(super) fn narrow_to(&mut self, filter: &Filter) {
        let is_wanted = |denial: &DenialReport| {
            filter.request_id.trim().is_empty() || denial.is_request(&filter.request_id)
        };
        self.denials.retain(|denial| filter.matches(&denial.traits()) && is_wanted(denial));
        self.causes.retain(|cause| filter.matches(&cause.traits()));
        if let Some(limits) = &mut self.limits {
            let would_be = &mut limits.would_be_denials;
            would_be.retain(|denial| filter.matches(&denial.traits()) && is_wanted(denial));
        }
    }
}

impl ProviderReport {
    /// Whether its keys can't be fetched or there are none.
    pub fn is_failing(&self) -> bool {
        let failing = |keys: &KeysReport| keys.last_error.is_some() || keys.usable.is_empty();
        self.keys.as_ref().is_some_and(failing)
    }
}

impl DenialReport {
    pub(super) fn traits(&self) -> Traits<'_> {
        let Self { reason, provider, route, subject, client_id, .. } = self;
        let of = Traits::of(*reason, provider, route, subject.as_ref().or(client_id.as_ref()));
        Traits { limit_key: self.limit_key.as_deref(), ..of }
    }

    /// Whether this is the request with this `x-request-id` or trace id.
    pub fn is_request(&self, id: &str) -> bool {
        let id = denials::cut(id.trim());
        let is = |value: &Option<String>| value.as_deref() == Some(id);
        is(&self.request_id) || is(&self.trace_id)
    }
}

impl CauseReport {
    pub(super) fn traits(&self) -> Traits<'_> {
        let Self { reason, provider, route, subject, client_id, .. } = self;
        let of = Traits::of(*reason, provider, route, subject.as_ref().or(client_id.as_ref()));
        Traits { limit_key: self.limit_key.as_deref(), ..of }
    }
}

impl ChecksReport {
    fn of(history: &History, now: UnixTime) -> Self {
        let rates = history.rates(now);
        let bucket = |bucket: &Bucket| BucketReport {
            start: Moment(UnixTime::from_seconds(bucket.start as f64)),
            allowed: bucket.allowed(),
            denied: bucket.denied(),
        };
        let mut reasons: Vec<_> = Reason::ALL
            .iter()
            .map(|reason| {
                let counts = history.buckets().map(|bucket| bucket.counts[*reason as usize]);
                let counts: Vec<_> = counts.collect();
                let (count, decision) = (counts.iter().sum(), decision_of(*reason));
                ReasonReport { reason: *reason, decision, count, counts }
            })
            .filter(|report| report.count > 0)
            .collect();
        reasons.sort_by_key(|report| std::cmp::Reverse(report.count));
        let mut durations: ByDuration = [0; _];
        let mut cache = [0; 2];
        for bucket in history.buckets() {
            durations.iter_mut().zip(bucket.durations).for_each(|(sum, count)| *sum += count);
            cache.iter_mut().zip(bucket.cache).for_each(|(sum, count)| *sum += count);
        }
        Self {
            p50_us: quantile(&durations, 0.5),
            p99_us: quantile(&durations, 0.99),
            token_cache_hits: cache[0],
            token_cache_misses: cache[1],
            allowed_per_second: rates.allowed,
            denied_per_second: rates.denied,
            bucket_seconds: BUCKET_SECONDS,
            max_buckets: BUCKETS,
            buckets: history.buckets().map(bucket).collect(),
            reasons,
        }
    }
}

fn cause(group: &Group) -> CauseReport {
    let last = &group.last;
    CauseReport {
        reason: last.reason,
        provider: known(last.provider()),
        route: known(last.route()),
        subject: known(last.subject()),
        client_id: known(last.client_id()),
        key: known(last.key()),
        plan: known(last.plan()),
        limit_key: known(last.limit_key()),
        count: group.count,
        last: Moment(last.at),
        detail: known(last.detail()),
    }
}

fn known(value: &str) -> Option<String> {
    (!value.is_empty()).then(|| value.to_owned())
}

fn denial(record: &DenialRecord, config: &ConfigInfo, routes: &OnceCell<Routes>) -> DenialReport {
    let value = known;
    DenialReport {
        time: Moment(record.at),
        reason: record.reason,
        detail: value(record.detail()),
        wanted: requirement(config, record, routes),
        provider: value(record.provider()),
        route: value(record.route()),
        subject: value(record.subject()),
        client_id: value(record.client_id()),
        key: value(record.key()),
        plan: value(record.plan()),
        limit_key: value(record.limit_key()),
        would_be: record.would_be,
        method: value(record.method()),
        path: value(record.path()),
        host: value(record.host()),
        request_id: value(record.request_id()),
        trace_id: value(record.trace_id()),
    }
}

fn provider(settings: &ProviderSettings, config: &ConfigInfo) -> ProviderReport {
    let report = |kind| ProviderReport {
        name: settings.name.clone(),
        kind,
        issuer: None,
        allowed: 0,
        denied: 0,
        rules: Vec::new(),
        api_keys: None,
        keys: None,
    };
    match &settings.kind {
        ProviderKind::ApiKey(keys) => {
            ProviderReport { api_keys: Some(keys.len()), ..report("api_key") }
        }
        ProviderKind::Grpc(grpc) => ProviderReport {
            rules: vec![
                format!("address: {}", grpc.address),
                format!("timeout_ms: {}", grpc.timeout.as_millis()),
            ],
            ..report("grpc")
        },
        ProviderKind::OAuth2(oauth2) => {
            let source = config.sources.iter().find(|(name, _)| *name == settings.name);
            ProviderReport {
                issuer: Some(oauth2.issuer.clone()),
                rules: rules(oauth2),
                keys: source.map(|(_, keys)| KeysReport::of(oauth2, keys.status())),
                ..report("oauth2")
            }
        }
    }
}

/// The requirements of a provider for its tokens.
fn rules(oauth2: &OAuth2Settings) -> Vec<String> {
    let mut rules = vec![format!("algorithms: {}", requirement::list(&oauth2.algorithms))];
    if !oauth2.audience.is_empty() {
        rules.push(format!("audience: {}", requirement::list(&oauth2.audience)));
    }
    if !oauth2.client_ids.is_empty() {
        rules.push(format!("client_ids: {}", requirement::list(&oauth2.client_ids)));
    }
    if !oauth2.required_claims.is_empty() {
        let claims = oauth2.required_claims.iter().map(requirement::rule);
        rules.push(format!("required_claims: {}", requirement::list(claims)));
    }
    rules
}

impl KeysReport {
    fn of(settings: &OAuth2Settings, status: Status) -> Self {
        let moment = |time: std::time::SystemTime| Moment(time.into());
        let key = |KeyStatus { kid, algorithms, since }: KeyStatus| KeyReport {
            kid,
            algorithms: algorithms.into_iter().map(|algorithm| algorithm.as_str()).collect(),
            since: moment(since),
        };
        Self {
            source: match settings.keys.location {
                KeyLocation::File(_) => "jwks_file",
                KeyLocation::Url(_) => "jwks_uri",
                KeyLocation::Discovery { .. } => "discovery",
            },
            usable: status.keys.into_iter().map(key).collect(),
            last_fetch: status.last_attempt.map(moment),
            last_success: status.last_success.map(moment),
            next_fetch: status.next_refresh.map(moment),
            last_error: status.last_error,
        }
    }
}

fn api_keys(config: &ConfigInfo, now: UnixTime) -> Vec<ApiKeyReport> {
    let mut reports = Vec::new();
    for provider in &config.auth.providers {
        if let ProviderKind::ApiKey(keys) = &provider.kind {
            reports.extend(keys.iter().map(|key| api_key(&provider.name, key, now)));
        }
    }
    let first_to_expire =
        |report: &ApiKeyReport| report.expires_at.map_or(f64::INFINITY, |at| at.0.as_seconds());
    reports.sort_by(|a, b| {
        let by_time = first_to_expire(a).total_cmp(&first_to_expire(b));
        by_time.then_with(|| (&a.provider, &a.name).cmp(&(&b.provider, &b.name)))
    });
    reports
}

fn api_key(provider: &str, key: &ApiKeySettings, now: UnixTime) -> ApiKeyReport {
    let state = match api_key::refusal(key.revoked, key.not_before, key.expires_at, now) {
        None => "valid",
        Some(Reason::KeyRevoked) => "revoked",
        Some(Reason::KeyNotYetValid) => "not_yet_valid",
        Some(_) => "expired",
    };
    ApiKeyReport {
        provider: provider.to_owned(),
        name: key.name.clone(),
        state,
        not_before: key.not_before.map(Moment),
        expires_at: key.expires_at.map(Moment),
    }
}
