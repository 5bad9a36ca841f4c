//! View of documents by format: keepalived blocks, unit sections, YAML.

use super::Document;
use super::kinds::Content;
use super::settings::Setting;
use super::word::Statement;
use super::yaml::Node;

/// Documents of one machine, or of all machines.
#[derive(Clone, Copy, Debug)]
pub(crate) struct View<'f, 'a>(pub(super) &'f [Document<'a>]);

/// Function that returns a file's statements if the file has a certain format.
pub(crate) type Kind<'a> = for<'c> fn(&'c Content<'a>) -> Option<&'c Vec<Statement<'a>>>;

/// A statement and the document that contains it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Block<'f, 'a> {
    pub(crate) document: &'f Document<'a>,
    pub(crate) statement: &'f Statement<'a>,
}

impl<'f, 'a> View<'f, 'a> {
    pub(crate) fn documents(self) -> impl Iterator<Item = &'f Document<'a>> {
        self.0.iter()
    }

    /// Checks whether any document's path contains one of these parts.
    pub(crate) fn has(self, parts: &[&str]) -> bool {
        self.0.iter().any(|document| parts.iter().any(|part| document.path.contains(part)))
    }

    /// Returns every top-level statement of one format.
    pub(crate) fn blocks(self, kind: Kind<'a>) -> impl Iterator<Item = Block<'f, 'a>> {
        self.0.iter().flat_map(move |document| {
            kind(&document.content).into_iter().flatten().map(move |statement| Block { document, statement })
        })
    }

    pub(crate) fn keepalived(self, name: &'static str) -> impl Iterator<Item = Block<'f, 'a>> {
        self.blocks(Content::keepalived).filter(move |block| block.statement.name().text == name)
    }

    pub(crate) fn haproxy(self, names: &'static [&str]) -> impl Iterator<Item = Block<'f, 'a>> {
        self.blocks(Content::haproxy).filter(move |block| names.contains(&block.statement.name().text))
    }

    pub(crate) fn units(self, section: &'static str) -> impl Iterator<Item = Block<'f, 'a>> {
        self.blocks(Content::unit).filter(move |block| block.statement.name().text == section)
    }

    pub(crate) fn manifests(self) -> impl Iterator<Item = (&'f Document<'a>, &'f Node<'a>)> {
        self.0.iter().flat_map(|document| {
            document.content.yaml().into_iter().flatten().map(move |node| (document, node))
        })
    }

    pub(crate) fn of_kind(
        self,
        kind: &'static str,
    ) -> impl Iterator<Item = (&'f Document<'a>, &'f Node<'a>)> {
        self.manifests().filter(move |(_, node)| node.text("kind").is_some_and(|word| word.text == kind))
    }

    /// Returns every `key = value` line of files whose path contains `place`.
    pub(crate) fn settings(
        self,
        place: &'static str,
    ) -> impl Iterator<Item = (&'f Document<'a>, &'f Setting<'a>)> {
        let documents = self.0.iter().filter(move |document| document.path.contains(place));
        documents.flat_map(|document| {
            document.content.settings().into_iter().flatten().map(move |setting| (document, setting))
        })
    }
}
