//! Problems with a running member: logged to the journal once, and kept in a file for status and consoles
//! while they last.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use serde::{Deserialize, Serialize};

use super::settings::Settings;
use crate::error::{Doing, Kind, Result};
use crate::host;

/// Content of the file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Written {
    problems: Vec<String>,
}

/// Problems, keyed by the task that reports them.
pub(super) struct Notes<'a> {
    file: PathBuf,
    journal: &'a (dyn Fn(&str) + Sync),
    problems: Mutex<BTreeMap<&'static str, Vec<String>>>,
}

impl<'a> Notes<'a> {
    pub(super) fn new(settings: &Settings, journal: &'a (dyn Fn(&str) + Sync)) -> Self {
        Self { file: settings.problems.clone(), journal, problems: Mutex::default() }
    }

    pub(super) fn journal(&self, line: &str) {
        (self.journal)(line);
    }

    /// Replaces the problems reported by one task; new ones are logged to the journal.
    pub(super) fn set(&self, who: &'static str, problems: Vec<String>) {
        let mut all = self.problems.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        let before = all.insert(who, problems.clone()).unwrap_or_default();
        if before == problems {
            return;
        }
        problems
            .iter()
            .filter(|problem| !before.contains(problem))
            .for_each(|problem| (self.journal)(problem));
        let written = Written { problems: all.values().flatten().cloned().collect() };
        if let Err(err) = write(&self.file, &written) {
            (self.journal)(&err.to_string());
        }
    }
}

fn write(file: &Path, written: &Written) -> Result<()> {
    let text = serde_json::to_vec(written).doing(Kind::Internal, || "writing the problems".into())?;
    host::fs::write_atomic(file, &text, host::fs::PUBLIC)
}

/// Returns the problems with this machine's etcd member, if the machine has one.
pub(crate) fn problems(settings: &Path) -> Vec<String> {
    let written = || -> Result<Written> {
        let bytes = host::fs::read(&Settings::read(settings)?.problems)?;
        serde_json::from_slice(&bytes).doing(Kind::Io, || "reading the problems".into())
    };
    written().map(|written| written.problems).unwrap_or_default()
}
