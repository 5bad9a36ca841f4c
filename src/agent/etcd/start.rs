//! Start of etcd: asks the other members, decides and acts, until the decision is to start.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::control::{self, Endpoint};
use super::decide::{Answer, Decision, Disk, Founding, Place, View, decide};
use super::directory::{Agreement, Directory, Record, token_text};
use super::membership::{expected_by, local_members, replace};
use super::peers::{self, Heard};
use super::reasons::reason;
use super::recover;
use super::settings::Settings;
use crate::agent::clock;
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::host::tls::Asking;

/// Pause between two checks of the other members.
const PAUSE: Duration = Duration::from_millis(500);
/// Pause between two attempts to carry out an order, each of which may read gigabytes.
const REFUSED: Duration = Duration::from_secs(30);

/// etcd flags in addition to those in its unit; later flags take precedence.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Flags(Vec<String>);

/// Why a member is waiting, for consoles and status.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Waiting {
    /// One sentence for each member that this one is waiting for.
    reasons: Vec<String>,
}

/// Returns why this machine's member is waiting; empty if it is not waiting.
pub(crate) fn waits_for(settings: &Path) -> Vec<String> {
    let waiting = || -> Result<Waiting> {
        let bytes = host::fs::read(&Settings::read(settings)?.status)?;
        serde_json::from_slice(&bytes).doing(Kind::Io, || "reading the status".into())
    };
    waiting().map(|waiting| waiting.reasons).unwrap_or_default()
}

/// Waits for as long as necessary, then writes the flags to start etcd with. Reasons for waiting are reported
/// in `journal` and in the status.
///
/// # Errors
///
/// Disk errors, and errors in the certificates. The state of other members is a reason to wait, not an error.
pub(crate) fn start(settings: &Settings, journal: &dyn Fn(&str)) -> Result<()> {
    let directory = Directory::new(&settings.data);
    recover::finish(&directory)?;
    let asking = Asking::new(&settings.identity())?;
    let mut starting =
        Starting { settings, journal, directory, asking, said: Vec::new(), since: BTreeMap::new() };
    let flags = loop {
        if let Some(flags) = starting.step()? {
            break flags;
        }
    };
    host::fs::write_atomic(&settings.flags, flags.text().as_bytes(), host::fs::PUBLIC)?;
    starting.say(Vec::new())
}

impl Flags {
    fn text(&self) -> String {
        format!("KILN_ETCD_FLAGS=\"{}\"\n", self.0.join(" "))
    }
}

/// Result of one check of the disk and the other members.
struct Look {
    heard: Vec<Heard>,
    decision: Decision,
}

fn look(settings: &Settings, directory: &Directory, asking: &Asking) -> Result<Look> {
    let disk = directory.disk(settings)?;
    let order = settings.ordered(directory.order()?.as_deref());
    let heard = peers::ask(settings, asking);
    let expected_by = if let Some(Record::Joining { applied: Some(applied), .. }) =
        directory.record()?.filter(|_| disk == Disk::Joining)
    {
        expected_by(settings, &heard, applied)
    } else {
        None
    };
    let answers: Vec<Answer> = heard.iter().map(|heard| heard.answer).collect();
    let view = View {
        me: settings.me(),
        disk,
        founders: settings.founders(),
        unanimity: settings.unanimity(),
        order,
        expected_by,
        answers: &answers,
    };
    Ok(Look { decision: decide(&view), heard })
}

impl Look {
    fn reasons(&self, settings: &Settings) -> Vec<String> {
        let Decision::Wait(reasons) = &self.decision else { return Vec::new() };
        reasons.iter().map(|(place, why)| reason(settings, *place, *why, &self.heard)).collect()
    }
}

