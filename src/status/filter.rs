//! Which denials a reader asked for, in the page's address.

use serde::Deserialize;
use url::form_urlencoded::Serializer;

use super::denials::cut;
use crate::reason::Reason;

/// The parameters of the query. What is empty does not filter.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Filter {
    /// `x-request-id` or trace id of one request.
    pub(super) request_id: String,
    pub(super) reason: String,
    /// This and the next two: [`NONE`] stands for denials without one.
    pub(super) provider: String,
    pub(super) route: String,
    /// The API key, the subject, or the client where there is no subject.
    pub(super) subject: String,
    /// Whose budget was used up; also without a list of its own.
    pub(super) limit_key: String,
    /// What the denials are listed by in full: one of [`Filter::LISTED`].
    pub(super) by: String,
}

/// Filters for denials that have no provider, route or subject.
pub(super) const NONE: &str = "-";

/// What is known of a denial, as it is filtered by.
#[derive(Clone, Copy, Debug)]
pub(super) struct Traits<'a> {
    pub(super) reason: &'a str,
    pub(super) provider: Option<&'a str>,
    pub(super) route: Option<&'a str>,
    pub(super) subject: Option<&'a str>,
    pub(super) limit_key: Option<&'a str>,
}

impl<'a> Traits<'a> {
    /// Those of a denial, or of several that have them in common.
    pub(super) fn of(
        reason: Reason,
        provider: &'a Option<String>,
        route: &'a Option<String>,
        subject: Option<&'a String>,
    ) -> Self {
        Self {
            reason: reason.as_str(),
            provider: provider.as_deref(),
            route: route.as_deref(),
            subject: subject.map(String::as_str),
            limit_key: None,
        }
    }

    /// The value of the filter with this name that the denial passes.
    pub(super) fn value(&self, name: &str) -> &'a str {
        match name {
            "reason" => self.reason,
            "provider" => self.provider.unwrap_or(NONE),
            "route" => self.route.unwrap_or(NONE),
            "limit_key" => self.limit_key.unwrap_or(NONE),
            _ => self.subject.unwrap_or(NONE),
        }
    }
}

impl Filter {
    /// The names of the filters that narrow the denials, and whose values are
    /// listed.
    pub(super) const LISTED: [&str; 4] = ["reason", "provider", "route", "subject"];

    /// The names of all filters.
    const NAMES: [&str; 5] = ["reason", "provider", "route", "subject", "limit_key"];

    /// Whether a denial passes. One of a single request is found by
    /// [`super::report::DenialReport::is_request`].
    pub(super) fn matches(&self, traits: &Traits<'_>) -> bool {
        self.active().all(|(name, value)| traits.value(name) == value)
    }

    /// The filters that are set, and their values.
    pub(super) fn active(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let all = Self::NAMES.into_iter().map(|name| (name, cut(self.get(name).trim())));
        all.filter(|(_, value)| !value.is_empty())
    }

    /// The address of the page's denials with another value of one parameter,
    /// empty for none.
    pub(super) fn link(&self, name: &str, value: &str) -> String {
        self.link_to("denials", name, value)
    }

    /// The same, of another section.
    pub(super) fn link_to(&self, section: &str, name: &str, value: &str) -> String {
        let mut query = Serializer::new(String::new());
        for known in Self::NAMES.into_iter().chain(["by"]) {
            let value = if known == name { value } else { self.get(known) };
            if !value.is_empty() {
                query.append_pair(known, value);
            }
        }
        let query = query.finish();
        match query.is_empty() {
            true => format!("/#{section}"),
            false => format!("/?{query}#{section}"),
        }
    }

    fn get(&self, name: &str) -> &str {
        match name {
            "reason" => &self.reason,
            "provider" => &self.provider,
            "route" => &self.route,
            "subject" => &self.subject,
            "limit_key" => &self.limit_key,
            _ => &self.by,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const DENIAL: Traits<'_> = Traits {
        reason: "expired",
        provider: Some("idp"),
        route: None,
        subject: Some("a&b"),
        limit_key: None,
    };

    fn filter(query: &str) -> Filter {
        let pairs = url::form_urlencoded::parse(query.as_bytes()).into_owned();
        let mut filter = Filter::default();
        for (name, value) in pairs {
            match name.as_str() {
                "reason" => filter.reason = value,
                "provider" => filter.provider = value,
                "route" => filter.route = value,
                "subject" => filter.subject = value,
                "limit_key" => filter.limit_key = value,
                _ => filter.by = value,
            }
        }
        filter
    }

    #[test]
    fn every_filter_narrows() {
        for (query, passes) in [
            ("", true),
            ("reason=expired&provider=idp&route=-&subject=a%26b", true),
            ("reason=%20expired%20", true),
            ("reason=bad_signature", false),
            ("provider=-", false),
            ("route=admin", false),
            ("subject=a", false),
            ("limit_key=-", true),
            ("limit_key=idp%2Fa%26b", false),
        ] {
            assert_eq!(filter(query).matches(&DENIAL), passes, "{query}");
        }
    }

    #[test]
    fn links_change_one_filter_and_keep_the_others() {
        let filter = filter("reason=expired&by=route");
        assert_eq!(
            filter.link("subject", "a&\"b"),
            "/?reason=expired&subject=a%26%22b&by=route#denials"
        );
        assert_eq!(filter.link("by", ""), "/?reason=expired#denials");
        let of_one = filter.link_to("limits", "limit_key", "idp/ada");
        assert_eq!(of_one, "/?reason=expired&limit_key=idp%2Fada&by=route#limits");
        assert_eq!(Filter::default().link("route", ""), "/#denials");
    }
}
