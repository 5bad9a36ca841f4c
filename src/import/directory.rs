//! A directory of configuration files, read as machines: `DIR/etc/…` is one machine, `DIR/<machine>/etc/…` or
//! `DIR/<machine>/haproxy.cfg` are several.
//!
//! Nothing outside the directory is read, and skipped files are reported.

use std::path::{Path, PathBuf};

use crate::config::{File, Machine, TEMPLATES};
use crate::error::{Error, Kind, Problem, Report, Result, Severity, Source};
use crate::host;

/// Directories in a machine's root directory that contain configuration.
const ROOTS: [&str; 9] = ["etc", "usr", "lib", "root", "home", "opt", "srv", "var", "run"];
/// Prefixes of file names that identify a machine's directory without an `etc`.
const CONFIGURATION: [&str; 6] = ["keepalived", "haproxy", "nginx", "etcd", "kube", "bootstrap"];
/// Parts of the names of directories that contain the files of one component or one tool and are not
/// machines.
const COMPONENTS: [&str; 17] = [
    "keepalived",
    "haproxy",
    "nginx",
    "etcd",
    "kube",
    "k8s",
    "manifests",
    "system",
    "roles",
    "_vars",
    "templates",
    "files",
    "conf",
    "cfg",
    "ssl",
    "pki",
    "scripts",
];
/// Maximum size of a configuration file, in bytes.
const LARGEST: u64 = 256 << 10;
/// Maximum depth of nested directories.
const DEEPEST: usize = 24;
/// File name suffix that does not indicate the format, in addition to the template suffixes.
const TEXT: &str = ".txt";
/// File name suffixes of backups and alternative files.
const SPARE: [&str; 8] = [".bak", ".orig", ".old", "~", ".rpmnew", ".rpmsave", ".dpkg-old", ".dpkg-dist"];

/// Result of reading a directory.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) machines: Vec<Machine>,
    /// Skipped files, with reasons.
    pub(super) report: Report,
}

/// Reads every text file below `directory`.
///
/// # Errors
///
/// [`Kind::Input`] if there are no text files.
pub(super) fn read(directory: &Path) -> Result<Found> {
    if !directory.is_dir() {
        let hint = "specify a directory that contains keepalived.conf, haproxy.cfg, unit files, …, laid out \
            as on the machines";
        return Err(
            Error::new(Kind::Input, format!("`{}` is not a directory", directory.display())).hint(hint)
        );
    }
    let mut reader = Reader { directory: directory.to_owned(), report: Report::default() };
    let mut common = Machine { name: String::new(), files: Vec::new(), images: Vec::new() };
    let mut machines = Vec::new();
    for path in host::fs::list(directory)? {
        if is_machine(&path) {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let mut machine = Machine { name, files: Vec::new(), images: Vec::new() };
            reader.walk(&path, &path, &mut machine.files, 0);
            machines.push(machine);
        } else {
            reader.walk(directory, &path, &mut common.files, 0);
        }
    }
    machines.insert(0, common);
    machines.retain(|machine| !machine.files.is_empty());
    if machines.is_empty() {
        let hint = "lay out the files as on the machines: `etc/keepalived/keepalived.conf`, \
            `m1/etc/haproxy/haproxy.cfg`";
        let why = reader
            .report
            .problems
            .first()
            .map(|problem| format!(": {}", problem.message))
            .unwrap_or_default();
        return Err(Error::new(
            Kind::Input,
            format!("`{}` contains no text files{why}", directory.display()),
        )
        .hint(hint));
    }
    Ok(Found { machines, report: reader.report })
}

/// Checks whether a directory belongs to one machine. It does if it has a subdirectory such as `etc`, or if
/// it contains configuration and is not named after a component.
fn is_machine(path: &Path) -> bool {
    let name = path.file_name().unwrap_or_default().to_string_lossy().to_lowercase();
    if !path.is_dir() || path.is_symlink() || ROOTS.contains(&name.as_str()) {
        return false;
    }
    let holds = |below: &PathBuf| {
        let name = below.file_name().unwrap_or_default().to_string_lossy();
        below.is_file() && CONFIGURATION.iter().any(|start| name.starts_with(start))
    };
    let flat = || host::fs::list(path).is_ok_and(|files| files.iter().any(holds));
    ROOTS.iter().any(|root| path.join(root).is_dir())
        || !COMPONENTS.iter().any(|part| name.contains(part)) && flat()
}

