//! Recovery of a member whose database has reached its quota: from then on, etcd rejects every write,
//! whatever is deleted, until the history is compacted, the files are defragmented and the alarm is disarmed
//! (<https://etcd.io/docs/v3.5/op-guide/maintenance/#space-quota>).
//!
//! Only the agent on the leader's machine acts, one step per check. It defragments the other members first,
//! transfers leadership to one of them, and that member's agent does the rest: a leader is defragmented only
//! if it is the only member. Each step is decided from the members' answers, so that another agent, or the
//! same one after a power cut, continues where this one stopped.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::control::{Alarm, Alarmed, Endpoint, Status};
use super::settings::Settings;
use crate::error::Result;
use crate::host::clock::Stopwatch;

/// Maximum excess size of a file that counts as defragmented: a fifth of its size, but at least this many
/// bytes.
const LOOSE: u64 = 4 << 20;
/// Pause between two compactions, so that the cluster is not defragmented after each object if objects are
/// deleted one by one.
const PAUSE: Duration = Duration::from_secs(60);

/// One member's answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    id: u64,
    size: u64,
    used: u64,
    /// True if its file was defragmented after the compaction.
    done: bool,
}

/// Next step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Defragment this member.
    Defragment(u64),
    /// Transfer leadership to this member.
    HandOver(u64),
    Disarm,
    /// The remaining data is too large.
    Full {
        size: u64,
    },
}

/// Decides the next step after the compaction. `leader` is one of the members.
///
/// All members have the same data, so the smallest file shows how small a file can be. A member's count of
/// free pages is not usable: etcd updates it at the next write, and writes nothing once the quota is reached.
fn next(leader: u64, members: &[Seen], quota: u64) -> Step {
    let floor = members.iter().map(|seen| seen.size.min(seen.used)).min().unwrap_or_default();
    let is_loose = |seen: &&Seen| !seen.done && seen.size - floor > LOOSE.max(seen.size / 5);
    let others = || members.iter().filter(|seen| seen.id != leader);
    if let Some(other) = others().find(is_loose) {
        return Step::Defragment(other.id);
    }
    if members.iter().any(|seen| seen.id == leader && is_loose(&seen)) {
        return others().next().map_or(Step::Defragment(leader), |other| Step::HandOver(other.id));
    }
    let size = members.iter().map(|seen| seen.size).max().unwrap_or_default();
    // A tenth is left for writes until the next alarm.
    if size <= quota / 10 * 9 {
        return Step::Disarm;
    }
    // It is unknown whether defragmenting helps until one member has been defragmented.
    let first = others().next().map_or(leader, |other| other.id);
    let is_tried = members.iter().any(|seen| seen.done);
    if is_tried { Step::Full { size } } else { Step::Defragment(first) }
}

/// State of this agent between checks.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Revision and time of the last compaction.
    compacted: Option<(u64, Stopwatch)>,
    /// Members defragmented since then.
    rewritten: BTreeSet<u64>,
}

impl Space {
    /// Checks for alarms, takes one step against NOSPACE if this machine's member is the leader, and returns
    /// the problems.
    ///
    /// # Errors
    ///
    /// Errors from etcd; a failure is retried at the next check.
    pub(super) fn look(
        &mut self,
        settings: &Settings,
        quota: Option<u64>,
        journal: &dyn Fn(&str),
    ) -> Result<Vec<String>> {
        let endpoint = Endpoint::new(settings, &settings.own().client_url);
        // Without a quorum alarms can be neither listed nor disarmed.
        let Ok(alarms) = endpoint.alarms() else { return Ok(Vec::new()) };
        if alarms.is_empty() {
            *self = Self::default();
            return Ok(Vec::new());
        }
        let names = names(settings, &endpoint)?;
        let name = |id: u64| names.get(&id).cloned().unwrap_or_else(|| format!("{id:x}"));
        let of = |wanted: Alarm| {
            alarms
                .iter()
                .filter(move |alarmed: &&Alarmed| alarmed.alarm == Some(wanted))
                .map(|alarmed| name(alarmed.member))
        };
        let corrupt: Vec<String> = of(Alarm::Corrupt).collect();
        if !corrupt.is_empty() {
            let them = corrupt.join(", ");
            return Ok(vec![format!(
                "CORRUPT alarm on {them}: data differs from the other members' data; kiln does not repair \
                this: an administrator must"
            )]);
        }
        let full: Vec<String> = of(Alarm::NoSpace).collect();
        if full.is_empty() {
            return Ok(vec!["unknown alarm: see `etcdctl alarm list`".into()]);
        }
        let status = endpoint.status()?;
        let said = format!("NOSPACE alarm on {}: etcd rejects every write", full.join(", "));
        if status.leader != status.header.member {
            return Ok(vec![format!(
                "{said} until the agent on the leader, {}, has freed space",
                name(status.leader)
            )]);
        }
        let Some(quota) = quota else {
            return Ok(vec![format!("{said}, and etcd's metrics do not show the quota")]);
        };
        let why = self.act(settings, &endpoint, &status, quota, &name, journal)?;
        Ok(why.map(|why| format!("{said}; {why}")).into_iter().collect())
    }

