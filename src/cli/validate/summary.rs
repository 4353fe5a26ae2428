//! What a config file says, in a few lines.

use std::fmt;

use crate::{
    settings::{
        AuthSettings, GrpcSettings, KeyLocation, LimitMode, LimitSettings, ListenAddress,
        ProviderKind, ProviderSettings, RouteSettings, Settings,
    },
    status::requirement::place,
};

/// Displays a line for each kind of thing, and one below it for each provider.
pub(super) struct Summary<'a>(pub(super) &'a Settings);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Settings { server, auth } = self.0;
        let mut lines = vec![
            ("gRPC", grpc(&server.grpc)),
            ("admin", server.admin_address.clone()),
            ("providers", providers(auth)),
        ];
        lines.extend(auth.providers.iter().map(|it| ("", format!("- {}", provider(it)))));
        lines.extend([
            ("scopes", listed(auth.required_scopes.iter(), "none required by default")),
            ("routes", routes(auth)),
            ("public paths", listed(auth.public_paths.iter(), "none")),
            ("tokens from", listed(auth.token_sources.iter().map(place), "nowhere")),
        ]);
        lines.extend(auth.limits.as_ref().map(|limits| ("plans", plans(limits))));
        for (index, (label, value)) in lines.iter().enumerate() {
            let line_break = if index > 0 { "\n" } else { "" };
            write!(f, "{line_break}  {label:<14}{value}")?;
        }
        Ok(())
    }
}

fn grpc(grpc: &GrpcSettings) -> String {
    let address = match &grpc.address {
        ListenAddress::Tcp(address) => address.clone(),
        ListenAddress::Unix(path) => format!("unix:{}", path.display()),
    };
    let security = match &grpc.tls {
        None => "plaintext",
        Some(tls) if tls.client_ca_file.is_some() => "TLS with client certificates",
        Some(_) => "TLS",
    };
    format!("{address} ({security})")
}

fn providers(auth: &AuthSettings) -> String {
    match (auth.enabled, auth.providers.len()) {
        (false, _) => "authentication is off: every request is let through".into(),
        (true, count) => count.to_string(),
    }
}

fn provider(provider: &ProviderSettings) -> String {
    let what = match &provider.kind {
        ProviderKind::ApiKey(keys) => match keys.len() {
            1 => "1 API key".into(),
            count => format!("{count} API keys"),
        },
        ProviderKind::OAuth2(oauth2) => {
            let keys = match &oauth2.keys.location {
                KeyLocation::File(path) => path.display().to_string(),
                KeyLocation::Url(url) => url.clone(),
                KeyLocation::Discovery { url, .. } => format!("what {url} names"),
            };
            format!("JWTs of {}, keys from {keys}", oauth2.issuer)
        }
        ProviderKind::Grpc(grpc) => format!("asks {}", grpc.address),
    };
    format!("{}: {what}", provider.name)
}

fn plans(limits: &LimitSettings) -> String {
    let counted = match limits.mode {
        LimitMode::Local => "counted here",
        LimitMode::Shadow => "counted here, nothing is denied",
        LimitMode::Metadata => "counted by Envoy",
    };
    let names = listed(limits.plans.iter().map(|plan| &plan.name), "none");
    format!("{names} ({counted})")
}

fn routes(auth: &AuthSettings) -> String {
    let route = |route: &RouteSettings| match route.public {
        true => format!("{} (public)", route.name),
        false => route.name.clone(),
    };
    let names = listed(auth.routes.iter().map(route), "none");
    match auth.routes.len() {
        0 => names,
        count => format!("{count}: {names}"),
    }
}

/// At most so many are listed.
const MOST_LISTED: usize = 20;

fn listed(texts: impl ExactSizeIterator<Item = impl AsRef<str>>, none: &str) -> String {
    let count = texts.len();
    let mut first: Vec<_> = texts.take(MOST_LISTED).map(|text| text.as_ref().to_owned()).collect();
    if first.is_empty() {
        return none.into();
    }
    if count > MOST_LISTED {
        first.push(format!("and {} more", count - MOST_LISTED));
    }
    first.join(", ")
}
