//! `claimgate explain`: runs one request through the real engine and explains
//! the decision.

use std::{
    fs,
    io::{self, Read, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
    sync::{Mutex, PoisonError},
};

use anyhow::{Context, bail, ensure};
use claimgate_core::text::visible_json;
use tokio::runtime::Builder;

use super::{
    args::{ConfigArgs, OutputFormat},
    paint,
    waiting::Waiting,
};
use crate::{
    app::offline::{LocalKeys, Offline},
    envoy::capture::Capture,
    explain::{Explanation, Sent, explain_telling},
    time::{NoTime, UnixTime},
};

/// The exit status of a denied request.
const DENIED: u8 = 3;

/// Run one request through the real engine, without Envoy, and say why it is
/// allowed or denied.
///
/// Fetches the issuers' keys as the service would. Exits with 0 for allow, 3
/// for deny and 1 for an error.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate explain --config gateway.yaml --path /v1/models --token-file token
  claimgate explain --path /admin --method POST --header 'x-api-key: KEY'
  claimgate explain --check-request captured.json --at request --output json")]
pub struct ExplainArgs {
    #[command(flatten)]
    config: ConfigArgs,

    /// The request's path, with its query if it has one.
    #[arg(long, required_unless_present = "check_request")]
    path: Option<String>,

    /// The request's method.
    #[arg(long, default_value = "GET")]
    method: String,

    /// The request's host.
    #[arg(long, default_value = "localhost")]
    host: String,

    /// A header of the request; repeatable.
    #[arg(long = "header", value_name = "NAME: VALUE", value_parser = parse_header)]
    headers: Vec<(String, String)>,

    /// The route that Envoy's own route names (`claimgate_route`).
    #[arg(long, value_name = "NAME")]
    route: Option<String>,

    /// A captured CheckRequest in place of path, method, host, headers and
    /// route: JSON, as protobuf maps it, or the binary message; `-` reads
    /// stdin.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["path", "method", "host", "headers", "route"]
    )]
    check_request: Option<PathBuf>,

    /// A file with the token, put where the first token source looks for it;
    /// `-` reads stdin.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,

    /// A file with signing keys (a JWK Set), used in place of what the config
    /// says; with PROVIDER= in front where several providers have keys.
    /// Repeatable.
    #[arg(long = "jwks-file", value_name = "[PROVIDER=]FILE", value_parser = parse_local_keys)]
    local_keys: Vec<LocalKeys>,

    /// Another moment than now: RFC 3339, seconds since 1970, or `request` for
    /// the time in the captured request.
    #[arg(long, value_name = "TIME", value_parser = parse_at)]
    at: Option<At>,

    /// How to print it.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// The time at which the request is decided.
#[derive(Clone, Copy, Debug, PartialEq)]
enum At {
    /// This time.
    Moment(UnixTime),
    /// The time of the captured request.
    OfTheRequest,
}

fn parse_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once(':').ok_or("write it as 'name: value'")?;
    let name =
        http::HeaderName::try_from(name.trim()).map_err(|_| "its name is not a header name")?;
    Ok((name.as_str().into(), value.trim().into()))
}

fn parse_at(text: &str) -> Result<At, NoTime> {
    match text {
        "request" => Ok(At::OfTheRequest),
        text => text.parse().map(At::Moment),
    }
}

fn parse_local_keys(text: &str) -> Result<LocalKeys, String> {
    let (provider, file) = match text.split_once('=') {
        // A path may hold a `=`; the name of a provider holds no `/`.
        Some((provider, file)) if !provider.contains('/') => (Some(provider.into()), file),
        _ => (None, text),
    };
    if file.is_empty() {
        return Err("write it as 'file' or 'provider=file'".into());
    }
    Ok(LocalKeys { provider, file: file.into() })
}

/// Decides the request and prints the explanation.
///
/// # Errors
/// The configuration can't be used, or a file can't be read.
pub fn run(args: ExplainArgs) -> anyhow::Result<ExitCode> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let output = args.output;
    let explanation = runtime.block_on(explained(args))?;
    runtime.shutdown_background();
    let (explanation, note) = explanation;
    let text = match output {
        OutputFormat::Text => paint::explanation(&format!("{explanation}{note}")),
        OutputFormat::Json => {
            let json = format!("{:#}\n", serde_json::to_value(&explanation)?);
            visible_json(&json).into_owned()
        }
    };
    let mut stdout = anstream::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        // The exit code still says what was decided.
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {}
        written => written.context("cannot write to stdout")?,
    }
    Ok(match explanation.decision {
        "allow" => ExitCode::SUCCESS,
        _ => ExitCode::from(DENIED),
    })
}

