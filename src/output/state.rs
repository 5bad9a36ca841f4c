//! State partition as built: a small, empty ext4 filesystem that the first boot grows.

use std::path::PathBuf;

use crate::digest::{Digest, Hasher};
use crate::error::{Doing, Kind, Result, Within};
use crate::host;
use crate::output::toolbox::Toolbox;
use crate::progress::Progress;
use crate::store::Store;
use crate::words::STATE;

/// Size in bytes.
pub(crate) const SIZE: u64 = 64 << 20;

/// Identifier of the filesystem and seed of its directory hashes. The partition is found by its label, so all
/// images may share it.
const ID: &str = "6b696c6e-7374-4174-8000-000000000001";

/// The filesystem, in the store.
#[derive(Clone, Debug)]
pub(crate) struct State {
    pub(crate) path: PathBuf,
    /// Digest of all inputs.
    pub(crate) key: Digest,
}

/// Creates the filesystem, or finds it in the store.
///
/// # Errors
///
/// [`crate::error::Kind::Tool`] if mke2fs fails.
pub(crate) fn make(epoch: u64, tools: &dyn Toolbox, store: &Store, progress: &dyn Progress) -> Result<State> {
    let mut key = Hasher::default();
    key.field("tools", tools.digest().as_bytes()).field("command", command("", epoch).join("\n").as_bytes());
    let key = key.finish();
    let directory = store.stage("state", &key, |directory| {
        let _step = progress.begin("creating the state partition", None);
        let file = host::fs::create(&directory.join("state.ext4"), host::fs::PUBLIC)?;
        file.set_len(SIZE).doing(Kind::Io, || "creating the state partition".into())?;
        let run = tools.run("env", directory, &|inside| command(inside, epoch), &|_| Ok(()));
        run.within(|| "creating the state partition".into())
    })?;
    Ok(State { path: directory.join("state.ext4"), key })
}

/// Returns the command. `env` sets the time that mke2fs sees. The file is new and thus all zeros, so the
/// journal need not be written. Reserved group descriptors let the filesystem grow to 1 TiB without moving
/// data.
fn command(directory: &str, epoch: u64) -> Vec<String> {
    // The journal does not grow with the filesystem, so it has 16 MiB instead of the 4 MiB that are the
    // default for a filesystem of this size.
    let fixed = "mke2fs -q -F -t ext4 -b 4096 -I 256 -m 1 -J size=16";
    let extended =
        format!("hash_seed={ID},root_owner=0:0,lazy_itable_init=0,lazy_journal_init=1,resize=268435456");
    let times = [format!("E2FSPROGS_FAKE_TIME={epoch}"), format!("SOURCE_DATE_EPOCH={epoch}")];
    let fixed = fixed.split_ascii_whitespace().map(str::to_owned);
    times
        .into_iter()
        .chain(fixed)
        .chain([
            "-L".into(),
            STATE.into(),
            "-U".into(),
            ID.into(),
            "-E".into(),
            extended,
            format!("{directory}/state.ext4"),
        ])
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::MetadataExt;

    use super::make;
    use crate::host;
    use crate::judge::{accepts, judge};
    use crate::output::toolbox::tests::HostTools;
    use crate::progress::Silent;
    use crate::store::tests::store;

    #[test]
    fn e2fsck_accepts_the_filesystem_and_two_runs_give_the_same_bytes() {
        let (Some(mut e2fsck), Some(_)) = (judge("e2fsck"), judge("mke2fs")) else { return };
        let digests: Vec<_> = (0..2)
            .map(|_| {
                let dir = tempfile::tempdir().unwrap();
                let path = make(1_700_000_000, &HostTools, &store(dir.path()), &Silent).unwrap().path;
                assert!(path.metadata().unwrap().blocks() * 512 < 8 << 20, "the filesystem is not sparse");
                (host::fs::digest(&path).unwrap(), dir, path)
            })
            .collect();
        assert_eq!(digests[0].0, digests[1].0);
        accepts(e2fsck.args(["-f", "-n"]).arg(&digests[0].2));
    }
}