/// A decision in words, for users and scripts.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Outlook {
    /// `start`, `set-aside`, `recover`, `draw`, `agree`, `found`, `join`, `resume` or `wait`.
    decision: &'static str,
    /// Token to agree to, or to bootstrap with.
    #[serde(skip_serializing_if = "Option::is_none")]
    token: Option<String>,
    /// Member through which this one joins.
    #[serde(skip_serializing_if = "Option::is_none")]
    through: Option<String>,
    /// One sentence for each member that this one is waiting for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    reasons: Vec<String>,
}

impl Outlook {
    pub(crate) fn text(&self) -> String {
        let object = self.token.as_ref().or(self.through.as_ref());
        let first =
            object.map_or_else(|| self.decision.to_owned(), |object| format!("{} {object}", self.decision));
        std::iter::once(&first).chain(&self.reasons).map(|line| format!("{line}\n")).collect()
    }
}

/// Returns what this member would do now, without doing it.
///
/// # Errors
///
/// As [`start`].
pub(crate) fn outlook(settings: &Settings) -> Result<Outlook> {
    let look = look(settings, &Directory::new(&settings.data), &Asking::new(&settings.identity())?)?;
    let (decision, token, through) = match &look.decision {
        Decision::Start => ("start", None, None),
        Decision::SetAside => ("set-aside", None, None),
        Decision::Recover => ("recover", None, None),
        Decision::Draw => ("draw", None, None),
        Decision::Agree(founding) => ("agree", Some(token_text(founding.token)), None),
        Decision::Found(founding) => ("found", Some(token_text(founding.token)), None),
        Decision::Resume(place) => ("resume", None, Some(settings.member(*place).name.clone())),
        Decision::Join(place) => ("join", None, Some(settings.member(*place).name.clone())),
        Decision::Wait(_) => ("wait", None, None),
    };
    Ok(Outlook { decision, token, through, reasons: look.reasons(settings) })
}

/// A start in progress.
struct Starting<'a> {
    settings: &'a Settings,
    journal: &'a dyn Fn(&str),
    directory: Directory,
    asking: Asking,
    /// Reasons that were reported last.
    said: Vec<String>,
    /// Time since each reason appeared.
    since: BTreeMap<String, Stopwatch>,
}

