//! Docker images. Docker's containerd reads every archive format, and writes the one that every Docker
//! version reads.

use std::path::Path;
use std::process::{Command, Stdio};

use serde::Deserialize;

use super::Images;
use super::containerd::{images, names};
use crate::error::{Doing, Error, Kind, Result};
use crate::host;

/// containerd namespace used to convert archives.
const NAMESPACE: &str = "kiln-preload";
/// Docker API, accessed over its socket.
const API: &str = "http://docker/v1.40";

#[derive(Debug)]
pub(super) struct Docker;

/// A line of Docker's response. A failure after the response has begun is reported as success, with an error
/// in the body.
#[derive(Debug, Deserialize)]
struct Line {
    error: Option<String>,
}

impl Images for Docker {
    fn has(&self, name: &str) -> Result<bool> {
        Ok(host::process::run(&mut docker(&format!("images/{name}/json"))).is_ok())
    }

    fn load(&self, archive: &Path) -> Result<()> {
        clear()?;
        host::process::run(images(NAMESPACE).args(["import", "--no-unpack"]).arg(archive))?;
        let names = names(NAMESPACE)?.into_iter().filter(|name| !name.contains('@'));
        let mut export = images(NAMESPACE);
        export.args(["export", "-"]).args(names).stdout(Stdio::piped());
        let mut child = export.spawn().doing(Kind::Tool, || "starting `ctr`".into())?;
        let archive = child.stdout.take().expect("the output is piped");
        let mut upload = docker("images/load?quiet=1");
        upload
            .args(["--request", "POST", "--header", "Content-Type: application/x-tar", "--upload-file", "-"])
            .stdin(archive);
        let answer = host::process::run(&mut upload);
        let exported = host::process::wait("ctr", child);
        clear()?;
        exported?;
        failure(&answer?.stdout).map_or(Ok(()), |why| {
            Err(Error::new(Kind::Tool, format!("Docker can't load the archive: {why}")))
        })
    }

    fn name(&self, _: &str, wanted: &str) -> Result<()> {
        Err(Error::new(
            Kind::Tool,
            format!("Docker accepts image digests only from a registry, so `{wanted}` can't be preloaded"),
        ))
    }

    fn keep(&self, _: &str) -> Result<()> {
        // The kubelet can't pin Docker images.
        Ok(())
    }
}

fn docker(path: &str) -> Command {
    let mut command = host::process::command("curl");
    command
        .args(["--silent", "--show-error", "--fail", "--unix-socket", "/run/docker.sock"])
        .arg(format!("{API}/{path}"));
    command
}

/// Removes leftovers of an earlier import from the namespace.
fn clear() -> Result<()> {
    names(NAMESPACE)?
        .iter()
        .try_for_each(|name| host::process::run(images(NAMESPACE).args(["rm", "--sync", name])).map(drop))
}

fn failure(answer: &[u8]) -> Option<String> {
    let lines = serde_json::Deserializer::from_slice(answer).into_iter::<Line>();
    lines.filter_map(|line| line.ok()?.error).next()
}

#[cfg(test)]
mod tests {
    use super::failure;

    #[test]
    fn a_failure_in_the_body_of_a_success_is_one() {
        assert_eq!(failure(b"{\"stream\":\"Loaded image: x\\n\"}\n"), None);
        assert_eq!(
            failure(b"{\"status\":\"x\"}\n{\"errorDetail\":{},\"error\":\"no space\"}\n").as_deref(),
            Some("no space")
        );
    }
}
