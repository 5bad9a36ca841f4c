//! etcd's data directory, and the record of agreements. The record is kept in the directory that etcd creates
//! for its log, so that both are lost together; etcd ignores the record.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::decide::{Answer, Disk, Founding, Members};
use super::settings::Settings;
use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// File name of the record, which is JSON.
const RECORD: &str = "kiln.json";
/// File name extension of etcd's log files (server/storage/wal).
const LOG: &str = "wal";

/// Record that is written before each step that a power cut must not undo.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(super) enum Record {
    /// This member has reached the others; it has promised nothing beyond the agreement.
    Agreed(Agreement),
    /// All founders have agreed: etcd may start.
    Starting(Agreement),
    /// A live cluster has no member in this place, and is about to add this one.
    Joining {
        token: Option<String>,
        order: Option<String>,
        /// Index up to which the cluster had applied its log when no member was in this place: a member
        /// behind this index may still list a previous one.
        applied: Option<u64>,
    },
    /// The data was created by an order, and etcd has not been started with it.
    Recovered { token: String, order: String },
    /// etcd has created data, and runs as this member.
    Running { token: Option<String>, member: Member, order: Option<String> },
    /// A live cluster has removed the member that the data belongs to.
    Removed { token: Option<String>, member: Member },
}

/// etcd's identifiers of a member and of its cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Member {
    pub(super) cluster: u64,
    pub(super) id: u64,
}

/// A [`Founding`] with names, which remain valid when places change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Agreement {
    /// 32 hexadecimal digits.
    pub(super) token: String,
    pub(super) founders: Vec<String>,
}

impl Agreement {
    pub(super) fn new(founding: Founding, settings: &Settings) -> Self {
        Self { token: token_text(founding.token), founders: settings.names(founding.founders) }
    }

    /// Converts names to places. A founder that is not in this member's seed makes the result differ from any
    /// founding that this member could propose.
    pub(super) fn founding(&self, settings: &Settings) -> Option<Founding> {
        let unknown = Members::STRANGER;
        let founders = self.founders.iter().map(|name| settings.place(name).unwrap_or(unknown)).collect();
        Some(Founding { token: token_number(&self.token)?, founders })
    }
}

pub(super) fn token_text(token: u128) -> String {
    format!("{token:032x}")
}

pub(super) fn token_number(text: &str) -> Option<u128> {
    u128::from_str_radix(text, 16).ok().filter(|_| text.len() == 32)
}

/// etcd's `--data-dir`.
#[derive(Clone, Debug)]
pub(super) struct Directory(PathBuf);

impl Directory {
    pub(super) fn new(path: &Path) -> Self {
        Self(path.to_owned())
    }

    fn member(&self) -> PathBuf {
        self.0.join("member")
    }

    /// Checks whether etcd has begun a log. Directories alone are not data: etcd creates them first.
    pub(super) fn has_data(&self) -> Result<bool> {
        let log = self.member().join("wal");
        if !log.is_dir() {
            return Ok(false);
        }
        Ok(host::fs::list(&log)?
            .iter()
            .any(|path| path.extension().is_some_and(|extension| extension == LOG)))
    }

    pub(super) fn record(&self) -> Result<Option<Record>> {
        let path = self.member().join(RECORD);
        let Some(bytes) = host::fs::read_if_exists(&path)? else { return Ok(None) };
        serde_json::from_slice(&bytes)
            .map(Some)
            .doing(Kind::Verify, || format!("reading `{}`", path.display()))
    }

    /// Records which member etcd runs as, once.
    pub(super) fn runs_as(&self, member: Member) -> Result<()> {
        match self.record()? {
            Some(Record::Running { member: known, .. }) if known == member => Ok(()),
            _ => self.write(&Record::Running { token: self.token()?, member, order: self.order()? }),
        }
    }

    /// Writes the record atomically: a power cut leaves either this record or the previous one.
    pub(super) fn write(&self, record: &Record) -> Result<()> {
        let bytes = serde_json::to_vec(record).doing(Kind::Internal, || "writing the record".into())?;
        host::fs::create_directories(&self.0)?;
        host::fs::create_private_directory(&self.member())?;
        host::fs::write_atomic(&self.member().join(RECORD), &bytes, host::fs::PRIVATE)?;
        host::fs::sync_directory(&self.member())?;
        host::fs::sync_directory(&self.0)
    }

