//! The source files of the program, without its tests.

use std::fs;
use std::path::{Path, PathBuf};

use syn::{Attribute, Item};

/// Checks whether an item is compiled only for tests.
pub fn is_part_of_tests(item: &Item) -> bool {
    attributes(item).iter().any(is_for_tests)
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute.parse_args::<syn::Path>().is_ok_and(|path| path.is_ident("test"))
}

/// All Rust files below a directory.
pub fn sources(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(sources(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(path);
        }
    }
    found.sort();
    found
}

/// Checks whether a file contains only a room's tests.
pub fn is_test(file: &Path) -> bool {
    file.iter().any(|part| part == "tests")
        || file
            .file_name()
            .is_some_and(|name| name == "tests.rs" || name.to_string_lossy().starts_with("judged_by_"))
}
