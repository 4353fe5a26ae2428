//! Reading the configuration that a filter names, and what can be wrong.

use std::{io, path::PathBuf};

use claimgate::{app::listen::BindError, metrics};
use claimgate_config::{ConfigErrors, Loaded};
use claimgate_files::Hung;
use tracing::error;

use crate::{
    open::OpenError,
    options::{FilterOptions, OptionsError},
};

/// Why a filter can't be set up.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LoadError {
    /// `filter_config` names no configuration.
    #[error(transparent)]
    Options(#[from] OptionsError),
    /// The configuration is wrong, or a file that it names.
    #[error(transparent)]
    Config(#[from] ConfigErrors),
    /// What the configuration names can't be set up.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The admin port can't be opened.
    #[error(transparent)]
    Bind(#[from] BindError),
    /// Two configurations would share one admin port.
    #[error(
        "server.admin.address: {address} is the admin port of {other} in this Envoy, write another \
         address in one of the two"
    )]
    AdminPortTaken {
        /// The address as configured.
        address: String,
        /// The other's config file.
        other: PathBuf,
    },
    /// The operating system has no threads or file descriptors left.
    #[error("cannot start a thread: {0}, raise the limits of this process")]
    Thread(#[from] io::Error),
    /// A defect that no input brings about.
    #[error("cannot set up the metrics: {0}")]
    Metrics(#[from] metrics::MetricsError),
    /// A file is on a mount that hangs.
    #[error("the configuration's files can't be watched: {0}")]
    Hung(#[from] Hung),
    /// Reading panicked, which was logged.
    #[error("the configuration can't be read")]
    Interrupted,
}

impl LoadError {
    /// Says what is wrong, one line for each thing.
    pub(crate) fn log(&self) {
        match self {
            Self::Config(errors) => {
                for wrong in errors.iter() {
                    error!("{wrong}");
                }
            }
            other => error!("{other}"),
        }
    }
}

/// Reads a configuration, and looks into every file that it names. What
/// belongs to the gRPC listener is left out: Envoy listens here.
pub(crate) fn read(options: &FilterOptions) -> Result<Loaded, ConfigErrors> {
    let read = match options {
        FilterOptions::File(path) => {
            claimgate_config::read_as_named_by("filter_config.config_file", path)
        }
        FilterOptions::Inline(text) => {
            let name = options.file_name().display().to_string();
            claimgate_config::load_named(&name, text, &|name| std::env::var(name).ok())
        }
    };
    let with_files =
        |errors: ConfigErrors| errors.without_files_of("server.grpc").with_those_of_files();
    let mut loaded = read.map_err(with_files)?;
    loaded.settings.server.grpc.tls = None;
    let named = loaded.settings.files();
    loaded.files.retain(|file| named.contains(&file.path));
    loaded.check_files()?;
    Ok(loaded)
}