    fn act(
        &mut self,
        settings: &Settings,
        endpoint: &Endpoint<'_>,
        status: &Status,
        quota: u64,
        name: &dyn Fn(u64) -> String,
        journal: &dyn Fn(&str),
    ) -> Result<Option<String>> {
        let revision = status.header.revision;
        if self.compacted.is_none_or(|(before, since)| before < revision && since.elapsed() >= PAUSE) {
            journal(&format!("NOSPACE: compacting the history before revision {revision}"));
            endpoint.compact(revision)?;
            self.compacted = Some((revision, Stopwatch::start()));
            self.rewritten.clear();
            return Ok(Some("space is being freed".into()));
        }
        let members = self.members(settings);
        let seen: Vec<Seen> = members.values().map(|(seen, _)| *seen).collect();
        match next(status.header.member, &seen, quota) {
            Step::Defragment(id) => {
                journal(&format!("NOSPACE: defragmenting {}", name(id)));
                self.rewritten.insert(id);
                Endpoint::new(settings, members[&id].1).defragment()?;
            }
            Step::HandOver(id) => {
                journal(&format!(
                    "NOSPACE: transferring leadership to {}, whose agent will defragment this member",
                    name(id)
                ));
                endpoint.hand_over(id)?;
            }
            Step::Disarm => {
                endpoint.disarm()?;
                journal("NOSPACE: space has been freed, alarm disarmed");
                return Ok(None);
            }
            Step::Full { size } => {
                let mib = |bytes: u64| bytes.div_ceil(1 << 20);
                let how = "delete objects, or raise `quota-backend-bytes`";
                return Ok(Some(format!(
                    "the remaining data takes up {} of {} MiB: {how}",
                    mib(size),
                    mib(quota)
                )));
            }
        }
        Ok(Some("space is being freed".into()))
    }

    /// Returns all members that answer, keyed by identifier, each with its URL.
    fn members<'a>(&self, settings: &'a Settings) -> BTreeMap<u64, (Seen, &'a str)> {
        let seen = |member: &'a super::settings::Member| {
            let Status { header, size, used, .. } =
                Endpoint::new(settings, &member.client_url).status().ok()?;
            let done = self.rewritten.contains(&header.member);
            Some((header.member, (Seen { id: header.member, size, used, done }, member.client_url.as_str())))
        };
        settings.members.iter().filter_map(seen).collect()
    }
}

/// Returns the members' names, keyed by identifier.
fn names(settings: &Settings, endpoint: &Endpoint<'_>) -> Result<BTreeMap<u64, String>> {
    let named = |url: &String| {
        settings.members.iter().find(|member| member.peer_url == *url).map(|member| member.name.clone())
    };
    let members = endpoint.members()?.members;
    Ok(members
        .into_iter()
        .map(|member| (member.id, member.peer_urls.iter().find_map(named).unwrap_or(member.name)))
        .collect())
}

#[cfg(test)]
mod tests {
    use super::{Seen, Step, next};

    const MIB: u64 = 1 << 20;

    fn seen(id: u64, size: u64, used: u64) -> Seen {
        Seen { id, size: size * MIB, used: used * MIB, done: false }
    }

    #[test]
    fn the_leader_is_never_rewritten_beside_others() {
        // Three full members, whose free pages are not counted yet; each step's effect is what the next one
        // sees.
        let mut members = [seen(1, 100, 99), seen(2, 100, 99), seen(3, 100, 99)];
        let (mut leader, mut steps) = (2, Vec::new());
        loop {
            let step = next(leader, &members, 100 * MIB);
            steps.push(step);
            match step {
                Step::Defragment(id) => {
                    assert_ne!(id, leader);
                    members
                        .iter_mut()
                        .filter(|seen| seen.id == id)
                        .for_each(|small| *small = Seen { done: true, ..seen(id, 10, 10) });
                }
                // Another agent knows nothing of what this one did.
                Step::HandOver(id) => {
                    (leader, members) = (id, members.map(|seen| Seen { done: false, ..seen }));
                }
                Step::Disarm | Step::Full { .. } => break,
            }
        }
        assert_eq!(
            steps,
            [Step::Defragment(1), Step::Defragment(3), Step::HandOver(1), Step::Defragment(2), Step::Disarm]
        );
    }

    #[test]
    fn one_that_is_alone_rewrites_itself_and_too_much_stays_too_much() {
        assert_eq!(next(1, &[seen(1, 100, 10)], 100 * MIB), Step::Defragment(1));
        assert_eq!(next(1, &[seen(1, 95, 94)], 100 * MIB), Step::Defragment(1));
        assert_eq!(next(1, &[seen(1, 100, 10), seen(2, 12, 10)], 100 * MIB), Step::HandOver(2));
        // Rewriting was of no use, to whichever of them: none goes on rewriting, and none hands leadership
        // around.
        let done = |id| Seen { done: true, ..seen(id, 100, 99) };
        assert_eq!(next(1, &[done(1)], 100 * MIB), Step::Full { size: 100 * MIB });
        assert_eq!(
            next(1, &[seen(1, 100, 99), done(2), seen(3, 100, 99)], 100 * MIB),
            Step::Full { size: 100 * MIB }
        );
    }
}
