//! Boot files of a role image: kernel, initrd and command line in one unified kernel image, on an EFI system
//! partition.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use crate::digest::{Digest, Hasher};
use crate::disk::fat::{self, Variant};
use crate::disk::guid::Guid;
use crate::disk::{cpio, uki};
use crate::error::{Error, Kind, Result, Within};
use crate::host;
use crate::output::{RoleInputs, initrd};
use crate::progress::Progress;
use crate::store::Store;
use crate::tree::{Content, EntryKind, ImagePath, Tree};
use crate::words::Arch;

/// Version of the stage; changes when the same inputs produce different bytes.
const VERSION: &str = "boot 1";
/// Directory of Debian's systemd-boot-efi package.
const EFI: &str = "/usr/lib/systemd/boot/efi";
/// Path prefix of kernels.
const KERNEL: &str = "/boot/vmlinuz-";
const OS_RELEASE: &str = "/usr/lib/os-release";
/// Label of the EFI system partition's filesystem; a FAT label has at most 11 characters.
const ESP_LABEL: &str = "KILN-ESP";
/// zstd level for the initrd, which is decompressed at each boot and compressed whenever the base changes.
const INITRD_LEVEL: i32 = 10;

/// Parts of the boot files, apart from the root hash.
#[derive(Clone, Debug)]
pub(crate) struct Boot {
    stub: Content,
    loader: Content,
    kernel: Content,
    /// Release of the kernel, such as `6.12.48+deb13-cloud-amd64`.
    release: String,
    arch: Arch,
    os_release: Content,
    initrd: PathBuf,
    initrd_digest: Digest,
    /// Name of the role image, for the boot menu entry.
    name: String,
}

impl Boot {
    /// Finds the parts in `base`, and packs the initrd or finds it in the store.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], naming the missing part.
    pub(crate) fn prepare(inputs: &RoleInputs<'_>, store: &Store, progress: &dyn Progress) -> Result<Self> {
        let RoleInputs { name, arch, base, initrd, epoch, .. } = *inputs;
        let part = |path: &str, package: &str| find(base, path).ok_or_else(|| missing(path, package));
        let (release, kernel) =
            newest_kernel(base).ok_or_else(|| missing(&format!("{KERNEL}*"), arch.kernel))?;
        let (directory, initrd_digest) = pack_initrd(initrd, epoch, store, progress)?;
        Ok(Self {
            stub: part(&format!("{EFI}/linux{}.efi.stub", arch.efi), "systemd-boot-efi")?,
            loader: part(&format!("{EFI}/systemd-boot{}.efi", arch.efi), "systemd-boot-efi")?,
            kernel,
            release,
            arch,
            os_release: part(OS_RELEASE, "base-files")?,
            initrd: directory.join("initrd.cpio.zst"),
            initrd_digest,
            name: name.to_owned(),
        })
    }

    /// Returns a digest of everything that is written to the EFI system partition.
    pub(crate) fn key(&self, root_hash: &Digest) -> Digest {
        let mut hasher = Hasher::default();
        hasher.field("version", VERSION.as_bytes()).field("name", self.name.as_bytes());
        for part in [&self.stub, &self.loader, &self.kernel, &self.os_release] {
            hasher.field("part", part.sha256().as_bytes());
        }
        hasher.field("initrd", self.initrd_digest.as_bytes());
        hasher.field("command line", initrd::command_line(&root_hash.to_string(), self.arch).as_bytes());
        hasher.finish()
    }

    /// Returns the release of the kernel.
    pub(crate) fn kernel_release(&self) -> &str {
        &self.release
    }

    /// Builds the unified kernel image that boots the root with this hash.
    pub(crate) fn uki(&self, root_hash: &Digest) -> Result<Vec<u8>> {
        let os_release = String::from_utf8_lossy(&self.os_release.read()?).into_owned();
        let (stub, kernel, initrd) = (self.stub.read()?, self.kernel.read()?, host::fs::read(&self.initrd)?);
        let command_line = initrd::command_line(&root_hash.to_string(), self.arch);
        let parts = uki::Parts {
            stub: &stub,
            kernel: &kernel,
            release: &self.release,
            initrd: &initrd,
            command_line: &command_line,
            os_release: &os_release,
        };
        uki::assemble(&parts).within(|| "assembling the unified kernel image".into())
    }

