//! Repeats every distinct decision of the model with the agent on a real machine: records on real disks,
//! answers over real TLS, and a quorum only where a real etcd has one.

use std::fs;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::Duration;

use kiln_model::decide::{Answer, Decision, Disk, Founding, Place};
use kiln_model::{Look, Model};
use serde_json::{Value, json};

use crate::common::lab::eventually;
use crate::member::Member;
use crate::world::World;

type Case = (Place, Disk, Vec<Answer>, Decision);

pub(crate) fn all() {
    let model = Model { members: 3, events: 8, look: Look::AtOnce, fault: None };
    let walk = model.walk().unwrap_or_else(|broken| panic!("{broken}"));
    // Resuming requires a cluster that lost its quorum when it added this member, which has a separate test.
    let decisions: Vec<Case> =
        walk.decisions.into_iter().filter(|case| !matches!(case.3, Decision::Resume(_))).collect();
    thread::scope(|scope| {
        for me in 0..3 {
            let cases: Vec<&Case> = decisions.iter().filter(|case| case.0 == me).collect();
            scope.spawn(move || of_member(usize::from(me), cases));
        }
    });
}

fn of_member(me: usize, mut cases: Vec<&Case>) {
    let Some(world) = World::new(3) else { return };
    let is_live = |case: &Case| {
        case.2.iter().map(|answer| matches!(answer, Answer::Data { quorum: true, .. })).collect::<Vec<_>>()
    };
    cases.sort_by_key(|case| is_live(case));
    let mut others: Vec<Other<'_>> = world
        .members
        .iter()
        .enumerate()
        .filter(|(place, _)| *place != me)
        .map(|(place, member)| Other::new(place, member))
        .collect();
    for case in cases {
        let (_, disk, answers, decision) = case;
        write(&world.members[me], *disk);
        others.iter_mut().for_each(|other| other.answer(answers[other.place]));
        let output = world.members[me].agent("outlook").arg("--json").output().unwrap();
        let said: Value = serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{output:?}"));
        assert_eq!(said, expected(decision, &said), "{case:?}");
    }
}

fn token(founding: &Founding) -> String {
    format!("{:032x}", founding.token)
}

/// Returns the output that is expected for a decision. The reasons are sentences; each must name the right
/// member.
fn expected(decision: &Decision, said: &Value) -> Value {
    let name = |place: &Place| format!("m{}", place + 1);
    match decision {
        Decision::Start => json!({ "decision": "start" }),
        Decision::SetAside | Decision::Recover | Decision::Resume(_) => unreachable!("no case has an order"),
        Decision::Draw => json!({ "decision": "draw" }),
        Decision::Agree(founding) => json!({ "decision": "agree", "token": token(founding) }),
        Decision::Found(founding) => json!({ "decision": "found", "token": token(founding) }),
        Decision::Join(place) => json!({ "decision": "join", "through": name(place) }),
        Decision::Wait(reasons) => {
            let sentences = said["reasons"].as_array().cloned().unwrap_or_default();
            let about = |sentence: &Value, place: &Place| {
                sentence.as_str().is_some_and(|sentence| sentence.starts_with(&name(place)))
            };
            let right = sentences.len() == reasons.len()
                && sentences.iter().zip(reasons).all(|(sentence, (place, _))| about(sentence, place));
            if right {
                return json!({ "decision": "wait", "reasons": sentences });
            }
            let wanted: Vec<String> =
                reasons.iter().map(|(place, why)| format!("{} {why:?}", name(place))).collect();
            json!({ "decision": "wait", "reasons": wanted })
        }
    }
}

fn agreement(state: &str, founding: &Founding) -> Value {
    json!({ "state": state, "token": token(founding), "founders": ["m1", "m2", "m3"] })
}

/// Prepares a member's disk for a decision.
fn write(member: &Member, disk: Disk) {
    let _ = fs::remove_dir_all(member.data());
    let directory = member.data().join("member");
    fs::create_dir_all(directory.join("wal")).unwrap();
    let record = |value: Value| fs::write(directory.join("kiln.json"), value.to_string()).unwrap();
    match disk {
        Disk::Blank => {}
        Disk::Agreed(founding) => record(agreement("agreed", &founding)),
        Disk::Starting(founding) => record(agreement("starting", &founding)),
        Disk::Data(token) => {
            let token = token.map(|token| format!("{token:032x}"));
            record(json!({ "state": "joining", "token": token, "order": null, "applied": null }));
            fs::write(directory.join("wal/0000000000000000-0000000000000000.wal"), "").unwrap();
        }
        Disk::Joining => record(json!({ "state": "joining", "token": null, "order": null, "applied": null })),
        Disk::Removed => unreachable!("the model removes no member that has data"),
    }
}

/// Another member, which gives the answers that a case requires.
struct Other<'a> {
    place: usize,
    member: &'a Member,
    serving: Option<Child>,
    /// An etcd process of a single-member cluster, which has a quorum.
    etcd: Option<Child>,
}

impl<'a> Other<'a> {
    fn new(place: usize, member: &'a Member) -> Self {
        Self { place, member, serving: None, etcd: None }
    }

    fn answer(&mut self, answer: Answer) {
        self.live(matches!(answer, Answer::Data { quorum: true, .. }));
        self.serve(answer != Answer::Silent);
        match answer {
            Answer::Silent => {}
            Answer::Blank => write(self.member, Disk::Blank),
            Answer::Agreed(founding) => write(self.member, Disk::Agreed(founding)),
            Answer::Data { token, quorum: false, .. } => {
                let founding = Founding { token: token.unwrap(), founders: [0, 1, 2].into_iter().collect() };
                write(self.member, Disk::Starting(founding));
            }
            Answer::Data { token, quorum: true, .. } => {
                let token = format!("{:032x}", token.unwrap());
                let record = json!({ "state": "joining", "token": token, "order": null, "applied": null });
                fs::write(self.member.data().join("member/kiln.json"), record.to_string()).unwrap();
            }
        }
    }

    fn serve(&mut self, serves: bool) {
        if !serves {
            self.serving.take().into_iter().for_each(end);
        } else if self.serving.is_none() {
            self.serving = Some(quiet(&mut self.member.agent("serve")));
            eventually("an answer", Duration::from_secs(10), || self.member.listens(2382));
        }
    }

    fn live(&mut self, lives: bool) {
        if !lives {
            self.etcd.take().into_iter().for_each(end);
        } else if self.etcd.is_none() {
            let _ = fs::remove_dir_all(self.member.data());
            self.etcd = Some(quiet(&mut self.member.etcd_alone()));
            eventually("a quorum of one", Duration::from_secs(20), || {
                self.member.etcdctl(&["get", "x"]).map(drop)
            });
        }
    }
}

impl Drop for Other<'_> {
    fn drop(&mut self) {
        self.serve(false);
        self.live(false);
    }
}

fn quiet(command: &mut Command) -> Child {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap()
}

fn end(mut child: Child) {
    child.kill().unwrap();
    child.wait().unwrap();
}