struct Reader {
    directory: PathBuf,
    report: Report,
}

impl Reader {
    fn walk(&mut self, root: &Path, path: &Path, files: &mut Vec<File>, depth: usize) {
        if let Some(why) = self.obstacle(path, depth) {
            return self.pass_over(path, &why);
        }
        if path.is_dir() {
            match host::fs::list(path) {
                Ok(below) => below.iter().for_each(|below| self.walk(root, below, files, depth + 1)),
                Err(err) => self.pass_over(path, &err.to_string()),
            }
            return;
        }
        match host::fs::read(path).map(text) {
            Ok(Some(text)) => files.push(file(root, path, &text)),
            Ok(None) => self.pass_over(path, "it is not text"),
            Err(err) => self.pass_over(path, &err.to_string()),
        }
    }

    /// Returns the reason for skipping a path, if there is one.
    fn obstacle(&self, path: &Path, depth: usize) -> Option<String> {
        // A symbolic link that was copied from a machine refers to a file on that machine, not on this one.
        let leads_out = || {
            path.canonicalize()
                .ok()
                .zip(self.directory.canonicalize().ok())
                .is_none_or(|(to, own)| !to.starts_with(own))
        };
        if path.is_symlink() && leads_out() {
            return Some("it is a symbolic link to a path outside the directory".to_owned());
        }
        if path.is_dir() {
            let why = if path.is_symlink() {
                "it is a symbolic link to a directory"
            } else {
                "it is nested too deeply"
            };
            return (path.is_symlink() || depth > DEEPEST).then(|| why.to_owned());
        }
        if !path.is_file() {
            return Some("it is not a regular file".to_owned());
        }
        if let Some(original) = original(path) {
            return Some(format!("it is a copy of `{original}`"));
        }
        let large = host::fs::size(path).is_ok_and(|size| size > LARGEST);
        large.then(|| format!("it is larger than {} KiB", LARGEST >> 10))
    }

    fn pass_over(&mut self, path: &Path, why: &str) {
        self.report.push(Problem {
            severity: Severity::Info,
            code: None,
            field: String::new(),
            message: format!("`{}` was skipped: {why}", path.display()),
            span: None,
            source: None,
            hint: None,
        });
    }
}

/// Returns the name of the file that `path` is a backup copy of, if the original exists next to it.
fn original(path: &Path) -> Option<String> {
    let name = path.file_name()?.to_str()?;
    let original = SPARE.iter().find_map(|end| name.strip_suffix(end))?;
    path.with_file_name(original).is_file().then(|| original.to_owned())
}

/// Decodes a file's text: UTF-8, with or without a byte order mark; UTF-16 as Windows saves it; only the
/// ASCII part of any other encoding, since settings use no other letters. Returns `None` for binary files,
/// such as programs and keys in binary form.
fn text(bytes: Vec<u8>) -> Option<String> {
    let utf16 = |order: fn([u8; 2]) -> u16| {
        let units: Vec<u16> = bytes[2..].chunks_exact(2).map(|pair| order([pair[0], pair[1]])).collect();
        String::from_utf16_lossy(&units)
    };
    match bytes.as_slice() {
        [0xff, 0xfe, ..] => Some(utf16(u16::from_le_bytes)),
        [0xfe, 0xff, ..] => Some(utf16(u16::from_be_bytes)),
        bytes if bytes.contains(&0) => None,
        bytes => Some(String::from_utf8_lossy(bytes).trim_start_matches('\u{feff}').to_owned()),
    }
}