impl Starting<'_> {
    /// Checks, decides and acts once. Returns the flags when etcd may start.
    fn step(&mut self) -> Result<Option<Flags>> {
        // Certificates and leases would depend on a clock that is known to be wrong.
        if let Some(reason) = clock::look(&self.settings.others()).reason() {
            self.say(vec![reason])?;
            host::clock::sleep(PAUSE);
            return Ok(None);
        }
        let look = look(self.settings, &self.directory, &self.asking)?;
        match look.decision {
            Decision::Start => return Ok(Some(Flags::default())),
            Decision::SetAside => self.set_aside()?,
            Decision::Recover => self.recover()?,
            Decision::Draw => self.agree(
                "generated",
                Founding { token: host::random::number()?, founders: self.settings.founders() },
            )?,
            Decision::Agree(founding) => self.agree("agreed to", founding)?,
            Decision::Found(founding) => return self.found(founding).map(Some),
            Decision::Join(place) => return self.join(place, look.heard[usize::from(place)].answer),
            Decision::Resume(place) => return self.resume(place),
            Decision::Wait(_) => {
                self.say(look.reasons(self.settings))?;
                host::clock::sleep(PAUSE);
            }
        }
        Ok(None)
    }

    fn agree(&self, verb: &str, founding: Founding) -> Result<()> {
        let founders = self.settings.names(founding.founders).join(", ");
        (self.journal)(&format!(
            "{verb} the token {} for a new cluster of {founders}",
            token_text(founding.token)
        ));
        self.directory.write(&Record::Agreed(Agreement::new(founding, self.settings)))
    }

    fn found(&self, founding: Founding) -> Result<Flags> {
        self.directory.write(&Record::Starting(Agreement::new(founding, self.settings)))?;
        (self.journal)("all founders have agreed: bootstrapping the cluster");
        let cluster = self.settings.initial_cluster(founding.founders);
        Ok(Flags(vec![
            "--initial-cluster-state=new".into(),
            format!("--initial-cluster={cluster}"),
            format!("--initial-cluster-token={}", token_text(founding.token)),
        ]))
    }

    /// Rejoins a live cluster in this member's place, under a new identifier. If this fails, the error is
    /// reported and the attempt is repeated later.
    fn join(&mut self, place: Place, answer: Answer) -> Result<Option<Flags>> {
        let through = self.settings.member(place);
        let token = if let Answer::Data { token, .. } = answer { token.map(token_text) } else { None };
        let order = self.settings.order.as_ref().map(|order| order.id.clone());
        let endpoint = Endpoint::new(self.settings, &through.client_url);
        let note = || {
            let applied = Heard::of(self.settings, &self.asking, place).applied;
            self.directory.write(&Record::Joining { token, order, applied })
        };
        match replace(self.settings, &endpoint, note) {
            Ok(members) => {
                (self.journal)(&format!("rejoining {}'s live cluster under a new identifier", through.name));
                Ok(Some(existing(self.settings, &members)))
            }
            Err(err) => {
                self.say(vec![format!("{}'s cluster does not accept this member yet: {err}", through.name)])?;
                host::clock::sleep(PAUSE);
                Ok(None)
            }
        }
    }

    fn resume(&mut self, place: Place) -> Result<Option<Flags>> {
        let through = self.settings.member(place);
        (self.journal)(&format!(
            "this member was added to {}'s cluster before the power failure: joining it now",
            through.name
        ));
        Ok(Some(existing(self.settings, &local_members(self.settings, through)?)))
    }

    /// Carries out an order. If this fails, the error is reported and the order is tried again later, with
    /// the data unchanged.
    fn recover(&mut self) -> Result<()> {
        let Err(err) = recover::recover(self.settings, &self.directory, self.journal) else { return Ok(()) };
        let hints: String = err.hints().iter().map(|hint| format!("; {hint}")).collect();
        self.say(vec![format!(
            "{} (this member) can't carry out the order: {err}{hints}",
            self.settings.name
        )])?;
        host::clock::sleep(REFUSED);
        Ok(())
    }

    fn set_aside(&mut self) -> Result<()> {
        let aside = self.directory.set_aside()?;
        (self.journal)(&format!(
            "the local data no longer belongs to the cluster: moved to `{}`",
            aside.display()
        ));
        Ok(())
    }

    /// Reports the reasons for waiting in the journal and the status, when they change and once a minute.
    fn say(&mut self, reasons: Vec<String>) -> Result<()> {
        self.since.retain(|reason, _| reasons.contains(reason));
        let sentence = |reason: String| {
            let minutes =
                self.since.entry(reason.clone()).or_insert_with(Stopwatch::start).elapsed().as_secs() / 60;
            if minutes == 0 { reason } else { format!("{reason}, for {minutes} min") }
        };
        let reasons: Vec<String> = reasons.into_iter().map(sentence).collect();
        if reasons == self.said {
            return Ok(());
        }
        reasons.iter().for_each(|reason| (self.journal)(&format!("waiting: {reason}")));
        let text = serde_json::to_vec(&Waiting { reasons: reasons.clone() })
            .doing(Kind::Internal, || "writing the status".into())?;
        host::fs::write_atomic(&self.settings.status, &text, host::fs::PUBLIC)?;
        self.said = reasons;
        Ok(())
    }
}

/// Returns the flags for a joining member.
fn existing(settings: &Settings, members: &[control::Member]) -> Flags {
    let own = settings.own();
    let name = |member: &control::Member| {
        if member.peer_urls.contains(&own.peer_url) { own.name.clone() } else { member.name.clone() }
    };
    let pairs = members
        .iter()
        .flat_map(|member| member.peer_urls.iter().map(move |url| format!("{}={url}", name(member))));
    let cluster = pairs.collect::<Vec<_>>().join(",");
    Flags(vec!["--initial-cluster-state=existing".into(), format!("--initial-cluster={cluster}")])
}
