//! What must not be in an image that many machines share: identities, secrets, seeds, times, caches and logs.

use crate::base::scan::{Node, NodeKind, Nodes};
use crate::error::Result;
use crate::host;
use crate::tree::ImagePath;

/// Removed, with everything below.
const REMOVED: &[&str] = &[
    // Identities and secrets that a maintainer script drew at random.
    "/etc/hostid",
    "/etc/iscsi/initiatorname.iscsi",
    "/etc/nvme/hostid",
    "/etc/nvme/hostnqn",
    "/etc/rndc.key",
    "/etc/bind/rndc.key",
    "/etc/ssl/certs/ssl-cert-snakeoil.pem",
    "/etc/ssl/private/ssl-cert-snakeoil.key",
    "/var/lib/dbus/machine-id",
    "/var/lib/systemd/credential.secret",
    "/var/lib/systemd/random-seed",
    "/var/lib/urandom/random-seed",
    // Backups and locks of the user database.
    "/etc/.pwd.lock",
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/etc/subgid-",
    "/etc/subuid-",
    // The machine's, not the image's.
    "/etc/hostname",
    "/etc/resolv.conf",
    // Only of use while packages are installed.
    "/usr/sbin/policy-rc.d",
    "/var/lib/ucf/cache",
];

/// The directories stay, with their owners and modes; every file below goes.
const EMPTIED: &[&str] = &["/var/backups", "/var/cache", "/var/lib/apt", "/var/log", "/var/tmp"];

/// What of dpkg's database is of use in an image that never changes: who installed what, and the alternatives.
const DATABASE_KEPT: &[&str] = &["alternatives", "arch", "diversions", "statoverride", "status"];

/// Where dpkg's database is; it belongs to the image, so it can't stay in `/var`, which belongs to the machine.
const DATABASE: &str = "/var/lib/dpkg";
const DATABASE_MOVED: &str = "/usr/lib/sysimage/dpkg";
/// From [`DATABASE`], so that `dpkg-query --root` finds it too.
const DATABASE_LINK: &str = "../../usr/lib/sysimage/dpkg";

/// systemd makes one at the first boot (machine-id(5)).
const MACHINE_ID: &[u8] = b"uninitialized\n";

/// Removes and rewrites what would differ between two machines or two builds.
pub(super) fn scrub(nodes: &mut Nodes, epoch: u64) -> Result<()> {
    nodes.retain(|path, node| keep(path, node));
    move_database(nodes)?;
    replace(nodes, "/etc/machine-id", |_| Ok(MACHINE_ID.to_vec()))?;
    replace(nodes, "/etc/shadow", |bytes| Ok(with_fixed_dates(&bytes, epoch)))
}

fn keep(path: &ImagePath, node: &Node) -> bool {
    let directory = matches!(node.kind, NodeKind::Directory);
    let name = path.file_name();
    let host_key = path.is_under("/etc/ssh") && name.starts_with("ssh_host_");
    let compiled =
        name == "__pycache__" || path.parent().is_some_and(|parent| parent.file_name() == "__pycache__") || name.ends_with(".pyc");
    let left_by_dpkg = [".dpkg-old", ".dpkg-new", ".dpkg-tmp", ".ucf-old"].iter().any(|suffix| name.ends_with(suffix));
    let removed = REMOVED.iter().any(|removed| path.is_under(removed));
    let emptied = !directory && EMPTIED.iter().any(|emptied| path.is_under(emptied));
    !(host_key || compiled || left_by_dpkg || removed || emptied)
}

fn move_database(nodes: &mut Nodes) -> Result<()> {
    let all: Vec<ImagePath> = nodes.keys().filter(|path| path.is_under(DATABASE)).cloned().collect();
    for path in all {
        let node = nodes.remove(&path).expect("it was just seen");
        let rest = path.as_str()[DATABASE.len()..].trim_start_matches('/');
        let first = rest.split('/').next().unwrap_or_default();
        let file_list = rest.strip_prefix("info").is_some_and(|name| name.is_empty() || name.ends_with(".list") || name == "/format");
        if rest.is_empty() || DATABASE_KEPT.contains(&first) || file_list {
            nodes.insert(ImagePath::new(format!("{DATABASE_MOVED}/{rest}").trim_end_matches('/'))?, node);
        }
    }
    let parent = ImagePath::new("/usr/lib/sysimage")?;
    nodes.entry(parent).or_insert_with(|| made(NodeKind::Directory, 0o755));
    nodes.insert(ImagePath::new(DATABASE)?, made(NodeKind::Symlink(DATABASE_LINK.into()), 0o777));
    Ok(())
}

