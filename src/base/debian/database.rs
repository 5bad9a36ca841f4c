//! dpkg's database (`/var/lib/dpkg`), written for packages that kiln unpacked, so that dpkg can configure
//! them.

use crate::base::debian::Scratch;
use crate::base::debian::unpack::Package;
use crate::error::Result;

/// Control files that dpkg needs to configure a package; the others are only for removal and for builds.
const SCRIPTS: [&str; 4] = ["config", "postinst", "templates", "triggers"];

/// Records exactly `packages` as unpacked but not configured.
pub(super) fn write<'a>(scratch: &mut Scratch, packages: impl Iterator<Item = &'a Package>) -> Result<()> {
    for directory in ["info", "parts", "triggers", "updates"] {
        scratch.scoped.directory(&format!("var/lib/dpkg/{directory}"), 0o755)?;
    }
    let mut status = String::new();
    for package in packages {
        status.push_str(&package.deb.control.status("unpacked", &package.conffiles));
        status.push('\n');
        write_info(scratch, package)?;
    }
    scratch.replace("var/lib/dpkg/info/format", 0o644, b"1\n")?;
    scratch.replace("var/lib/dpkg/status", 0o644, status.as_bytes())?;
    Ok(())
}

fn write_info(scratch: &mut Scratch, package: &Package) -> Result<()> {
    let base = format!("var/lib/dpkg/info/{}", package.deb.control.info_name());
    let mut list = String::from("/.\n");
    for path in &package.paths {
        list.push_str(path.as_str());
        list.push('\n');
    }
    scratch.replace(&format!("{base}.list"), 0o644, list.as_bytes())?;
    for name in SCRIPTS {
        if let Some(bytes) = package.deb.files.get(name) {
            let mode = if matches!(name, "config" | "postinst") { 0o755 } else { 0o644 };
            scratch.replace(&format!("{base}.{name}"), mode, bytes)?;
        }
    }
    Ok(())
}
