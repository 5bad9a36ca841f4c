//! user-data: users, files, packages and one script, as cloud-config
//! (<https://cloudinit.readthedocs.io/en/latest/reference/modules.html>).

use std::collections::BTreeSet;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flate2::{Compression, GzBuilder};
use serde_json::{Value, json};

use crate::error::{Doing, Error, Kind, Result};
use crate::output::cloud_init::Input;
use crate::overlay::User;
use crate::tree::{Content, Entry, EntryKind, ImagePath};
use crate::words::BinarySource;

/// Directory of the script and its input files on the node.
const LIBRARY: &str = "/usr/local/lib/kiln";

const SETUP: &str = include_str!("setup.sh");

/// Policy that keeps packages' services from starting with their default configuration (invoke-rc.d(8)); the
/// script removes it.
const POLICY: &str = "#!/bin/sh\nexit 101\n";

/// Paths that cloud-init or the stock image itself provides.
const NOT_OURS: [&str; 8] = [
    "/etc/fstab",
    "/etc/group",
    "/etc/gshadow",
    "/etc/hostname",
    "/etc/machine-id",
    "/etc/passwd",
    // A link to a file of systemd-resolved; a write would follow the link.
    "/etc/resolv.conf",
    "/etc/shadow",
];

/// File from which update-grub(8) extends the kernel command line of Debian's cloud images.
const GRUB: &str = "/etc/default/grub.d/90-kiln.cfg";

/// Programs that [`SETUP`] needs and a stock image may lack.
const PACKAGES: [&str; 1] = ["curl"];

/// Builds the user-data document.
pub(super) fn user_data(input: &Input<'_>) -> Result<Value> {
    let mut packages: BTreeSet<&str> = input.packages.iter().map(String::as_str).chain(PACKAGES).collect();
    // The stock image has its own kernel.
    packages.remove(input.cluster.base.kernel.as_str());
    let mut document = json!({
        "bootcmd": boot_commands(input),
        "disable_root": true,
        "hostname": input.node.name,
        "manage_etc_hosts": false,
        "package_update": true,
        "packages": packages,
        "runcmd": [["sh", format!("{LIBRARY}/setup")]],
        "ssh_pwauth": false,
        // Removes the image's default user without creating another: cloud-init before 23.1 rejects an empty
        // list.
        "users": [{ "name": "root", "lock_passwd": true }],
        "write_files": files(input)?,
    });
    let parameters = input.cluster.base.cgroups.parameters();
    if let Some(missing) = parameters.first() {
        // Until then the system runs with its own command line.
        document["runcmd"].as_array_mut().expect("commands are a list").push(json!(["update-grub"]));
        document["power_state"] = json!({ "mode": "reboot", "condition": format!("! grep --quiet \
            --fixed-strings --word-regexp {missing} /proc/cmdline") });
        let text = format!(
            "# Cgroup version: {}.\nGRUB_CMDLINE_LINUX=\"$GRUB_CMDLINE_LINUX {}\"\n",
            input.cluster.base.cgroups.name(),
            parameters.join(" ")
        );
        document["write_files"].as_array_mut().expect("files are a list").push(plain(GRUB, &text, "0644"));
    }
    if let Some(mirror) = &input.cluster.base.mirror {
        document["apt"] = json!({ "primary": [{ "arches": ["default"], "uri": mirror }] });
    }
    Ok(document)
}

/// Returns commands that run before any file is written: they advance a clock that is earlier than the
/// certificates' validity, as the agent does in images, and create the users that own files, and directories
/// that no other user can enter while keys are written.
fn boot_commands(input: &Input<'_>) -> Vec<Vec<String>> {
    let words = |words: &[&str]| words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>();
    let raise = format!("[ \"$(date +%s)\" -ge {0} ] || date --utc --set=@{0}", input.not_before);
    let mut commands = vec![words(&["sh", "-c", &raise])];
    if !input.users.is_empty() {
        let mut users = words(&["systemd-sysusers", "--inline"]);
        users.extend(input.users.iter().map(|user| format!("g {} {}", user.name, user.id)));
        users.extend(
            input.users.iter().map(|user| format!("u {0} {1}:{1} - {2}", user.name, user.id, user.home)),
        );
        let members = input
            .users
            .iter()
            .flat_map(|user| user.groups.iter().map(move |group| format!("m {} {group}", user.name)));
        users.extend(members);
        commands.push(users);
    }
    let secrets = input.seed.iter().filter(|(_, entry)| entry.secret).filter_map(|(path, _)| path.parent());
    let secrets: BTreeSet<String> = secrets.map(|path| path.to_string()).collect();
    if !secrets.is_empty() {
        let mut directories =
            words(&["cloud-init-per", "instance", "kiln-secrets", "install", "-d", "-m", "0700"]);
        directories.extend(secrets);
        commands.push(directories);
    }
    commands
}

