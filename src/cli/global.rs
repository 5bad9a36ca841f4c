//! Flags that every verb accepts.

use std::path::PathBuf;

use clap::{Args, ColorChoice};

/// Flags that every verb accepts.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Global options")]
pub(crate) struct Global {
    /// Cluster file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "cluster.toml")]
    pub(crate) file: PathBuf,

    /// Directory with overlays that replace or extend the built-in ones; repeatable, the last one wins
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) overlay_dir: Vec<PathBuf>,

    /// Directory with profiles that replace or extend the built-in ones; repeatable, the last one wins
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) profile_dir: Vec<PathBuf>,

    /// Store for downloads and finished stages [default: $KILN_STORE, or ~/.cache/kiln]
    #[arg(long, global = true, value_name = "DIR")]
    pub(crate) store: Option<PathBuf>,

    /// Print one JSON document on stdout: the data or the error
    #[arg(long, global = true)]
    pub(crate) json: bool,

    /// Print only errors
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,

    /// When to colour messages; `auto` colours them on a terminal unless NO_COLOR is set
    #[arg(long, global = true, value_name = "WHEN", default_value_t = ColorChoice::Auto)]
    pub(crate) color: ColorChoice,
}
