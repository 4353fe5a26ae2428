//! The rules of a policy-test file: types to cases.

use std::{
    collections::HashSet,
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Map, Value};

use super::shape::{
    AnswerFile, ApiKeyFile, CaseFile, CasesFile, Either, ExpectFile, JwtFile, RequestFile,
    scalar_text,
};
use crate::{
    config::document::{Entries, List, Place, Scalar, Switchable, one_of},
    decision::ProviderId,
    envoy::capture::Capture,
    explain::Sent,
    keys::Algorithm,
    policy_tests::{
        case::{Case, CaseCredential, CaseJwt, CustomAnswer},
        expect::Expectations,
    },
    reason::Reason,
    settings::{ApiKeySettings, AuthSettings, ProviderKind},
    time::UnixTime,
};

/// The cases of a file, with placeholders where something is wrong.
pub(super) fn cases(
    file: CasesFile,
    auth: &AuthSettings,
    folder: &Path,
    root: &Place,
) -> Vec<Case> {
    let checks = Checks { auth, folder, at: moment(file.at, &root.key("at")) };
    let place = root.key("cases");
    let list = match file.cases {
        Some(list) if !list.is_empty() => list,
        _ => {
            place.missing("write a list of cases");
            return Vec::new();
        }
    };
    let mut names = HashSet::new();
    let check = |(place, case): (Place<'_>, CaseFile)| {
        let case = checks.case(case, &place);
        if !case.name.is_empty() && !names.insert(case.name.clone()) {
            place.key("name").wrong(&case.name, "is the name of an earlier case, too");
        }
        case
    };
    list.items(&place).into_iter().map(check).collect()
}

/// More would keep a case busy for minutes.
const MOST_REQUESTS: u32 = 1_000_000;

fn requests_before(written: Option<u64>, place: &Place) -> u32 {
    let written = written.unwrap_or(0);
    match u32::try_from(written) {
        Ok(number) if number <= MOST_REQUESTS => number,
        _ => {
            let advice = format_args!("must be at most {MOST_REQUESTS}");
            place.wrong(&written.to_string(), advice);
            0
        }
    }
}

/// The context of the checks.
struct Checks<'a> {
    auth: &'a AuthSettings,
    folder: &'a Path,
    at: Option<UnixTime>,
}

