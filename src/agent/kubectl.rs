//! Kubernetes API objects, read and patched through kubectl with JSON.

use std::path::Path;

use serde::de::DeserializeOwned;
use serde_json::Value;

use crate::error::{Doing, Kind, Result};
use crate::host;

/// Time limit for one request.
const LIMIT: &str = "--request-timeout=20s";

/// kubectl with the credentials of a kubeconfig.
#[derive(Clone, Copy, Debug)]
pub(super) struct Kubectl<'a> {
    kubeconfig: &'a Path,
}

impl<'a> Kubectl<'a> {
    pub(super) fn new(kubeconfig: &'a Path) -> Self {
        Self { kubeconfig }
    }

    /// Reads objects; `None` if no such object exists.
    ///
    /// # Errors
    ///
    /// [`Kind::Tool`] if the request fails, containing the API server's message, or if the response can't be
    /// parsed.
    pub(super) fn get<T: DeserializeOwned>(self, what: &[&str]) -> Result<Option<T>> {
        let output = self.run("get", what, &["--ignore-not-found", "--output=json"])?;
        if output.is_empty() {
            return Ok(None);
        }
        serde_json::from_slice(&output)
            .map(Some)
            .doing(Kind::Tool, || format!("parsing the output of `kubectl get {}`", what.join(" ")))
    }

    /// Merges `patch` into an object.
    ///
    /// # Errors
    ///
    /// As [`Kubectl::get`].
    pub(super) fn patch(self, what: &[&str], patch: &Value) -> Result<()> {
        self.run("patch", what, &["--type=merge", "--patch", &patch.to_string()]).map(drop)
    }

    fn run(self, verb: &str, what: &[&str], options: &[&str]) -> Result<Vec<u8>> {
        let mut command = host::process::command("kubectl");
        command
            .arg(format!("--kubeconfig={}", self.kubeconfig.display()))
            .args([LIMIT, verb])
            .args(what)
            .args(options);
        host::process::run(&mut command).map(|output| output.stdout)
    }
}
