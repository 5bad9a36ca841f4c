//! Unified kernel images (UAPI.5): systemd-stub with kernel, initrd, command line and os-release as sections,
//! byte for byte as `ukify` assembles them.

use crate::disk::pe::{CODE, DATA, Image};
use crate::error::{Result, Within};

/// Revocation data (SBAT) of every such image, in addition to the data of the stub and the kernel.
const SBAT_HEADER: &str = "sbat,1,SBAT Version,sbat,1,https://github.com/rhboot/shim/blob/main/SBAT.md";
const SBAT_UKI: &str = "uki,1,UKI,uki,1,https://uapi-group.org/specifications/specs/unified_kernel_image/";

/// Parts of one image.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Parts<'a> {
    /// systemd-stub, such as `linuxx64.efi.stub`.
    pub(crate) stub: &'a [u8],
    /// A kernel with an EFI stub.
    pub(crate) kernel: &'a [u8],
    /// Release of the kernel, such as `6.12.48+deb13-cloud-amd64`.
    pub(crate) release: &'a str,
    pub(crate) initrd: &'a [u8],
    pub(crate) command_line: &'a str,
    /// Content of `/usr/lib/os-release` of the booted root.
    pub(crate) os_release: &'a str,
}

/// Assembles the image from its parts.
///
/// # Errors
///
/// [`crate::error::Kind::Input`] if the stub or the kernel is invalid, or the stub's headers are full.
pub(crate) fn assemble(parts: &Parts<'_>) -> Result<Vec<u8>> {
    let mut image = Image::parse(parts.stub.to_vec()).within(|| "reading systemd-stub".into())?;
    let kernel = Image::parse(parts.kernel.to_vec()).within(|| "reading the kernel".into())?;
    let sbat = merged_sbat(&[image.section(".sbat"), kernel.section(".sbat")]);
    image.strip_symbols()?;
    image.append(".osrel", parts.os_release.as_bytes(), DATA)?;
    image.append(".cmdline", parts.command_line.as_bytes(), DATA)?;
    image.append(".uname", parts.release.as_bytes(), DATA)?;
    // NX_COMPAT must not be declared if the kernel does not support it: firmware may enforce it.
    if !kernel.is_nx_compatible() {
        image.clear_nx_compatible()?;
    }
    image.append(".linux", parts.kernel, CODE)?;
    image.append(".initrd", parts.initrd, DATA)?;
    if image.section(".sbat").is_some() {
        image.replace(".sbat", sbat.as_bytes())?;
    } else {
        image.append(".sbat", sbat.as_bytes(), DATA)?;
    }
    Ok(image.into_bytes())
}

/// Returns one header and the lines of every section in order, so that each component can be revoked.
fn merged_sbat(sections: &[Option<&[u8]>]) -> String {
    let mut lines = vec![SBAT_HEADER];
    for section in sections.iter().flatten() {
        let text = std::str::from_utf8(section).unwrap_or_default().trim_end_matches('\0');
        lines.extend(text.lines().filter(|line| !line.starts_with("sbat,")));
    }
    lines.push(SBAT_UKI);
    lines.join("\n") + "\n\0"
}

#[cfg(test)]
pub(crate) mod tests {
    use super::{Parts, assemble};
    use crate::disk::pe::{Image, tests::sample};
    use crate::host;
    use crate::judge::{accepts, judge};

    /// A kernel as far as headers go.
    pub(crate) fn kernel() -> Vec<u8> {
        sample(20)
    }

    #[test]
    fn the_parts_are_sections_and_the_sbat_lines_are_merged() {
        let mut stub = Image::parse(sample(6)).unwrap();
        stub.replace(".sbat", b"sbat,1,x\nsystemd-stub,1,y\n").unwrap();
        let stub = stub.into_bytes();
        let parts = Parts {
            stub: &stub,
            kernel: &kernel(),
            release: "6.12.1-cloud",
            initrd: b"cpio",
            command_line: "roothash=00",
            os_release: "ID=debian\n",
        };
        let image = Image::parse(assemble(&parts).unwrap()).unwrap();
        for (name, content) in [
            (".osrel", &b"ID=debian\n"[..]),
            (".cmdline", b"roothash=00"),
            (".uname", b"6.12.1-cloud"),
            (".initrd", b"cpio"),
        ] {
            assert_eq!(image.section(name).unwrap(), content, "{name}");
        }
        assert_eq!(image.section(".linux").unwrap(), kernel());
        let sbat = std::str::from_utf8(image.section(".sbat").unwrap()).unwrap();
        let names: Vec<&str> = sbat.lines().filter_map(|line| line.split(',').next()).collect();
        assert_eq!(names, ["sbat", "systemd-stub", "linux", "uki", "\0"]);
    }

    #[test]
    fn the_bytes_are_those_of_ukify() {
        let Some(mut ukify) = judge("ukify") else { return };
        let stub = host::fs::read("/usr/lib/systemd/boot/efi/linuxx64.efi.stub".as_ref()).unwrap();
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        host::fs::write_atomic(&path("linux"), &kernel(), host::fs::PUBLIC).unwrap();
        host::fs::write_atomic(&path("initrd"), &[7; 12345], host::fs::PUBLIC).unwrap();
        host::fs::write_atomic(&path("os-release"), b"ID=debian\n", host::fs::PUBLIC).unwrap();
        ukify.arg("build").arg("--cmdline=roothash=00 quiet").arg("--uname=6.12.1-cloud");
        ukify.arg("--stub=/usr/lib/systemd/boot/efi/linuxx64.efi.stub");
        for name in ["linux", "initrd", "os-release"] {
            ukify.arg(format!(
                "--{name}={}{}",
                if name == "os-release" { "@" } else { "" },
                path(name).display()
            ));
        }
        accepts(ukify.arg("--output").arg(path("uki")));
        let parts = Parts {
            stub: &stub,
            kernel: &kernel(),
            release: "6.12.1-cloud",
            initrd: &[7; 12345],
            command_line: "roothash=00 quiet",
            os_release: "ID=debian\n",
        };
        assert!(
            assemble(&parts).unwrap() == host::fs::read(&path("uki")).unwrap(),
            "ukify writes something else"
        );
    }
}
