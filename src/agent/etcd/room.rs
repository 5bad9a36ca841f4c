//! Free space on etcd's data disk. etcd preallocates its log and exits when it can't write, so it gives no
//! timely warning.

use std::path::Path;

use crate::error::Result;
use crate::host;

/// Size of the next segment that etcd preallocates for its log (server/storage/wal: `SegmentSizeBytes`), in
/// MiB.
const SEGMENT: u64 = 64;

/// Returns the problems with the disk that contains `data`.
///
/// # Errors
///
/// [`crate::error::Kind::Io`] if the disk can't be queried.
pub(super) fn look(data: &Path) -> Result<Vec<String>> {
    Ok(sentence(host::fs::free_space(data)?).into_iter().collect())
}

/// Returns the same text while the problem lasts, since a changed text is logged to the journal again.
fn sentence(free: u64) -> Option<String> {
    let is_full = free < SEGMENT << 20;
    is_full.then(|| {
        format!(
            "etcd's disk is full: less than {SEGMENT} MiB left for the next log segment; etcd exits when it \
            can't write"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_disk_is_full_that_has_no_room_for_the_next_part_of_the_log() {
        assert_eq!(sentence(64 << 20), None);
        assert!(sentence(63 << 20).unwrap().starts_with("etcd's disk is full: less than 64 MiB"));
        assert!(sentence(0).is_some());
    }
}
