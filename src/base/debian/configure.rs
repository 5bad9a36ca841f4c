//! Runs maintainer scripts through dpkg, in a sandbox whose root is the scratch directory.
//!
//! Root and ordinary users run the same commands under fakeroot, so the resulting files are the same.

use crate::base::debian::ownership::Ownership;
use crate::base::debian::unpack::Package;
use crate::base::debian::{Scratch, Tools, User, database, users};
use crate::error::{Result, Within};
use crate::host;
use crate::host::sandbox::{Access, Fakeroot, Sandbox};

/// Directory for kiln's own files in the sandbox, on a temporary file system.
const INSIDE: &str = "/run/kiln";

/// Policy that keeps services from starting while an image is built
/// (<https://people.debian.org/~hmh/invokerc.d-policyrc.d-specification.txt>).
const POLICY: (&str, &[u8]) = ("usr/sbin/policy-rc.d", b"#!/bin/sh\nexit 101\n");

/// Machine id for scripts that derive values from it; scrubbed later, together with these values.
const MACHINE_ID: (&str, &[u8]) = ("etc/machine-id", b"00000000000000000000000000000001\n");

/// Environment variables that could differ between machines or runs, with fixed values.
const ENVIRONMENT: [(&str, &str); 8] = [
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("DEBCONF_NOWARNINGS", "yes"),
    // kiln composes the initial RAM disk itself: initramfs-tools and dracut both honour this variable.
    ("INITRD", "No"),
    ("PERL_HASH_SEED", "0"),
    ("SHELL", "/bin/sh"),
    ("SYSTEMD_OFFLINE", "1"),
    ("UCF_FORCE_CONFFOLD", "1"),
];

/// Configures every package unpacked into `scratch`.
pub(super) fn configure(
    scratch: &mut Scratch,
    packages: &[Package],
    people: &[User],
    tools: &Tools,
    epoch: u64,
) -> Result<()> {
    users::write(scratch, people)?;
    scratch.replace(MACHINE_ID.0, 0o644, MACHINE_ID.1)?;
    scratch.replace(POLICY.0, 0o755, POLICY.1)?;
    let mut dpkg = Dpkg { scratch, tools, epoch };
    dpkg.run_preinst(packages)?;
    database::write(dpkg.scratch, packages.iter())?;
    dpkg.run(&["--configure", "--pending"]).within(|| "configuring packages".into())?;
    scratch.remove(POLICY.0)
}

/// dpkg in a sandbox.
struct Dpkg<'a> {
    scratch: &'a mut Scratch,
    tools: &'a Tools,
    epoch: u64,
}

impl Dpkg<'_> {
    /// Makes dpkg run each `preinst` script. dpkg runs them only when unpacking, so it is given these
    /// packages without their data, and a database with all the others.
    fn run_preinst(&mut self, packages: &[Package]) -> Result<()> {
        let (with, without): (Vec<_>, Vec<_>) =
            packages.iter().partition(|package| package.deb.files.contains_key("preinst"));
        if with.is_empty() {
            return Ok(());
        }
        database::write(self.scratch, without.into_iter())?;
        let mut shells = Vec::new();
        for package in with {
            let name = format!("{}.deb", package.deb.control.name());
            host::fs::write_scratch(
                &self.scratch.beside("shells").join(&name),
                &package.deb.without_data()?,
            )?;
            shells.push(format!("{INSIDE}/shells/{name}"));
        }
        let arguments: Vec<&str> =
            ["--force-depends", "--unpack"].into_iter().chain(shells.iter().map(String::as_str)).collect();
        self.run(&arguments).within(|| "running `preinst` scripts".into())
    }

    fn run(&mut self, arguments: &[&str]) -> Result<()> {
        let (load, save) =
            (self.scratch.beside("state").join("load"), self.scratch.beside("state").join("save"));
        host::fs::write_scratch(&load, self.scratch.ownership.to_text().as_bytes())?;
        let mut sandbox = Sandbox::new(&self.scratch.root, Access::Write, "dpkg");
        sandbox.args(["--force-unsafe-io", "--force-confold"]).args(arguments.iter().copied());
        sandbox.env("SOURCE_DATE_EPOCH", self.epoch.to_string());
        for (name, value) in ENVIRONMENT {
            sandbox.env(name, value);
        }
        let inside = |name: &str| format!("{INSIDE}/{name}");
        sandbox.bind(&self.scratch.beside("state"), &inside("state"), Access::Write);
        sandbox.bind(&self.scratch.beside("shells"), &inside("shells"), Access::Read);
        sandbox.bind(&self.tools.path("usr/bin/faked-sysv"), &inside("faked"), Access::Read);
        sandbox.bind(
            &self.tools.library("libfakeroot/libfakeroot-sysv.so"),
            &inside("libfakeroot.so"),
            Access::Read,
        );
        sandbox.fakeroot(Fakeroot {
            daemon: inside("faked"),
            library: inside("libfakeroot.so"),
            load: inside("state/load"),
            save: inside("state/save"),
        });
        sandbox.run()?;
        self.scratch.ownership = Ownership::parse(&host::fs::read_to_string(&save)?)?;
        self.scratch.ownership.retain_device(self.scratch.scoped.device()?);
        Ok(())
    }
}
