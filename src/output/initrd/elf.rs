//! Run-time dependencies of an ELF file: loader, libraries, and optional libraries that it opens itself.

use goblin::elf::Elf;
use goblin::elf::note::NoteIterator;
use serde::Deserialize;

use crate::error::{Doing, Kind, Result};

/// Size of the smallest possible ELF file, in bytes (ELF-64 header).
pub(super) const HEADER_SIZE: u64 = 64;

/// Type of the notes that name libraries opened by dlopen(3)
/// (<https://uapi-group.org/specifications/specs/elf_dlopen_metadata/>).
const DLOPEN_NOTE: u32 = 0x407c_0c0a;

/// Dependencies of one file.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Needs {
    pub(super) loader: Option<String>,
    pub(super) libraries: Vec<String>,
    /// Libraries opened by dlopen(3); each may be absent.
    pub(super) recommended: Vec<String>,
}

/// Returns the libraries that an ELF file needs; a file of another format needs none.
///
/// # Errors
///
/// [`Kind::Input`] if the file begins like an ELF file but is malformed.
pub(super) fn needs(bytes: &[u8]) -> Result<Needs> {
    if !bytes.starts_with(goblin::elf::header::ELFMAG) {
        return Ok(Needs::default());
    }
    let elf = Elf::parse(bytes).doing(Kind::Input, || "reading an ELF file".into())?;
    let notes = elf.iter_note_sections(bytes, Some(".note.dlopen"));
    Ok(Needs {
        loader: elf.interpreter.map(str::to_owned),
        libraries: elf.libraries.iter().map(|&name| name.to_owned()).collect(),
        recommended: notes.map(recommended).unwrap_or_default(),
    })
}

#[derive(Deserialize)]
struct Feature {
    soname: Vec<String>,
    #[serde(default)]
    priority: String,
}

/// Returns the first name of each feature whose priority is above `suggested`. Skips notes that can't be
/// parsed.
fn recommended(notes: NoteIterator<'_>) -> Vec<String> {
    let features = notes.flatten().filter(|note| note.n_type == DLOPEN_NOTE).filter_map(|note| {
        let text = note.desc.split(|byte| *byte == 0).next()?;
        serde_json::from_slice::<Vec<Feature>>(text).ok()
    });
    let wanted = features.flatten().filter(|feature| feature.priority != "suggested");
    wanted.filter_map(|feature| feature.soname.into_iter().next()).collect()
}

#[cfg(test)]
mod tests {
    use super::{Needs, needs};

    #[test]
    fn what_is_no_elf_file_needs_nothing_and_a_broken_one_is_an_error() {
        assert_eq!(needs(b"#!/bin/sh\n").unwrap(), Needs::default());
        assert!(needs(b"\x7fELF and then nothing of the sort").is_err());
    }

    #[test]
    fn a_dynamic_program_names_its_loader_and_libraries() {
        let program = crate::host::fs::read("/usr/bin/env".as_ref()).unwrap();
        let needs = needs(&program).unwrap();
        assert_eq!(needs.loader.as_deref(), Some("/lib64/ld-linux-x86-64.so.2"));
        assert!(needs.libraries.iter().any(|name| name == "libc.so.6"), "{needs:?}");
    }
}
