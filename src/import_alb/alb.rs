//! The configuration of an Application Load Balancer, as far as it decides which
//! requests pass.

/// The label of a listener that has no name in the document.
pub(super) const UNNAMED: &str = "(unnamed)";

/// The end of an ARN, which tells the listeners of one account apart.
pub(super) fn short(arn: &str) -> &str {
    arn.rsplit_once('/').map_or(arn, |(_, end)| end)
}

/// A listener with its rules.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listener {
    /// What people call it, such as `HTTPS:443`.
    pub(super) label: String,
    /// Its ARN or Terraform address, where known.
    pub(super) ids: Vec<String>,
    /// The port, where known.
    pub(super) port: Option<u64>,
    /// `HTTP` or `HTTPS`, where known.
    pub(super) protocol: Option<String>,
    /// The name of its TLS policy, where known.
    pub(super) tls_policy: Option<String>,
    /// In the order in which they are tried; the default action is the last,
    /// if the document has it.
    pub(super) rules: Vec<Rule>,
    /// Whether the document would show rules if there were any.
    pub(super) shows_rules: bool,
}

/// A rule of a listener, or its default action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// `None` for the default action.
    pub(super) priority: Option<u64>,
    /// All of these must hold.
    pub(super) conditions: Vec<Condition>,
    /// What happens; never empty.
    pub(super) actions: Vec<Action>,
    /// Kinds of rewrites that are applied to what the rule matches.
    pub(super) transforms: Vec<String>,
}

/// A condition: any one of its values must match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Condition {
    /// What is compared.
    pub(super) field: Field,
    /// Wildcard patterns; for methods, the methods.
    pub(super) values: Vec<String>,
    /// Regular expressions.
    pub(super) regexes: Vec<String>,
}

/// What a condition compares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Field {
    /// The path.
    Path,
    /// The host.
    Host,
    /// The method.
    Method,
    /// A header, by name. Its values may be secrets and are not read.
    Header(String),
    /// Query parameters, by name where it has one.
    Query(Vec<String>),
    /// The client's address.
    SourceIp,
    /// A field that this version does not know.
    Unknown(String),
}

/// What a rule does with a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Action {
    /// Passes it on to targets.
    Forward,
    /// Checks its token first.
    Validate(Validation),
    /// Answers it without a target; holds how.
    Answer(String),
    /// Redirects to a login page first; holds its kind.
    Login(String),
    /// Another action, by its type.
    Unknown(String),
    /// An action that is not in the document; holds what else is known.
    Missing(String),
}

/// A `jwt-validation` action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Validation {
    /// The required `iss`.
    pub(super) issuer: String,
    /// Where the keys are.
    pub(super) jwks: String,
    /// The other required claims.
    pub(super) claims: Vec<Claim>,
}

/// An additional claim of a `jwt-validation` action.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Claim {
    /// Its name.
    pub(super) name: String,
    /// How the token writes it.
    pub(super) format: ClaimFormat,
    /// What it must hold.
    pub(super) values: Vec<String>,
}

/// How a token writes a claim.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClaimFormat {
    /// `single-string`.
    Single,
    /// `string-array`.
    Array,
    /// `space-separated-values`.
    Words,
}

impl Listener {
    /// A listener of which only rules are known, which are added later.
    pub(super) fn of_rules(ids: Vec<String>) -> Self {
        Self {
            label: ids.first().map_or(UNNAMED, |arn| short(arn)).into(),
            ids,
            port: None,
            protocol: None,
            tls_policy: None,
            rules: Vec::new(),
            shows_rules: true,
        }
    }

    /// Whether any of its rules checks tokens.
    pub(super) fn validates(&self) -> bool {
        self.rules.iter().any(|rule| rule.validations().next().is_some())
    }

    /// Whether any of its rules passes requests on to targets.
    pub(super) fn forwards(&self) -> bool {
        self.rules.iter().any(|rule| rule.actions.contains(&Action::Forward))
    }

    /// Whether it speaks plain HTTP.
    pub(super) fn is_plaintext(&self) -> bool {
        self.protocol.as_deref().is_some_and(|protocol| protocol.eq_ignore_ascii_case("HTTP"))
    }

    /// Whether `--listener` means this one.
    pub(super) fn is_called(&self, name: &str) -> bool {
        self.label.eq_ignore_ascii_case(name)
            || self.ids.iter().any(|id| id == name)
            || self.port.is_some_and(|port| port.to_string() == name)
    }
}

impl Rule {
    /// Its token checks.
    pub(super) fn validations(&self) -> impl Iterator<Item = &Validation> {
        self.actions.iter().filter_map(|action| match action {
            Action::Validate(validation) => Some(validation),
            _ => None,
        })
    }

    /// What people call it.
    pub(super) fn label(&self) -> String {
        match self.priority {
            Some(priority) => format!("rule {priority}"),
            None => "the default action".into(),
        }
    }

    /// What its route is called.
    pub(super) fn route_name(&self) -> String {
        match self.priority {
            Some(priority) => format!("rule-{priority}"),
            None => "default".into(),
        }
    }

    /// Its conditions in words, empty if it has none.
    pub(super) fn conditions_text(&self) -> String {
        let texts: Vec<_> = self.conditions.iter().map(Condition::text).collect();
        texts.join(", ")
    }
}

impl Condition {
    /// The condition in words, without what may be secret.
    pub(super) fn text(&self) -> String {
        let values = || {
            let regexes = self.regexes.iter().map(|regex| format!("regex {regex}"));
            self.values.iter().cloned().chain(regexes).collect::<Vec<_>>().join(" or ")
        };
        match &self.field {
            Field::Path => format!("path {}", values()),
            Field::Host => format!("host {}", values()),
            Field::Method => format!("method {}", values()),
            Field::Header(name) => format!("a value of the header {name}"),
            Field::Query(names) if names.is_empty() => "a value in the query".into(),
            Field::Query(names) => format!("a value of the query parameter {}", names.join(" or ")),
            Field::SourceIp => format!("client address {}", values()),
            Field::Unknown(field) => format!("a condition on {field}"),
        }
    }
}
