//! Package indexes (`Packages` files), read as a stream; only the fields that a solver needs are kept, in one
//! string.

use std::io::{self, BufRead};
use std::ops::Range;

use crate::base::lock::Archive;
use crate::digest::Digest;

/// Packages in one or more indexes, in the order in which they were read.
#[derive(Debug, Default)]
pub(super) struct Index {
    text: String,
    packages: Vec<Package>,
}

/// First occurrence of a name: paragraph, field, offset.
pub(super) type Mention = (usize, usize, usize);

/// Number of a package in the index.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PackageId(pub(super) u32);

/// Range of a field's value in the text.
type Span = Range<u32>;

/// One paragraph of an index.
#[derive(Clone, Debug)]
pub(super) struct Package {
    fields: [Span; Field::COUNT],
    pub(super) size: u64,
    pub(super) sha256: Digest,
    pub(super) archive: Archive,
    pub(super) essential: bool,
    /// apt's flag: true for `Important: yes` or `Protected: yes`.
    pub(super) important: bool,
    /// Priority: 1 is `required`, 5 is `extra`.
    pub(super) priority: u8,
}

/// Fields whose text is kept. Those that name other packages are in the order in which apt reads them
/// (apt-pkg/deb/deblistparser.cc).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Field {
    Name,
    PreDepends,
    Depends,
    Conflicts,
    Breaks,
    Recommends,
    Suggests,
    Replaces,
    Enhances,
    Provides,
    Version,
    Architecture,
    File,
}

impl Field {
    const COUNT: usize = 13;

    fn from_key(key: &[u8]) -> Option<Self> {
        Some(match key {
            b"Package" => Self::Name,
            b"Version" => Self::Version,
            b"Architecture" => Self::Architecture,
            b"Pre-Depends" => Self::PreDepends,
            b"Depends" => Self::Depends,
            b"Conflicts" => Self::Conflicts,
            b"Breaks" => Self::Breaks,
            b"Recommends" => Self::Recommends,
            b"Suggests" => Self::Suggests,
            b"Replaces" => Self::Replaces,
            b"Enhances" => Self::Enhances,
            b"Provides" => Self::Provides,
            b"Filename" => Self::File,
            _ => return None,
        })
    }
}

/// A paragraph being read.
#[derive(Default)]
struct Draft {
    fields: [Span; Field::COUNT],
    size: Option<u64>,
    sha256: Option<Digest>,
    essential: bool,
    important: bool,
    priority: u8,
    /// Field that a continuation line belongs to.
    last: Option<Field>,
}

impl Index {
    /// Reads one index. A paragraph without name, version, file name, size or digest can't be installed and
    /// is skipped.
    pub(super) fn read(&mut self, mut reader: impl BufRead, archive: Archive) -> io::Result<()> {
        let mut line = Vec::new();
        let mut draft = Draft::default();
        loop {
            line.clear();
            let read = reader.read_until(b'\n', &mut line)?;
            let text = line.trim_ascii_end();
            if text.is_empty() {
                self.packages.extend(std::mem::take(&mut draft).finish(archive));
            } else {
                self.line(&mut draft, text);
            }
            if read == 0 {
                return Ok(());
            }
        }
    }

    pub(super) fn ids(&self) -> impl Iterator<Item = PackageId> + use<> {
        (0..u32::try_from(self.packages.len()).expect("an index has fewer than 2^32 packages")).map(PackageId)
    }

    pub(super) fn package(&self, id: PackageId) -> &Package {
        &self.packages[id.0 as usize]
    }

    /// Returns a field's text; empty if the package lacks the field.
    pub(super) fn field(&self, id: PackageId, field: Field) -> &str {
        let span = &self.package(id).fields[field as usize];
        &self.text[span.start as usize..span.end as usize]
    }

    pub(super) fn name(&self, id: PackageId) -> &str {
        self.field(id, Field::Name)
    }

    pub(super) fn version(&self, id: PackageId) -> &str {
        self.field(id, Field::Version)
    }

    /// Finds the first mention of a name, as a package or in another package's field: apt numbers packages in
    /// this order.
    pub(super) fn first_mention(&self, name: &str) -> Option<Mention> {
        let is_outside = |byte: Option<&u8>| byte.is_none_or(|byte| b"\n ,|:(".contains(byte));
        let bytes = self.text.as_bytes();
        let whole = |start: usize| {
            let before = start.checked_sub(1).map(|index| &bytes[index]);
            is_outside(before) && is_outside(bytes.get(start + name.len()))
        };
        let mentions = self.text.match_indices(name).map(|(start, _)| start).filter(|start| whole(*start));
        let mut located = mentions.filter_map(|start| self.locate(start)).peekable();
        let first = located.peek()?.0;
        // Fields appear in any order in a paragraph, so the first field need not have the lowest offset.
        located.take_while(|mention| mention.0 == first).min()
    }

