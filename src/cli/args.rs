//! Arguments that several commands share.

use std::{env, path::PathBuf};

use clap::{Args, ValueEnum};

/// Where the configuration is.
#[derive(Args, Clone, Debug)]
pub struct ConfigArgs {
    /// The configuration file.
    #[arg(long, value_name = "FILE", env = "CLAIMGATE_CONFIG", default_value = "gateway.yaml")]
    pub config: PathBuf,
}

/// The same for a command whose first argument it may be.
#[derive(Args, Clone, Debug)]
pub struct NamedConfigArgs {
    /// The configuration file [default: CLAIMGATE_CONFIG, else gateway.yaml].
    #[arg(value_name = "FILE", conflicts_with = "config")]
    file: Option<PathBuf>,

    /// The same.
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

impl NamedConfigArgs {
    /// The file that is named, here or by the environment.
    pub fn path(&self) -> PathBuf {
        let named = self.file.clone().or_else(|| self.config.clone());
        let from_environment = || env::var_os("CLAIMGATE_CONFIG").map(PathBuf::from);
        named.or_else(from_environment).unwrap_or_else(|| "gateway.yaml".into())
    }
}

/// How a result is printed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum OutputFormat {
    /// For people.
    #[default]
    Text,
    /// For scripts.
    Json,
}
