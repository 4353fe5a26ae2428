//! `claimgate test`: runs policy tests.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::Context;
use serde_json::json;
use tokio::runtime::Builder;

use super::args::OutputFormat;
use crate::{
    config,
    policy_tests::{CaseReport, Harness, TestFile, run as run_case},
    time::UnixTime,
};

mod junit;

/// Run policy tests: files of cases that say what a config must decide.
///
/// Needs no issuer and no network: tokens are made on the spot. Exits with 0
/// if every case came out as expected, else with 1.
#[derive(Clone, Debug, clap::Args)]
#[command(after_help = "\
Examples:
  claimgate test gateway.test.yaml
  claimgate test --junit results.xml deploy/*.test.yaml")]
pub struct TestArgs {
    /// Files of cases, in YAML.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,

    /// The config under test, whatever the files name.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,

    /// Also write the results into this file, in JUnit's XML.
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,

    /// How to print the results.
    #[arg(long, value_enum, default_value_t)]
    output: OutputFormat,
}

/// The result of a file.
struct FileReport {
    file: String,
    /// The cases, or why they can't be run.
    result: Result<Vec<CaseReport>, String>,
}

/// Runs the files one after the other and prints the results.
///
/// # Errors
/// The results can't be written.
pub fn run(args: &TestArgs) -> anyhow::Result<ExitCode> {
    let runtime =
        Builder::new_current_thread().enable_all().build().context("cannot start the runtime")?;
    let now = UnixTime::now();
    let mut reports = Vec::new();
    for path in &args.files {
        let result = runtime.block_on(run_file(path, args.config.as_deref(), now));
        let result = result.map_err(|error| format!("{error:#}"));
        reports.push(FileReport { file: path.display().to_string(), result });
    }
    let text = match args.output {
        OutputFormat::Text => text(&reports)?,
        OutputFormat::Json => format!("{:#}\n", json(&reports)?),
    };
    io::stdout().write_all(text.as_bytes()).context("cannot write to stdout")?;
    if let Some(path) = &args.junit {
        let xml = junit::report(&reports)?;
        fs::write(path, xml).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(if count(&reports).1 == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

async fn run_file(
    path: &Path,
    config: Option<&Path>,
    now: UnixTime,
) -> anyhow::Result<Vec<CaseReport>> {
    let env = |name: &str| std::env::var(name).ok();
    let text = fs::read_to_string(path).context("can't be read")?;
    let file = TestFile::read(&path.display().to_string(), &text, &env)?;
    let folder = path.parent().unwrap_or(Path::new(""));
    let config = match (config, file.config()) {
        (Some(config), _) => config.to_owned(),
        (None, Some(config)) => folder.join(config),
        (None, None) => anyhow::bail!(
            "config: is missing; write the config file's path, relative to this file, or give \
             --config"
        ),
    };
    let text = fs::read_to_string(&config)
        .with_context(|| format!("the config {} can't be read", config.display()))?;
    let look_up = |name: &str| file.variable(name).or_else(|| env(name));
    let loaded = config::load_named(&config.display().to_string(), &text, &look_up)
        .with_context(|| format!("the config {} can't be used", config.display()))?;
    let cases = file.cases(&loaded, folder)?;
    let mut harness = Harness::new(&loaded);
    let mut reports = Vec::with_capacity(cases.len());
    for case in &cases {
        reports.push(run_case(&mut harness, case, now).await?);
    }
    Ok(reports)
}

/// How many cases passed and failed; a file that can't be used is a failure.
fn count(reports: &[FileReport]) -> (usize, usize) {
    let (mut passed, mut failed) = (0, 0);
    for report in reports {
        match &report.result {
            Ok(cases) => {
                let good = cases.iter().filter(|case| case.passed()).count();
                passed += good;
                failed += cases.len() - good;
            }
            Err(_) => failed += 1,
        }
    }
    (passed, failed)
}

fn text(reports: &[FileReport]) -> anyhow::Result<String> {
    let mut out = String::new();
    for report in reports {
        writeln!(out, "{}", report.file)?;
        match &report.result {
            Ok(cases) => cases.iter().try_for_each(|case| write_case(&mut out, case))?,
            Err(error) => {
                writeln!(out, "  ERROR")?;
                write_indented(&mut out, error)?;
            }
        }
    }
    let (passed, failed) = count(reports);
    writeln!(out, "{passed} passed, {failed} failed")?;
    Ok(out)
}

fn write_case(out: &mut String, case: &CaseReport) -> std::fmt::Result {
    if case.passed() {
        return writeln!(out, "  ok    {}", case.name);
    }
    writeln!(out, "  FAIL  {}", case.name)?;
    for mismatch in &case.mismatches {
        writeln!(out, "        {mismatch}")?;
    }
    write_indented(out, &case.explanation.to_string())
}

fn write_indented(out: &mut String, text: &str) -> std::fmt::Result {
    text.lines().try_for_each(|line| writeln!(out, "        | {line}"))
}

fn json(reports: &[FileReport]) -> anyhow::Result<serde_json::Value> {
    let (passed, failed) = count(reports);
    let mut files = Vec::new();
    for report in reports {
        let file = &report.file;
        files.push(match &report.result {
            Err(error) => json!({"file": file, "error": error, "cases": []}),
            Ok(cases) => {
                let cases: Vec<_> = cases
                    .iter()
                    .map(|case| {
                        json!({
                            "name": case.name,
                            "passed": case.passed(),
                            "mismatches": case.mismatches,
                            "explanation": case.explanation,
                        })
                    })
                    .collect();
                json!({"file": file, "error": null, "cases": cases})
            }
        });
    }
    Ok(json!({"passed": passed, "failed": failed, "files": files}))
}