    /// Returns the paragraph and field of an offset into the text.
    fn locate(&self, offset: usize) -> Option<Mention> {
        let is_before = |package: &Package| {
            package.fields.iter().filter(|span| !span.is_empty()).any(|span| (span.start as usize) <= offset)
        };
        let paragraph = self.packages.partition_point(is_before).checked_sub(1)?;
        let field = self.packages[paragraph]
            .fields
            .iter()
            .position(|span| (span.start as usize..span.end as usize).contains(&offset))?;
        (field <= Field::Provides as usize).then_some((paragraph, field, offset))
    }

    fn line(&mut self, draft: &mut Draft, line: &[u8]) {
        if line[0] == b' ' || line[0] == b'\t' {
            if let Some(field) = draft.last {
                // The last value ended with a separator, which becomes the space before this line's value.
                let start = draft.fields[field as usize].start;
                draft.fields[field as usize] = start..self.keep(line.trim_ascii_start()).end;
            }
            return;
        }
        draft.last = None;
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { return };
        let (key, value) = (&line[..colon], line[colon + 1..].trim_ascii_start());
        if let Some(field) = Field::from_key(key) {
            draft.fields[field as usize] = self.keep(value);
            draft.last = Some(field);
            return;
        }
        match key {
            b"Size" => draft.size = str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
            b"SHA256" => draft.sha256 = str::from_utf8(value).ok().and_then(|text| text.parse().ok()),
            b"Essential" => draft.essential = value == b"yes",
            b"Important" | b"Protected" => draft.important |= value == b"yes",
            b"Priority" => draft.priority = priority(value),
            _ => {}
        }
    }

    fn keep(&mut self, value: &[u8]) -> Span {
        let end =
            |text: &String| u32::try_from(text.len()).expect("the fields of all indexes are far below 4 GiB");
        let start = end(&self.text);
        self.text.push_str(&String::from_utf8_lossy(value));
        let span = start..end(&self.text);
        self.text.push('\n');
        span
    }
}

impl Draft {
    fn finish(self, archive: Archive) -> Option<Package> {
        let has = |field: Field| !self.fields[field as usize].is_empty();
        if !has(Field::Name) || !has(Field::Version) || !has(Field::File) {
            return None;
        }
        Some(Package {
            size: self.size?,
            sha256: self.sha256?,
            archive,
            essential: self.essential,
            important: self.important,
            priority: self.priority,
            fields: self.fields,
        })
    }
}

/// Returns apt's number for a priority; apt prefers lower numbers.
fn priority(value: &[u8]) -> u8 {
    match value {
        b"required" => 1,
        b"important" => 2,
        b"standard" => 3,
        b"optional" => 4,
        _ => 5,
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::{Field, Index};
    use crate::base::lock::Archive;

    /// Creates an index from paragraphs with only the relevant fields; the first line is `name version`.
    pub(in crate::base) fn index(paragraphs: &str) -> Index {
        let mut index = Index::default();
        let text: String =
            paragraphs.split("\n\n").map(str::trim).filter(|text| !text.is_empty()).map(paragraph).collect();
        index.read(text.as_bytes(), Archive::Debian).unwrap();
        index
    }

    fn paragraph(text: &str) -> String {
        let (first, rest) = text.split_once('\n').unwrap_or((text, ""));
        let (name, version) = first.trim().split_once(' ').expect("a paragraph begins with name and version");
        let digest = crate::digest::Digest::of(first.as_bytes());
        let rest: String = rest.lines().map(|line| format!("{}\n", line.trim())).collect();
        let head = format!("Package: {name}\nVersion: {version}\nArchitecture: all\nPriority: optional\n");
        format!("{head}{rest}Filename: pool/{name}.deb\nSize: 1\nSHA256: {digest}\n\n")
    }

    #[test]
    fn a_paragraph_is_read_whatever_else_it_says() {
        let text = "Package: a\nVersion: 1\nArchitecture: all\nDepends: b,\n c (>= 1)\nDescription: x\n \
            Depends: no\nEssential: yes\nFilename: pool/a.deb\nSize: 7\nSHA256: \
            ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad\n\n\nPackage: \
            incomplete\nVersion: 1\n";
        let mut index = Index::default();
        index.read(text.as_bytes(), Archive::Debian).unwrap();
        assert_eq!(index.ids().count(), 1);
        let id = index.ids().next().unwrap();
        assert_eq!((index.name(id), index.version(id), index.package(id).size), ("a", "1", 7));
        assert_eq!(index.field(id, Field::Depends), "b,\nc (>= 1)");
        assert!(index.package(id).essential);
    }

    #[test]
    fn mentions_are_ordered_as_apt_numbers_packages() {
        let index = index(
            "a 1\nProvides: v\nDepends: late-x, late\n\nlate 1\n\nb 1\nRecommends: c (>= 1), v:any\n\nc 1",
        );
        let mut names = ["c", "b", "v", "late", "late-x", "a"];
        names.sort_by_key(|name| index.first_mention(name));
        assert_eq!(names, ["a", "late-x", "late", "v", "b", "c"]);
        assert_eq!(index.first_mention("pool"), None);
    }
}