impl Checks<'_> {
    fn case(&self, file: CaseFile, place: &Place) -> Case {
        let name_place = place.key("name");
        let name = file.name.unwrap_or_default();
        if name.is_empty() {
            name_place.missing("write a unique name");
        }
        let credential = self.credential(
            Credentials {
                token: file.token,
                token_file: file.token_file,
                api_key: file.api_key,
                jwt: file.jwt,
            },
            place,
        );
        let answers = file.answers.map(|answers| answers.0).unwrap_or_default().into_iter();
        let answers_place = place.key("answers");
        let answer = |(name, answer): (String, Option<Either<AnswerFile>>)| {
            let place = answers_place.key(&name);
            let id = self.provider(&name, &place)?;
            if !matches!(self.kind(id), ProviderKind::Grpc(_)) {
                place.error("is not a custom provider; only `type: grpc` answers as a case says");
                return None;
            }
            Some((id, custom_answer(answer?, &place)?))
        };
        Case {
            name,
            request: self.request(file.request, file.check_request, place),
            credential: credential.unwrap_or_default(),
            at: moment(file.at, &place.key("at")).or(self.at),
            unavailable: self.unavailable(file.unavailable, &place.key("unavailable")),
            requests_before: requests_before(file.requests_before, &place.key("requests_before")),
            answers: answers.filter_map(answer).collect(),
            expect: self.expect(file.expect, &place.key("expect")),
        }
    }

    fn request(
        &self,
        request: Option<Either<RequestFile>>,
        captured: Option<String>,
        place: &Place,
    ) -> Sent {
        let (request_place, capture_place) = (place.key("request"), place.key("check_request"));
        match (request, captured) {
            (Some(_), Some(_)) => place.error("has both `request` and `check_request`"),
            (None, None) => {
                request_place.missing("write `GET /path`, or a mapping with `path`");
            }
            (Some(Either::Word(line)), None) => return request_line(&line, &request_place),
            (Some(Either::Full(file)), None) => return request_parts(file, &request_place),
            (None, Some(file)) => {
                let Some(bytes) = self.read(&file, &capture_place) else { return Sent::default() };
                match Capture::read(&bytes) {
                    Ok(capture) => return capture.sent().unwrap_or_default(),
                    Err(error) => capture_place.error(format_args!("`{file}` {error}")),
                }
            }
        }
        Sent::default()
    }

    fn credential(&self, given: Credentials, place: &Place) -> Option<CaseCredential> {
        let Credentials { token, token_file, api_key, jwt } = given;
        let count = [token.is_some(), token_file.is_some(), api_key.is_some(), jwt.is_some()];
        if count.into_iter().filter(|given| *given).count() > 1 {
            place.error("has more than one of `token`, `token_file`, `api_key` and `jwt`");
            return None;
        }
        if let Some(token) = token {
            return Some(CaseCredential::Token(token));
        }
        if let Some(file) = token_file {
            let place = place.key("token_file");
            let token = String::from_utf8(self.read(&file, &place)?).ok();
            let token = token.map(|token| token.trim().to_owned()).filter(|it| !it.is_empty());
            if token.is_none() {
                place.error("holds no token");
            }
            return token.map(CaseCredential::Token);
        }
        match (api_key, jwt) {
            (Some(key), _) => self.api_key(key, &place.key("api_key")),
            (None, Some(jwt)) => self.jwt(jwt, &place.key("jwt")).map(CaseCredential::Jwt),
            (None, None) => Some(CaseCredential::None),
        }
    }

    fn api_key(&self, file: Either<ApiKeyFile>, place: &Place) -> Option<CaseCredential> {
        let file = match file {
            Either::Word(name) => ApiKeyFile { name: Some(name), ..ApiKeyFile::default() },
            Either::Full(file) => file,
        };
        let Some(name) = file.name else {
            place.key("name").missing("write the name of an API key");
            return None;
        };
        let only = match file.provider {
            Some(provider) => Some(self.provider(&provider, &place.key("provider"))?),
            None => None,
        };
        let lists = (0..).map(ProviderId).zip(&self.auth.providers).filter_map(|(id, provider)| {
            let ProviderKind::ApiKey(keys) = &provider.kind else { return None };
            only.is_none_or(|only| only == id).then_some((id, keys))
        });
        let all: Vec<(ProviderId, usize, &ApiKeySettings)> = lists
            .flat_map(|(id, keys)| keys.iter().enumerate().map(move |(at, key)| (id, at, key)))
            .collect();
        let named: Vec<_> = all.iter().filter(|(_, _, key)| key.name == name).collect();
        let nth = file.nth.map_or(Some(0), |nth| usize::try_from(nth).ok()?.checked_sub(1));
        let found = nth.and_then(|nth| named.get(nth));
        if found.is_none() && named.is_empty() {
            let mut known: Vec<_> = all.iter().map(|(_, _, key)| key.name.as_str()).collect();
            known.dedup();
            known.truncate(20);
            place.wrong(&name, format_args!("is not an API key; {}", one_of(&name, &known)));
        } else if found.is_none() {
            let count = named.len();
            place.key("nth").error(format_args!("there are {count} keys of this name, from 1"));
        }
        found.map(|(id, at, _)| CaseCredential::ApiKey { provider: *id, position: *at })
    }

    fn jwt(&self, file: JwtFile, place: &Place) -> Option<CaseJwt> {
        let provider = self.jwt_provider(file.provider, &place.key("provider"))?;
        let expires_place = place.key("expires_in");
        let expires_in = file.expires_in.map(|Scalar(value)| {
            let seconds = value.as_f64().filter(|seconds| seconds.abs() < 1e11);
            if seconds.is_none() {
                expires_place.error("must be a number of seconds; below 0 it has expired");
            }
            seconds.unwrap_or_default()
        });
        let algorithm_place = place.key("algorithm");
        let algorithm = file.algorithm.and_then(|name| {
            let known = Algorithm::ALL.iter().copied().find(|known| known.as_str() == name);
            if known.is_none() {
                let words = Algorithm::ALL.map(Algorithm::as_str);
                algorithm_place
                    .wrong(&name, format_args!("is not known; {}", one_of(&name, &words)));
            }
            known
        });
        let signer_place = place.key("signed_by");
        let signed_by_stranger = match file.signed_by.as_deref() {
            None | Some("issuer") => false,
            Some("stranger") => true,
            Some(word) => {
                let words = ["issuer", "stranger"];
                signer_place.wrong(word, format_args!("is not known; {}", one_of(word, &words)));
                false
            }
        };
        Some(CaseJwt {
            provider,
            claims: members(file.claims),
            scopes: file.scopes.map(|scopes| texts(scopes, &place.key("scopes"))),
            expires_in,
            algorithm,
            header: members(file.header),
            signed_by_stranger,
        })
    }

    /// The provider that a token is made for; if none is named, the only one.
    fn jwt_provider(&self, name: Option<String>, place: &Place) -> Option<ProviderId> {
        let is_jwt = |id: &ProviderId| matches!(self.kind(*id), ProviderKind::OAuth2(_));
        if let Some(name) = name {
            let id = self.provider(&name, place)?;
            if !is_jwt(&id) {
                place.wrong(&name, "verifies no JWTs; name a provider of `type: oauth2`");
            }
            return Some(id).filter(is_jwt);
        }
        let all = (0..).map(ProviderId).take(self.auth.providers.len()).filter(is_jwt);
        match all.collect::<Vec<_>>().as_slice() {
            [only] => Some(*only),
            _ => {
                place.missing("write the name of the provider that is to accept the token");
                None
            }
        }
    }

    fn unavailable(&self, names: Option<List<String>>, place: &Place) -> Vec<ProviderId> {
        let items = names.map(|names| names.items(place)).unwrap_or_default();
        let known = |(place, name): (Place<'_>, String)| {
            let id = self.provider(&name, &place)?;
            if matches!(self.kind(id), ProviderKind::ApiKey(_)) {
                place.wrong(&name, "has its keys in the config, so it is never unavailable");
            }
            Some(id)
        };
        items.into_iter().filter_map(known).collect()
    }

    fn expect(&self, file: Option<Either<ExpectFile>>, place: &Place) -> Expectations {
        let file = match file {
            Some(Either::Word(word)) => {
                return Expectations { decision: decision(&word, place), ..Default::default() };
            }
            Some(Either::Full(file)) => file,
            None => {
                place.missing("write `allow`, `deny`, or a mapping of what must come out");
                return Expectations::default();
            }
        };
        let status_place = place.key("status");
        let status = file.status.and_then(|status| {
            let status = u16::try_from(status).ok().filter(|it| (100..600).contains(it));
            if status.is_none() {
                status_place.error("must be an HTTP status");
            }
            status
        });
        let provider = switchable(file.provider);
        if let Some(Some(name)) = &provider {
            self.provider(name, &place.key("provider"));
        }
        let route = switchable(file.route);
        if let Some(Some(name)) = &route {
            let known: Vec<_> = self.auth.routes.iter().map(|route| route.name.as_str()).collect();
            if !known.contains(&name.as_str()) {
                let advice = if known.is_empty() {
                    "the config has none".into()
                } else {
                    one_of(name, &known)
                };
                place.key("route").wrong(name, format_args!("is not a route; {advice}"));
            }
        }
        let expectations = Expectations {
            decision: file.decision.and_then(|word| decision(&word, &place.key("decision"))),
            status,
            reason: file.reason.and_then(|word| reason(&word, &place.key("reason"))),
            provider,
            route,
            subject: switchable(file.subject),
            scopes: file.scopes.map(|scopes| texts(scopes, &place.key("scopes"))),
            headers: file
                .headers
                .map(|headers| headers.0)
                .unwrap_or_default()
                .into_iter()
                .map(|(name, value)| (name.to_ascii_lowercase(), value))
                .collect(),
        };
        if expectations.is_empty() && !place.has_error_below() {
            place.error("expects nothing; write `allow`, `deny`, or what must come out");
        }
        expectations
    }

    fn provider(&self, name: &str, place: &Place) -> Option<ProviderId> {
        let names: Vec<_> = self.auth.providers.iter().map(|it| it.name.as_str()).collect();
        let found = names.iter().position(|known| *known == name);
        if found.is_none() {
            place.wrong(name, format_args!("is not a provider; {}", one_of(name, &names)));
        }
        found.and_then(|at| u16::try_from(at).ok()).map(ProviderId)
    }

    fn kind(&self, id: ProviderId) -> &ProviderKind {
        &self.auth.providers[usize::from(id.0)].kind
    }

    fn read(&self, file: &str, place: &Place) -> Option<Vec<u8>> {
        let path: PathBuf = self.folder.join(file);
        let content = fs::read(&path);
        content
            .map_err(|error| {
                place.error(format_args!("`{}` can't be read: {error}", path.display()))
            })
            .ok()
    }
}