fn files(input: &Input<'_>) -> Result<Vec<Value>> {
    let mut files = Vec::new();
    let mut lists = Lists::default();
    for (path, entry) in
        input.role.iter().chain(input.seed.iter()).filter(|(path, _)| !NOT_OURS.contains(&path.as_str()))
    {
        match &entry.kind {
            EntryKind::File(content) => files.push(file(path.as_str(), entry, content, input.users)?),
            EntryKind::Symlink(target) => lists.link(path, target)?,
            EntryKind::Directory => lists.directory(path, entry),
        }
    }
    lists.directory_modes_of_secrets(input);
    let mut ours = |name: &str, text: &str| files.push(plain(&format!("{LIBRARY}/{name}"), text, "0644"));
    ours("archives", &archives(input));
    ours("directories", &lists.directories.into_iter().collect::<String>());
    ours("interface", &format!("{}\n", input.cluster.network.interface));
    ours("links", &lists.links);
    ours("programs", &programs(input)?);
    ours("units", &lists.units.into_iter().map(|unit| unit + "\n").collect::<String>());
    files.push(plain(&format!("{LIBRARY}/setup"), SETUP, "0755"));
    files.push(plain("/usr/sbin/policy-rc.d", POLICY, "0755"));
    Ok(files)
}

/// Items that `write_files` can't express.
#[derive(Default)]
struct Lists {
    links: String,
    directories: BTreeSet<String>,
    /// Units that a target wants: they are started now, and by the links at every later boot.
    units: BTreeSet<String>,
}

impl Lists {
    fn link(&mut self, path: &ImagePath, target: &str) -> Result<()> {
        if target.contains(['\t', '\n']) {
            return Err(Error::new(
                Kind::Input,
                format!("the target of the link `{path}` contains a control character"),
            ));
        }
        self.links.extend([path.as_str(), "\t", target, "\n"]);
        let wanted = path.parent().is_some_and(|parent| {
            parent.as_str().ends_with(".wants") || parent.as_str().ends_with(".requires")
        });
        if wanted && path.is_under("/etc/systemd/system") {
            self.units.insert(path.file_name().to_owned());
        }
        Ok(())
    }

    /// Adds a directory, unless it has the default mode and owner: such a directory is created with its
    /// files.
    fn directory(&mut self, path: &ImagePath, entry: &Entry) {
        if (entry.mode, entry.uid, entry.gid) != (0o755, 0, 0) {
            self.directories.insert(line(path, entry));
        }
    }

    /// Restores the modes of directories that the boot command made inaccessible.
    fn directory_modes_of_secrets(&mut self, input: &Input<'_>) {
        for parent in
            input.seed.iter().filter(|(_, entry)| entry.secret).filter_map(|(path, _)| path.parent())
        {
            if let Some(entry) = input.seed.get(&parent) {
                self.directories.insert(line(&parent, entry));
            }
        }
    }
}

fn line(path: &ImagePath, entry: &Entry) -> String {
    format!("{:04o}\t{}\t{}\t{path}\n", entry.mode, entry.uid, entry.gid)
}

/// Returns a file of a tree, compressed so that the document stays small.
fn file(path: &str, entry: &Entry, content: &Content, users: &[User]) -> Result<Value> {
    let step = || format!("packing `{path}`");
    // The gzip header contains neither a name nor a time, so that equal bytes produce equal text.
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(&content.read()?).doing(Kind::Internal, step)?;
    let content = STANDARD.encode(gzip.finish().doing(Kind::Internal, step)?);
    let owner = format!("{}:{}", name(entry.uid, users, path)?, name(entry.gid, users, path)?);
    let permissions = format!("{:04o}", entry.mode);
    Ok(
        json!({ "path": path, "content": content, "encoding": "gz+b64", "owner": owner, "permissions": permissions }),
    )
}

fn plain(path: &str, text: &str, permissions: &str) -> Value {
    json!({ "path": path, "content": text, "owner": "root:root", "permissions": permissions })
}

/// Returns the name of a user ID, because cloud-init looks owners up by name.
fn name<'a>(id: u32, users: &'a [User], path: &str) -> Result<&'a str> {
    match users.iter().find(|user| user.id == id) {
        Some(user) => Ok(&user.name),
        None if id == 0 => Ok("root"),
        None => Err(Error::new(
            Kind::Internal,
            format!("`{path}` belongs to user ID {id}, which no overlay declares"),
        )),
    }
}

/// Returns the digest and URL of every archive that programs were pinned from; other archives contain other
/// programs.
fn archives(input: &Input<'_>) -> String {
    let line = |source: &BinarySource| {
        let BinarySource::Archive { url, .. } = source else { return None };
        let file = url.rsplit('/').next()?;
        let pin = input.lock.archives.iter().find(|pin| pin.file == file)?;
        Some(format!("{}\t{url}\n", pin.sha256))
    };
    input.cluster.binaries.iter().filter_map(line).collect()
}

/// Returns digests and paths of the programs in the format of sha256sum(1).
fn programs(input: &Input<'_>) -> Result<String> {
    let line = |name: &String| Ok(format!("{}  /usr/bin/{name}\n", input.lock.binary(name)?.sha256));
    let agent = input.agent.map(|digest| Ok(format!("{digest}  /usr/bin/kiln\n")));
    input.programs.iter().map(line).chain(agent).collect()
}