fn made(kind: NodeKind, mode: u32) -> Node {
    Node { kind, mode, uid: 0, gid: 0, origin: None }
}

fn replace(nodes: &mut Nodes, path: &str, change: impl FnOnce(Vec<u8>) -> Result<Vec<u8>>) -> Result<()> {
    let Some(node) = nodes.get_mut(&ImagePath::new(path)?) else { return Ok(()) };
    let bytes = match &node.kind {
        NodeKind::File { path, .. } => host::fs::read(path)?,
        NodeKind::Text(bytes) => bytes.clone(),
        NodeKind::Directory | NodeKind::Symlink(_) => return Ok(()),
    };
    node.kind = NodeKind::Text(change(bytes)?);
    Ok(())
}

/// The third field of shadow(5) is the day of the last password change.
fn with_fixed_dates(bytes: &[u8], epoch: u64) -> Vec<u8> {
    let day = (epoch / 86_400).to_string();
    let mut text = String::with_capacity(bytes.len());
    for line in String::from_utf8_lossy(bytes).lines() {
        let fields: Vec<&str> = line.split(':').enumerate().map(|(index, field)| if index == 2 { day.as_str() } else { field }).collect();
        text.push_str(&fields.join(":"));
        text.push('\n');
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use super::{made, scrub};
    use crate::base::scan::{NodeKind, Nodes};
    use crate::tree::ImagePath;

    fn scrubbed(paths: &[&str]) -> Vec<String> {
        let mut nodes = Nodes::new();
        for path in paths {
            let kind = if path.ends_with('/') { NodeKind::Directory } else { NodeKind::Text(b"root:*:20000:0\n".to_vec()) };
            nodes.insert(ImagePath::new(path.trim_end_matches('/')).unwrap(), made(kind, 0o644));
        }
        scrub(&mut nodes, 86_400).unwrap();
        let text = |kind: &NodeKind| match kind {
            NodeKind::Text(bytes) => format!(" {}", String::from_utf8_lossy(bytes).trim_end()),
            NodeKind::Symlink(target) => format!(" -> {target}"),
            NodeKind::Directory | NodeKind::File { .. } => "/".to_owned(),
        };
        nodes.iter().map(|(path, node)| format!("{path}{}", text(&node.kind))).collect()
    }

    #[test]
    fn what_two_machines_must_not_share_is_gone() {
        let paths = [
            "/etc/machine-id",
            "/etc/shadow",
            "/etc/shadow-",
            "/etc/ssh/ssh_host_rsa_key",
            "/etc/ssh/sshd_config",
            "/usr/lib/python3/x.pyc",
            "/var/cache/ldconfig/",
            "/var/cache/ldconfig/aux-cache",
            "/var/lib/dpkg/",
            "/var/lib/dpkg/info/x.list",
            "/var/lib/dpkg/info/x.postinst",
            "/var/lib/dpkg/lock",
            "/var/lib/systemd/random-seed",
            "/var/log/journal/",
            "/var/log/dpkg.log",
        ];
        insta::assert_snapshot!(scrubbed(&paths).join("\n"), @r"
        /etc/machine-id uninitialized
        /etc/shadow root:*:1:0
        /etc/ssh/sshd_config root:*:20000:0
        /usr/lib/sysimage/
        /usr/lib/sysimage/dpkg/
        /usr/lib/sysimage/dpkg/info/x.list root:*:20000:0
        /var/cache/ldconfig/
        /var/lib/dpkg -> ../../usr/lib/sysimage/dpkg
        /var/log/journal/
        ");
    }
}