/// The keys that hold a credential; at most one is allowed.
struct Credentials {
    token: Option<String>,
    token_file: Option<String>,
    api_key: Option<Either<ApiKeyFile>>,
    jwt: Option<JwtFile>,
}

/// `GET /path`, or the path alone. A path that does not begin with `/` is most
/// often none, and the case would test nothing; the mapping takes any.
fn request_line(line: &str, place: &Place) -> Sent {
    let words: Vec<_> = line.split_ascii_whitespace().collect();
    let is_path = |word: &str| word.starts_with('/');
    let (method, path) = match words.as_slice() {
        [path] if is_path(path) => ("GET", *path),
        [method, path] if !is_path(method) && is_path(path) => (*method, *path),
        ["OPTIONS", "*"] => ("OPTIONS", "*"),
        _ => {
            let advice = match words.as_slice() {
                [method] if method.bytes().all(|byte| byte.is_ascii_uppercase()) => {
                    "is a method without a path; write `GET /path`"
                }
                [.., path] if path.contains("://") => {
                    "has a URL instead of a path; write `GET /path`, or a mapping with `host` and \
                     `path`"
                }
                [_] | [_, _] => {
                    "has no path that begins with `/`; write `GET /path`, or a mapping with `path` \
                     for another"
                }
                _ => "is not a request; write `GET /path`, or a mapping with `path`",
            };
            place.wrong(line, advice);
            return Sent::default();
        }
    };
    Sent { method: method.into(), path: path.into(), host: HOST.into(), ..Sent::default() }
}

