//! Audit of role images: they must not contain secrets or identities that machines would share. Every rule is
//! a row, and a test plants a violation for each rule.

use crate::error::{Error, Kind, Result};
use crate::tree::{Content, Entry, EntryKind, ImagePath, Tree};

/// Version of the rules; after a change, kiln checks images that passed older rules again.
pub(crate) const VERSION: &str = "audit 1";

/// Size limit in bytes for files that are read; larger files do not contain configuration.
const LARGEST_TEXT: u64 = 256 << 10;
/// First id of login users; system users are below (Debian policy 9.2.2).
const FIRST_PERSON: u32 = 1000;
/// `nobody`.
const NOBODY: u32 = 65_534;

/// Debian's programs that may be setuid or setgid.
const SETUID: &[&str] = &[
    "/usr/bin/chage",
    "/usr/bin/chfn",
    "/usr/bin/chsh",
    "/usr/bin/expiry",
    "/usr/bin/fusermount3",
    "/usr/bin/gpasswd",
    "/usr/bin/mount",
    "/usr/bin/newgidmap",
    "/usr/bin/newgrp",
    "/usr/bin/newuidmap",
    "/usr/bin/passwd",
    "/usr/bin/ssh-agent",
    "/usr/bin/su",
    "/usr/bin/umount",
    "/usr/bin/wall",
    "/usr/lib/dbus-1.0/dbus-daemon-launch-helper",
    "/usr/lib/openssh/ssh-keysign",
    "/usr/sbin/unix_chkpwd",
];

/// A rule: its name and its check.
struct Rule {
    name: &'static str,
    /// Returns the fault of the entry, as text that follows its path.
    check: fn(&ImagePath, &Entry, &Text<'_>) -> Option<String>,
}

const RULES: &[Rule] = &[
    Rule { name: "secret", check: secret },
    Rule { name: "private-key", check: private_key },
    Rule { name: "machine-id", check: machine_id },
    Rule { name: "host-key", check: host_key },
    Rule { name: "random-seed", check: random_seed },
    Rule { name: "initiator-name", check: initiator_name },
    Rule { name: "password", check: password },
    Rule { name: "person", check: person },
    Rule { name: "authorized-keys", check: authorized_keys },
    Rule { name: "password-free-sudo", check: password_free_sudo },
    Rule { name: "setuid", check: setuid },
    Rule { name: "world-writable", check: world_writable },
    Rule { name: "history", check: history },
];

/// Checks a role's tree against every rule.
///
/// # Errors
///
/// [`Kind::Input`], naming every entry that breaks a rule; [`Kind::Io`] if the content of a file can't be
/// read.
pub(crate) fn role(tree: &Tree) -> Result<()> {
    let mut findings = Vec::new();
    for (path, entry) in tree.iter() {
        let text = Text::of(entry)?;
        let broken = RULES.iter().filter_map(|rule| Some((rule.name, (rule.check)(path, entry, &text)?)));
        findings
            .extend(broken.map(|(rule, what)| format!("`{path}` {what} [{rule}, from `{}`]", entry.origin)));
    }
    if findings.is_empty() {
        return Ok(());
    }
    Err(Error::new(
        Kind::Input,
        format!("a role image must not contain secrets or machine identities:\n  {}", findings.join("\n  ")),
    )
    .hint("put a node's files under `/etc` in an overlay: they then become part of the node's seed"))
}

/// The content of a small file.
enum Text<'a> {
    Borrowed(&'a [u8]),
    Read(Vec<u8>),
    None,
}

impl<'a> Text<'a> {
    fn of(entry: &'a Entry) -> Result<Self> {
        match &entry.kind {
            EntryKind::File(content) if content.size() <= LARGEST_TEXT => match content {
                Content::Inline(bytes) => Ok(Self::Borrowed(bytes)),
                Content::Stored { .. } => content.read().map(Self::Read),
            },
            _ => Ok(Self::None),
        }
    }

