//! What files say about a cluster: each fact with the file and the line that says it.

use std::fmt;
use std::net::IpAddr;
use std::ops::Range;

use crate::config::{Document, Word};
use crate::error::Source;
use crate::import::settings::Setting;
use crate::words::Role;

/// Marks that published configurations leave for their readers to replace.
const MARKS: [&str; 4] = ["$", "{{", "<", "XXX"];
/// Quotes, also those that word processors make of them.
pub(super) const QUOTES: [char; 5] = ['"', '\'', '”', '“', '″'];

/// Everything that was learned.
#[derive(Debug, Default)]
pub(super) struct Facts {
    pub(super) settings: Vec<Fact>,
    /// Values that are no values: placeholders, and what cannot be read.
    pub(super) unclear: Vec<Fact>,
    pub(super) mentions: Vec<Mention>,
}

/// A setting's value.
#[derive(Clone, Debug)]
pub(super) struct Fact {
    pub(super) setting: Setting,
    pub(super) value: String,
    pub(super) origin: Origin,
    /// Whether a placeholder stood there: variables may be those of an example.
    pub(super) filled: bool,
}

/// A machine that a file speaks of.
#[derive(Clone, Debug)]
pub(super) struct Mention {
    pub(super) name: Option<String>,
    pub(super) address: Option<IpAddr>,
    pub(super) role: Option<Role>,
    pub(super) naming: Naming,
    /// Its role if it is no control-plane node.
    pub(super) otherwise: Option<Role>,
    /// keepalived's priority on it.
    pub(super) priority: Option<u8>,
    pub(super) origin: Origin,
}

/// How much a name in a file is worth as the name of a machine; later ones are worth more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Naming {
    /// No file has a name for it.
    None,
    /// What a balancer or etcd calls it among its own.
    Alias,
    /// What the machine is called.
    Host,
}

/// The file and the place that say something.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) source: Source,
    pub(super) span: Range<usize>,
}

impl Origin {
    pub(super) fn of(document: &Document<'_>, word: Word<'_>) -> Self {
        Self { source: document.file.source.clone(), span: document.file.place(word.span()) }
    }

    /// Whether both are on one line of one file.
    pub(super) fn is_beside(&self, other: &Self) -> bool {
        let (first, last) = (self.span.start.min(other.span.start), self.span.start.max(other.span.start));
        self.source.path == other.source.path && !self.source.text[first..last].contains('\n')
    }

    /// Counted from 1.
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
    /// `path:line`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.source.path.display(), self.line())
    }
}

impl Facts {
    /// Notes what `word` says of a setting.
    pub(super) fn say(&mut self, setting: Setting, document: &Document<'_>, word: Word<'_>) {
        self.say_as(setting, word.text, document, word);
    }

    /// Notes a value that `word` means.
    pub(super) fn say_as(&mut self, setting: Setting, text: &str, document: &Document<'_>, word: Word<'_>) {
        let text = text.trim().trim_matches(QUOTES);
        let origin = Origin::of(document, word);
        let filled = !origin.source.text[origin.span.clone()].contains(word.text);
        let value = Some(text).filter(|text| !is_placeholder(text)).and_then(|text| (setting.row().read)(text));
        // The networks of two families stand in one value, and a cluster file has one.
        let second = text.split_once(',').filter(|_| value.is_some()).map(|(_, rest)| rest.trim().to_owned());
        self.unclear.extend(second.map(|value| Fact { setting, value, origin: origin.clone(), filled }));
        match value {
            Some(value) => self.settings.push(Fact { setting, value, origin, filled }),
            None if text.is_empty() => {}
            None => self.unclear.push(Fact { setting, value: text.to_owned(), origin, filled }),
        }
    }

    /// Notes a machine with a role.
    pub(super) fn mention(&mut self, name: Option<&str>, address: Option<IpAddr>, role: Option<Role>, naming: Naming, origin: Origin) {
        let name = name.map(|name| name.trim_matches(QUOTES).to_owned()).filter(|name| !name.is_empty() && !is_placeholder(name));
        let address = address.filter(|address| !address.is_loopback() && !address.is_unspecified());
        if name.is_some() || address.is_some() {
            self.mentions.push(Mention { name, address, role, naming, otherwise: None, priority: None, origin });
        }
    }

    /// Notes the machine of a document by its name, for more to be said of it.
    pub(super) fn machine_of(&mut self, document: &Document<'_>, role: Option<Role>, origin: Origin) -> Option<&mut Mention> {
        let before = self.mentions.len();
        self.mention(Some(document.machine), None, role, Naming::Host, origin);
        self.mentions.get_mut(before)
    }

    /// Every value of a setting, the one that counts first.
    pub(super) fn of(&self, setting: Setting) -> impl Iterator<Item = &Fact> {
        self.settings.iter().filter(move |fact| fact.setting == setting)
    }

    pub(super) fn value(&self, setting: Setting) -> Option<&str> {
        self.of(setting).next().map(|fact| fact.value.as_str())
    }

    /// The VIP that counts.
    pub(super) fn vip(&self) -> Option<IpAddr> {
        self.value(Setting::Vip)?.parse().ok()
    }
}

/// The address in `https://10.0.0.1:2379/`, `10.0.0.1:6443` or `10.0.0.1/24`.
pub(super) fn address(text: &str) -> Option<IpAddr> {
    let text = text.trim_matches(QUOTES);
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    crate::lint::host(text.split('/').next()?)
}

/// The port at the end of `https://10.0.0.1:6443`.
pub(super) fn port(text: &str) -> Option<&str> {
    let text = text.split_once("://").map_or(text, |(_, rest)| rest);
    let (host, port) = text.split('/').next()?.rsplit_once(':')?;
    (!host.contains(':') || host.ends_with(']')).then_some(port)
}

/// Whether a reader was to put a value there.
pub(super) fn is_placeholder(text: &str) -> bool {
    MARKS.iter().any(|mark| text.contains(mark))
}
