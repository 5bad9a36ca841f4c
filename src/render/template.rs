//! Renders `.tera` files. An undefined variable is an error with file and line; nothing is escaped or random.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use tera::{ErrorKind, Kwargs, ReportError, State, Tera, Value};

use crate::digest::Digest;

use crate::error::{Error, Kind, Report, Result, Source, Within};
use crate::overlay::{Overlay, OverlayFile};
use crate::render::context::NodeContext;
use crate::yaml;

/// Templates of one node's overlays, with their variables.
pub(super) struct Templates {
    engine: Tera,
    public: tera::Context,
    /// Variables of `public`, and `secrets`.
    private: tera::Context,
    digests: Digests,
}

/// Digests of the files rendered so far, keyed by path.
type Digests = Arc<Mutex<BTreeMap<String, Digest>>>;

impl Templates {
    /// Parses the templates of `overlays`. Only files declared `secret` can use `encryption_key`.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], naming the overlay, file and position of a syntax error.
    pub(super) fn new(overlays: &[&Overlay], node: &NodeContext<'_>, encryption_key: &str) -> Result<Self> {
        let mut engine = Tera::new();
        engine.autoescape_on(Vec::<&str>::new());
        engine.register_filter("command", command);
        engine.register_filter("yaml", to_yaml);
        let digests = Digests::default();
        let settled = Arc::clone(&digests);
        engine.register_function("digest", move |arguments: Kwargs, _: &State<'_>| {
            digest(&settled, &arguments)
        });
        for (overlay, file) in
            overlays.iter().flat_map(|overlay| overlay.files.values().map(move |file| (overlay, file)))
        {
            if file.template {
                let text = text(file)?;
                engine.add_raw_template(&name(file), text).map_err(|err| ours(&err, overlay, file, text))?;
            }
        }
        let public = tera::Context::from_serialize(&node.variables()).map_err(internal)?;
        let mut private = public.clone();
        private.insert("secrets", &serde_json::json!({ "encryption_key": encryption_key }));
        Ok(Self { engine, public, private, digests })
    }

    /// Renders a reference in an overlay's `images`, which all nodes of a role share.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], naming the overlay and the undefined variable.
    pub(super) fn reference(&self, overlay: &Overlay, template: &str) -> Result<String> {
        let mut context = self.public.clone();
        context.remove("node");
        let rendered = self.engine.render_str(template, &context, false);
        rendered
            .map_err(|err| Error::new(Kind::Input, err.to_string()))
            .within(|| format!("rendering `{template}` of overlay `{}`", overlay.name))
    }

    /// Renders one file; `None` if the result is only whitespace, in which case the file is not written for
    /// the node.
    ///
    /// # Errors
    ///
    /// [`Kind::Input`], naming the overlay, file and position of an error.
    pub(super) fn render(
        &self,
        overlay: &Overlay,
        file: &OverlayFile,
        secret: bool,
    ) -> Result<Option<String>> {
        let context = if secret { &self.private } else { &self.public };
        let rendered = self.engine.render(&name(file), context);
        let rendered = rendered.map_err(|err| ours(&err, overlay, file, text(file).unwrap_or_default()))?;
        if let Some((path, _)) = overlay.files.iter().find(|(_, other)| other.source == file.source) {
            lock(&self.digests).insert(path.to_string(), Digest::of(rendered.as_bytes()));
        }
        Ok(Some(rendered).filter(|text| !text.trim().is_empty()))
    }
}

/// Implements `digest(path="/etc/…")`: the short digest of a file rendered earlier, from this overlay or a
/// previous one.
fn digest(settled: &Digests, arguments: &Kwargs) -> tera::TeraResult<String> {
    let path: String = arguments.must_get("path")?;
    let found = lock(settled).get(&path).map(Digest::short);
    found
        .ok_or_else(|| tera::Error::message(format!("no template rendered before this one creates `{path}`")))
}

fn lock(digests: &Digests) -> std::sync::MutexGuard<'_, BTreeMap<String, Digest>> {
    digests.lock().unwrap_or_else(PoisonError::into_inner)
}

fn name(file: &OverlayFile) -> String {
    file.source.display().to_string()
}

fn text(file: &OverlayFile) -> Result<&str> {
    std::str::from_utf8(&file.bytes)
        .map_err(|_| Error::new(Kind::Input, format!("`{}` is not UTF-8", file.source.display())))
}

fn internal(err: tera::Error) -> Error {
    Error::new(Kind::Internal, format!("preparing the template variables: {err}"))
}

/// Converts a Tera error: adds the overlay, the file and the line.
fn ours(err: &tera::Error, overlay: &Overlay, file: &OverlayFile, text: &str) -> Error {
    let step = || format!("rendering `{}` of overlay `{}`", file.source.display(), overlay.name);
    let (ErrorKind::SyntaxError(report) | ErrorKind::RenderingError(report)) = err.kind() else {
        return Error::new(Kind::Input, err.to_string()).within(step());
    };
    Error::from_report(placed(report, file, text)).within(step())
}

fn placed(error: &ReportError, file: &OverlayFile, text: &str) -> Report {
    let mut report = Report::about(Source { path: file.source.clone(), text: text.into() });
    report.error("", Some(error.span().range.clone()), error.message());
    report
}

/// Formats a list of arguments for `ExecStart=`, one per line.
fn command(arguments: Vec<String>, _: Kwargs, _: &State<'_>) -> String {
    arguments.iter().map(|argument| quote(argument)).collect::<Vec<_>>().join(" \\\n  ")
}

/// Quotes one argument for systemd: doubles `%` and `$`, and puts an argument with whitespace or quotes in
/// quotes (systemd.service(5), "Command lines").
fn quote(argument: &str) -> String {
    let literal = argument.replace('%', "%%").replace('$', "$$");
    if literal.chars().all(|c| c.is_ascii_alphanumeric() || "_@+=:,./*<>{}[]%$-".contains(c)) {
        return literal;
    }
    format!("\"{}\"", literal.replace('\\', "\\\\").replace('"', "\\\""))
}

/// Formats data as YAML.
fn to_yaml(value: Value, _: Kwargs, _: &State<'_>) -> tera::TeraResult<String> {
    yaml::to_string(&value).map_err(tera::Error::message)
}

#[cfg(test)]
mod tests {
    use super::quote;

    #[test]
    fn an_argument_is_one_argument_whatever_it_holds() {
        for (argument, quoted) in [
            ("--v=2", "--v=2"),
            ("--controllers=*,-csrsigning", "--controllers=*,-csrsigning"),
            ("--x=50%n", "--x=50%%n"),
            ("--x=$HOME", "--x=$$HOME"),
            ("--x=a b\"c\\d", r#""--x=a b\"c\\d""#),
        ] {
            assert_eq!(quote(argument), quoted);
        }
    }
}
