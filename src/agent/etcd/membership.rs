//! The member list of a live cluster: read from the members, and changed so that this member can join.

use std::net::SocketAddr;
use std::time::Duration;

use zeroize::Zeroizing;

use super::control::{self, Endpoint};
use super::decide::{Answer, Place};
use super::peers::Heard;
use super::settings::{Member, Settings};
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host;
use crate::host::http::{Client, Held, Patience};
use crate::host::tls::Identity;
use crate::words::Service;

/// Maximum size of a member list from etcd, in bytes.
const LONGEST: u64 = 1 << 16;
/// Time limits for requesting a member list.
const ONCE: Patience = Patience {
    connect: Duration::from_secs(2),
    silence: Duration::from_secs(2),
    pause: Duration::ZERO,
    attempts: 1,
};

/// Removes members with this member's peer URL, adds this member, and returns all members. `note` is called
/// in between: a member found in this place afterwards was added from this disk.
pub(super) fn replace(
    settings: &Settings,
    endpoint: &Endpoint<'_>,
    note: impl FnOnce() -> Result<()>,
) -> Result<Vec<control::Member>> {
    let own = settings.own();
    for member in endpoint.members()?.members.iter().filter(|member| member.peer_urls.contains(&own.peer_url))
    {
        endpoint.remove(member.id).within(|| format!("removing the previous member {:x}", member.id))?;
    }
    if endpoint.members()?.members.iter().any(|member| member.peer_urls.contains(&own.peer_url)) {
        return Err(Error::new(Kind::Tool, format!("`{}` is still a member", own.peer_url)));
    }
    note()?;
    endpoint.add(&own.name, &own.peer_url).within(|| format!("adding the member `{}`", own.name))
}

/// Returns a member with data that lists this one as added but not started, and is not behind `applied`. etcd
/// answers this request from its peers even without a quorum.
pub(super) fn expected_by(settings: &Settings, heard: &[Heard], applied: u64) -> Option<Place> {
    let expects = |place: &Place| {
        let members = local_members(settings, settings.member(*place)).unwrap_or_default();
        members
            .iter()
            .any(|member| member.name.is_empty() && member.peer_urls.contains(&settings.own().peer_url))
    };
    let with_data = (0..)
        .zip(heard)
        .filter(|(_, heard)| matches!(heard.answer, Answer::Data { .. }) && heard.applied >= Some(applied));
    with_data.map(|(place, _)| place).find(expects)
}

/// Returns the member list as one of the members knows it locally (server/etcdserver/api/etcdhttp/peer.go).
pub(super) fn local_members(settings: &Settings, member: &Member) -> Result<Vec<control::Member>> {
    let Identity { authority, certificate, key } = settings.identity();
    let (authority, certificate, key) =
        (host::fs::read(&authority)?, host::fs::read(&certificate)?, Zeroizing::new(host::fs::read(&key)?));
    let client = Client::among(&Held { authority: &authority, certificate: &certificate, key: &key }, ONCE)?;
    let url = format!("https://{}/members", SocketAddr::new(member.address, Service::EtcdPeers.port()));
    let body = client.read(&url, LONGEST)?.unwrap_or_default();
    serde_json::from_slice(&body)
        .doing(Kind::Network, || format!("reading the member list of {}", member.name))
}
