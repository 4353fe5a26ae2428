//! Why no route could be chosen, for `explain` and the status page. The
//! decision itself never comes here.

use std::{convert::Infallible, fmt};

use super::{
    agreement::rules_of,
    index::Routes,
    tree::{View, Walk},
};
use crate::{
    policy::path::{self, READINGS, Reading},
    request::Request,
};

/// A way to read a request, and where it leads.
struct Way {
    how: How,
    text: Vec<u8>,
    route: usize,
}

/// What makes two readings of a path lead to different routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Difference {
    /// Whether the case of letters counts.
    Case,
    /// Whether a slash at the end counts.
    Slash,
    /// Whether an empty segment is the value of a template's `{name}`.
    EmptySegment,
    /// Something else.
    Other,
}

/// What a way to read a request does with it.
enum How {
    /// Method and path are compared byte for byte.
    AsSent,
    /// The path is read so.
    Reading(Reading, View),
    /// The same, an empty segment being the value of a template's `{name}`.
    Filled(Reading, View),
}

impl Routes {
    /// The names of all routes, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> + Clone {
        self.routes.iter().map(|route| route.name.as_str())
    }

    /// What makes a path ambiguous whatever the routes are; `None` if nothing
    /// does.
    pub(crate) fn defect_of(&self, path: &str) -> Option<String> {
        path::read(path, self.has_matches).err().map(|defect| defect.to_string())
    }

    /// What makes a request's path ambiguous; `None` if it is not.
    pub fn describe_ambiguity(&self, request: &Request<'_>) -> Option<String> {
        let path = request.bare_path();
        if let Some(defect) = self.defect_of(path) {
            return Some(defect);
        }
        let walk = self.walk(request);
        let as_sent = self.match_as_sent.then(|| Way {
            how: How::AsSent,
            text: path.into(),
            route: self.find_as_sent(walk, path),
        });
        let mut ways = as_sent.into_iter().chain(self.ways(walk, path));
        let first = ways.next()?;
        let rules = |way: &Way| rules_of(&self.routes, way.route);
        let other = ways.find(|way| rules(way) != rules(&first))?;
        Some(format!("{}; {}", self.told(&first), self.told(&other)))
    }

    /// Where a reading of the path leads that does not lead to the rules of the
    /// route at this position, and what makes it another.
    pub(super) fn disagreement(
        &self,
        request: &Request<'_>,
        position: usize,
    ) -> Option<(Option<String>, Difference)> {
        let rules = |route| rules_of(&self.routes, route);
        let is_other = |way: &Way| rules(way.route) != rules(position);
        let other = self.ways(self.walk(request), request.bare_path()).find(is_other)?;
        let difference = match other.how {
            How::Reading(_, View::Folded | View::FoldedSlashCut) => Difference::Case,
            How::Reading(_, View::SlashCut) => Difference::Slash,
            How::Reading(_, View::Whole) | How::AsSent => Difference::Other,
            How::Filled(..) => Difference::EmptySegment,
        };
        let name = self.routes.get(other.route).map(|route| route.name.clone());
        Some((name, difference))
    }

    fn told(&self, way: &Way) -> String {
        let route = self.routes.get(way.route).map(|route| &route.name);
        let route = route.map_or("no route".into(), |name| format!("route {name}"));
        format!("read {}, the path is {} and leads to {route}", way.how, way.text.escape_ascii())
    }

    fn ways<'a>(&'a self, walk: Walk<'a>, path: &str) -> impl Iterator<Item = Way> + use<'a> {
        let (path, filled) = (path.to_owned(), self.filled(path));
        let as_sent = path.clone();
        let plain = READINGS.iter().flat_map(move |reading| {
            let text = reading.text(path.as_bytes());
            let way = |view: View, route| Way {
                how: How::Reading(*reading, view),
                text: view.of(&text),
                route,
            };
            self.ways_of(walk, &text, way)
        });
        let filled = filled.into_iter().flat_map(move |path| {
            let as_sent = as_sent.clone();
            READINGS.iter().flat_map(move |reading| {
                // Shown with the segment that is empty.
                let shown = reading.text(as_sent.as_bytes());
                let way = |view: View, route| Way {
                    how: How::Filled(*reading, view),
                    text: view.of(&shown),
                    route,
                };
                let mut ways = self.ways_of(walk, &reading.text(path.as_bytes()), way);
                ways.retain(|way| self.routes.get(way.route).is_some_and(|it| it.is_template));
                ways
            })
        });
        plain.chain(filled)
    }

    /// Where a text leads in every view.
    fn ways_of(&self, walk: Walk<'_>, text: &[u8], way: impl Fn(View, usize) -> Way) -> Vec<Way> {
        let start = walk.start(&self.anywhere, self.paths_have_case);
        let mut ways = Vec::new();
        let Ok(()) = walk.follow(start, text, |view, route| {
            ways.push(way(view, route));
            Ok::<_, Infallible>(())
        });
        ways
    }
}

