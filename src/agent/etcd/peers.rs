//! What members answer each other: a few words by mutual TLS, on a port of their own, also while etcd runs.

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

/// One answer on the wire.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "state", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
enum Word {
    Blank,
    Agreed(Agreement),
    Data {
        token: Option<String>,
        quorum: bool,
        revision: Option<u64>,
        /// Index of the newest entry of the log that it has applied.
        applied: Option<u64>,
        /// How long its log takes to be synced, in milliseconds.
        #[serde(default)]
        latency: Option<u32>,
        /// The order that was carried out last.
        order: Option<String>,
    },
    /// It can't say: its disk is not to be read.
    Broken {
        reason: String,
    },
}

/// What was heard of one member.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) answer: Answer,
    /// Newest revision that it knows, where it has data and etcd runs.
    pub(super) revision: Option<u64>,
    /// Index of the newest entry of the log that it has applied.
    pub(super) applied: Option<u64>,
    /// How long its log takes to be synced, in milliseconds.
    pub(super) latency: Option<u32>,
    /// Why it is silent.
    pub(super) reason: Option<String>,
}

/// Asks every other member at the same time; by place, with this one's own as silence.
pub(super) fn ask(settings: &Settings, asking: &Asking) -> Vec<Heard> {
    let me = settings.me();
    let one = |place: Place| if place == me { Heard::silent(None) } else { Heard::of(settings, asking, place) };
    std::thread::scope(|scope| {
        let places = (0..).zip(&settings.members).map(|(place, _)| place);
        let one = &one;
        let asked: Vec<_> = places.map(|place| scope.spawn(move || one(place))).collect();
        asked.into_iter().map(|asked| asked.join().unwrap_or_else(|_| Heard::silent(Some("asking it failed".into())))).collect()
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
        let word =
            asking.ask(address).and_then(|bytes| serde_json::from_slice(&bytes).doing(Kind::Network, || "reading its answer".into()));
        match word {
            Ok(Word::Blank) => Self::with(Answer::Blank),
            Ok(Word::Agreed(agreement)) => match agreement.founding(settings) {
                Some(founding) => Self::with(Answer::Agreed(founding)),
                None => Self::silent(Some(format!("its token `{}` is none", agreement.token))),
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

/// Answers the others for ever, and looks after the member that runs.
///
/// # Errors
///
/// Certificates that can't be read, or an address that can't be listened on.
pub(crate) fn serve(settings: &Settings, journal: &(dyn Fn(&str) + Sync)) -> Result<()> {
    let answering = Answering::bind(&settings.identity(), settings.listening())?;
    let directory = Directory::new(&settings.data);
    let snapshots = Answering::bind(&settings.identity(), SocketAddr::new(settings.own().address, settings.snapshots_port))?;
    let latency = Latency::new();
    std::thread::scope(|scope| {
        scope.spawn(|| -> ! { snapshots.serve_files(SNAPSHOTS_READER, &|path| Shelf::of(settings).at(path)) });
        scope.spawn(|| -> ! { upkeep::run(settings, &latency, journal) });
        answering.serve(|| {
            let word = word(settings, &directory, &latency).unwrap_or_else(|err| Word::Broken { reason: err.to_string() });
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
            // etcdctl would try for its whole limit to reach an etcd that does not run.
            let quorum = || Endpoint::new(settings, &settings.own().client_url).quorum().ok();
            let agreed = applied.and_then(|_| quorum()).map(|header| header.revision);
            let (token, revision) = (token.map(token_text), agreed.or(revision));
            Word::Data { token, quorum: agreed.is_some(), revision, applied, latency: latency.get(), order: directory.order()? }
        }
    })
}
