//! What is done when a member's database has reached its quota: etcd refuses every write from then on, whatever is deleted, until its
//! history is forgotten, its files are rewritten and the alarm is ended (<https://etcd.io/docs/v3.5/op-guide/maintenance/#space-quota>).
//!
//! The agent beside the leader does it, one step at a look, so that there is one that acts. It rewrites the others' files first, hands
//! leadership to one of them, and that one's agent does the rest: a leader is rewritten only where it is alone. Each step is decided anew
//! from what the members answer, so that a second agent in its place, or the same one after a power cut, goes on where this one was.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::control::{Alarm, Alarmed, Endpoint, Status};
use super::settings::Settings;
use crate::error::Result;
use crate::host::clock::Stopwatch;

/// By how much a file may be larger than it must be and still count as rewritten: a fifth, or this many bytes.
const LOOSE: u64 = 4 << 20;
/// From one time that history is forgotten to the next: a cluster of which objects are deleted one by one is not rewritten after each.
const PAUSE: Duration = Duration::from_secs(60);

/// One member as it answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Seen {
    id: u64,
    size: u64,
    used: u64,
    /// Its file was rewritten after history was forgotten.
    done: bool,
}

/// What is next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Rewrite this member's file.
    Defragment(u64),
    /// Let this member lead.
    HandOver(u64),
    Disarm,
    /// What is left is too much.
    Full {
        size: u64,
    },
}

/// Decides the next step once history is forgotten. `leader` is among the members.
///
/// All members have the same data, so the smallest of them says how small a file can be. What a member says of its free pages is no
/// measure: etcd counts them when it writes next, and at its quota it writes nothing.
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
    // A tenth is left for what is written until the next alarm.
    if size <= quota / 10 * 9 {
        return Step::Disarm;
    }
    // Nothing shows that rewriting is of use until one member was rewritten.
    let first = others().next().map_or(leader, |other| other.id);
    let is_tried = members.iter().any(|seen| seen.done);
    if is_tried { Step::Full { size } } else { Step::Defragment(first) }
}

/// What this agent remembers from look to look.
#[derive(Debug, Default)]
pub(super) struct Space {
    /// Revision up to which it has had history forgotten, and when.
    compacted: Option<(u64, Stopwatch)>,
    /// Whose files it has rewritten since.
    rewritten: BTreeSet<u64>,
}

impl Space {
    /// Looks for alarms, does one step against NOSPACE if this machine's member leads, and returns what people must know.
    ///
    /// # Errors
    ///
    /// Those of etcd: what fails is tried again at the next look.
    pub(super) fn look(&mut self, settings: &Settings, quota: Option<u64>, journal: &dyn Fn(&str)) -> Result<Vec<String>> {
        let endpoint = Endpoint::new(settings, &settings.own().client_url);
        // Without a quorum an alarm can neither be asked for nor ended.
        let Ok(alarms) = endpoint.alarms() else { return Ok(Vec::new()) };
        if alarms.is_empty() {
            *self = Self::default();
            return Ok(Vec::new());
        }
        let names = names(settings, &endpoint)?;
        let name = |id: u64| names.get(&id).cloned().unwrap_or_else(|| format!("{id:x}"));
        let of = |wanted: Alarm| {
            alarms.iter().filter(move |alarmed: &&Alarmed| alarmed.alarm == Some(wanted)).map(|alarmed| name(alarmed.member))
        };
        let corrupt: Vec<String> = of(Alarm::Corrupt).collect();
        if !corrupt.is_empty() {
            let them = corrupt.join(", ");
            return Ok(vec![format!(
                "alarm CORRUPT of {them}: its data differ from the others'; nothing is done about it, a person must look"
            )]);
        }
        let full: Vec<String> = of(Alarm::NoSpace).collect();
        if full.is_empty() {
            return Ok(vec!["an alarm that this agent does not know: see `etcdctl alarm list`".into()]);
        }
        let status = endpoint.status()?;
        let said = format!("alarm NOSPACE of {}: etcd refuses every write", full.join(", "));
        if status.leader != status.header.member {
            return Ok(vec![format!("{said}, until the agent of the leader, {}, has made room", name(status.leader))]);
        }
        let Some(quota) = quota else { return Ok(vec![format!("{said}, and its metrics do not say how much room it has")]) };
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
            journal(&format!("NOSPACE: forgets what was before revision {revision}"));
            endpoint.compact(revision)?;
            self.compacted = Some((revision, Stopwatch::start()));
            self.rewritten.clear();
            return Ok(Some("it makes room".into()));
        }
        let members = self.members(settings);
        let seen: Vec<Seen> = members.values().map(|(seen, _)| *seen).collect();
        match next(status.header.member, &seen, quota) {
            Step::Defragment(id) => {
                journal(&format!("NOSPACE: defragments {}", name(id)));
                self.rewritten.insert(id);
                Endpoint::new(settings, members[&id].1).defragment()?;
            }
            Step::HandOver(id) => {
                journal(&format!("NOSPACE: hands leadership to {}, whose agent defragments this member", name(id)));
                endpoint.hand_over(id)?;
            }
            Step::Disarm => {
                endpoint.disarm()?;
                journal("NOSPACE: there is room again, and the alarm is ended");
                return Ok(None);
            }
            Step::Full { size } => {
                let mib = |bytes: u64| bytes.div_ceil(1 << 20);
                let how = "delete objects, or raise `quota-backend-bytes`";
                return Ok(Some(format!("what is left takes {} MiB of {}: {how}", mib(size), mib(quota))));
            }
        }
        Ok(Some("it makes room".into()))
    }

    /// All members that answer, by identifier, each with its URL.
    fn members<'a>(&self, settings: &'a Settings) -> BTreeMap<u64, (Seen, &'a str)> {
        let seen = |member: &'a super::settings::Member| {
            let Status { header, size, used, .. } = Endpoint::new(settings, &member.client_url).status().ok()?;
            let done = self.rewritten.contains(&header.member);
            Some((header.member, (Seen { id: header.member, size, used, done }, member.client_url.as_str())))
        };
        settings.members.iter().filter_map(seen).collect()
    }
}

