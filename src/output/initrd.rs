//! The initrd: a separate tree, composed of the same packages as the root that it boots, plus the agent.
//!
//! In the initrd systemd opens the root through dm-verity, grows and mounts the state partition, runs the
//! agent, and then switches to the root. The contents come from an explicit list, ELF files and modules.dep;
//! no program is run to find them.

mod closure;
mod elf;
mod files;
mod modules;

use std::sync::Arc;

use closure::Closure;

use crate::error::{Error, Kind, Result, Within};
use crate::tree::{Entry, ImagePath, Tree};
use crate::words::Arch;

/// The agent's path, in the initrd as in the image.
const AGENT: &str = "/usr/bin/kiln";
/// Origin of kiln's own files, as shown in the dump.
const ORIGIN: &str = "initrd";

/// Kernel parameters of every image. A corrupt root must stop the machine immediately, with the reason on
/// screen and serial console.
const PARAMETERS: &[&str] = &[
    "systemd.verity_root_options=panic-on-corruption",
    // Never mount a foreign disk's partitions merely because they have the right type.
    "systemd.gpt_auto=no",
    "console=tty0",
    "console={serial},115200n8",
    "loglevel=4",
    // Successes are in the journal; the agent reports what the boot waits for and how it ends.
    "systemd.show_status=error",
    // Serial output ends up in logs: no colours, no animation.
    "systemd.tty.term.console=dumb",
    // Seconds to read the reason before the machine reboots.
    "panic=30",
];

/// Returns the kernel command line that boots the root with this verity hash, 64 hexadecimal digits.
pub(crate) fn command_line(root_hash: &str, arch: Arch) -> String {
    format!("roothash={root_hash} {}", PARAMETERS.join(" ").replace("{serial}", arch.serial))
}

/// Composes the initrd of the root `base`, with `agent` as `/usr/bin/kiln`.
///
/// # Errors
///
/// [`Kind::Input`], naming the file that the base lacks and the package that contains it.
pub(crate) fn compose(base: &Tree, agent: &Entry) -> Result<Tree> {
    let mut closure = Closure::of(base);
    for file in files::REQUIRED {
        closure
            .add(&path(file.path))
            .map_err(|err| err.hint(format!("add the package `{}` to an overlay", file.package)))?;
    }
    for unit in files::BASE_UNITS {
        closure.add(&path(files::UNITS).join(unit)?)?;
    }
    for file in files::OPTIONAL {
        closure.add_if_present(&path(file))?;
    }
    let module_directory = modules::directory(base)?;
    for file in modules::select(base, &module_directory)? {
        closure.add(&file)?;
    }
    closure.needs_of(agent).within(|| format!("reading `{AGENT}`"))?;
    let mut tree = closure.finish();
    tree.insert(path(AGENT), Entry { mode: 0o755, ..agent.clone() });
    add_own_files(&mut tree);
    Ok(tree)
}

fn add_own_files(tree: &mut Tree) {
    let origin: Arc<str> = Arc::from(ORIGIN);
    for directory in files::MOUNT_POINTS {
        tree.insert(path(directory), Entry::directory(0o755, &origin));
    }
    for (link, target) in files::LINKS {
        tree.insert(path(link), Entry::symlink(*target, &origin));
    }
    for (target, units) in files::WANTS {
        for unit in *units {
            tree.insert(
                path(&format!("{}/{target}/{unit}", files::UNITS)),
                Entry::symlink(format!("../{unit}"), &origin),
            );
        }
    }
    for (file, text) in files::OWN {
        tree.insert(path(file), Entry::file(text.as_bytes(), 0o644, &origin));
    }
    for (file, text) in [
        ("/usr/lib/modules-load.d/kiln.conf", modules::LOADED),
        ("/usr/lib/udev/rules.d/70-kiln.rules", modules::RULES),
    ] {
        tree.insert(path(file), Entry::file(text.as_bytes(), 0o644, &origin));
    }
}

fn path(literal: &str) -> ImagePath {
    ImagePath::new(literal).expect("a literal path")
}

/// Returns the error for a base that lacks `path`.
fn missing(path: &ImagePath) -> Error {
    Error::new(Kind::Input, format!("the base does not contain `{path}`, which the initrd needs"))
}
