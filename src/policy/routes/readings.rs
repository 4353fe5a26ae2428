//! Why no route could be chosen, for whoever asks. The decision itself never
//! comes here.

use super::Routes;
use crate::{
    policy::path::{self, Readings},
    request::Request,
};

impl Routes {
    /// The names of all routes, in order.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.routes.iter().map(|route| route.name.as_str())
    }

    /// What makes a request's path ambiguous.
    pub(crate) fn describe_ambiguity(&self, request: &Request<'_>) -> String {
        match path::read(request.bare_path()) {
            Err(unreadable) => unreadable.describe(request.bare_path()).into(),
            Ok(Readings::One(_)) => "the path has one reading".into(),
            Ok(Readings::Two { plain, generous }) => {
                let leads = |path: &[u8]| {
                    let route = self.first_match(request, path).map(|at| &self.routes[at].name);
                    let route = route.map_or("no route".into(), |name| format!("route {name}"));
                    format!("{} and leads to {route}", path.escape_ascii())
                };
                format!(
                    "read plainly, the path is {}; read generously, it is {}",
                    leads(&plain),
                    leads(&generous)
                )
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::settings::{AuthSettings, RouteSettings};

    #[test]
    fn an_ambiguous_path_is_told_with_both_its_readings() {
        let admin = RouteSettings {
            name: "admin".into(),
            path_prefix: Some("/admin".into()),
            ..RouteSettings::default()
        };
        let routes = Routes::new(&AuthSettings { routes: vec![admin], ..AuthSettings::default() });
        let cases = [
            ("admin", "does not start"),
            ("/a#b", "holds a `#`"),
            ("/a%2500", "control character"),
            (
                "/x/..%2fadmin",
                "read plainly, the path is /x/..%2fadmin and leads to no route; \
                 read generously, it is /admin and leads to route admin",
            ),
        ];
        for (path, expected) in cases {
            let request = Request { method: "GET", path, ..Request::default() };
            assert!(routes.find(&request).is_err(), "{path}");
            let told = routes.describe_ambiguity(&request);
            assert!(told.contains(expected), "{path}: {told}");
        }
    }
}
