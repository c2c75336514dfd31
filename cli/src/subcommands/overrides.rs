//! The option that all commands with a config have.

/// Keys of a config that the command line overrides.
#[derive(Debug, clap::Args)]
pub(crate) struct Overrides {
    /// Override a config key: key=value
    #[arg(long = "set", value_name = "SET")]
    pub(crate) keys: Vec<String>,
}