impl View {
    fn of(self, text: &[u8]) -> Vec<u8> {
        let cut = text.strip_suffix(b"/").filter(|cut| !cut.is_empty()).unwrap_or(text);
        match self {
            Self::Whole => text.into(),
            Self::SlashCut => cut.into(),
            Self::Folded => String::from_utf8_lossy(text).to_lowercase().into(),
            Self::FoldedSlashCut => String::from_utf8_lossy(cut).to_lowercase().into(),
        }
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let view = match self {
            Self::AsSent => {
                return f.write_str("letter for letter, as match_as_sent wants it");
            }
            Self::Reading(reading, view) => {
                write!(f, "{reading}")?;
                view
            }
            Self::Filled(reading, view) => {
                write!(f, "{reading}, an empty segment being a template's value (Fastify)")?;
                view
            }
        };
        f.write_str(match view {
            View::Whole => "",
            View::SlashCut => ", less the slash at its end (Express, Django, Rails)",
            View::Folded => ", without case (Express, ASP.NET)",
            View::FoldedSlashCut => ", without case and slash at its end (Express, ASP.NET)",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{AuthSettings, RouteSettings};

    #[test]
    fn an_ambiguous_path_is_told_with_two_readings_and_where_they_lead() {
        let route = |name: &str, path: &str| RouteSettings {
            name: name.into(),
            path: Some(path.into()),
            methods: vec!["GET".into()],
            ..RouteSettings::default()
        };
        let admin = RouteSettings {
            name: "admin".into(),
            path_prefix: Some("/admin".into()),
            public: true,
            ..RouteSettings::default()
        };
        let routes = vec![admin, RouteSettings { public: true, ..route("status", "/status") }];
        let settings = AuthSettings { routes, match_as_sent: true, ..AuthSettings::default() };
        let sent = Routes::new(&settings);
        let routes = Routes::new(&AuthSettings { match_as_sent: false, ..settings });
        let cases = [
            ("admin", "does not start"),
            ("/a#b", "holds a `#`"),
            ("/a%2500", "control character"),
            ("/x/..%2fadmin", "has a segment `.` or `..`"),
            ("/%2fadmin", "begins with two slashes"),
            (
                "/admin;x/y",
                "read as it stands, the path is /admin;x/y and leads to no route; read parameters \
                 cut off before decoding (Tomcat, Jetty, Undertow), the path is /admin/y and \
                 leads to route admin",
            ),
            (
                "/admin%2fy",
                "read decoded once (most servers), the path is /admin/y and leads to route admin",
            ),
            ("/\\admin", "begins with two slashes"),
            (
                "/ADMIN",
                "the path is /ADMIN and leads to no route; read as it stands, without case \
                 (Express, ASP.NET), the path is /admin and leads to route admin",
            ),
            ("/status/", "less the slash at its end"),
        ];
        for (path, expected) in cases {
            let request = Request { method: "GET", path, ..Request::default() };
            let told = routes.describe_ambiguity(&request).unwrap_or_default();
            assert!(routes.find(&request).is_err(), "{path}: {told}");
            assert!(told.contains(expected), "{path}: {told}");
        }
        let empty = RouteSettings {
            name: "keys".into(),
            path_template: Some("/v1/{id}/keys".into()),
            public: true,
            ..RouteSettings::default()
        };
        let template =
            Routes::new(&AuthSettings { routes: vec![empty], ..AuthSettings::default() });
        let request = Request { method: "GET", path: "/v1//keys", ..Request::default() };
        let told = template.describe_ambiguity(&request).unwrap_or_default();
        assert!(template.find(&request).is_err(), "{told}");
        let expected = "an empty segment being a template's value (Fastify), the path is \
                        /v1//keys and leads to route keys";
        assert!(told.contains(expected), "{told}");
        let request = Request { method: "HEAD", path: "/status", ..Request::default() };
        assert_eq!(routes.describe_ambiguity(&request), None);
        let told = sent.describe_ambiguity(&request).unwrap_or_default();
        assert!(told.starts_with("read letter for letter, as match_as_sent wants it"), "{told}");
    }
}
