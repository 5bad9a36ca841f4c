//! Reasons for waiting, in words.

use super::decide::{Place, Why};
use super::peers::Heard;
use super::settings::Settings;

/// Returns a reason as one sentence.
pub(super) fn reason(settings: &Settings, place: Place, why: Why, heard: &[Heard]) -> String {
    let name = &settings.member(place).name;
    let heard = &heard[usize::from(place)];
    match why {
        Why::Silent => {
            format!("{name} does not respond ({})", heard.reason.as_deref().unwrap_or("reason unknown"))
        }
        Why::DataWithoutQuorum => {
            let revision =
                heard.revision.map_or(String::new(), |revision| format!(" at revision {revision}"));
            format!(
                "{name} has data{revision} but no quorum: bring its peers back, or order `--recover-from \
                {name}`"
            )
        }
        Why::Draws => format!("{name} has not generated the token for the new cluster yet"),
        Why::Agrees => format!("{name} has not agreed to the token yet"),
        Why::OtherFounders => {
            format!(
                "{name} is bootstrapping with members other than those in this seed: use seeds from the \
                same build on all members"
            )
        }
        Why::Recovers => format!("{name} is to {}, as ordered, but has no quorum yet", recovery(settings)),
        Why::NothingToRecover => {
            format!("{name} (this member) is to recover the cluster, as ordered, but has no data")
        }
        Why::OtherCluster => format!(
            "{name} belongs to a different cluster than the data on this machine, which is kept; order \
            `--set-aside {}` to join that cluster",
            settings.name
        ),
        Why::NothingToJoin => {
            format!("{name} has no quorum for this member to join after setting its data aside, as ordered")
        }
        Why::FoundsWithoutMe => {
            format!(
                "{name} is bootstrapping the cluster without this member, which joins once there is a quorum"
            )
        }
    }
}

/// Returns what the order to recover the cluster does.
fn recovery(settings: &Settings) -> &'static str {
    if settings.order.as_ref().is_some_and(|order| order.restore.is_some()) {
        "restore a snapshot of the cluster"
    } else {
        "recover the cluster from its data"
    }
}
