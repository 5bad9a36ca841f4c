//! Control file of a package, deb-control(5), as far as unpacking needs it.

use std::collections::BTreeSet;

use deb822_fast::Paragraph;

use crate::error::{Doing, Error, Kind, Result};

/// One stanza: its fields, and its text as repeated in dpkg's status file.
#[derive(Clone, Debug)]
pub(super) struct Control {
    fields: Paragraph,
    text: String,
}

impl Control {
    /// # Errors
    ///
    /// [`Kind::Verify`] if it is not UTF-8 or lacks the name, version or architecture.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(bytes)
            .map_err(|_| Error::new(Kind::Verify, "the control file is not UTF-8"))?;
        let fields = text.parse().doing(Kind::Verify, || "reading the control file".into())?;
        let control = Self { fields, text: text.trim_end().to_owned() };
        for name in ["Package", "Version", "Architecture"] {
            if control.field(name).is_none() {
                return Err(Error::new(Kind::Verify, format!("the control file contains no `{name}`")));
            }
        }
        Ok(control)
    }

    pub(super) fn name(&self) -> &str {
        self.field("Package").expect("checked while parsing")
    }

    /// Returns the first line of a field.
    pub(super) fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(|value| value.lines().next().unwrap_or_default().trim())
    }

    /// Returns the names of the packages whose files this one may replace.
    pub(super) fn replaces(&self) -> BTreeSet<&str> {
        let names = self.field("Replaces").into_iter().flat_map(|value| value.split(','));
        names.filter_map(|one| one.split([' ', '(', ':']).find(|word| !word.is_empty())).collect()
    }

    /// Returns the base of the package's file names in dpkg's database.
    pub(super) fn info_name(&self) -> String {
        match self.field("Multi-Arch") {
            Some("same") => {
                format!("{}:{}", self.name(), self.field("Architecture").expect("checked while parsing"))
            }
            _ => self.name().to_owned(),
        }
    }

    /// Returns the stanza in the form of dpkg's status file.
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
        b"Package: libx1\nVersion: 1:2\nArchitecture: amd64\nMulti-Arch: same\nReplaces: libx0 (<< 2), \
            x-old:any\nDescription: x\n y\n";

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
        assert!(
            Control::parse(b"Package: x\nArchitecture: all\n")
                .unwrap_err()
                .to_string()
                .contains("no `Version`")
        );
    }
}
