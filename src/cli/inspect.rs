//! `kiln inspect`: shows the contents of an artifact.

use std::path::PathBuf;

use crate::cli::Ui;
use crate::cli::table::columns;
use crate::error::Result;
use crate::output::Manifest;
use crate::output::inspect::{self, BootReport, DiskReport, Inspected, SeedReport};

/// Show the contents of an output directory, disk image or seed; secrets are shown by name only
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(super) struct Args {
    /// Output directory, raw or qcow2 image, or seed
    #[arg(value_name = "PATH")]
    path: PathBuf,
}

const EXAMPLES: &str = "\
Examples:
  kiln inspect out/ha
  kiln inspect out/ha/images/control-plane.raw
  kiln inspect out/ha/nodes/m1/m1.qcow2
  kiln inspect out/ha/nodes/m1/m1.seed --json | jq .identity";

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    ui.show(&inspect::inspect(&args.path)?, text)
}

fn text(inspected: &Inspected) -> String {
    match inspected {
        Inspected::Disk(report) => disk(report),
        Inspected::Seed(report) => seed(report),
        Inspected::Output(manifest) => output(manifest),
    }
}

fn disk(report: &DiskReport) -> String {
    let partition =
        |row: &inspect::PartitionReport| [row.label.clone(), mib(row.start), mib(row.size), row.id.clone()];
    let header = ["PARTITION", "START", "SIZE", "ID"].map(str::to_owned);
    let partitions: Vec<[String; 4]> =
        std::iter::once(header).chain(report.partitions.iter().map(partition)).collect();
    let root = columns(&[
        row("size", mib(report.size)),
        row("root", format!("{}, {}", report.root.filesystem, mib(report.root.size))),
        row("root hash", report.root.root_hash.clone()),
    ]);
    let boot: String = report.boot.iter().map(boot).collect();
    let seed = report.seed.as_ref().map_or_else(|| "seed  none: this is a role image\n".to_owned(), seed);
    format!("{root}\n{}\n{boot}\n{seed}", columns(&partitions))
}

fn boot(report: &BootReport) -> String {
    columns(&[
        row("boot entry", report.file.clone()),
        row("system", report.system.clone()),
        row("kernel", format!("{}, {}", report.kernel, mib(report.kernel_size as u64))),
        row("initrd", mib(report.initrd_size as u64)),
        row("command line", report.command_line.clone()),
    ])
}

fn seed(report: &SeedReport) -> String {
    let identity = &report.identity;
    let summary = columns(&[
        row("seed", format!("{} bytes, {}", report.size, report.sha256.short())),
        row("node", format!("{} of {} ({})", identity.node, identity.cluster, identity.roles.join(", "))),
        row("machine id", identity.machine_id.clone()),
    ]);
    format!("{summary}\n{}\n", report.files.join("\n"))
}

fn output(manifest: &Manifest) -> String {
    let image = |(name, image): (&String, &crate::output::ImageRecord)| {
        [name.clone(), image.filesystem.clone(), image.kernel.clone(), image.root_hash.short()]
    };
    let header = ["IMAGE", "ROOT", "KERNEL", "ROOT HASH"].map(str::to_owned);
    let images: Vec<[String; 4]> = std::iter::once(header).chain(manifest.images.iter().map(image)).collect();
    let artifact = |(path, record): (&String, &crate::output::ArtifactRecord)| {
        let readers = if record.secret { "secret" } else { "" };
        [record.sha256.short(), mib(record.size), readers.to_owned(), path.clone()]
    };
    let artifacts: Vec<[String; 4]> = manifest.artifacts.iter().map(artifact).collect();
    format!("{}\n{}", columns(&images), columns(&artifacts))
}

fn row(name: &str, value: String) -> [String; 2] {
    [name.to_owned(), value]
}

/// Formats bytes as mebibytes with one decimal.
fn mib(bytes: u64) -> String {
    format!("{}.{} MiB", bytes >> 20, ((bytes & 0xf_ffff) * 10) >> 20)
}
