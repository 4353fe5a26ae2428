//! Rules for the providers, in both forms, and for the keys that name them.

use std::collections::HashMap;

use claimgate_core::{
    provider_id::ProviderId,
    settings::{LimitSettings, ProviderKind, ProviderSettings},
};

use super::{api_keys::Keys, custom, oauth2::oauth2, scalars::name};
use crate::{
    file::{
        auth::{Auth, Mode},
        forms::List,
        provider::{ApiKey, Kind, OAuth2, Provider},
    },
    report::Place,
    spelling::one_of,
};

/// Names of the short form's providers.
const API_KEY: &str = "api_key";
const OAUTH2: &str = "oauth2";

/// The providers of either form, and the names that other keys may use.
pub(super) fn providers(
    auth: &mut Auth,
    enabled: bool,
    longest_key: usize,
    limits: Option<&LimitSettings>,
    place: &Place,
) -> (Vec<ProviderSettings>, Known) {
    let list_place = place.key("providers");
    let mut keys = Keys::new(longest_key, limits);
    // Or what was meant to be them, misspelt.
    let is_general = auth.providers.is_some() || list_place.has_error();
    if !is_general {
        return short_form(auth, enabled, keys, place);
    }
    refuse_both_forms(auth, &list_place);
    let mut settings = Vec::new();
    if let Some(list) = auth.providers.take() {
        if list.is_empty() && enabled {
            list_place
                .error("lists no provider, so every token would be refused; write at least one");
        }
        settings = general_form(list, &mut keys, &list_place);
    }
    let known = Known::of(settings.iter().map(|provider| provider.name.as_str()), &list_place);
    (settings, known)
}

fn refuse_both_forms(auth: &Auth, place: &Place) {
    let short = [
        ("mode", auth.mode.is_some()),
        ("api_keys", auth.api_keys.is_some()),
        ("oauth2", auth.oauth2.is_some()),
    ];
    let written: Vec<_> =
        short.iter().filter(|(_, set)| *set).map(|(key, _)| format!("`auth.{key}`")).collect();
    if !written.is_empty() {
        let written = written.join(", ");
        place.error(format_args!("can't be used together with {written}; write one form only"));
    }
}

fn general_form(list: List<Provider>, keys: &mut Keys, place: &Place) -> Vec<ProviderSettings> {
    let mut seen: HashMap<String, String> = HashMap::new();
    let mut settings = Vec::new();
    for (place, file) in list.items(place) {
        let provider = provider(file, keys, &place);
        if !provider.name.is_empty()
            && let Some(earlier) = seen.insert(provider.name.clone(), place.to_string())
        {
            let advice = format_args!("is the name of `{earlier}` too; write a unique name");
            place.key("name").wrong(&provider.name, advice);
        }
        settings.push(provider);
    }
    let most = ProviderId::MOST;
    if settings.len() > most {
        place.error(format_args!("lists more than {most} providers; write fewer"));
    }
    settings
}

fn provider(file: Provider, keys: &mut Keys, place: &Place) -> ProviderSettings {
    let name = name(file.name, &place.key("name")).unwrap_or_default();
    if !file.has_type {
        let advice = match &file.kind {
            Some(Kind::ApiKey(_)) => "write `type: api_key`, whose keys it has",
            Some(Kind::OAuth2(_)) => "write `type: oauth2`, whose keys it has",
            Some(Kind::Grpc(_)) => "write `type: grpc`, whose keys it has",
            None => "write one of `api_key`, `oauth2`, `grpc`",
        };
        place.key("type").missing(advice);
    }
    let (kind, forward_token) = match file.kind {
        Some(Kind::ApiKey(file)) => {
            let list_place = place.key("keys");
            if file.keys.is_none() {
                list_place.missing("write the list of API keys");
            }
            let list = file.keys.map(|list| keys.check(list, &list_place));
            (ProviderKind::ApiKey(list.unwrap_or_default()), file.forward_token)
        }
        Some(Kind::OAuth2(file)) => {
            let forward_token = file.forward_token;
            let settings = oauth2(*file, false, place);
            (ProviderKind::OAuth2(Box::new(settings)), forward_token)
        }
        Some(Kind::Grpc(file)) => {
            let forward_token = file.forward_token;
            (ProviderKind::Grpc(custom::grpc(file, place)), forward_token)
        }
        None => (ProviderKind::ApiKey(Vec::new()), None),
    };
    ProviderSettings { name, forward_token, kind }
}

