//! What is done for the member that runs, as long as the machine is on.

use std::time::Duration;

use super::control::{Endpoint, Members};
use super::decide::Answer;
use super::directory::{Directory, Member, Record};
use super::peers;
use super::settings::Settings;
use crate::error::Result;
use crate::host;
use crate::host::tls::Asking;

/// Between two looks at the member.
const PAUSE: Duration = Duration::from_secs(5);

/// Looks after the member for ever. What fails is tried again: the member must not notice.
pub(super) fn run(settings: &Settings, journal: &(dyn Fn(&str) + Sync)) -> ! {
    let directory = Directory::new(&settings.data);
    let mut said = String::new();
    loop {
        host::clock::sleep(PAUSE);
        let failed = look(settings, &directory, journal).err().map_or(String::new(), |err| err.to_string());
        if failed != said {
            journal(&failed);
            said = failed;
        }
    }
}

fn look(settings: &Settings, directory: &Directory, journal: &dyn Fn(&str)) -> Result<()> {
    if !directory.has_data()? {
        return Ok(());
    }
    match Endpoint::new(settings, &settings.own().client_url).quorum() {
        Ok(header) => directory.runs_as(Member { cluster: header.cluster, id: header.member }),
        Err(_) => has_been_removed(settings, directory, journal),
    }
}

/// Notes that a living cluster has removed this member: its data are of no use to it, and etcd would end again and again.
fn has_been_removed(settings: &Settings, directory: &Directory, journal: &dyn Fn(&str)) -> Result<()> {
    let Some(Record::Running { token, member, .. }) = directory.record()? else { return Ok(()) };
    let asking = Asking::new(&settings.identity())?;
    for (other, heard) in settings.members.iter().zip(peers::ask(settings, &asking)) {
        if !matches!(heard.answer, Answer::Data { quorum: true, .. }) {
            continue;
        }
        let Members { header, members } = Endpoint::new(settings, &other.client_url).members()?;
        if header.cluster == member.cluster && members.iter().all(|known| known.id != member.id) {
            journal(&format!("the cluster of {} has removed this member, {:x}: its data will be moved aside", other.name, member.id));
            return directory.write(&Record::Removed { token, member });
        }
    }
    Ok(())
}
