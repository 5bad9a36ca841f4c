//! Which module uses which, read from the `use` trees and paths of the source files as the compiler would
//! resolve them.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Item, ItemMod, ItemUse, UseTree, Visibility};

use crate::source::{is_part_of_tests, is_test, sources};

/// Names from the crate's root to a module or an item in one.
pub(crate) type Names = Vec<String>;

/// Modules of the crate, without those for tests, and what each of them names.
pub(crate) struct Crate {
    modules: BTreeSet<Names>,
    /// What a module calls by a name of its own: `pub(crate) use part::Thing` in `room` maps `room::Thing` to
    /// `room::part::Thing`.
    aliases: BTreeMap<Names, Names>,
    /// From a module to what it names.
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

    /// One of empty modules.
    pub(crate) fn of(modules: &[&str]) -> Self {
        let names = |path: &&str| path.split("::").map(str::to_owned).collect::<Names>();
        Self {
            modules: modules.iter().map(names).collect(),
            aliases: BTreeMap::new(),
            named: BTreeSet::new(),
        }
    }

    /// The root, and modules with modules of their own.
    pub(crate) fn directories(&self) -> BTreeSet<Names> {
        self.modules.iter().filter_map(|names| Some(names.split_last()?.1.to_vec())).collect()
    }

    pub(crate) fn is_directory(&self, names: &[String]) -> bool {
        self.modules.iter().any(|other| other.len() > names.len() && other.starts_with(names))
    }

    /// Adds one module with the inline modules that it holds.
    pub(crate) fn add(&mut self, module: Names, text: &str) {
        let file = syn::parse_file(text).unwrap();
        self.modules.insert(module.clone());
        Reader { found: self, module }.visit_file(&file);
    }

    /// From a module to the module that it uses, each pair once.
    pub(crate) fn uses(&self) -> BTreeSet<(&Names, Names)> {
        let used =
            |(from, to): &'_ (Names, Names)| self.home(self.meaning(to.clone())).filter(|home| home != from);
        self.named.iter().filter_map(|pair| Some((&pair.0, used(pair)?))).collect()
    }

    /// Follows aliases of modules to where an item is written.
    fn meaning(&self, mut names: Names) -> Names {
        // An alias leads to another one a few times at most.
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

    /// The innermost module in which `names` is.
    fn home(&self, names: Names) -> Option<Names> {
        (1..=names.len())
            .rev()
            .map(|length| names[..length].to_vec())
            .find(|names| self.modules.contains(names))
    }
}

/// Reads one module.
struct Reader<'a> {
    found: &'a mut Crate,
    module: Names,
}

impl Reader<'_> {
    /// From the crate's root, if a path is one of this crate.
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
            // A child, if there is one of this name.
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

    /// Children are read after their parents: files tell whether there will be one.
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

    /// Paths among the tokens of a macro's call, which are no syntax yet.
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

    /// A path outside `use`: one name alone is a variable, or was brought by `use`.
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

/// `lab/qemu.rs` and `lab/qemu/mod.rs` are `lab::qemu`, `lib.rs` and `main.rs` the root.
fn module(file: &Path) -> Names {
    let mut names: Names =
        file.with_extension("").iter().map(|name| name.to_str().unwrap().to_owned()).collect();
    if names.last().is_some_and(|name| ["mod", "lib", "main"].contains(&name.as_str())) {
        names.pop();
    }
    names
}
