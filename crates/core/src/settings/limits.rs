//! How much each caller may ask for, by its plan.

use std::{fmt, num::NonZeroU32, time::Duration};

use crate::claims::ClaimPath;

/// The plans and how callers are told apart.
#[derive(Clone, Debug, PartialEq)]
pub struct LimitSettings {
    /// The plans; names are unique.
    pub plans: Vec<PlanSettings>,
    /// Where a caller's claims name its plan; an API key may name it itself.
    pub plan_claim: ClaimPath,
    /// The plan of callers without one and of those whose plan does not exist;
    /// `None` leaves them without a limit.
    pub default_plan: Option<String>,
    /// What callers with one budget have in common.
    pub limit_by: LimitBy,
    /// Who counts.
    pub mode: LimitMode,
    /// How many callers are counted at the most; never zero.
    pub max_callers: usize,
}

/// One entry of `auth.plans`. It limits something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlanSettings {
    /// Unique name: visible ASCII and inner spaces.
    pub name: String,
    /// Requests.
    pub requests: Option<Amount>,
    /// Tokens of a language model, which Envoy counts.
    pub tokens: Option<Amount>,
}

/// So many in each unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Amount {
    /// How many.
    pub number: NonZeroU32,
    /// In which time.
    pub unit: TimeUnit,
    /// How many at once; `None` allows the whole number.
    pub burst: Option<NonZeroU32>,
}

/// The units of an amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TimeUnit {
    /// `per_second`.
    Second,
    /// `per_minute`.
    Minute,
    /// `per_hour`.
    Hour,
    /// `per_day`.
    Day,
}

/// What callers with one budget have in common, beside their provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LimitBy {
    /// Their subject.
    Subject,
    /// Their OAuth 2.0 client.
    ClientId,
    /// A claim that is a string, a number or a boolean.
    Claim(ClaimPath),
}

/// Who counts the requests of a caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitMode {
    /// This process, which denies what is over the limit.
    Local,
    /// This process, which only says what it would deny.
    Shadow,
    /// A service that Envoy asks; the metadata tells it the limits.
    Metadata,
}

impl LimitMode {
    /// Whether this process counts requests.
    pub fn counts_here(self) -> bool {
        self != Self::Metadata
    }
}

/// What a route's requests take from a budget.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RouteLimit {
    /// Nothing: they are neither counted nor limited.
    Unlimited,
    /// So many requests' worth.
    Cost(NonZeroU32),
}

impl Default for LimitSettings {
    fn default() -> Self {
        Self {
            plans: Vec::new(),
            plan_claim: ClaimPath::named("plan"),
            default_plan: None,
            limit_by: LimitBy::Subject,
            mode: LimitMode::Local,
            max_callers: 100_000,
        }
    }
}

impl LimitSettings {
    /// The claims that are looked at.
    pub fn claims(&self) -> impl Iterator<Item = &ClaimPath> {
        let told_apart = match &self.limit_by {
            LimitBy::Claim(path) => Some(path),
            LimitBy::Subject | LimitBy::ClientId => None,
        };
        [&self.plan_claim].into_iter().chain(told_apart)
    }
}

/// One request's worth.
impl Default for RouteLimit {
    fn default() -> Self {
        Self::Cost(NonZeroU32::MIN)
    }
}

impl Amount {
    /// How many at once.
    pub fn burst(&self) -> NonZeroU32 {
        self.burst.unwrap_or(self.number)
    }
}

/// As people say it: `60 a minute, 20 at once`.
impl fmt::Display for Amount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.number, self.unit.as_words())?;
        match self.burst {
            Some(burst) if burst != self.number => write!(f, ", {burst} at once"),
            _ => Ok(()),
        }
    }
}

impl TimeUnit {
    /// All of them, from the shortest on.
    pub const ALL: [Self; 4] = [Self::Second, Self::Minute, Self::Hour, Self::Day];

    /// How long it is.
    pub const fn duration(self) -> Duration {
        Duration::from_secs(match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86_400,
        })
    }

    /// As people say it: `a minute`.
    pub const fn as_words(self) -> &'static str {
        match self {
            Self::Second => "a second",
            Self::Minute => "a minute",
            Self::Hour => "an hour",
            Self::Day => "a day",
        }
    }

    /// As Envoy's `RateLimitUnit` writes it.
    pub const fn as_envoy(self) -> &'static str {
        match self {
            Self::Second => "SECOND",
            Self::Minute => "MINUTE",
            Self::Hour => "HOUR",
            Self::Day => "DAY",
        }
    }
}
