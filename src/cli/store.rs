//! `kiln store`: lists, verifies and shrinks the cache.

use clap::Subcommand;

use crate::cli::Ui;
use crate::error::{Error, Kind, Result, counted};
use crate::host;
use crate::store::{Bounds, Collected, Entry, EntryKind, Store};

const EXAMPLES: &str = "\
Examples:
  kiln store list              list entries with size and days since last use
  kiln store verify            check every entry against its digest
  kiln store gc --age 30       remove entries unused for 30 days
  kiln store gc --size 5G -n   show what would be removed to shrink to 5 GiB";

/// List, verify and shrink the store of downloads and finished stages
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List every entry with its size and age
    List,
    /// Check every entry, and remove corrupt entries
    Verify,
    /// Remove unfinished downloads, and entries that exceed the limits
    Gc {
        /// Maximum size to keep, in bytes or with K, M, G or T (powers of 1024); least recently used entries
        /// are removed first
        #[arg(long, value_name = "SIZE", value_parser = bytes)]
        size: Option<u64>,
        /// Keep entries used in the last DAYS days
        #[arg(long, value_name = "DAYS")]
        age: Option<u64>,
        /// Only show what would be removed
        #[arg(short = 'n', long)]
        dry_run: bool,
    },
}

pub(super) fn run(args: &Args, ui: &Ui) -> Result<()> {
    let store = Store::open(ui.global().store.as_deref())?;
    match &args.action {
        Action::List => {
            let entries = store.list()?;
            ui.show(&entries, |entries| list(entries, host::clock::now()))
        }
        Action::Verify => verify(&store, ui),
        Action::Gc { size, age, dry_run } => {
            let bounds = Bounds { size: *size, age: age.map(|days| days.saturating_mul(86_400)) };
            let collected = store.collect(bounds, host::clock::now(), *dry_run)?;
            ui.show(&collected, |collected| reported(collected, *dry_run))
        }
    }
}

fn verify(store: &Store, ui: &Ui) -> Result<()> {
    let corrupt = store.verify(ui)?;
    ui.show(&corrupt, |corrupt| corrupt.iter().map(|line| format!("{line}\n")).collect())?;
    match corrupt.len() {
        0 => {
            ui.message(format!("`{}` is intact", store.root().display()));
            Ok(())
        }
        count => Err(Error::new(
            Kind::Verify,
            format!("corrupt in `{}`: {}", store.root().display(), counted(count, "entry")),
        )
        .hint("run `kiln fetch` or `kiln build` to restore the removed entries")),
    }
}

fn list(entries: &[Entry], now: u64) -> String {
    let line = |entry: &Entry| {
        let kind = match entry.kind {
            EntryKind::Blob => "blob",
            EntryKind::Stage => "stage",
            EntryKind::Partial => "partial",
        };
        let days = now.saturating_sub(entry.used) / 86_400;
        format!("{kind:7} {:>10} {days:>4} d  {}\n", human(entry.size), entry.name)
    };
    let lines: String = entries.iter().map(line).collect();
    let total = entries.iter().map(|entry| entry.size).sum();
    format!("{lines}{}, {}\n", counted(entries.len(), "entry"), human(total))
}

fn reported(collected: &Collected, dry_run: bool) -> String {
    let verb = if dry_run { "would remove" } else { "removed" };
    format!(
        "{verb} {}, {}; {} kept\n",
        counted(collected.removed.len(), "entry"),
        human(collected.freed),
        human(collected.kept)
    )
}

/// Formats a size in powers of 1024.
fn human(bytes: u64) -> String {
    indicatif::BinaryBytes(bytes).to_string()
}

/// Parses a number of bytes with an optional unit.
fn bytes(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a size such as `5G`");
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let power = match text[digits.len()..].trim_end_matches("iB").trim_end_matches('B') {
        "" => 0,
        "K" | "k" => 1,
        "M" => 2,
        "G" => 3,
        "T" => 4,
        _ => return Err(wrong()),
    };
    let number: u64 = digits.trim().parse().map_err(|_| wrong())?;
    number.checked_mul(1 << (10 * power)).ok_or_else(wrong)
}

#[cfg(test)]
mod tests {
    use super::bytes;

    #[test]
    fn sizes_are_read_as_people_write_them() {
        let cases = [
            ("7", Some(7)),
            ("5G", Some(5 << 30)),
            ("1 MiB", Some(1 << 20)),
            ("2KB", Some(2048)),
            ("5X", None),
            ("G", None),
            ("99999999T", None),
        ];
        for (text, expected) in cases {
            assert_eq!(bytes(text).ok(), expected, "{text}");
        }
    }
}
