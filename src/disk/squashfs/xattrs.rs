//! Extended attributes: sets to which inodes refer by number.

use std::collections::BTreeMap;

use crate::disk::squashfs::metadata::Table;
use crate::disk::squashfs::{Image, Record, metadata, u16_of, u32_of};
use crate::error::{Error, Kind, Result};

/// Marks an inode without attributes.
pub(super) const NONE: u32 = u32::MAX;
/// Namespaces that squashfs supports, in the order of their numbers.
const NAMESPACES: [&str; 3] = ["user.", "trusted.", "security."];

/// Attribute sets of an image, without duplicates.
#[derive(Debug, Default)]
pub(super) struct Xattrs {
    numbers: BTreeMap<Vec<u8>, u32>,
    values: Table,
    /// Records of the lookup table: position, number of attributes and size in bytes of each set.
    sets: Record,
}

impl Xattrs {
    pub(super) fn is_empty(&self) -> bool {
        self.numbers.is_empty()
    }

    /// Returns the number of a set.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`] for a namespace that squashfs does not support, such as the namespace of access
    /// control lists.
    pub(super) fn number(&mut self, xattrs: &BTreeMap<String, Vec<u8>>) -> Result<u32> {
        if xattrs.is_empty() {
            return Ok(NONE);
        }
        let mut set = Record::default();
        for (name, value) in xattrs {
            let found = NAMESPACES
                .iter()
                .enumerate()
                .find_map(|(number, space)| Some((number, name.strip_prefix(space)?)));
            let (number, name) = found.ok_or_else(|| {
                Error::new(Kind::Input, format!("squashfs does not support the extended attribute `{name}`"))
            })?;
            set.u16(u16_of(number))
                .u16(u16_of(name.len()))
                .bytes(name.as_bytes())
                .u32(u32_of(value.len()))
                .bytes(value);
        }
        if let Some(number) = self.numbers.get(&set.0) {
            return Ok(*number);
        }
        let number = u32_of(self.numbers.len());
        self.sets.u64(self.values.position().reference()).u32(u32_of(xattrs.len())).u32(u32_of(set.0.len()));
        self.values.push(&set.0)?;
        self.numbers.insert(set.0, number);
        Ok(number)
    }

    /// Appends the tables and returns the offset of their header.
    pub(super) fn write(self, image: &mut Image<'_>) -> Result<u64> {
        let count = u32_of(self.numbers.len());
        let values = image.append(&self.values.finish()?)?;
        let mut head = Record::default();
        head.u64(values).u32(count).u32(0);
        for block in self.sets.0.chunks(metadata::BLOCK) {
            let at = image.append(&metadata::block(block)?)?;
            head.u64(at);
        }
        image.append(&head.0)
    }
}
