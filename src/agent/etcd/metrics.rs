//! What etcd on this machine shows without a quorum: its metrics, in the text format of Prometheus.

use std::time::Duration;

use crate::host::http::{Client, Patience};

/// A page of metrics is smaller.
const LONGEST: u64 = 4 << 20;
/// Revision of the newest write that this member has (server/mvcc).
const REVISION: &str = "etcd_debugging_mvcc_current_revision";
/// Index of the newest entry of the log that it has applied (server/etcdserver).
const APPLIED: &str = "etcd_server_proposals_applied_total";

/// How long the log's syncs took together, and how many there were (server/storage/wal).
const SYNCED: [&str; 2] = ["etcd_disk_wal_fsync_duration_seconds_sum", "etcd_disk_wal_fsync_duration_seconds_count"];
/// Bytes that the database may grow to (server/etcdserver).
const QUOTA: &str = "etcd_server_quota_backend_bytes";

/// How far this machine's member is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Progress {
    /// Bytes that the database may grow to.
    pub(super) quota: Option<u64>,
    pub(super) revision: Option<u64>,
    pub(super) applied: Option<u64>,
}

/// Asks this machine's member, if it runs.
pub(super) fn progress(url: &str) -> Progress {
    let page = read(url).unwrap_or_default();
    let page = String::from_utf8_lossy(&page);
    Progress { quota: number(&page, QUOTA), revision: number(&page, REVISION), applied: number(&page, APPLIED) }
}

/// Syncs of the log since etcd started.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Synced {
    /// What they took together.
    pub(super) seconds: f64,
    pub(super) count: u64,
}

/// Asks this machine's member, if it runs.
pub(super) fn synced(url: &str) -> Option<Synced> {
    let page = read(url)?;
    let page = String::from_utf8_lossy(&page);
    let [seconds, count] = SYNCED;
    Some(Synced { seconds: value(&page, seconds)?, count: number(&page, count)? })
}

/// Whether this machine's member runs and says that it is not healthy: because of an alarm, or because no member leads. Not to ask for alarms
/// otherwise saves a process every few seconds.
pub(super) fn is_unwell(url: &str) -> bool {
    let health = url.strip_suffix("/metrics").map(|server| format!("{server}/health"));
    // Unhealthy is status 503 and no page.
    let is_healthy = health.and_then(|url| read(&url)).is_some_and(|page| String::from_utf8_lossy(&page).contains("true"));
    !is_healthy && read(url).is_some()
}

fn read(url: &str) -> Option<Vec<u8>> {
    let second = Duration::from_secs(1);
    let client = Client::local(Patience { connect: second, silence: second, attempts: 1, pause: second });
    client.read(url, LONGEST).ok()?
}

/// The value of a metric without labels. Values are floating-point numbers: `8.123e+06`.
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
        let page = "# HELP revision The revision.\n# TYPE revision gauge\nrevision_other 1\nrevision 8.123e+06\n";
        assert_eq!(number(page, "revision"), Some(8_123_000));
        assert_eq!(number(page, "missing"), None);
    }
}
