//! The initrd: one more tree, composed of the same packages as the root that it boots, with the agent on top.
//!
//! In it systemd opens the root through dm-verity, grows and mounts the state partition and runs the agent, then switches to the
//! root. Nothing is found by running programs: the explicit list below, what ELF files say they need, what modules.dep says.

mod closure;
mod elf;
mod files;
mod modules;

use std::sync::Arc;

use closure::Closure;

use crate::error::{Error, Kind, Result, Within};
use crate::tree::{Entry, ImagePath, Tree};

/// The agent's path, in the initrd as in the image.
const AGENT: &str = "/usr/bin/kiln";
/// What kiln itself adds, as the dump shows it.
const ORIGIN: &str = "initrd";

/// Kernel parameters of every image. A corrupt root must stop the machine at once, and say why on screen and serial line.
const PARAMETERS: &[&str] = &[
    "systemd.verity_root_options=panic-on-corruption",
    // Partitions of a foreign disk must never be mounted because of their type.
    "systemd.gpt_auto=no",
    "console=tty0",
    "console=ttyS0,115200n8",
    "loglevel=4",
    // What goes well is in the journal; the agent tells what a boot waits for and how it ended.
    "systemd.show_status=error",
    // Serial lines end in logs: no colours, no moving stars.
    "systemd.tty.term.console=dumb",
    // Seconds to read the reason before the machine starts again.
    "panic=30",
];

/// The kernel command line that boots the root with this verity hash, 64 hexadecimal digits.
pub(crate) fn command_line(root_hash: &str) -> String {
    format!("roothash={root_hash} {}", PARAMETERS.join(" "))
}

/// Composes the initrd of the root `base`, with `agent` as `/usr/bin/kiln`.
///
/// # Errors
///
/// [`Kind::Input`] naming the file that the base lacks, with the package that has it.
pub(crate) fn compose(base: &Tree, agent: &Entry) -> Result<Tree> {
    let mut closure = Closure::of(base);
    for file in files::REQUIRED {
        closure.add(&path(file.path)).map_err(|err| err.hint(format!("add the package `{}` to an overlay", file.package)))?;
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
            tree.insert(path(&format!("{}/{target}/{unit}", files::UNITS)), Entry::symlink(format!("../{unit}"), &origin));
        }
    }
    for (file, text) in files::OWN {
        tree.insert(path(file), Entry::file(text.as_bytes(), 0o644, &origin));
    }
    for (file, text) in [("/usr/lib/modules-load.d/kiln.conf", modules::LOADED), ("/usr/lib/udev/rules.d/70-kiln.rules", modules::RULES)] {
        tree.insert(path(file), Entry::file(text.as_bytes(), 0o644, &origin));
    }
}

fn path(literal: &str) -> ImagePath {
    ImagePath::new(literal).expect("a literal path")
}

/// Says that the base lacks `path`.
fn missing(path: &ImagePath) -> Error {
    Error::new(Kind::Input, format!("the base has no `{path}`, which the initrd needs"))
}
