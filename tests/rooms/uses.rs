//! Finds out which modules use each other, from the `use` trees and paths in the source files, resolved as
//! the compiler does.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, UseTree, Visibility};

use crate::source::{is_part_of_tests, is_test, sources};

/// Path of a module or an item from the crate root.
pub(crate) type Names = Vec<String>;

/// The crate's modules, except test modules, and the paths that each of them names.
pub(crate) struct Crate {
    modules: BTreeSet<Names>,
    /// Re-exports: `pub(crate) use part::Thing` in `room` maps `room::Thing` to `room::part::Thing`.
    aliases: BTreeMap<Names, Names>,
    /// Pairs of a module and a path that it names.
    named: BTreeSet<(Names, Names)>,
}

impl Crate {
    /// Reads the source files below `root`.
    pub(crate) fn read(root: &Path) -> Self {
        let mut found = Self {
            modules: BTreeSet::from([Names::new()]),
            aliases: BTreeMap::new(),
            named: BTreeSet::new(),
        };
        for file in sources(root) {
            let module = module(file.strip_prefix(root).unwrap());
            if !is_test(&file) {
                found.add(module, &fs::read_to_string(&file).unwrap());
            }
        }
        found
    }

    /// Creates a crate of empty modules.
    pub(crate) fn of(modules: &[&str]) -> Self {
        let names = |path: &&str| path.split("::").map(str::to_owned).collect::<Names>();
        Self {
            modules: modules.iter().map(names).collect(),
            aliases: BTreeMap::new(),
            named: BTreeSet::new(),
        }
    }

    /// Returns the root and all modules with child modules.
    pub(crate) fn directories(&self) -> BTreeSet<Names> {
        self.modules.iter().filter_map(|names| Some(names.split_last()?.1.to_vec())).collect()
    }

    pub(crate) fn is_directory(&self, names: &[String]) -> bool {
        self.modules.iter().any(|other| other.len() > names.len() && other.starts_with(names))
    }

    /// Adds a module and its inline modules.
    pub(crate) fn add(&mut self, module: Names, text: &str) {
        let file = syn::parse_file(text).unwrap();
        self.modules.insert(module.clone());
        Reader { found: self, module }.visit_file(&file);
    }

    /// Returns each pair of a module and another module that it uses.
    pub(crate) fn uses(&self) -> BTreeSet<(&Names, Names)> {
        let used =
            |(from, to): &'_ (Names, Names)| self.home(self.meaning(to.clone())).filter(|home| home != from);
        self.named.iter().filter_map(|pair| Some((&pair.0, used(pair)?))).collect()
    }

    /// Follows re-exports to the definition of an item.
    fn meaning(&self, mut names: Names) -> Names {
        // The limit prevents endless loops; real chains of re-exports are short.
        for _ in 0..8 {
            let Some((length, target)) =
                (1..=names.len()).find_map(|length| Some((length, self.aliases.get(&names[..length])?)))
            else {
                break;
            };
            names = [&target[..], &names[length..]].concat();
        }
        names
    }

    /// Returns the innermost module that contains `names`.
    fn home(&self, names: Names) -> Option<Names> {
        (1..=names.len())
            .rev()
            .map(|length| names[..length].to_vec())
            .find(|names| self.modules.contains(names))
    }
}

/// Collects the paths that a module names.
struct Reader<'a> {
    found: &'a mut Crate,
    module: Names,
}

impl Reader<'_> {
    /// Returns a path relative to the crate root, or `None` if it does not belong to this crate.
    fn absolute(&self, names: &[String]) -> Option<Names> {
        let mut from = self.module.clone();
        let mut rest = names.iter().peekable();
        match rest.peek()?.as_str() {
            "crate" => {
                from.clear();
                rest.next();
            }
            "self" => drop(rest.next()),
            "super" => {
                while rest.next_if(|name| *name == "super").is_some() {
                    from.pop()?;
                }
            }
            // A child module, if one with this name exists.
            child => {
                from.push(child.to_owned());
                if !self.found.modules.contains(&from) && !self.is_declared(&from) {
                    return None;
                }
                rest.next();
            }
        }
        from.extend(rest.cloned());
        Some(from)
    }

    /// Returns whether a child module's file exists; children are read after their parents.
    fn is_declared(&self, child: &Names) -> bool {
        let path =
            Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/src")).join(child.iter().collect::<PathBuf>());
        path.with_extension("rs").exists() || path.join("mod.rs").exists()
    }

    fn names(&mut self, names: &[String]) {
        if let Some(to) = self.absolute(names) {
            self.found.named.insert((self.module.clone(), to));
        }
    }

    fn tree(&mut self, before: &[String], tree: &UseTree, is_shown: bool) {
        let with = |name: &syn::Ident| [before, &[name.to_string()]].concat();
        let (names, own) = match tree {
            UseTree::Path(path) => return self.tree(&with(&path.ident), &path.tree, is_shown),
            UseTree::Group(group) => {
                return group.items.iter().for_each(|tree| self.tree(before, tree, is_shown));
            }
            UseTree::Glob(_) => (before.to_vec(), None),
            UseTree::Name(name) if name.ident == "self" => (before.to_vec(), before.last().cloned()),
            UseTree::Name(name) => (with(&name.ident), Some(name.ident.to_string())),
            UseTree::Rename(rename) => (with(&rename.ident), Some(rename.rename.to_string())),
        };
        self.names(&names);
        if let (true, Some(own), Some(target)) = (is_shown, own, self.absolute(&names)) {
            let alias = [&self.module[..], &[own]].concat();
            if alias != target {
                self.found.aliases.insert(alias, target);
            }
        }
    }

    /// Collects the paths among the tokens of a macro call, which are not parsed as syntax.
    fn tokens(&mut self, tokens: TokenStream) {
        let (mut path, mut colons) = (Names::new(), 0);
        for token in tokens {
            match token {
                TokenTree::Ident(name) => {
                    if colons < 2 {
                        self.path(&std::mem::take(&mut path));
                    }
                    path.push(name.to_string());
                    colons = 0;
                }
                TokenTree::Punct(mark) if mark.as_char() == ':' && !path.is_empty() => colons += 1,
                TokenTree::Group(group) => {
                    self.path(&std::mem::take(&mut path));
                    self.tokens(group.stream());
                }
                _ => self.path(&std::mem::take(&mut path)),
            }
        }
        self.path(&path);
    }

    /// Records a path outside `use`; a single name is a variable or was imported with `use`.
    fn path(&mut self, names: &[String]) {
        if names.len() > 1 {
            self.names(names);
        }
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_part_of_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_item_mod(&mut self, item: &'ast ItemMod) {
        self.module.push(item.ident.to_string());
        if item.content.is_some() {
            self.found.modules.insert(self.module.clone());
            visit::visit_item_mod(self, item);
        }
        self.module.pop();
    }

    fn visit_item_use(&mut self, item: &'ast ItemUse) {
        self.tree(&[], &item.tree, !matches!(item.vis, Visibility::Inherited));
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let names: Names = path.segments.iter().map(|segment| segment.ident.to_string()).collect();
        self.path(&names);
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }
}

/// Returns the module of a file: `lab/qemu.rs` and `lab/qemu/mod.rs` are `lab::qemu`; `lib.rs` and `main.rs`
/// are the root.
fn module(file: &Path) -> Names {
    let mut names: Names =
        file.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if names.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        names.pop();
    }
    names
}
