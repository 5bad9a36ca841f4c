//! Paths that the agent reads and writes; tests can place them in any directory.

use std::path::{Path, PathBuf};

use crate::error::{Result, Within};
use crate::host;

/// Directories of the machine.
#[derive(Clone, Debug)]
pub(crate) struct Places {
    /// Root filesystem to configure: `/`, or `/sysroot` in the initrd.
    pub(crate) root: PathBuf,
    /// Runtime directory; it survives the switch from the initrd to the root filesystem.
    pub(crate) run: PathBuf,
    pub(crate) sys: PathBuf,
    pub(crate) dev: PathBuf,
    /// Kernel command line or, in a container, the one from its manager.
    pub(crate) command_line: String,
    /// Files passed in by the program that started this machine: systemd credentials, the lab's seed.
    pub(crate) handed: Vec<PathBuf>,
}

/// Name of the environment variable that contains the path of a seed.
pub(super) const SEED_VARIABLE: &str = "KILN_SEED";
/// Name of the systemd credential that contains a seed (<https://systemd.io/CREDENTIALS>).
const CREDENTIAL: &str = "kiln.seed";

impl Places {
    /// Returns the paths of this machine.
    ///
    /// # Errors
    ///
    /// [`crate::error::Kind::Io`] if `/proc` is missing.
    pub(crate) fn of_this_machine(root: &Path) -> Result<Self> {
        let environment = |name: &str| std::env::var_os(name).map(PathBuf::from);
        // Containers: systemd itself reads this variable instead of /proc/cmdline (systemd's
        // docs/ENVIRONMENT.md).
        let command_line = match std::env::var("SYSTEMD_PROC_CMDLINE") {
            Ok(line) => line,
            Err(_) => host::fs::read_to_string(Path::new("/proc/cmdline"))
                .within(|| "reading the kernel command line".into())?,
        };
        let credential = environment("CREDENTIALS_DIRECTORY").map(|directory| directory.join(CREDENTIAL));
        let imported = Path::new("/run/credentials/@system").join(CREDENTIAL);
        let handed = environment(SEED_VARIABLE).into_iter().chain(credential).chain([imported]);
        Ok(Self {
            root: root.to_owned(),
            run: "/run".into(),
            sys: "/sys".into(),
            dev: "/dev".into(),
            command_line,
            handed: handed.filter(|path| path.exists()).collect(),
        })
    }

    /// Returns the agent's own runtime directory.
    pub(crate) fn runtime(&self) -> PathBuf {
        self.run.join("kiln")
    }

    /// Returns the path of the stored copy of the last accepted seed.
    pub(crate) fn stored_seed(&self) -> PathBuf {
        self.root.join("var/lib/kiln/seed")
    }
}
