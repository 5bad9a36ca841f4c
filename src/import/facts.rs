//! Facts about a cluster, each with the file and the line that it comes from.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use crate::config::{Document, Word};
use crate::error::Source;
use crate::import::settings::Setting;
use crate::words::Role;

/// Strings that mark placeholders in published configurations, which readers are expected to replace.
const MARKS: [&str; 4] = ["$", "{{", "<", "XXX"];
/// Quotation marks, including those that word processors substitute.
pub(super) const QUOTES: [char; 5] = ['"', '\'', '”', '“', '″'];

/// All facts found in the files.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) settings: Vec<Fact>,
    /// Unusable values: placeholders, and text that can't be parsed.
    pub(super) unclear: Vec<Fact>,
    pub(super) mentions: Vec<Mention>,
}

/// A setting's value.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) setting: Setting,
    pub(super) value: String,
    pub(super) origin: Origin,
    /// True if the value replaced a placeholder: the variables may come from an example.
    pub(super) filled: bool,
}

/// A machine that a file mentions.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    pub(super) name: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) role: Option<Role>,
    pub(super) naming: Naming,
    /// The machine's role if it is not a control-plane node.
    pub(super) otherwise: Option<Role>,
    /// keepalived's priority on the machine.
    pub(super) priority: Option<u8>,
    pub(super) origin: Origin,
}

/// Confidence that a name in a file is a machine name; later variants outrank earlier ones.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Naming {
    /// No file contains a name for the machine.
    None,
    /// Name that a balancer or etcd uses for the machine.
    Alias,
    /// Host name of the machine.
    Host,
}

/// File and position of a fact.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) source: Source,
    pub(super) span: Range<usize>,
}

impl Origin {
    pub(super) fn of(document: &Document<'_>, word: Word<'_>) -> Self {
        Self { source: document.file.source.clone(), span: document.file.place(word.span()) }
    }

    /// Checks whether both are on the same line of the same file.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let (first, last) = (self.span.start.min(other.span.start), self.span.start.max(other.span.start));
        self.source.path == other.source.path && !self.source.text[first..last].contains('\n')
    }

    /// Returns the line number, counted from 1.
    pub(super) fn line(&self) -> usize {
        self.source.text[..self.span.start].matches('\n').count() + 1
    }
}

impl PartialEq for Origin {
    fn eq(&self, other: &Self) -> bool {
        self.span == other.span && self.source.path == other.source.path
    }
}

impl fmt::Display for Origin {
    /// Writes `path:line`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source.path.display(), self.line())
    }
}

impl Facts {
    /// Records `word` as the value of a setting.
    pub(super) fn say(&mut self, setting: Setting, document: &Document<'_>, word: Word<'_>) {
        self.say_as(setting, word.text, document, word);
    }

    /// Records a value that follows from `word`.
    pub(super) fn say_as(&mut self, setting: Setting, text: &str, document: &Document<'_>, word: Word<'_>) {
        let text = text.trim().trim_matches(QUOTES);
        let origin = Origin::of(document, word);
        let filled = !origin.source.text[origin.span.clone()].contains(word.text);
        let value =
            Some(text).filter(|text| !is_placeholder(text)).and_then(|text| (setting.row().read)(text));
        // One value may contain the networks of two address families, but a cluster file has only one.
        let second = text.split_once(',').filter(|_| value.is_some()).map(|(_, rest)| rest.trim().to_owned());
        self.unclear.extend(second.map(|value| Fact { setting, value, origin: origin.clone(), filled }));
        match value {
            Some(value) => self.settings.push(Fact { setting, value, origin, filled }),
            None if text.is_empty() => {}
            None => self.unclear.push(Fact { setting, value: text.to_owned(), origin, filled }),
        }
    }

    /// Records a machine with a role.
    pub(super) fn mention(
        &mut self,
        name: Option<&str>,
        address: Option<IpAddr>,
        role: Option<Role>,
        naming: Naming,
        origin: Origin,
    ) {
        let name = name
            .map(|name| name.trim_matches(QUOTES).to_owned())
            .filter(|name| !name.is_empty() && !is_placeholder(name));
        let address = address.filter(|address| !address.is_loopback() && !address.is_unspecified());
        if name.is_some() || address.is_some() {
            self.mentions.push(Mention {
                name,
                address,
                role,
                naming,
                otherwise: None,
                priority: None,
                origin,
            });
        }
    }

    /// Records the machine that a document is on, by name, and returns it so that further facts can be added.
    pub(super) fn machine_of(
        &mut self,
        document: &Document<'_>,
        role: Option<Role>,
        origin: Origin,
    ) -> Option<&mut Mention> {
        let before = self.mentions.len();
        self.mention(Some(document.machine), None, role, Naming::Host, origin);
        self.mentions.get_mut(before)
    }

    /// Returns every value of a setting, the effective one first.
    pub(super) fn of(&self, setting: Setting) -> impl Iterator<Item = &Fact> {
        self.settings.iter().filter(move |fact| fact.setting == setting)
    }

    pub(super) fn value(&self, setting: Setting) -> Option<&str> {
        self.of(setting).next().map(|fact| fact.value.as_str())
    }

    /// Returns the effective VIP.
    pub(super) fn vip(&self) -> Option<IpAddr> {
        self.value(Setting::Vip)?.parse().ok()
    }
}

/// Returns the address in `https://10.0.0.1:2379/`, `10.0.0.1:6443` or `10.0.0.1/24`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(QUOTES);
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    crate::lint::host(text.split('/').next()?)
}

/// Returns the port at the end of `https://10.0.0.1:6443`.
pub(super) fn port(text: &str) -> Option<&str> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = text.split('/').next()?.rsplit_once(':')?;
    (!host.contains(':') || host.ends_with(']')).then_some(port)
}

/// Checks whether the text is a placeholder for a value.
pub(super) fn is_placeholder(text: &str) -> bool {
    MARKS.iter().any(|mark| text.contains(mark))
}
