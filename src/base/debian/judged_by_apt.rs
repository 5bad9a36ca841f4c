//! apt itself judges the solver: on Debian's real indexes, both must choose the same packages.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use super::index::Index;
use super::mirror::mirror;
use super::repository::{self, Policy};
use super::signature::Keyring;
use super::solver;
use super::universe::Universe;
use crate::base::lock::Archive;
use crate::host;
use crate::judge::{accepts, judge};
use crate::progress::Silent;
use crate::store::tests::store;
use crate::words::Arch;

/// Package lists as people write them; the first one is what a control-plane node has.
const LISTS: [&str; 6] = [
    "systemd systemd-sysv udev dbus systemd-boot-efi systemd-repart kmod iproute2 nftables chrony haproxy \
    keepalived etcd-server etcd-client containerd runc containernetworking-plugins conntrack iptables \
    ethtool socat e2fsprogs linux-image-cloud-{architecture} ca-certificates",
    "squashfs-tools erofs-utils e2fsprogs dosfstools mtools fakeroot zstd dpkg systemd-ukify",
    "nginx keepalived cloud-init openssh-server ssh sudo vim curl gnupg locales",
    "gawk default-mta cron rsyslog logrotate",
    "docker.io podman postgresql-client",
    "linux-image-{architecture} initramfs-tools cryptsetup lvm2 mdadm open-iscsi multipath-tools nfs-common",
];

#[test]
fn the_solver_chooses_what_apt_chooses_for_each_architecture() {
    if judge("apt-get").is_none() {
        return;
    }
    Arch::ALL.into_iter().for_each(compare);
}

fn compare(arch: Arch) {
    let mirrors = mirror(None).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let policy = Policy {
        keyring: Keyring::open(None).unwrap(),
        architecture: arch,
        now: host::clock::now(),
        expired_allowed: true,
    };
    let suite =
        repository::read("trixie", &mirrors, &policy, &store(&dir.path().join("store")), &Silent).unwrap();
    let sources = suite.releases.iter().map(|release| {
        let archive =
            if release.suite.ends_with("-security") { Archive::DebianSecurity } else { Archive::Debian };
        format!("deb [trusted=yes] {} {} main\n", mirrors.of(archive)[0], release.suite)
    });
    prepare(dir.path(), arch, &sources.collect::<String>());
    accepts(apt_get(dir.path()).arg("update"));
    let universe = Universe::new(&suite.index);
    let essential: Vec<&str> = universe
        .candidates()
        .filter(|id| suite.index.package(*id).essential)
        .map(|id| suite.index.name(id))
        .collect();
    for list in LISTS {
        let list = arch.fill(list);
        let wanted: Vec<String> = list.split_whitespace().map(str::to_owned).collect();
        let mut command = apt_get(dir.path());
        let said = accepts(
            command.args(["install", "--simulate", "--no-install-recommends"]).args(&wanted).args(&essential),
        );
        let expected: BTreeSet<(&str, &str)> = said.lines().filter_map(installed).collect();
        let chosen = chosen(&suite.index, &universe, &wanted);
        let difference: Vec<_> = chosen.symmetric_difference(&expected).collect();
        assert!(difference.is_empty(), "{arch}, {list}: only one of the two has {difference:?}");
    }
}

fn chosen<'a>(index: &'a Index, universe: &Universe<'a>, wanted: &[String]) -> BTreeSet<(&'a str, &'a str)> {
    solver::solve(universe, wanted)
        .unwrap()
        .into_iter()
        .map(|id| (index.name(id), index.version(id)))
        .collect()
}

/// Returns name and version from `Inst haproxy (3.0.11-1 Debian:13.7/stable [amd64])`.
fn installed(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.strip_prefix("Inst ")?.split_once(" (")?;
    Some((name, rest.split(' ').next()?))
}

/// Prepares a private apt, without the host's configuration and with nothing installed.
fn prepare(dir: &Path, arch: Arch, sources: &str) {
    for directory in [
        "lists/partial",
        "cache/archives/partial",
        "etc/sources.list.d",
        "etc/preferences.d",
        "etc/apt.conf.d",
        "etc/trusted.gpg.d",
    ] {
        host::fs::create_directories(&dir.join(directory)).unwrap();
    }
    let dir_text = dir.display();
    let configuration = format!(
        "Dir \"{dir_text}\";\nDir::Etc \"{dir_text}/etc\";\nDir::State \"{dir_text}\";\nDir::State::status \
        \"{dir_text}/status\";\nDir::Cache \"{dir_text}/cache\";\nDir::Bin::Methods \
        \"/usr/lib/apt/methods\";\nAPT::Architecture \"{arch}\";\nAPT::Architectures {{ \"{arch}\"; \
        }};\nAPT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\nAcquire::Check-Valid-Until \
        \"false\";\n"
    );
    for (path, text) in [("etc/sources.list", sources), ("status", ""), ("apt.conf", &configuration)] {
        host::fs::write_atomic(&dir.join(path), text.as_bytes(), host::fs::PUBLIC).unwrap();
    }
}

fn apt_get(dir: &Path) -> Command {
    let mut command = judge("apt-get").expect("it was there a moment ago");
    command.env("APT_CONFIG", dir.join("apt.conf"));
    command
}
