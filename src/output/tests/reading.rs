//! Reading of output directories: inspection, and verification of damaged files.

use std::os::unix::fs::FileExt;
use std::path::Path;

use super::{EPOCH, build, has_tools, image, root};
use crate::host;
use crate::output::inspect::{Inspected, inspect};
use crate::output::verify::{self, Verified};
use crate::progress::Silent;
use crate::store::tests::store;

#[test]
fn inspecting_a_node_tells_its_boot_entry_and_its_files_and_no_secret() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&root(), &store(&dir.path().join("store"))).unwrap();
    let seed = crate::seed::tests::sample("m1", Vec::new()).pack(EPOCH).unwrap();
    let out = dir.path().join("out");
    build(&image, [&seed, b"other"], &out);
    let stem = out.join("nodes/m1/m1");
    for path in ["qcow2", "raw"].map(|suffix| stem.with_extension(suffix)).iter().filter(|path| path.exists())
    {
        let Inspected::Disk(report) = inspect(path).unwrap() else {
            panic!("a disk is reported as something else")
        };
        let labels: Vec<&str> = report.partitions.iter().map(|partition| partition.label.as_str()).collect();
        assert_eq!(labels, ["kiln-esp", "kiln-root", "kiln-root-verity", "kiln-config", "kiln-state"]);
        assert_eq!(
            (report.root.filesystem, &report.root.root_hash),
            ("squashfs", &image.root.root_hash.to_string())
        );
        assert_eq!((report.boot.len(), report.boot[0].kernel.as_str()), (1, "6.12.1-cloud"));
        assert!(report.boot[0].command_line.contains(&format!("roothash={}", image.root.root_hash)));
        let text = serde_json::to_string(&report).unwrap();
        assert!(
            text.contains("\"node\":\"m1\"") && text.contains("sa.key") && !text.contains("canary"),
            "{text}"
        );
    }
    assert!(
        matches!(inspect(&out.join("images/control-plane.raw")).unwrap(), Inspected::Disk(disk) if disk.seed.is_none())
    );
    assert!(
        matches!(inspect(&stem.with_extension("seed")).unwrap(), Inspected::Seed(seed) if seed.identity.node == "m1")
    );
    assert!(matches!(inspect(&out).unwrap(), Inspected::Output(manifest) if manifest.artifacts.len() == 6));
    assert!(inspect(&out.join("SHA256SUMS")).is_err());
}

#[test]
fn verifying_finds_every_kind_of_damage() {
    if !has_tools() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let image = image(&root(), &store(&dir.path().join("store"))).unwrap();
    let out = dir.path().join("out");
    let (raw, seed) = (out.join("images/control-plane.raw"), out.join("nodes/m1/m1.seed"));
    let start = |label: &str| image.table.find(label).unwrap().start;
    let flip = |path: &Path, at: u64| {
        let byte = host::fs::read_at(path, at, 1).unwrap()[0];
        host::fs::open_writable(path).unwrap().write_all_at(&[byte ^ 1], at).unwrap();
    };
    build(&image, [b"seed of m1", b"seed of m2"], &out);
    assert_eq!(
        verify::directory(&out, &Silent).unwrap(),
        Verified { files: 6, disks: 4, ..verify::directory(&out, &Silent).unwrap() }
    );
    let planted: [(&dyn Fn(), &str); 7] = [
        (&|| flip(&raw, start("kiln-root") + 5_000), "the root partition is modified"),
        (&|| flip(&raw, start("kiln-root-verity") + 4096), "the hash partition is modified"),
        (&|| flip(&raw, 2000), "`images/control-plane.raw` is modified"),
        (&|| flip(&seed, 0), "`nodes/m1/m1.seed` is modified"),
        (&|| host::fs::set_mode(&seed, 0o644).unwrap(), "contains a secret but has mode 0644"),
        (&|| host::fs::remove(&seed).unwrap(), "`nodes/m1/m1.seed` is missing"),
        (
            &|| host::fs::write_atomic(&out.join("SHA256SUMS"), b"", 0o644).unwrap(),
            "`SHA256SUMS` does not match",
        ),
    ];
    for (damage, said) in planted {
        damage();
        let err = verify::directory(&out, &Silent).unwrap_err().to_string();
        assert!(err.contains(said), "{said} is not in {err}");
        host::fs::remove(&out).unwrap();
        build(&image, [b"seed of m1", b"seed of m2"], &out);
    }
    host::fs::write_atomic(&out.join("nodes/m1/notes.txt"), b"x", 0o644).unwrap();
    assert!(verify::directory(&out, &Silent).unwrap_err().to_string().contains("was not created by a build"));
}