/// Members' names by their identifiers.
fn names(settings: &Settings, endpoint: &Endpoint<'_>) -> Result<BTreeMap<u64, String>> {
    let named = |url: &String| settings.members.iter().find(|member| member.peer_url == *url).map(|member| member.name.clone());
    let members = endpoint.members()?.members;
    Ok(members.into_iter().map(|member| (member.id, member.peer_urls.iter().find_map(named).unwrap_or(member.name))).collect())
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
        // Three full members, whose free pages are not counted yet; each step's effect is what the next one sees.
        let mut members = [seen(1, 100, 99), seen(2, 100, 99), seen(3, 100, 99)];
        let (mut leader, mut steps) = (2, Vec::new());
        loop {
            let step = next(leader, &members, 100 * MIB);
            steps.push(step);
            match step {
                Step::Defragment(id) => {
                    assert_ne!(id, leader);
                    members.iter_mut().filter(|seen| seen.id == id).for_each(|small| *small = Seen { done: true, ..seen(id, 10, 10) });
                }
                // Another agent knows nothing of what this one did.
                Step::HandOver(id) => (leader, members) = (id, members.map(|seen| Seen { done: false, ..seen })),
                Step::Disarm | Step::Full { .. } => break,
            }
        }
        assert_eq!(steps, [Step::Defragment(1), Step::Defragment(3), Step::HandOver(1), Step::Defragment(2), Step::Disarm]);
    }

    #[test]
    fn one_that_is_alone_rewrites_itself_and_too_much_stays_too_much() {
        assert_eq!(next(1, &[seen(1, 100, 10)], 100 * MIB), Step::Defragment(1));
        assert_eq!(next(1, &[seen(1, 95, 94)], 100 * MIB), Step::Defragment(1));
        assert_eq!(next(1, &[seen(1, 100, 10), seen(2, 12, 10)], 100 * MIB), Step::HandOver(2));
        // Rewriting was of no use, to whichever of them: none goes on rewriting, and none hands leadership around.
        let done = |id| Seen { done: true, ..seen(id, 100, 99) };
        assert_eq!(next(1, &[done(1)], 100 * MIB), Step::Full { size: 100 * MIB });
        assert_eq!(next(1, &[seen(1, 100, 99), done(2), seen(3, 100, 99)], 100 * MIB), Step::Full { size: 100 * MIB });
    }
}
