//! Flags that every verb understands.

use std::path::PathBuf;

use clap::{Args, ColorChoice};

/// Flags that every verb understands.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Cluster file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) file: PathBuf,

    /// Directory of overlays that replace or extend the built-in ones; repeatable, the last wins
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) overlay_dir: Vec<PathBuf>,

    /// Directory of profiles that replace or extend the built-in ones; repeatable, the last wins
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) profile_dir: Vec<PathBuf>,

    /// Store of downloads and finished stages [default: $KILN_STORE, else ~/.cache/kiln]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// Print one JSON document on stdout: the data, or what went wrong
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Say nothing but errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// Colour messages; `auto` means on a terminal, unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}
