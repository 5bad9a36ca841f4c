//! `kiln build`: builds a cluster file into published artifacts.

use std::path::PathBuf;

use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use serde_json::json;

use crate::cli::Ui;
use crate::error::Result;
use crate::output::Published;
use crate::pipeline::{self, Built, Request, Sources};
use crate::words::{OUTPUTS, Output};

/// Build the role images and node seeds for a cluster file
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Directory to publish to; the artifacts go to `DIR/CLUSTER`
    #[arg(short, long, value_name = "DIR", default_value = "out")]
    out: PathBuf,

    /// Output format, used instead of the formats in the cluster file; repeatable, see `kiln list outputs`
    #[arg(long = "format", value_name = "FORMAT", value_parser = format())]
    formats: Vec<Output>,

    /// Use only the store; fail if anything is missing from it
    #[arg(long)]
    offline: bool,
}

/// Parses a format; help and error messages list all formats.
fn format() -> impl TypedValueParser<Value = Output> {
    PossibleValuesParser::new(OUTPUTS.iter().map(|kind| PossibleValue::new(kind.name).help(kind.summary)))
        .map(|name| name.parse().expect("it is one of the possible values"))
}

const EXAMPLES: &str = "\
Examples:
  kiln build
  kiln build --file berlin.toml --out /srv/images
  kiln build --format qcow2 --offline
  kiln build --json | jq -r .directory";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let global = ui.global();
    let sources = Sources {
        file: &global.file,
        profile_directories: &global.profile_dir,
        overlay_directories: &global.overlay_dir,
    };
    let request = Request {
        sources,
        store: global.store.as_deref(),
        out: &args.out,
        formats: &args.formats,
        offline: args.offline,
    };
    let built = pipeline::build(&request, ui)?;
    if global.json {
        let times: serde_json::Map<String, serde_json::Value> =
            built.times.iter().map(|(stage, seconds)| ((*stage).to_owned(), json!(seconds))).collect();
        return ui.print_json(
            &json!({ "directory": built.directory, "written": written(&built), "times": times }),
        );
    }
    match built.published {
        Published::Unchanged => ui.message(format!("`{}` is up to date", built.directory.display())),
        Published::New(count) => {
            ui.message(format!("published `{}` ({count} new files)", built.directory.display()));
        }
    }
    Ok(())
}

fn written(built: &Built) -> usize {
    match built.published {
        Published::New(count) => count,
        Published::Unchanged => 0,
    }
}
