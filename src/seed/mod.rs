//! A node's sealed configuration: its identity, its match rules, and its own files in `/etc`.
//!
//! This module handles bytes, not disks or machines; `output` writes seeds to carriers, `agent` finds and
//! applies them.

mod archive;
mod attachment;
mod header;
mod identity;
mod order;

pub(crate) use attachment::{attach, attached};
pub(crate) use header::read_carrier;
pub(crate) use identity::Identity;
pub(crate) use order::{ORDER, Order, Restore};

use zeroize::Zeroizing;

use crate::digest::Digest;
use crate::error::Result;
use crate::tree::Tree;

/// One node's seed.
#[derive(Clone, Debug)]
pub(crate) struct Seed {
    pub(crate) identity: Identity,
    /// Files of the node, all below `/etc`.
    pub(crate) tree: Tree,
}

impl Seed {
    /// Packs the seed: identical seeds result in identical bytes. Times later than `epoch`, in seconds since
    /// 1970, are clamped to it.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Internal`] if a path is not below `/etc`; [`crate::error::Kind::Io`] if stored
    /// content can't be read.
    pub(crate) fn pack(&self, epoch: u64) -> Result<Vec<u8>> {
        let archive = archive::write(self, epoch)?;
        Ok(header::seal(&archive::compress(&archive)?))
    }

    /// Reads a packed seed; bytes after its end are ignored, as a carrier may be larger.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Verify`] if it is truncated or changed; [`crate::error::Kind::Input`] if it is
    /// not a seed, has another format version, or contains an entry that a seed can't contain.
    pub(crate) fn unpack(bytes: &[u8]) -> Result<Self> {
        let archive: Zeroizing<Vec<u8>> = archive::decompress(header::open(bytes)?)?;
        archive::read(&archive)
    }

    /// Returns the name of a packed seed: the digest of its payload, as in its header.
    ///
    /// # Errors
    ///
    /// Same as [`Seed::unpack`].
    pub(crate) fn digest(bytes: &[u8]) -> Result<Digest> {
        header::open(bytes).map(Digest::of)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use std::sync::Arc;

    use proptest::prelude::{any, proptest};
    use proptest::test_runner::Config;

    use super::{Identity, Seed};
    use crate::cluster::MatchRule;
    use crate::error::Kind;
    use crate::tree::{Entry, ImagePath, Tree};

    /// A small seed of the node `node`.
    pub(crate) fn sample(node: &str, matches: Vec<MatchRule>) -> Seed {
        let origin: Arc<str> = Arc::from("seed");
        let mut tree = Tree::new();
        let mut put = |path: &str, entry: Entry| tree.insert(ImagePath::new(path).unwrap(), entry);
        put("/etc/hostname", Entry::file(format!("{node}\n").into_bytes(), 0o644, &origin));
        put(
            "/etc/kubernetes/pki/sa.key",
            Entry::file(*b"canary of the service accounts", 0o600, &origin).owned_by(917, 917).secret(),
        );
        put("/etc/localtime", Entry::symlink("/usr/share/zoneinfo/UTC", &origin));
        let identity = Identity {
            cluster: "ha".into(),
            cluster_id: "c1".into(),
            node: node.into(),
            roles: vec!["control-plane".into()],
            machine_id: format!("{node:0>32}"),
            not_before: 0,
            matches,
        };
        Seed { identity, tree }
    }

    #[test]
    fn a_seed_comes_back_whole() {
        let seed = sample("m1", vec![MatchRule::Serial("S-1".into())]);
        let back = Seed::unpack(&seed.pack(1_700_000_000).unwrap()).unwrap();
        assert_eq!(back.identity, seed.identity);
        assert_eq!(back.tree.dump(), seed.tree.dump());
        assert_eq!(back.tree.digest(), seed.tree.digest());
    }

    #[test]
    fn packing_twice_gives_the_same_bytes() {
        let pack = || sample("m1", Vec::new()).pack(1_700_000_000).unwrap();
        assert_eq!(pack(), pack());
    }

    #[test]
    fn the_bytes_after_a_seed_belong_to_its_carrier() {
        let mut bytes = sample("m1", Vec::new()).pack(0).unwrap();
        bytes.resize(4 << 20, 0);
        assert_eq!(Seed::unpack(&bytes).unwrap().identity.node, "m1");
    }

    #[test]
    fn what_is_not_a_whole_seed_is_refused_by_name() {
        let bytes = sample("m1", Vec::new()).pack(0).unwrap();
        let mut newer = bytes.clone();
        newer[8] = 2;
        for (what, bytes, expected) in [
            ("nothing", &b""[..], "this is not a seed: it does not begin with `KILNSEED`"),
            (
                "another file",
                &b"KILNSEEX0123456789"[..],
                "this is not a seed: it does not begin with `KILNSEED`",
            ),
            ("half a header", &bytes[..40], "the seed is truncated: 40 of 64 header bytes"),
            (
                "a newer version",
                &newer,
                "the seed has format 2, but this version of kiln supports only format 1",
            ),
        ] {
            let err = Seed::unpack(bytes).unwrap_err();
            assert_eq!(err.to_string(), expected, "{what}");
        }
        let cut = Seed::unpack(&bytes[..bytes.len() - 1]).unwrap_err();
        assert_eq!(cut.kind(), Kind::Verify);
        assert_eq!(
            cut.to_string(),
            format!("the seed is truncated: {} of {} bytes", bytes.len() - 1, bytes.len())
        );
    }

    #[test]
    fn only_files_below_etc_can_be_in_a_seed() {
        let mut seed = sample("m1", Vec::new());
        seed.tree.insert(ImagePath::new("/usr/bin/sh").unwrap(), Entry::file(*b"", 0o755, &Arc::from("x")));
        let err = seed.pack(0).unwrap_err();
        assert_eq!(
            err.to_string(),
            "`/usr` from `x` can't be in a seed: a node's own files are below `/etc`"
        );
    }

    #[test]
    fn no_secret_is_in_a_debug_print_or_an_error() {
        let seed = sample("m1", Vec::new());
        let mut bytes = seed.pack(0).unwrap();
        let last = bytes.len() - 1;
        bytes[last] ^= 1;
        let shown = format!("{seed:?} {:?}", Seed::unpack(&bytes).unwrap_err());
        assert!(!shown.contains("canary"), "{shown}");
    }

    proptest! {
        #![proptest_config(Config::with_cases(2_000))]
        #[test]
        fn a_seed_with_any_changed_byte_is_refused(position in any::<proptest::sample::Index>(), change in 1..=u8::MAX) {
            let mut bytes = sample("m1", Vec::new()).pack(1_700_000_000).unwrap();
            let position = position.index(bytes.len());
            bytes[position] ^= change;
            assert!(Seed::unpack(&bytes).is_err(), "byte {position} changed by {change:#x}");
        }

        #[test]
        fn arbitrary_bytes_behind_the_magic_never_panic(tail in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = Seed::unpack(&[b"KILNSEED".as_slice(), &tail].concat());
        }
    }
}
