//! How the program and its documents speak: words of a dialect, and doc comments that begin with a question's
//! word, are counted.

#![allow(
    clippy::disallowed_methods,
    clippy::unwrap_used,
    clippy::print_stderr,
    reason = "tests look at the world as users do"
)]

#[allow(unreachable_pub, reason = "two programs share it")]
#[path = "../common/source.rs"]
mod source;

use std::fs;
use std::path::{Path, PathBuf};

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, Item, Lit, LitStr, Meta};

use source::{is_part_of_tests, is_test, sources};

/// Words that are rare in technical English, and how often each group may occur in 100,000 words.
const RARE: &[(&[&str], f64)] = &[
    (&["tell", "tells", "told", "telling"], 10.0),
    (&["stand", "stands", "stood", "standing"], 3.0),
    (&["nobody", "somebody"], 5.0),
];

/// First words of doc comments that do not say what an item is or does, and the share of doc comments that
/// may begin so.
const QUESTIONS: &[&str] = &["What", "Who", "Where", "Whether"];
const QUESTIONS_SHARE: f64 = 0.01;

/// Texts that people read.
#[derive(Default)]
struct Texts {
    all: Vec<(String, String)>,
    /// First lines of doc comments.
    summaries: Vec<(String, String)>,
    file: String,
}

impl Texts {
    fn read() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut texts = Self::default();
        for file in sources(&root.join("src")).into_iter().filter(|file| !is_test(file)) {
            texts.file = file.strip_prefix(root).unwrap().display().to_string();
            let source = syn::parse_file(&fs::read_to_string(&file).unwrap()).unwrap();
            texts.documented(&source.attrs);
            texts.visit_file(&source);
        }
        for file in documents(root) {
            texts.file = file.strip_prefix(root).unwrap().display().to_string();
            texts.add(&fs::read_to_string(&file).unwrap());
        }
        texts
    }

    fn add(&mut self, text: &str) {
        self.all.push((self.file.clone(), text.to_owned()));
    }

    /// A string is for people if it has several words.
    fn string(&mut self, text: &LitStr) {
        let text = text.value();
        if text.contains(' ') {
            self.add(&text);
        }
    }

    fn documented(&mut self, attributes: &[Attribute]) {
        let lines = attributes.iter().filter_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("doc") => match &pair.value {
                Expr::Lit(value) => {
                    if let Lit::Str(text) = &value.lit {
                        Some(text.value())
                    } else {
                        None
                    }
                }
                _ => None,
            },
            _ => None,
        });
        let lines: Vec<String> = lines.collect();
        if let Some(first) = lines.first() {
            self.summaries.push((self.file.clone(), first.trim().to_owned()));
            self.add(&lines.join("\n"));
        }
    }

    fn tokens(&mut self, tokens: TokenStream) {
        for token in tokens {
            match token {
                TokenTree::Group(group) => self.tokens(group.stream()),
                TokenTree::Literal(literal) => {
                    if let Ok(text) = syn::parse_str::<LitStr>(&literal.to_string()) {
                        self.string(&text);
                    }
                }
                _ => {}
            }
        }
    }
}

impl<'ast> Visit<'ast> for Texts {
    fn visit_item(&mut self, item: &'ast Item) {
        if !is_part_of_tests(item) {
            visit::visit_item(self, item);
        }
    }

    fn visit_attribute(&mut self, _: &'ast Attribute) {
        // Whole comments are read where they belong to something.
    }

    fn visit_lit_str(&mut self, text: &'ast LitStr) {
        self.string(text);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
    }

    fn visit_item_const(&mut self, item: &'ast syn::ItemConst) {
        self.documented(&item.attrs);
        visit::visit_item_const(self, item);
    }

    fn visit_item_enum(&mut self, item: &'ast syn::ItemEnum) {
        self.documented(&item.attrs);
        visit::visit_item_enum(self, item);
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.documented(&item.attrs);
        visit::visit_item_fn(self, item);
    }

    fn visit_item_static(&mut self, item: &'ast syn::ItemStatic) {
        self.documented(&item.attrs);
        visit::visit_item_static(self, item);
    }

    fn visit_item_struct(&mut self, item: &'ast syn::ItemStruct) {
        self.documented(&item.attrs);
        visit::visit_item_struct(self, item);
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        self.documented(&item.attrs);
        visit::visit_item_trait(self, item);
    }

    fn visit_item_type(&mut self, item: &'ast syn::ItemType) {
        self.documented(&item.attrs);
        visit::visit_item_type(self, item);
    }

    fn visit_impl_item_const(&mut self, item: &'ast syn::ImplItemConst) {
        self.documented(&item.attrs);
        visit::visit_impl_item_const(self, item);
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.documented(&item.attrs);
        visit::visit_impl_item_fn(self, item);
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.documented(&item.attrs);
        visit::visit_trait_item_fn(self, item);
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.documented(&field.attrs);
        visit::visit_field(self, field);
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.documented(&variant.attrs);
        visit::visit_variant(self, variant);
    }
}

fn documents(root: &Path) -> Vec<PathBuf> {
    let docs = fs::read_dir(root.join("docs")).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> =
        docs.filter(|path| path.extension().is_some_and(|extension| extension == "md")).collect();
    found.extend(["README.md", "CHANGELOG.md"].map(|name| root.join(name)));
    found.sort();
    found
}

fn words(text: &str) -> impl Iterator<Item = &str> {
    text.split(|letter: char| !letter.is_alphabetic() && letter != '\'').filter(|word| !word.is_empty())
}

#[test]
fn texts_are_plain_technical_english() {
    let texts = Texts::read();
    let count: usize = texts.all.iter().map(|(_, text)| words(text).count()).sum();
    eprintln!("{count} words, {} doc comments", texts.summaries.len());
    let mut broken = Vec::new();
    for (rare, most) in RARE {
        let is_rare = |word: &&str| rare.contains(&word.to_lowercase().as_str());
        let places: Vec<String> = texts
            .all
            .iter()
            .flat_map(|(file, text)| {
                text.lines()
                    .filter(|line| words(line).any(|word| is_rare(&word)))
                    .map(move |line| format!("{file}: {}", line.trim()))
            })
            .collect();
        #[expect(clippy::cast_precision_loss, reason = "it is small")]
        let share = places.len() as f64 * 100_000.0 / count as f64;
        eprintln!("{}: {share:.1} in 100,000 words, of {most}", rare.join(", "));
        if share > *most {
            broken.push(format!("{}: {share:.1} in 100,000 words\n{}", rare.join(", "), shown(&places)));
        }
    }
    let is_question = |text: &str| words(text).next().is_some_and(|word| QUESTIONS.contains(&word));
    let questions: Vec<String> = texts
        .summaries
        .iter()
        .filter(|(_, text)| is_question(text))
        .map(|(file, text)| format!("{file}: {text}"))
        .collect();
    #[expect(clippy::cast_precision_loss, reason = "it is small")]
    let share = questions.len() as f64 / texts.summaries.len() as f64;
    eprintln!("doc comments that begin with {}: {:.1} %", QUESTIONS.join(", "), 100.0 * share);
    if share > QUESTIONS_SHARE {
        broken.push(format!(
            "{:.1} % of doc comments begin with {}\n{}",
            100.0 * share,
            QUESTIONS.join(", "),
            shown(&questions)
        ));
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
}

/// As many places as help.
fn shown(places: &[String]) -> String {
    let most: usize = std::env::var("KILN_WORDS").ok().and_then(|text| text.parse().ok()).unwrap_or(20);
    places.iter().take(most).cloned().collect::<Vec<_>>().join("\n")
}
