//! Metrics of etcd on this machine, available without a quorum, in the Prometheus text format.

use std::time::Duration;

use crate::host::http::{Client, Patience};

/// Maximum size of a metrics page, in bytes.
const LONGEST: u64 = 4 << 20;
/// Revision of the newest write that this member has (server/mvcc).
const REVISION: &str = "etcd_debugging_mvcc_current_revision";
/// Index of the newest log entry that this member has applied (server/etcdserver).
const APPLIED: &str = "etcd_server_proposals_applied_total";

/// Total duration and number of log syncs (server/storage/wal).
const SYNCED: [&str; 2] =
    ["etcd_disk_wal_fsync_duration_seconds_sum", "etcd_disk_wal_fsync_duration_seconds_count"];
/// Maximum size of the database, in bytes (server/etcdserver).
const QUOTA: &str = "etcd_server_quota_backend_bytes";

/// Progress of this machine's member.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Maximum size of the database, in bytes.
    pub(super) quota: Option<u64>,
    pub(super) revision: Option<u64>,
    pub(super) applied: Option<u64>,
}

/// Queries this machine's member, if it is running.
pub(super) fn progress(url: &str) -> Progress {
    let page = read(url).unwrap_or_default();
    let page = String::from_utf8_lossy(&page);
    Progress {
        quota: number(&page, QUOTA),
        revision: number(&page, REVISION),
        applied: number(&page, APPLIED),
    }
}

/// Log syncs since etcd started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Synced {
    /// Total duration.
    pub(super) seconds: f64,
    pub(super) count: u64,
}

/// Queries this machine's member, if it is running.
pub(super) fn synced(url: &str) -> Option<Synced> {
    let page = read(url)?;
    let page = String::from_utf8_lossy(&page);
    let [seconds, count] = SYNCED;
    Some(Synced { seconds: value(&page, seconds)?, count: number(&page, count)? })
}

/// Checks whether this machine's member is running but reports that it is unhealthy, because of an alarm or
/// because there is no leader. Listing alarms only in this case saves a process every few seconds.
pub(super) fn is_unwell(url: &str) -> bool {
    let health = url.strip_suffix("/metrics").map(|server| format!("{server}/health"));
    // An unhealthy member returns status 503 and no page.
    let is_healthy =
        health.and_then(|url| read(&url)).is_some_and(|page| String::from_utf8_lossy(&page).contains("true"));
    !is_healthy && read(url).is_some()
}

fn read(url: &str) -> Option<Vec<u8>> {
    let second = Duration::from_secs(1);
    let client = Client::local(Patience { connect: second, silence: second, attempts: 1, pause: second });
    client.read(url, LONGEST).ok()?
}

/// Returns the value of a metric without labels. Values are floating-point numbers: `8.123e+06`.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "revisions are whole and small")]
fn number(page: &str, name: &str) -> Option<u64> {
    value(page, name).map(|value| value as u64)
}

fn value(page: &str, name: &str) -> Option<f64> {
    page.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn a_metric_is_a_line_of_its_own() {
        let page =
            "# HELP revision The revision.\n# TYPE revision gauge\nrevision_other 1\nrevision 8.123e+06\n";
        assert_eq!(number(page, "revision"), Some(8_123_000));
        assert_eq!(number(page, "missing"), None);
    }
}