    /// Builds the EFI system partition: systemd-boot, which starts the only entry (UAPI.1, "Boot Loader
    /// Specification").
    ///
    /// An update adds a second entry; the boot counter in its name lets a bad entry be abandoned.
    pub(crate) fn esp(&self, root_hash: &Digest, epoch: u64) -> Result<Vec<u8>> {
        let files = BTreeMap::from([
            (format!("EFI/BOOT/BOOT{}.EFI", self.arch.efi.to_uppercase()), self.loader.read()?),
            (format!("EFI/Linux/{}", self.entry(root_hash)), self.uki(root_hash)?),
            ("loader/loader.conf".to_owned(), b"timeout 0\neditor no\n".to_vec()),
        ]);
        let serial = Guid::derived(root_hash, "esp serial");
        let serial = u32::from_be_bytes(serial.as_bytes()[..4].try_into().expect("a GUID has 16 bytes"));
        fat::write(
            &files,
            &fat::Options { variant: Variant::Fat32, label: ESP_LABEL, serial, epoch, size: 0 },
        )
    }

    /// Returns the file name of the boot menu entry.
    fn entry(&self, root_hash: &Digest) -> String {
        format!("kiln-{}-{}.efi", self.name.replace('+', "-"), root_hash.short())
    }
}

/// Packs and compresses the initrd. Returns its directory and digest.
fn pack_initrd(tree: &Tree, epoch: u64, store: &Store, progress: &dyn Progress) -> Result<(PathBuf, Digest)> {
    let mut key = Hasher::default();
    key.field("version", VERSION.as_bytes())
        .field("tree", tree.digest().as_bytes())
        .field("epoch", &epoch.to_le_bytes());
    let key = key.finish();
    let directory = store.stage("initrd", &key, |directory| {
        let _step = progress.begin("packing the initrd", None);
        compress(tree, epoch, &directory.join("initrd.cpio.zst"))
    })?;
    Ok((directory, key))
}

fn compress(tree: &Tree, epoch: u64, path: &Path) -> Result<()> {
    let step = || "compressing the initrd".into();
    let mut packed = Ok(());
    host::fs::write_atomic_with(path, host::fs::PUBLIC, |out| {
        let mut encoder = zstd::Encoder::new(out, INITRD_LEVEL)?;
        // The bytes do not depend on the number of workers, but compression without workers produces
        // different bytes.
        encoder.multithread(u32::try_from(rayon::current_num_threads()).unwrap_or(1))?;
        encoder.include_checksum(true)?;
        let mut buffered = std::io::BufWriter::with_capacity(1 << 20, encoder);
        packed = cpio::write(tree, epoch, &mut buffered);
        buffered.into_inner().map_err(std::io::IntoInnerError::into_error)?.finish()?.flush()
    })
    .within(step)?;
    packed.within(step)
}

fn find(tree: &Tree, path: &str) -> Option<Content> {
    match &tree.get(&ImagePath::new(path).ok()?)?.kind {
        EntryKind::File(content) => Some(content.clone()),
        _ => None,
    }
}

/// Returns the last kernel by name, and its release, which is part of the name.
fn newest_kernel(base: &Tree) -> Option<(String, Content)> {
    let kernels = base.iter().filter_map(|(path, _)| {
        Some((path.as_str().strip_prefix(KERNEL)?.to_owned(), find(base, path.as_str())?))
    });
    kernels.last()
}

fn missing(path: &str, package: &str) -> Error {
    Error::new(Kind::Input, format!("the base does not contain `{path}`"))
        .hint(format!("add the package `{package}` to `base.packages`"))
}
