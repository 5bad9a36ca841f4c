//! System users with fixed ids, created before any maintainer script runs.

use std::collections::BTreeMap;

use crate::base::debian::Scratch;
use crate::base::debian::ownership::Owned;
use crate::error::{Doing, Error, Kind, Result, Within};
use crate::tree::ImagePath;

/// Home of users without a home directory, by Debian's convention.
const NO_HOME: &str = "/nonexistent";
/// Mode of home directories, as set by `adduser --system`.
const HOME_MODE: u32 = 0o755;

/// A system user and its own group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) uid: u32,
    /// Id of the user's own group, which has the same name.
    pub(crate) gid: u32,
    pub(crate) home: String,
    /// Supplementary groups.
    pub(crate) groups: Vec<String>,
}

/// Writes `/etc/passwd` and `/etc/group`: Debian's own users, then `users`. No user has a password.
///
/// Missing home directories are created and owned by their users: `adduser` creates a home directory only
/// together with its user.
///
/// # Errors
///
/// [`Kind::Input`] if a group does not exist, or a name or id is already taken.
pub(super) fn write(scratch: &mut Scratch, users: &[User]) -> Result<()> {
    let mut master = |name: &str| -> Result<String> {
        let bytes = scratch
            .scoped
            .read(&format!("usr/share/base-passwd/{name}.master"))
            .within(|| "reading Debian's users".into())?;
        String::from_utf8(bytes).doing(Kind::Verify, || format!("reading `{name}.master`"))
    };
    let (passwd, group) = merge(&master("passwd")?, &master("group")?, users)?;
    scratch.replace("etc/passwd", 0o644, passwd.as_bytes())?;
    scratch.replace("etc/group", 0o644, group.as_bytes())?;
    for user in users {
        let home = ImagePath::new(&user.home)
            .within(|| format!("creating the home directory of the user `{}`", user.name))?;
        if user.home != NO_HOME && !scratch.scoped.exists(home.relative())? {
            let identity = scratch.scoped.directory(home.relative(), HOME_MODE)?;
            scratch.ownership.insert(Owned::directory(identity, HOME_MODE, user.uid, user.gid));
        }
    }
    Ok(())
}

fn merge(passwd: &str, group: &str, users: &[User]) -> Result<(String, String)> {
    let mut members: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for user in users {
        for group in &user.groups {
            members.entry(group).or_default().push(&user.name);
        }
    }
    let user_lines = users
        .iter()
        .map(|user| format!("{}:!*:{}:{}::{}:/usr/sbin/nologin", user.name, user.uid, user.gid, user.home));
    let passwd: Vec<String> = passwd.lines().map(str::to_owned).chain(user_lines).collect();
    let own_groups = users.iter().map(|user| format!("{}:!*:{}:", user.name, user.gid));
    let groups = group.lines().map(str::to_owned).chain(own_groups);
    let groups: Vec<String> = groups.map(|line| with_members(&line, &mut members)).collect();
    if let Some((group, users)) = members.first_key_value() {
        return Err(Error::new(
            Kind::Input,
            format!("the user `{}` is in the group `{group}`, which does not exist", users[0]),
        ));
    }
    unique("user", &passwd)?;
    unique("group", &groups)?;
    Ok((passwd.join("\n") + "\n", groups.join("\n") + "\n"))
}

/// Adds the members of the group in `line`, and removes them from `members`.
fn with_members(line: &str, members: &mut BTreeMap<&str, Vec<&str>>) -> String {
    let (name, _) = line.split_once(':').unwrap_or((line, ""));
    let Some(new) = members.remove(name) else { return line.to_owned() };
    let separator = if line.ends_with(':') { "" } else { "," };
    format!("{line}{separator}{}", new.join(","))
}

fn unique(what: &str, lines: &[String]) -> Result<()> {
    let mut seen: BTreeMap<(usize, &str), &str> = BTreeMap::new();
    for line in lines {
        let fields: Vec<&str> = line.split(':').collect();
        for (index, noun) in [(0, "name"), (2, "id")] {
            let value = fields.get(index).copied().unwrap_or_default();
            if let Some(other) = seen.insert((index, value), fields[0]) {
                let message = format!(
                    "the {what} `{}` has the same {noun} `{value}` as the {what} `{other}`",
                    fields[0]
                );
                return Err(Error::new(Kind::Input, message));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::{User, merge};

    const PASSWD: &str = "root:*:0:0:root:/root:/bin/bash\ndaemon:*:1:1:daemon:/usr/sbin:/usr/sbin/nologin\n";
    const GROUP: &str = "root:*:0:\nadm:*:4:\n";

    fn user(name: &str, id: u32, groups: &[&str]) -> User {
        let groups = groups.iter().map(|group| (*group).to_owned()).collect();
        User { name: name.into(), uid: id, gid: id, home: "/nonexistent".into(), groups }
    }

    #[test]
    fn users_come_after_debians_own_and_join_their_groups() {
        let (passwd, group) =
            merge(PASSWD, GROUP, &[user("etcd", 900, &[]), user("apiserver", 901, &["adm", "etcd"])])
                .unwrap();
        assert!(
            passwd.ends_with("etcd:!*:900:900::/nonexistent:/usr/sbin/nologin\napiserver:!*:901:901::/nonexistent:/usr/sbin/nologin\n")
        );
        assert_eq!(group, "root:*:0:\nadm:*:4:apiserver\netcd:!*:900:apiserver\napiserver:!*:901:\n");
    }

    #[test]
    fn a_taken_id_and_a_missing_group_are_named() {
        let said = |users: &[User]| merge(PASSWD, GROUP, users).unwrap_err().to_string();
        assert_eq!(said(&[user("etcd", 1, &[])]), "the user `etcd` has the same id `1` as the user `daemon`");
        assert_eq!(
            said(&[user("etcd", 900, &["kvm"])]),
            "the user `etcd` is in the group `kvm`, which does not exist"
        );
    }
}
