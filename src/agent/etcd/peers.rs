//! Queries between members: short answers over mutual TLS, on a separate port, whether or not etcd is
//! running.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use super::control::Endpoint;
use super::decide::{Answer, Place};
use super::directory::{Agreement, Directory, token_number, token_text};
use super::metrics::{self, Progress};
use super::settings::Settings;
use super::slow::Latency;
use super::snapshots::Shelf;
use super::upkeep;
use crate::error::{Doing, Kind, Result};
use crate::host::tls::{Answering, Asking};
use crate::words::SNAPSHOTS_READER;

/// One answer, as sent over the network.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum Word {
    Blank,
    Agreed(Agreement),
    Data {
        token: Option<String>,
        quorum: bool,
        revision: Option<u64>,
        /// Index of the newest log entry that the member has applied.
        applied: Option<u64>,
        /// Duration of a log sync, in milliseconds.
        #[serde(default)]
        latency: Option<u32>,
        /// Order that was carried out last.
        order: Option<String>,
    },
    /// The member can't answer because its disk can't be read.
    Broken {
        reason: String,
    },
}

/// Answer from one member, with details.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) answer: Answer,
    /// Newest revision that the member knows, if it has data and etcd is running.
    pub(super) revision: Option<u64>,
    /// Index of the newest log entry that the member has applied.
    pub(super) applied: Option<u64>,
    /// Duration of a log sync, in milliseconds.
    pub(super) latency: Option<u32>,
    /// Why the member did not answer.
    pub(super) reason: Option<String>,
}

/// Asks all other members in parallel; returns the answers in the order of the places, with
/// [`Answer::Silent`] for this member.
pub(super) fn ask(settings: &Settings, asking: &Asking) -> Vec<Heard> {
    let me = settings.me();
    let one =
        |place: Place| if place == me { Heard::silent(None) } else { Heard::of(settings, asking, place) };
    std::thread::scope(|scope| {
        let places = (0..).zip(&settings.members).map(|(place, _)| place);
        let one = &one;
        let asked: Vec<_> = places.map(|place| scope.spawn(move || one(place))).collect();
        asked
            .into_iter()
            .map(|asked| asked.join().unwrap_or_else(|_| Heard::silent(Some("the query failed".into()))))
            .collect()
    })
}

impl Heard {
    fn silent(reason: Option<String>) -> Self {
        Self { reason, ..Self::with(Answer::Silent) }
    }

    fn with(answer: Answer) -> Self {
        Self { answer, revision: None, applied: None, latency: None, reason: None }
    }

    pub(super) fn has_quorum(&self) -> bool {
        matches!(self.answer, Answer::Data { quorum: true, .. })
    }

    /// Asks one member.
    pub(super) fn of(settings: &Settings, asking: &Asking, place: Place) -> Self {
        let address = SocketAddr::new(settings.member(place).address, settings.port);
        let word = asking.ask(address).and_then(|bytes| {
            serde_json::from_slice(&bytes).doing(Kind::Network, || "reading the answer".into())
        });
        match word {
            Ok(Word::Blank) => Self::with(Answer::Blank),
            Ok(Word::Agreed(agreement)) => match agreement.founding(settings) {
                Some(founding) => Self::with(Answer::Agreed(founding)),
                None => Self::silent(Some(format!("`{}` is not a valid token", agreement.token))),
            },
            Ok(Word::Data { token, quorum, revision, applied, latency, order }) => {
                let ordered = settings.order.as_ref().is_some_and(|own| order.as_ref() == Some(&own.id));
                let answer = Answer::Data { token: token.as_deref().and_then(token_number), quorum, ordered };
                Self { revision, applied, latency, ..Self::with(answer) }
            }
            Ok(Word::Broken { reason }) => Self::silent(Some(reason)),
            Err(err) => Self::silent(Some(err.steps().last().cloned().unwrap_or_default())),
        }
    }
}

/// Answers the other members and maintains the running member, forever.
///
/// # Errors
///
/// Fails if the certificates can't be read or the address can't be bound.
pub(crate) fn serve(settings: &Settings, journal: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let answering = Answering::bind(&settings.identity(), settings.listening())?;
    let directory = Directory::new(&settings.data);
    let snapshots = Answering::bind(
        &settings.identity(),
        SocketAddr::new(settings.own().address, settings.snapshots_port),
    )?;
    let latency = Latency::new();
    std::thread::scope(|scope| {
        scope
            .spawn(|| -> ! { snapshots.serve_files(SNAPSHOTS_READER, &|path| Shelf::of(settings).at(path)) });
        scope.spawn(|| -> ! { upkeep::run(settings, &latency, journal) });
        answering.serve(|| {
            let word = word(settings, &directory, &latency)
                .unwrap_or_else(|err| Word::Broken { reason: err.to_string() });
            serde_json::to_vec(&word).unwrap_or_default()
        })
    })
}

fn word(settings: &Settings, directory: &Directory, latency: &Latency) -> Result<Word> {
    Ok(match directory.answer(settings)? {
        Answer::Silent | Answer::Blank => Word::Blank,
        Answer::Agreed(founding) => Word::Agreed(Agreement::new(founding, settings)),
        Answer::Data { token, .. } => {
            let Progress { revision, applied, .. } = metrics::progress(&settings.metrics);
            // If etcd is not running, etcdctl would keep trying to reach it until the time limit expires.
            let quorum = || Endpoint::new(settings, &settings.own().client_url).quorum().ok();
            let agreed = applied.and_then(|_| quorum()).map(|header| header.revision);
            let (token, revision) = (token.map(token_text), agreed.or(revision));
            Word::Data {
                token,
                quorum: agreed.is_some(),
                revision,
                applied,
                latency: latency.get(),
                order: directory.order()?,
            }
        }
    })
}
