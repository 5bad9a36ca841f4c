//! Declarative unit enablement: the links that `systemctl enable` and `mask` would create.

use std::sync::Arc;

use crate::error::{Error, Kind, Result};
use crate::overlay::Overlay;
use crate::tree::{Content, Entry, EntryKind, ImagePath, Tree};
use crate::words::Arch;

/// Unit directories: the node's own directory, and the directory for packages.
const OURS: &str = "/etc/systemd/system";
const PACKAGED: &str = "/usr/lib/systemd/system";

/// Adds the links for an overlay's `[units]`. `tree` already contains the node's units.
///
/// # Errors
///
/// [`Kind::Input`] if a unit to enable is missing or contains no `[Install]` section.
pub(super) fn enable(overlay: &Overlay, arch: Arch, tree: &mut Tree) -> Result<()> {
    let origin: Arc<str> = Arc::from(overlay.name.as_str());
    for unit in &overlay.manifest.units.enable {
        let (file, text) = find(unit, overlay, tree)?;
        let links = installed(unit, &text);
        if links.is_empty() {
            return Err(Error::new(
                Kind::Input,
                format!("`{file}` of overlay `{}` contains no `[Install]` section", overlay.name),
            )
            .hint("add `[Install]` with `WantedBy=`, or remove the unit from `enable`"));
        }
        for link in links {
            tree.insert(link, Entry::symlink(file.clone(), &origin));
        }
    }
    for (target, units) in &overlay.manifest.units.wanted_by {
        for unit in units {
            let link = ImagePath::new(&format!("{OURS}/{target}.wants/{unit}"))?;
            tree.insert(link, Entry::symlink(format!("{PACKAGED}/{}", template_of(unit)), &origin));
        }
    }
    for unit in &overlay.manifest.units.mask {
        let unit = unit.replace("{serial}", arch.serial);
        tree.insert(ImagePath::new(&format!("{OURS}/{unit}"))?, Entry::symlink("/dev/null", &origin));
    }
    Ok(())
}

/// Returns the path and text of a unit, from the node's tree or from the overlay's part of the image.
fn find(unit: &str, overlay: &Overlay, tree: &Tree) -> Result<(String, String)> {
    let ours = ImagePath::new(&format!("{OURS}/{}", template_of(unit)))?;
    if let Some(EntryKind::File(content)) = tree.get(&ours).map(|entry| &entry.kind) {
        return Ok((ours.to_string(), utf8(content)?));
    }
    let packaged = ImagePath::new(&format!("{PACKAGED}/{}", template_of(unit)))?;
    let file = overlay.files.get(&packaged).ok_or_else(|| {
        Error::new(
            Kind::Input,
            format!("overlay `{}` enables `{unit}` but does not contain it", overlay.name),
        )
        .hint(
            "put the unit in rootfs/etc/systemd/system; list units that come from packages under \
            `[units.wanted-by]`",
        )
    })?;
    Ok((packaged.to_string(), String::from_utf8_lossy(&file.bytes).into_owned()))
}

fn utf8(content: &Content) -> Result<String> {
    content.read().map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Returns the unit file of an instance: `getty@.service` for `getty@tty1.service`.
fn template_of(unit: &str) -> String {
    match (unit.split_once('@'), unit.rsplit_once('.')) {
        (Some((name, _)), Some((_, kind))) => format!("{name}@.{kind}"),
        _ => unit.to_owned(),
    }
}

/// Returns the links of the `[Install]` section (systemd.unit(5)).
fn installed(unit: &str, text: &str) -> Vec<ImagePath> {
    let section = text
        .lines()
        .skip_while(|line| line.trim() != "[Install]")
        .skip(1)
        .take_while(|line| !line.starts_with('['));
    let settings = section.filter_map(|line| line.split_once('='));
    let links = settings.flat_map(|(key, value)| {
        value.split_whitespace().filter_map(move |name| match key.trim() {
            "WantedBy" => Some(format!("{OURS}/{name}.wants/{unit}")),
            "RequiredBy" => Some(format!("{OURS}/{name}.requires/{unit}")),
            "UpheldBy" => Some(format!("{OURS}/{name}.upholds/{unit}")),
            "Alias" => Some(format!("{OURS}/{name}")),
            _ => None,
        })
    });
    links.filter_map(|link| ImagePath::new(&link).ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::{installed, template_of};

    #[test]
    fn the_install_section_says_where_the_links_go() {
        let text = "[Unit]\nWants=a.target\n[Install]\nWantedBy=multi-user.target \
            b.target\nAlias=c.service\n[Service]\nRequiredBy=no\n";
        let links: Vec<String> = installed("x.service", text).iter().map(ToString::to_string).collect();
        assert_eq!(
            links,
            [
                "/etc/systemd/system/multi-user.target.wants/x.service",
                "/etc/systemd/system/b.target.wants/x.service",
                "/etc/systemd/system/c.service",
            ]
        );
    }

    #[test]
    fn an_instance_comes_from_its_template() {
        assert_eq!(template_of("getty@tty1.service"), "getty@.service");
        assert_eq!(template_of("etcd.service"), "etcd.service");
    }
}