    /// Returns the state of the disk for the decision.
    pub(super) fn disk(&self, settings: &Settings) -> Result<Disk> {
        let record = self.record()?;
        let known = |agreement: &Agreement| {
            let broken = || Error::new(Kind::Verify, format!("`{}` is not a valid token", agreement.token));
            agreement.founding(settings).ok_or_else(broken)
        };
        Ok(match (self.has_data()?, record) {
            (true, Some(Record::Removed { .. })) => Disk::Removed,
            (true, _) => Disk::Data(self.token()?.as_deref().and_then(token_number)),
            (false, Some(Record::Agreed(agreement))) => Disk::Agreed(known(&agreement)?),
            (false, Some(Record::Starting(agreement))) => Disk::Starting(known(&agreement)?),
            (false, Some(Record::Joining { .. })) => Disk::Joining,
            // The log is missing, whatever the record says.
            (false, _) => Disk::Blank,
        })
    }

    /// Returns the token of the cluster that the data belongs to; `None` for data that predates tokens.
    pub(super) fn token(&self) -> Result<Option<String>> {
        Ok(self.record()?.and_then(|record| match record {
            Record::Agreed(agreement) | Record::Starting(agreement) => Some(agreement.token),
            Record::Recovered { token, .. } => Some(token),
            Record::Joining { token, .. } | Record::Running { token, .. } | Record::Removed { token, .. } => {
                token
            }
        }))
    }

    /// Returns the order that was carried out last.
    pub(super) fn order(&self) -> Result<Option<String>> {
        Ok(self.record()?.and_then(|record| match record {
            Record::Recovered { order, .. } => Some(order),
            Record::Joining { order, .. } | Record::Running { order, .. } => order,
            Record::Agreed(_) | Record::Starting(_) | Record::Removed { .. } => None,
        }))
    }

    /// Returns the answer to other members, without the quorum.
    pub(super) fn answer(&self, settings: &Settings) -> Result<Answer> {
        Ok(match self.disk(settings)? {
            Disk::Blank | Disk::Joining => Answer::Blank,
            Disk::Agreed(founding) => Answer::Agreed(founding),
            Disk::Starting(founding) => {
                Answer::Data { token: Some(founding.token), quorum: false, ordered: false }
            }
            Disk::Data(token) => Answer::Data { token, quorum: false, ordered: false },
            Disk::Removed => Answer::Data {
                token: self.token()?.as_deref().and_then(token_number),
                quorum: false,
                ordered: false,
            },
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.0
    }

    /// Moves the data aside, to an unused name, and returns its new path.
    pub(super) fn set_aside(&self) -> Result<PathBuf> {
        let aside = (1..)
            .map(|number| self.0.join(format!("aside-{number}")))
            .find(|path| !path.exists())
            .expect("numbers are unlimited");
        host::fs::rename(&self.member(), &aside)?;
        host::fs::sync_directory(&self.0)?;
        Ok(aside)
    }
}

#[cfg(test)]
mod tests {
    use super::{Agreement, Directory, Record, token_number, token_text};
    use crate::host::fs::{PRIVATE, write_atomic};

    #[test]
    fn only_a_log_is_data() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path());
        assert!(!directory.has_data().unwrap());
        // etcd makes these before the log; a power cut may leave them.
        for path in
            ["member/snap/db", "member/wal/0.tmp", "member/wal.tmp/0000000000000000-0000000000000000.wal"]
        {
            write_atomic(&root.path().join(path), b"", PRIVATE).unwrap();
            assert!(!directory.has_data().unwrap(), "{path}");
        }
        write_atomic(&root.path().join("member/wal/0000000000000000-0000000000000000.wal"), b"", PRIVATE)
            .unwrap();
        assert!(directory.has_data().unwrap());
    }

    #[test]
    fn what_was_agreed_moves_aside_with_the_data() {
        let root = tempfile::tempdir().unwrap();
        let directory = Directory::new(root.path());
        let record = Record::Agreed(Agreement { token: token_text(7), founders: vec!["m1".into()] });
        directory.write(&record).unwrap();
        assert_eq!(directory.record().unwrap(), Some(record));
        let first = directory.set_aside().unwrap();
        assert_eq!(directory.record().unwrap(), None);
        directory.write(&Record::Joining { token: None, order: None, applied: None }).unwrap();
        assert_ne!(directory.set_aside().unwrap(), first);
        assert!(first.join("kiln.json").exists());
    }

    #[test]
    fn tokens_are_32_digits() {
        assert_eq!(token_number(&token_text(255)), Some(255));
        assert_eq!((token_number("ff"), token_number(&"g".repeat(32))), (None, None));
    }
}