/// `mode`, `api_keys` and `oauth2`. A block that the mode does not use is not
/// checked: files in use have one, half filled in, for a later mode.
fn short_form(
    auth: &mut Auth,
    enabled: bool,
    mut keys: Keys,
    place: &Place,
) -> (Vec<ProviderSettings>, Known) {
    let (keys_place, oauth2_place) = (place.key("api_keys"), place.key("oauth2"));
    let is_mode_known = !place.key("mode").has_error();
    let mut blocks = Blocks {
        used: match is_mode_known {
            true => UsedBlocks::of(auth.mode.unwrap_or(Mode::ApiKey)),
            false => UsedBlocks { api_keys: false, oauth2: false },
        },
        api_keys: auth.api_keys.take(),
        oauth2: auth.oauth2.take(),
    };
    if enabled {
        blocks.report_missing(auth.mode, &keys_place, &oauth2_place);
        blocks.drop_unused(is_mode_known, &keys_place, &oauth2_place);
    }
    let Blocks { used, api_keys, oauth2: issuer } = blocks;
    let api_keys = api_keys.map(|list| ProviderSettings {
        name: API_KEY.into(),
        forward_token: None,
        kind: ProviderKind::ApiKey(keys.check(list, &keys_place)),
    });
    let issuer = issuer.map(|file| ProviderSettings {
        name: OAUTH2.into(),
        forward_token: file.forward_token,
        kind: ProviderKind::OAuth2(Box::new(oauth2(file, true, &oauth2_place))),
    });
    let known = match enabled {
        true => Known::of(used.names(), place),
        false => Known { names: None, hidden: false },
    };
    (api_keys.into_iter().chain(issuer).collect(), known)
}

/// The short form's blocks in the file.
struct Blocks {
    used: UsedBlocks,
    api_keys: Option<List<ApiKey>>,
    oauth2: Option<OAuth2>,
}

impl Blocks {
    fn report_missing(&self, mode: Option<Mode>, keys_place: &Place, oauth2_place: &Place) {
        let has_issuer = self.used.oauth2 && self.oauth2.is_some();
        if self.used.api_keys && self.api_keys.is_none() && !has_issuer {
            match (mode, &self.oauth2) {
                (None, Some(_)) => keys_place.missing(
                    "`mode` is `api_key` unless written; write the list of API keys, or `mode: \
                     oauth2`",
                ),
                (None, None) => keys_place
                    .missing("write the list of API keys, or `providers` for other callers"),
                _ => keys_place.missing("write the list of API keys that this `mode` needs"),
            }
        }
        if self.used.oauth2 && self.oauth2.is_none() {
            oauth2_place.missing("write the issuer that this `mode` needs, or another `mode`");
        }
    }

    fn drop_unused(&mut self, warn: bool, keys_place: &Place, oauth2_place: &Place) {
        let unused = [
            (self.api_keys.take_if(|_| !self.used.api_keys).is_some(), keys_place),
            (self.oauth2.take_if(|_| !self.used.oauth2).is_some(), oauth2_place),
        ];
        for (_, place) in unused.into_iter().filter(|(dropped, _)| *dropped && warn) {
            place.warn("is not used in this `mode`; write `mode: composite` to use both");
        }
    }
}

/// The blocks that a mode uses.
#[derive(Clone, Copy)]
struct UsedBlocks {
    api_keys: bool,
    oauth2: bool,
}

impl UsedBlocks {
    fn of(mode: Mode) -> Self {
        Self {
            api_keys: matches!(mode, Mode::ApiKey | Mode::Composite),
            oauth2: matches!(mode, Mode::OAuth2 | Mode::Composite),
        }
    }

    fn names(self) -> impl Iterator<Item = &'static str> {
        [(self.api_keys, API_KEY), (self.oauth2, OAUTH2)]
            .into_iter()
            .filter_map(|(used, name)| used.then_some(name))
    }
}

/// The providers that routes and token sources may name; `None` if the list
/// itself has an error or is not used, so that names can't be checked.
pub(super) struct Known {
    names: Option<Vec<String>>,
    /// Whether one of them must not be shown.
    hidden: bool,
}

impl Known {
    fn of<'n>(names: impl Iterator<Item = &'n str>, list: &Place) -> Self {
        let mut names: Vec<_> = names.map(String::from).collect();
        names.sort();
        names.dedup();
        let incomplete = list.has_error() || names.is_empty() || names.iter().any(String::is_empty);
        Self { names: (!incomplete).then_some(names), hidden: list.hides_any("name") }
    }

    /// The names in a `providers` key of a route or token source.
    pub(super) fn only(&self, names: Option<List<String>>, place: &Place) -> Option<Vec<String>> {
        let names = names?;
        if names.is_empty() {
            place.error("names no provider, so no token could pass; leave it out to mean all");
        }
        let items = names.items(place);
        for (place, name) in &items {
            if let Some(known) = &self.names
                && !known.contains(name)
            {
                place.wrong(name, self.advice(name, known));
            }
        }
        Some(items.into_iter().map(|(_, name)| name).collect())
    }

    /// The message for an unknown name: what to write instead.
    fn advice(&self, name: &str, known: &[String]) -> String {
        const FEW: usize = 12;
        match known.len() {
            ..=FEW if !self.hidden => format!("names no provider; {}", one_of(name, known)),
            _ => "names no provider; write the name of an entry of `auth.providers`".into(),
        }
    }
}