/// The host of a request that names none.
const HOST: &str = "localhost";

fn request_parts(file: RequestFile, place: &Place) -> Sent {
    let Some(path) = file.path else {
        place.key("path").missing("write the path, with its query if it has one");
        return Sent::default();
    };
    let headers_place = place.key("headers");
    let mut headers = Vec::new();
    for (name, values) in file.headers.map(|headers| headers.0).unwrap_or_default() {
        let place = headers_place.key(&name);
        let Ok(name) = http::HeaderName::try_from(name.as_str()) else {
            place.error("is not a header name");
            continue;
        };
        let Some(values) = values else {
            place.missing("write a value, or leave the header out");
            continue;
        };
        for (_, value) in values.items(&place) {
            headers.push((name.as_str().to_owned(), value.into_bytes()));
        }
    }
    Sent {
        method: file.method.unwrap_or_else(|| "GET".into()),
        host: file.host.unwrap_or_else(|| HOST.into()),
        path,
        route: file.route,
        headers,
    }
}

fn custom_answer(answer: Either<AnswerFile>, place: &Place) -> Option<CustomAnswer> {
    match answer {
        Either::Word(word) if word == "not_mine" => Some(CustomAnswer::NotMine),
        Either::Word(word) => {
            place.wrong(&word, "is not an answer; write `not_mine`, or a mapping");
            None
        }
        Either::Full(AnswerFile { refused: Some(word), .. }) => {
            let place = place.key("refused");
            let reason = reason(&word, &place)?;
            if !reason.is_refusal() {
                place.wrong(&word, "is not a reason that a provider may give");
                return None;
            }
            Some(CustomAnswer::Refused(reason))
        }
        Either::Full(AnswerFile { subject, scopes, claims, refused: None }) => {
            Some(CustomAnswer::Authenticated {
                subject,
                scopes: scopes.map(|it| texts(it, &place.key("scopes"))).unwrap_or_default(),
                claims: members(claims),
            })
        }
    }
}

fn decision(word: &str, place: &Place) -> Option<&'static str> {
    let words = ["allow", "deny"];
    let known = words.into_iter().find(|known| *known == word);
    if known.is_none() {
        place.wrong(word, format_args!("is not a decision; {}", one_of(word, &words)));
    }
    known
}

fn reason(word: &str, place: &Place) -> Option<Reason> {
    let known = Reason::from_word(word);
    if known.is_none() {
        let words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
        place.wrong(word, format_args!("is not a reason; {}", one_of(word, &words)));
    }
    known
}

fn moment(value: Option<Scalar>, place: &Place) -> Option<UnixTime> {
    let Scalar(value) = value?;
    let text = scalar_text(&value).unwrap_or_default();
    text.parse::<UnixTime>()
        .map_err(|error| place.wrong(&text, format_args!("is not a time; {error}")))
        .ok()
}

fn switchable(value: Switchable<String>) -> Option<Option<String>> {
    match value {
        Switchable::LeftOut => None,
        Switchable::Off => Some(None),
        Switchable::On(text) => Some(Some(text)),
    }
}

fn texts(values: List<String>, place: &Place) -> Vec<String> {
    values.items(place).into_iter().map(|(_, text)| text).collect()
}

fn members(entries: Option<Entries<Value>>) -> Map<String, Value> {
    let entries = entries.map(|entries| entries.0).unwrap_or_default();
    entries.into_iter().map(|(name, value)| (name, value.unwrap_or(Value::Null))).collect()
}