fn file(root: &Path, path: &Path, text: &str) -> File {
    let place = path.strip_prefix(root).unwrap_or(path).to_string_lossy();
    let name = TEMPLATES
        .iter()
        .chain(&SPARE)
        .chain([&TEXT])
        .find_map(|end| place.strip_suffix(end))
        .unwrap_or(&place);
    let source = Source { path: path.to_owned(), text: text.into() };
    File { path: format!("/{name}"), text: source.text.clone(), mode: None, source }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::read;
    use crate::host;

    /// Returns the machines' paths, and the messages about skipped files.
    fn seen(directory: &Path) -> (Vec<String>, Vec<String>) {
        let found = read(directory).unwrap();
        let name = |text: &str| text.replace(&format!("{}/", directory.display()), "");
        let files = found
            .machines
            .iter()
            .flat_map(|machine| machine.files.iter().map(|file| format!("{}:{}", machine.name, file.path)));
        (files.collect(), found.report.problems.iter().map(|problem| name(&problem.message)).collect())
    }

    #[test]
    fn machines_are_directories_with_a_root_or_with_configuration_in_them() {
        let directory = tempfile::tempdir().unwrap();
        let paths = [
            "vm1/etc/hosts",
            "vm2/keepalived.conf",
            "haproxy/haproxy.cfg",
            "group_vars/kube.yml",
            "etc/hosts",
            "roles/lb/templates/keepalived.conf.j2",
            "plan.ini",
        ];
        for path in paths.map(|path| directory.path().join(path)) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            host::fs::write_new(&path, b"a\n", host::fs::PUBLIC).unwrap();
        }
        let expected = [
            ":/etc/hosts",
            ":/group_vars/kube.yml",
            ":/haproxy/haproxy.cfg",
            ":/plan.ini",
            ":/roles/lb/templates/keepalived.conf",
            "vm1:/etc/hosts",
            "vm2:/keepalived.conf",
        ];
        assert_eq!(seen(directory.path()), (expected.map(str::to_owned).to_vec(), Vec::new()));
    }

    #[test]
    fn what_is_not_read_is_told_and_nothing_outside_is_read() {
        let (directory, outside) = (tempfile::tempdir().unwrap(), tempfile::NamedTempFile::new().unwrap());
        let at = |name: &str| directory.path().join(name);
        for (name, bytes) in [
            ("a.conf", &b"x\n"[..]),
            ("a.conf.bak", b"x\n"),
            ("b.conf.bak", b"x\n"),
            ("gbk.conf", b"# \xd6\xd0\nx\n"),
            ("key.der", b"\x30\x00\n"),
            ("utf16.conf", b"\xff\xfex\0\n\0"),
        ] {
            host::fs::write_new(&at(name), bytes, host::fs::PUBLIC).unwrap();
        }
        host::fs::write_new(&at("large"), &vec![b'x'; 300 << 10], host::fs::PUBLIC).unwrap();
        std::os::unix::fs::symlink(outside.path(), at("out")).unwrap();
        std::os::unix::fs::symlink(".", at("round")).unwrap();
        std::os::unix::fs::symlink("nowhere", at("torn")).unwrap();
        std::os::unix::net::UnixListener::bind(at("socket")).unwrap();
        let (files, passed_over) = seen(directory.path());
        assert_eq!(files, [":/a.conf", ":/b.conf", ":/gbk.conf", ":/utf16.conf"]);
        let expected = [
            "`a.conf.bak` was skipped: it is a copy of `a.conf`",
            "`key.der` was skipped: it is not text",
            "`large` was skipped: it is larger than 256 KiB",
            "`out` was skipped: it is a symbolic link to a path outside the directory",
            "`round` was skipped: it is a symbolic link to a directory",
            "`socket` was skipped: it is not a regular file",
            "`torn` was skipped: it is a symbolic link to a path outside the directory",
        ];
        assert_eq!(passed_over, expected);
    }

    #[test]
    fn text_is_read_whatever_its_mark_and_encoding() {
        for bytes in [&b"vip\n"[..], b"\xef\xbb\xbfvip\n", b"\xff\xfev\0i\0p\0\n\0", b"\xfe\xff\0v\0i\0p\0\n"]
        {
            assert_eq!(super::text(bytes.to_vec()).as_deref(), Some("vip\n"), "{bytes:?}");
        }
    }
}
