//! A package's control file, deb-control(5), as far as unpacking needs it.

use std::collections::BTreeSet;

use crate::error::{Error, Kind, Result};

/// One stanza, kept as it was written.
#[derive(Clone, Debug)]
pub(super) struct Control {
    text: String,
}

impl Control {
    /// # Errors
    ///
    /// [`Kind::Verify`] if it is not UTF-8 or lacks the name, version or architecture.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes).map_err(|_| Error::new(Kind::Verify, "its control file is not UTF-8"))?;
        let control = Self { text: text.trim_end().to_owned() };
        for name in ["Package", "Version", "Architecture"] {
            if control.field(name).is_none() {
                return Err(Error::new(Kind::Verify, format!("its control file has no `{name}`")));
            }
        }
        Ok(control)
    }

    pub(super) fn name(&self) -> &str {
        self.field("Package").expect("parsing saw it")
    }

    /// The first line of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        let value = |line: &'_ str| -> Option<usize> {
            let (key, _) = line.split_once(':')?;
            key.eq_ignore_ascii_case(name).then_some(key.len() + 1)
        };
        self.text.lines().find_map(|line| value(line).map(|start| line[start..].trim()))
    }

    /// Names of the packages whose files this one may take over.
    pub(super) fn replaces(&self) -> BTreeSet<&str> {
        let names = self.field("Replaces").into_iter().flat_map(|value| value.split(','));
        names.filter_map(|one| one.split([' ', '(', ':']).find(|word| !word.is_empty())).collect()
    }

    /// The base of its file names in dpkg's database.
    pub(super) fn info_name(&self) -> String {
        match self.field("Multi-Arch") {
            Some("same") => format!("{}:{}", self.name(), self.field("Architecture").expect("parsing saw it")),
            _ => self.name().to_owned(),
        }
    }

    /// The stanza as dpkg's status file has it.
    pub(super) fn status(&self, state: &str, conffiles: &[(String, String)]) -> String {
        let mut text = String::with_capacity(self.text.len() + 64);
        for line in self.text.lines() {
            text.push_str(line);
            text.push('\n');
            if line.starts_with("Package:") {
                text.push_str("Status: install ok ");
                text.push_str(state);
                text.push('\n');
            }
        }
        if !conffiles.is_empty() {
            text.push_str("Conffiles:\n");
            text.extend(conffiles.iter().map(|(path, md5)| format!(" {path} {md5}\n")));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::Control;

    const TEXT: &[u8] =
        b"Package: libx1\nVersion: 1:2\nArchitecture: amd64\nMulti-Arch: same\nReplaces: libx0 (<< 2), x-old:any\nDescription: x\n y\n";

    #[test]
    fn fields_are_found_and_the_status_stanza_is_dpkgs() {
        let control = Control::parse(TEXT).unwrap();
        assert_eq!(control.info_name(), "libx1:amd64");
        assert_eq!(control.replaces().into_iter().collect::<Vec<_>>(), ["libx0", "x-old"]);
        insta::assert_snapshot!(control.status("unpacked", &[("/etc/x".into(), "0".repeat(32))]), @r"
        Package: libx1
        Status: install ok unpacked
        Version: 1:2
        Architecture: amd64
        Multi-Arch: same
        Replaces: libx0 (<< 2), x-old:any
        Description: x
         y
        Conffiles:
         /etc/x 00000000000000000000000000000000
        ");
    }

    #[test]
    fn a_stanza_without_a_version_is_refused() {
        assert!(Control::parse(b"Package: x\nArchitecture: all\n").unwrap_err().to_string().contains("no `Version`"));
    }
}
