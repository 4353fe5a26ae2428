//! `claimgate explain`: runs one request through the real engine and says why
//! it was decided so.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Read, Write as _},
    path::PathBuf,
    process::ExitCode,
};

use anyhow::{Context, bail, ensure};
use envoy_types::pb::envoy::{
    config::core::v3::HeaderValueOption,
    service::auth::v3::{CheckResponse, check_response::HttpResponse},
};
use prost::Message;
use tokio::runtime::Builder;

use super::ConfigArgs;
use crate::{
    app,
    credential::{Note, Notes},
    decision::{Decision, Verdict},
    engine::Engine,
    envoy::answer,
    request::Request,
    settings::{TokenPlace, TokenSourceSettings},
    time::UnixTime,
};

/// What a denied request ends the program with.
const DENIED: u8 = 3;

/// Run one request through the real engine, without Envoy, and say why it is
/// allowed or denied.
///
/// Fetches the issuers' keys as the service would. Exits with 0 for allow, 3
/// for deny and 1 for an error.
#[derive(Clone, Debug, clap::Args)]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// The request's path, with its query if it has one.
    #[arg(long)]
    path: String,

    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: String,

    /// The request's host.
    #[arg(long, default_value = "localhost")]
    host: String,

    /// A header of the request; repeatable.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,

    /// A file with the token, put where the first token source looks for it;
    /// `-` reads stdin.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// The route that Envoy's own route names (`claimgate_route`).
    #[arg(long, value_name = "NAME")]
    route: Option<String>,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    let name = http::HeaderName::try_from(name.trim()).map_err(|_| "its name is no header name")?;
    Ok((name.as_str().into(), value.trim().into()))
}

/// Decides the request and prints what came out.
///
/// # Errors
/// The configuration can't be used, or the token can't be read.
pub fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let (text, code) = runtime.block_on(explain(args))?;
    runtime.shutdown_background();
    io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    Ok(code)
}

async fn explain(mut args: ExplainArgs) -> anyhow::Result<(String, ExitCode)> {
    let engine = app::engine(&args.config.config).await?;
    if let Some(file) = args.token_file.take() {
        let token = read_token(&file)?;
        args.present(&token, engine.token_sources())?;
    }
    let request = Request {
        method: &args.method,
        host: &args.host,
        path: &args.path,
        route: args.route.as_deref(),
        headers: args
            .headers
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_bytes()))
            .collect(),
    };
    let notes = Notes::default();
    let decision = engine.explain(&request, UnixTime::now(), &notes).await;
    let answer = answer::encode(&engine, &request, &decision);
    let answer = CheckResponse::decode(answer.as_ref()).context("cannot read the answer back")?;
    let code = match decision.verdict {
        Verdict::Allow => ExitCode::SUCCESS,
        Verdict::Deny(_) => ExitCode::from(DENIED),
    };
    Ok((report(&engine, &decision, &notes.take(), answer)?, code))
}

fn read_token(file: &PathBuf) -> anyhow::Result<String> {
    let token = match file.as_os_str() == "-" {
        true => {
            let mut token = String::new();
            io::stdin().read_to_string(&mut token).map(|_| token)
        }
        false => fs::read_to_string(file),
    };
    let token = token.with_context(|| format!("cannot read the token from {}", file.display()))?;
    let token = token.trim();
    ensure!(!token.is_empty(), "{} is empty: it must hold the token", file.display());
    Ok(token.into())
}

impl ExplainArgs {
    /// Puts the token where the first source looks for it.
    fn present(&mut self, token: &str, sources: &[TokenSourceSettings]) -> anyhow::Result<()> {
        let Some(source) = sources.first() else { bail!("no token source is configured") };
        match &source.place {
            TokenPlace::Header { name, scheme: Some(scheme) } => {
                self.headers.push((name.clone(), format!("{scheme} {token}")));
            }
            TokenPlace::Header { name, scheme: None } => {
                self.headers.push((name.clone(), token.into()));
            }
            TokenPlace::Query(name) => {
                let separator = if self.path.contains('?') { '&' } else { '?' };
                let pair = url::form_urlencoded::Serializer::new(String::new())
                    .append_pair(name, token)
                    .finish();
                self.path.push(separator);
                self.path.push_str(&pair);
            }
            TokenPlace::Cookie(name) => {
                self.headers.push(("cookie".into(), format!("{name}={token}")))
            }
        }
        Ok(())
    }
}

/// The verdict first, then how it came about, then what either side gets.
fn report(
    engine: &Engine,
    decision: &Decision<'_>,
    notes: &[Note],
    answer: CheckResponse,
) -> anyhow::Result<String> {
    let mut out = String::new();
    let verdict = match decision.verdict {
        Verdict::Allow => "allow",
        Verdict::Deny(_) => "deny",
    };
    writeln!(out, "{verdict}: {} ({})", decision.reason, decision.reason.description())?;
    writeln!(out)?;
    let route = decision.route.map_or("none, the defaults apply", |route| &route.name);
    writeln!(out, "route: {route}")?;
    for (id, kind) in &decision.answers {
        let name = engine.provider(*id).name();
        writeln!(out, "provider {name}: {}", kind.as_str())?;
        for note in notes.iter().filter(|note| note.provider.as_deref() == Some(name)) {
            writeln!(out, "  {}", note.sentence)?;
        }
    }
    let wanted = engine.required_scopes(decision);
    if !wanted.is_empty() {
        writeln!(out, "scopes wanted: {}", wanted.join(" "))?;
    }
    if let Some(caller) = &decision.caller {
        writeln!(out, "scopes granted: {}", caller.principal.scopes.names.join(" "))?;
    }
    for note in notes.iter().filter(|note| note.provider.is_none()) {
        writeln!(out, "policy: {}", note.sentence)?;
    }
    writeln!(out)?;
    write_answer(&mut out, answer)?;
    Ok(out)
}

fn write_answer(out: &mut String, answer: CheckResponse) -> anyhow::Result<()> {
    match answer.http_response.context("the answer says nothing")? {
        HttpResponse::OkResponse(ok) => {
            writeln!(out, "the upstream gets:")?;
            write_headers(out, &ok.headers)?;
            for name in ok.headers_to_remove {
                writeln!(out, "  {name}: (removed)")?;
            }
            for name in ok.query_parameters_to_remove {
                writeln!(out, "  query parameter {name}: (removed)")?;
            }
        }
        HttpResponse::DeniedResponse(denied) => {
            writeln!(out, "the client gets:")?;
            writeln!(out, "  HTTP {}", denied.status.unwrap_or_default().code)?;
            write_headers(out, &denied.headers)?;
            writeln!(out, "  {}", denied.body)?;
        }
        HttpResponse::ErrorResponse(_) => bail!("the answer is an error"),
    }
    Ok(())
}

/// Cookies are set without the token but may hold other secrets.
fn write_headers(out: &mut String, headers: &[HeaderValueOption]) -> anyhow::Result<()> {
    for header in headers.iter().filter_map(|option| option.header.as_ref()) {
        let value =
            if header.key == "cookie" { "(without the token)" } else { header.value.as_str() };
        writeln!(out, "  {}: {value}", header.key)?;
    }
    Ok(())
}
