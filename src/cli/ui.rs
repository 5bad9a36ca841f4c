//! kiln's output: data on stdout; messages, errors and progress on stderr. Progress is shown as bars on a
//! terminal and as plain lines elsewhere.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::ColorChoice;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::{Global, diagnostic};
use crate::error::{Doing as _, Error, Kind, Report, Result};
use crate::host::clock::Stopwatch;
use crate::progress::{Progress, Step};

/// Minimum duration of a step for its time to appear in a plain log.
const WORTH_TELLING: Duration = Duration::from_secs(3);

/// Time between two frames of a bar.
const TICK: Duration = Duration::from_millis(120);
/// Minimum terminal width for a bar to fit next to its message.
const ENOUGH: u16 = 72;

/// Output to the user or script.
#[derive(Debug)]
pub(crate) struct Ui {
    global: Global,
    colored: bool,
    /// Bars on a terminal; `None` means plain lines.
    bars: Option<MultiProgress>,
}

impl Ui {
    pub(super) fn new(global: Global) -> Self {
        let terminal =
            io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colored = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => {
                terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
            }
        };
        let bars = (terminal && !global.quiet).then(MultiProgress::new);
        Self { global, colored, bars }
    }

    /// Returns the flags that every verb accepts.
    pub(crate) fn global(&self) -> &Global {
        &self.global
    }

    /// Writes data to stdout. A closed pipe is not an error.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if writing fails, for example because the disk is full.
    pub(crate) fn print(&self, text: impl AsRef<[u8]>) -> Result<()> {
        self.aside(|| {
            let mut stdout = io::stdout().lock();
            match stdout.write_all(text.as_ref()).and_then(|()| stdout.flush()) {
                Err(err) if err.kind() == io::ErrorKind::BrokenPipe => Ok(()),
                other => other.doing(Kind::Io, || "writing to stdout".into()),
            }
        })
    }

    /// Writes `value` as one JSON document to stdout.
    ///
    /// # Errors
    ///
    /// Same as [`Ui::print`].
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).doing(Kind::Internal, || "writing JSON".into())?;
        self.print(text + "\n")
    }

    /// Prints the value as JSON with `--json`, otherwise as formatted by `text`.
    ///
    /// # Errors
    ///
    /// Same as [`Ui::print`].
    pub(crate) fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        if self.global.json { self.print_json(value) } else { self.print(text(value)) }
    }

    /// Writes a message to stderr unless `--quiet` is set.
    pub(crate) fn message(&self, text: impl AsRef<str>) {
        if !self.global.quiet {
            self.tell(text.as_ref());
        }
    }

    /// Shows the problems that did not stop the work.
    pub(crate) fn report(&self, report: &Report) {
        if !self.global.quiet && !report.problems.is_empty() {
            self.tell(&diagnostic::report(report, self.colored));
        }
    }

    /// Reports why the work stopped: as text on stderr, as JSON on stdout.
    pub(super) fn failure(&self, err: &Error) {
        if self.global.json {
            // If stdout is closed too, only the exit code reports the failure.
            let _ = self.print_json(&diagnostic::error_json(err));
        } else {
            self.tell(&diagnostic::error(err, self.colored));
        }
    }

    /// Writes a message to stderr; there is no way to report a failure to do so.
    fn tell(&self, text: &str) {
        self.aside(|| {
            let _ = writeln!(io::stderr().lock(), "{}", text.strip_suffix('\n').unwrap_or(text));
        });
    }

    /// Runs `write` while no bar is drawn.
    fn aside<T>(&self, write: impl FnOnce() -> T) -> T {
        match &self.bars {
            Some(bars) => bars.suspend(write),
            None => write(),
        }
    }
}

impl Progress for Ui {
    fn warn(&self, message: &str) {
        self.message(format!("warning: {message}"));
    }

    fn begin(&self, step: &str, total: Option<u64>) -> Box<dyn Step> {
        match &self.bars {
            Some(bars) => {
                // A bar must be added to the others before it draws itself: they share the terminal's lines.
                let bar = bars.add(total.map_or_else(ProgressBar::new_spinner, ProgressBar::new));
                bar.set_style(style(total, self.colored, columns()));
                bar.set_message(step.to_owned());
                bar.enable_steady_tick(TICK);
                Box::new(Bar(bar))
            }
            None => {
                self.message(step);
                let reported = (!self.global.quiet).then(|| step.to_owned());
                Box::new(Line { step: reported, clock: Stopwatch::start() })
            }
        }
    }
}

/// A bar that disappears when its step ends.
struct Bar(ProgressBar);

impl Step for Bar {
    fn advance(&self, amount: u64) {
        self.0.inc(amount);
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// A step in a plain log.
struct Line {
    step: Option<String>,
    clock: Stopwatch,
}

impl Step for Line {
    fn advance(&self, _: u64) {}
}

impl Drop for Line {
    fn drop(&mut self) {
        let elapsed = self.clock.elapsed();
        if let Some(step) = self.step.as_ref().filter(|_| elapsed >= WORTH_TELLING) {
            let _ = writeln!(io::stderr().lock(), "{step}: {:.1} s", elapsed.as_secs_f64());
        }
    }
}

/// Returns the style of a bar that fits on one line of the terminal. Totals below 10,000 count items, larger
/// ones bytes.
fn style(total: Option<u64>, colored: bool, columns: u16) -> ProgressStyle {
    const SPINNER: &str = "{spinner:.cyan} {wide_msg} {elapsed:.dim}";
    const NARROW: &str = "{spinner:.cyan} {wide_msg} {percent}%";
    const ITEMS: &str = "{spinner:.cyan} {wide_msg} {bar:24.cyan/dim} {pos}/{len}";
    const BYTES: &str = "{spinner:.cyan} {wide_msg} {bar:24.cyan/dim} {binary_bytes}/{binary_total_bytes}";
    let template = match total {
        None => SPINNER,
        Some(_) if columns < ENOUGH => NARROW,
        Some(total) if total < 10_000 => ITEMS,
        Some(_) => BYTES,
    };
    let template = if colored {
        template.to_owned()
    } else {
        template.replace(".cyan/dim", "").replace(".cyan", "").replace(".dim", "")
    };
    ProgressStyle::with_template(&template).expect("the template is a constant").progress_chars("━╸─")
}

/// Returns the width of the terminal on standard error.
fn columns() -> u16 {
    rustix::termios::tcgetwinsize(io::stderr()).map_or(80, |size| size.ws_col)
}