    /// Returns the text; empty unless the entry is a small UTF-8 file.
    fn as_str(&self) -> &str {
        let bytes = match self {
            Self::Borrowed(bytes) => bytes,
            Self::Read(bytes) => bytes.as_slice(),
            Self::None => &[],
        };
        std::str::from_utf8(bytes).unwrap_or_default()
    }

    /// Returns the rows of `name:field:…` files such as passwd(5).
    fn rows(&self) -> impl Iterator<Item = Vec<&str>> {
        self.as_str().lines().filter(|line| !line.is_empty()).map(|line| line.split(':').collect())
    }
}

fn secret(_: &ImagePath, entry: &Entry, _: &Text<'_>) -> Option<String> {
    entry.secret.then(|| "is marked as secret".into())
}

/// Finds a private key: a header line followed by a line of base64. Programs that contain only the header
/// pass.
fn private_key(_: &ImagePath, _: &Entry, text: &Text<'_>) -> Option<String> {
    let mut lines = text.as_str().lines().map(str::trim);
    let is_key = |line: &str| {
        line.len() >= 40 && line.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+/=".contains(&byte))
    };
    while let Some(line) = lines.next() {
        let announced = line.starts_with("-----BEGIN ") && line.ends_with("PRIVATE KEY-----");
        // An encrypted key has headers and an empty line first (RFC 1421).
        if announced && lines.clone().take(4).any(is_key) {
            return Some("contains a private key".into());
        }
    }
    None
}

fn machine_id(path: &ImagePath, entry: &Entry, text: &Text<'_>) -> Option<String> {
    let is_one = path.as_str() == "/etc/machine-id" || path.as_str().ends_with("/var/lib/dbus/machine-id");
    let is_neutral =
        matches!(entry.kind, EntryKind::Symlink(_)) || matches!(text.as_str().trim(), "" | "uninitialized");
    (is_one && !is_neutral).then(|| "contains a machine id, which every clone would share".into())
}

fn host_key(path: &ImagePath, _: &Entry, _: &Text<'_>) -> Option<String> {
    let is_one = path.is_under("/etc/ssh")
        && path.file_name().starts_with("ssh_host_")
        && path.as_str() != "/etc/ssh/ssh_host_";
    is_one.then(|| "is a host key, which every clone would share".into())
}

fn random_seed(path: &ImagePath, entry: &Entry, _: &Text<'_>) -> Option<String> {
    let is_one = matches!(path.file_name(), "random-seed" | "credential.secret")
        && matches!(entry.kind, EntryKind::File(_));
    is_one.then(|| "is a random seed, which every clone would share".into())
}

fn initiator_name(path: &ImagePath, _: &Entry, text: &Text<'_>) -> Option<String> {
    let named = || text.as_str().lines().any(|line| line.starts_with("InitiatorName="));
    (path.as_str() == "/etc/iscsi/initiatorname.iscsi" && named())
        .then(|| "sets an iSCSI initiator name, which every clone would share".into())
}

fn password(path: &ImagePath, _: &Entry, text: &Text<'_>) -> Option<String> {
    let locked = |hash: &str| hash.starts_with(['!', '*']);
    let (elsewhere, file) =
        (|hash: &str| hash == "x" || hash.starts_with(['!', '*']), path.as_str().trim_end_matches('-'));
    let fits: &dyn Fn(&str) -> bool = match file {
        "/etc/shadow" => &locked,
        // A group without a password has an empty field; only its members may use it.
        "/etc/gshadow" => &|hash| hash.is_empty() || locked(hash),
        "/etc/passwd" | "/etc/group" => &elsewhere,
        _ => return None,
    };
    let open: Vec<&str> =
        text.rows().filter(|row| !row.get(1).is_some_and(|hash| fits(hash))).map(|row| row[0]).collect();
    (!open.is_empty()).then(|| format!("does not lock the password of {}", open.join(", ")))
}

fn person(path: &ImagePath, _: &Entry, text: &Text<'_>) -> Option<String> {
    let is_person = |row: &Vec<&str>| {
        row.get(2).and_then(|id| id.parse().ok()).is_some_and(|id: u32| id >= FIRST_PERSON && id != NOBODY)
    };
    let people: Vec<&str> = if path.as_str() == "/etc/passwd" {
        text.rows().filter(is_person).map(|row| row[0]).collect()
    } else {
        Vec::new()
    };
    (!people.is_empty()).then(|| format!("contains login accounts: {}", people.join(", ")))
}

fn authorized_keys(path: &ImagePath, _: &Entry, text: &Text<'_>) -> Option<String> {
    let has_key = || text.as_str().lines().any(|line| !line.trim().is_empty() && !line.starts_with('#'));
    (path.file_name().starts_with("authorized_keys") && has_key()).then(|| "permits SSH logins".into())
}

fn password_free_sudo(path: &ImagePath, _: &Entry, text: &Text<'_>) -> Option<String> {
    let is_sudoers = path.as_str() == "/etc/sudoers" || path.is_under("/etc/sudoers.d");
    let grants =
        || text.as_str().lines().any(|line| !line.trim_start().starts_with('#') && line.contains("NOPASSWD"));
    (is_sudoers && grants()).then(|| "grants root access without a password".into())
}

fn setuid(path: &ImagePath, entry: &Entry, _: &Text<'_>) -> Option<String> {
    let is_one = matches!(entry.kind, EntryKind::File(_))
        && entry.mode & 0o6000 != 0
        && !SETUID.contains(&path.as_str());
    is_one
        .then(|| format!("has mode {:04o}: setuid or setgid, but not on the list of exceptions", entry.mode))
}

fn world_writable(_: &ImagePath, entry: &Entry, _: &Text<'_>) -> Option<String> {
    let open = match entry.kind {
        EntryKind::Directory => entry.mode & 0o1002 == 0o0002,
        EntryKind::File(_) => entry.mode & 0o002 != 0,
        EntryKind::Symlink(_) => false,
    };
    open.then(|| format!("has mode {:04o}: every user can write to it", entry.mode))
}

fn history(path: &ImagePath, entry: &Entry, _: &Text<'_>) -> Option<String> {
    let is_one =
        path.file_name().starts_with('.') && path.file_name().ends_with("_history") && entry.size() > 0;
    is_one.then(|| "is a shell history".into())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{RULES, role};
    use crate::tree::{Entry, ImagePath, Tree};

    const KEY: &str = "-----BEGIN EC PRIVATE \
        KEY-----\nMHcCAQEEIIabcdefghijklmnopqrstuvwxyz0123456789AoGCCqGSM49\n-----END EC PRIVATE KEY-----\n";

    fn tree(path: &str, content: &str, mode: u32) -> Tree {
        let mut tree = Tree::new();
        tree.insert(
            ImagePath::new(path).unwrap(),
            Entry::file(content.as_bytes(), mode, &Arc::from("planted")),
        );
        tree
    }

    /// Rule, path, content and mode of files that violate the rule.
    const PLANTED: &[(&str, &str, &str, u32)] = &[
        ("machine-id", "/etc/machine-id", "0123456789abcdef0123456789abcdef\n", 0o444),
        (
            "machine-id",
            "/usr/share/factory/var/lib/dbus/machine-id",
            "0123456789abcdef0123456789abcdef\n",
            0o444,
        ),
        ("host-key", "/etc/ssh/ssh_host_ed25519_key.pub", "ssh-ed25519 AAAA", 0o644),
        ("random-seed", "/usr/share/factory/var/lib/systemd/random-seed", "x", 0o600),
        ("random-seed", "/var/lib/systemd/credential.secret", "x", 0o600),
        (
            "initiator-name",
            "/etc/iscsi/initiatorname.iscsi",
            "InitiatorName=iqn.1993-08.org.debian:01:x\n",
            0o600,
        ),
        ("password", "/etc/shadow", "root:$y$j9T$x:1:0:::::\n", 0o640),
        ("password", "/etc/shadow-", "root::1:0:::::\n", 0o640),
        ("password", "/etc/passwd", "root::0:0:root:/root:/bin/sh\n", 0o644),
        ("password", "/etc/gshadow", "adm:$y$j9T$x::\n", 0o640),
        ("person", "/etc/passwd", "builder:x:1000:1000::/home/builder:/bin/sh\n", 0o644),
        ("authorized-keys", "/root/.ssh/authorized_keys", "ssh-ed25519 AAAA me\n", 0o600),
        ("password-free-sudo", "/etc/sudoers.d/x", "debian ALL=(ALL) NOPASSWD:ALL\n", 0o440),
        ("setuid", "/usr/bin/backdoor", "", 0o4755),
        ("setuid", "/usr/bin/backdoor", "", 0o2755),
        ("world-writable", "/usr/bin/x", "", 0o777),
        ("history", "/root/.bash_history", "mysql -psecret\n", 0o600),
    ];

    /// Returns the rules, each with a tree that violates it.
    fn planted() -> Vec<(&'static str, Tree)> {
        let mut secret = tree("/usr/x", "", 0o600);
        secret.insert(
            ImagePath::new("/usr/x").unwrap(),
            Entry::file(*b"", 0o600, &Arc::from("planted")).secret(),
        );
        let mut open = Tree::new();
        open.insert(ImagePath::new("/srv/open").unwrap(), Entry::directory(0o777, &Arc::from("planted")));
        let encrypted = KEY.replace("EC ", "").replace("\nMH", "\nProc-Type: 4,ENCRYPTED\n\nMH");
        let mut planted = vec![
            ("secret", secret),
            ("private-key", tree("/usr/share/doc/key.txt", &format!("an example\n{KEY}"), 0o644)),
            ("private-key", tree("/opt/k", &encrypted, 0o644)),
            ("world-writable", open),
        ];
        planted.extend(PLANTED.iter().map(|(rule, path, content, mode)| (*rule, tree(path, content, *mode))));
        planted
    }

    #[test]
    fn every_rule_finds_its_planted_violation() {
        let planted = planted();
        for (rule, tree) in &planted {
            let said = role(tree).unwrap_err().to_string();
            assert!(said.contains(&format!("[{rule}, from `planted`]")), "{rule} is not in {said}");
        }
        for rule in RULES {
            assert!(
                planted.iter().any(|(name, _)| *name == rule.name),
                "no violation of {} is planted",
                rule.name
            );
        }
    }

    #[test]
    fn an_ordinary_root_passes() {
        let accounts =
            "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n";
        for (path, content, mode) in [
            ("/etc/machine-id", "uninitialized\n", 0o444),
            ("/etc/machine-id", "", 0o444),
            ("/etc/passwd", accounts, 0o644),
            ("/etc/group", "root:x:0:\n", 0o644),
            ("/etc/shadow", "root:*:20000:0:99999:7:::\netcd:!:20000::::::\nx:!*:1::::::\n", 0o640),
            ("/etc/gshadow", "root:*::\nadm:!::\nusers:::\n", 0o640),
            ("/usr/bin/su", "", 0o4755),
            ("/usr/lib/x", "-----BEGIN RSA PRIVATE KEY-----\nis how a key begins\n", 0o644),
            (
                "/etc/ssl/ca.pem",
                "-----BEGIN CERTIFICATE-----\nMIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAabcdef\n",
                0o644,
            ),
        ] {
            role(&tree(path, content, mode)).unwrap();
        }
    }

    #[test]
    fn all_violations_are_told_at_once() {
        let mut two = tree("/usr/bin/backdoor", "", 0o4755);
        two.insert(
            ImagePath::new("/etc/machine-id").unwrap(),
            Entry::file(*b"abc", 0o444, &Arc::from("base")),
        );
        assert_eq!(
            role(&two).unwrap_err().to_string(),
            "a role image must not contain secrets or machine identities:\n  `/etc/machine-id` contains a \
            machine id, which every clone would share [machine-id, from `base`]\n  `/usr/bin/backdoor` has \
            mode 4755: setuid or setgid, but not on the list of exceptions [setuid, from `planted`]"
        );
    }
}