/// The explanation, and a line on what else was seen.
async fn explained(args: ExplainArgs) -> anyhow::Result<(Explanation, String)> {
    let is_stdin = |file: &Option<PathBuf>| file.as_deref() == Some(Path::new("-"));
    if is_stdin(&args.check_request) && is_stdin(&args.token_file) {
        bail!("--check-request and --token-file can't both read stdin; put one into a file");
    }
    let (mut sent, captured_at) = match &args.check_request {
        Some(file) => read_capture(file)?,
        None => (args.request(), None),
    };
    let now = match args.at {
        None => UnixTime::now(),
        Some(At::Moment(moment)) => moment,
        Some(At::OfTheRequest) => {
            captured_at.context("--at request: no captured request says when it was")?
        }
    };
    // Before anything is waited for.
    let token = args.token_file.as_deref().map(read_token).transpose()?;
    let line = Mutex::new(Waiting::default());
    let show = |text: &str| line.lock().unwrap_or_else(PoisonError::into_inner).show(text);
    let config = &args.config.config;
    let offline = Offline::open_telling(config, &args.local_keys, |providers| {
        show(&format!("waiting up to 5 s for the keys of {}", providers.join(", ")));
    })
    .await?;
    if let Some(token) = &token {
        sent.present(token, offline.engine.token_sources())?;
    }
    let late = |providers: &[&str]| {
        let providers = providers.join(", ");
        show(&format!("{providers} was not in time; waiting up to 30 s for a later answer"));
    };
    let (engine, limit) = (&offline.engine, offline.check_timeout);
    let explanation = explain_telling(engine, &sent.request(), now, limit, late).await;
    // Those that log nothing have not seen the warnings.
    let note = match offline.warnings {
        0 => String::new(),
        count => format!(
            "\nconfig: {count} warning{}, see `claimgate validate --config {}`\n",
            if count == 1 { "" } else { "s" },
            config.display()
        ),
    };
    Ok((explanation, note))
}

impl ExplainArgs {
    fn request(&self) -> Sent {
        let bytes = |(name, value): &(String, String)| (name.clone(), value.clone().into_bytes());
        Sent {
            method: self.method.clone(),
            host: self.host.clone(),
            path: self.path.clone().unwrap_or_default(),
            route: self.route.clone(),
            headers: self.headers.iter().map(bytes).collect(),
        }
    }
}

fn read_capture(file: &Path) -> anyhow::Result<(Sent, Option<UnixTime>)> {
    let bytes = read(file)
        .with_context(|| format!("cannot read the captured request from {}", file.display()))?;
    ensure!(!bytes.is_empty(), "{} is empty: it must hold a CheckRequest", file.display());
    let capture = Capture::read(&bytes).with_context(|| file.display().to_string())?;
    Ok((capture.sent()?, capture.time()))
}

fn read_token(file: &Path) -> anyhow::Result<String> {
    let token =
        read(file).with_context(|| format!("cannot read the token from {}", file.display()))?;
    let token = String::from_utf8(token)
        .map_err(|_| anyhow::anyhow!("{} is not text: it must hold the token", file.display()))?;
    let token = token.trim_start_matches('\u{feff}').trim();
    ensure!(!token.is_empty(), "{} is empty: it must hold the token", file.display());
    ensure!(
        !token.contains(|c: char| c.is_whitespace() || c.is_control()),
        "{} must hold the token alone: leave out its scheme, such as Bearer, and line breaks",
        file.display()
    );
    Ok(token.into())
}

/// The content of a file, or of stdin for `-`.
fn read(file: &Path) -> io::Result<Vec<u8>> {
    match file == Path::new("-") {
        true => {
            let mut content = Vec::new();
            io::stdin().read_to_end(&mut content).map(|_| content)
        }
        false => fs::read(file),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_belong_to_a_provider_or_to_the_only_one() {
        let keys = |provider: Option<&str>, file: &str| LocalKeys {
            provider: provider.map(Into::into),
            file: file.into(),
        };
        assert_eq!(parse_local_keys("jwks.json"), Ok(keys(None, "jwks.json")));
        assert_eq!(parse_local_keys("idp=a/b.json"), Ok(keys(Some("idp"), "a/b.json")));
        assert_eq!(parse_local_keys("./a=b.json"), Ok(keys(None, "./a=b.json")));
        assert!(parse_local_keys("idp=").is_err());
    }
}
