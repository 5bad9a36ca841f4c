//! Room on the disk of etcd's data. etcd reserves its log in advance and ends where it can't write, so it says nothing before it is too late.

use std::path::Path;

use crate::error::Result;
use crate::host;

/// What etcd's log takes at once (server/storage/wal: `SegmentSizeBytes`), in MiB.
const SEGMENT: u64 = 64;

/// What people must know of the disk that holds `data`.
///
/// # Errors
///
/// [`crate::error::Kind::Io`] if it can't be asked.
pub(super) fn look(data: &Path) -> Result<Vec<String>> {
    Ok(sentence(host::fs::free_space(data)?).into_iter().collect())
}

/// The same words for as long as it is so, since new ones go to the journal.
fn sentence(free: u64) -> Option<String> {
    let is_full = free < SEGMENT << 20;
    is_full.then(|| {
        format!(
            "its disk is full: less than {SEGMENT} MiB are left, which the next part of etcd's log takes; etcd ends where it can't write"
        )
    })
}

#[cfg(test)]
mod tests {
    use super::sentence;

    #[test]
    fn a_disk_is_full_that_has_no_room_for_the_next_part_of_the_log() {
        assert_eq!(sentence(64 << 20), None);
        assert!(sentence(63 << 20).unwrap().starts_with("its disk is full: less than 64 MiB"));
        assert!(sentence(0).is_some());
    }
}
