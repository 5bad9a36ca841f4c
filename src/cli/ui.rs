//! How kiln talks: data on stdout; messages, errors and progress on stderr. Bars on a terminal, plain lines anywhere else.

use std::io::{self, IsTerminal as _, Write as _};
use std::time::Duration;

use clap::ColorChoice;
use indicatif::{MultiProgress, ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::cli::{Global, diagnostic};
use crate::error::{Doing as _, Error, Kind, Report, Result};
use crate::progress::{Progress, Step};

/// A plain log tells how long a step took when it took at least this long.
const WORTH_TELLING: Duration = Duration::from_secs(3);

/// The person or script on the other side.
#[derive(Debug)]
pub(crate) struct Ui {
    global: Global,
    colored: bool,
    /// Bars on a terminal; `None` means plain lines.
    bars: Option<MultiProgress>,
}

impl Ui {
    pub(super) fn new(global: Global) -> Self {
        let terminal = io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb");
        let colored = match global.color {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty()),
        };
        let bars = (terminal && !global.quiet).then(MultiProgress::new);
        Self { global, colored, bars }
    }

    /// The flags that every verb understands.
    pub(crate) fn global(&self) -> &Global {
        &self.global
    }

    /// Writes data to stdout. A reader that left wants no more, which is no failure.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if stdout refuses, as when a redirected file's disk is full.
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
    /// As [`Ui::print`].
    pub(crate) fn print_json(&self, value: &impl Serialize) -> Result<()> {
        let text = serde_json::to_string_pretty(value).doing(Kind::Internal, || "writing JSON".into())?;
        self.print(text + "\n")
    }

    /// Prints JSON where the user asked for it, else what `text` makes of the value.
    ///
    /// # Errors
    ///
    /// As [`Ui::print`].
    pub(crate) fn show<T: Serialize>(&self, value: &T, text: impl FnOnce(&T) -> String) -> Result<()> {
        if self.global.json { self.print_json(value) } else { self.print(text(value)) }
    }

    /// Tells a person something that is no data.
    pub(crate) fn message(&self, text: impl AsRef<str>) {
        if !self.global.quiet {
            self.tell(text.as_ref());
        }
    }

    /// Tells the problems that did not stop the work.
    pub(crate) fn report(&self, report: &Report) {
        if !self.global.quiet && !report.problems.is_empty() {
            self.tell(&diagnostic::report(report, self.colored));
        }
    }

    /// Tells why the work stopped: for people on stderr, for scripts on stdout.
    pub(super) fn failure(&self, err: &Error) {
        if self.global.json {
            // When stdout is gone too, the exit code says what is left to say.
            let _ = self.print_json(&diagnostic::error_json(err));
        } else {
            self.tell(&diagnostic::error(err, self.colored));
        }
    }

    /// Writes a message to stderr; there is nobody left to tell when that fails.
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
            Some(bars) => Box::new(Bar(bars.add(bar(step, total, self.colored)))),
            None => {
                self.message(step);
                let told = (!self.global.quiet).then(|| step.to_owned());
                Box::new(Line { step: told, clock: ProgressBar::hidden() })
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
    /// Never drawn: it only knows how long the step has run.
    clock: ProgressBar,
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

/// A bar with what it knows: items count up to a thousand or so, anything larger is bytes.
fn bar(step: &str, total: Option<u64>, colored: bool) -> ProgressBar {
    const SPINNER: &str = "{spinner:.cyan} {msg} {elapsed:.dim}";
    const ITEMS: &str = "{spinner:.cyan} {msg:40!} {bar:24.cyan/dim} {pos}/{len}";
    const BYTES: &str = "{spinner:.cyan} {msg:40!} {bar:24.cyan/dim} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec:.dim}";
    let (bar, template) = match total {
        None => (ProgressBar::new_spinner(), SPINNER),
        Some(total) if total < 10_000 => (ProgressBar::new(total), ITEMS),
        Some(total) => (ProgressBar::new(total), BYTES),
    };
    let template = if colored { template.to_owned() } else { template.replace(".cyan/dim", "").replace(".cyan", "").replace(".dim", "") };
    bar.set_style(ProgressStyle::with_template(&template).expect("the template is a constant").progress_chars("━╸─"));
    bar.set_message(step.to_owned());
    bar.enable_steady_tick(Duration::from_millis(120));
    bar
}
