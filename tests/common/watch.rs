//! A client that continuously reads and writes through the VIP and measures interruptions.

#![allow(clippy::disallowed_methods, clippy::unwrap_used, reason = "tests look at the world as users do")]

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::lab::{Client, Lab};

/// Requests the URL in the third argument and runs the command after it, as long as the file in the first
/// argument exists.
const SCRIPT: &str = r#"
going=$1 ca=$2 url=$3
shift 3
while [ -e "$going" ]; do
  [ "$(curl --silent --fail --max-time 2 --cacert "$ca" "$url")" = ok ] && echo "read $(date +%s%3N)"
  "$@" "watched=$(date +%s%N)" >&2 && echo "written $(date +%s%3N)"
  sleep 0.2
done
"#;

/// The client, which ends when this value is dropped.
pub struct Watch {
    client: Child,
    going: PathBuf,
    log: PathBuf,
    begin: Duration,
}

impl Watch {
    /// Starts the client of a responding cluster, with its files in `scratch`.
    pub fn begin(lab: &Lab, client: &Client, vip: &str, scratch: &Path) -> Self {
        let (going, log) = (scratch.join("going"), scratch.join("watch.log"));
        let output = |path: &Path| File::create(path).unwrap();
        output(&going);
        let url = format!("https://{vip}/readyz");
        let write = ["annotate", "namespace", "default", "--overwrite"];
        let mut script = lab.kiln(&["exec", "--", "bash", "-c", SCRIPT, "bash"]);
        script.arg(&going).arg(&client.ca).arg(url).args(client.kubectl_command(&write));
        let client =
            script.stdout(output(&log)).stderr(output(&log.with_extension("errors"))).spawn().unwrap();
        Self { client, going, log, begin: now() }
    }

    /// The longest times without an answer and without a write.
    pub fn gaps(&self) -> [Duration; 2] {
        let lines = fs::read_to_string(&self.log).unwrap();
        ["read ", "written "].map(|word| {
            let times = lines
                .lines()
                .filter_map(|line| line.strip_prefix(word)?.parse().ok())
                .map(Duration::from_millis);
            let mut last = self.begin;
            let gaps =
                times.chain([now()]).map(|time| time.saturating_sub(std::mem::replace(&mut last, time)));
            gaps.max().unwrap()
        })
    }

    /// Error messages of the client's writes.
    pub fn errors(&self) -> String {
        fs::read_to_string(self.log.with_extension("errors")).unwrap()
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.going);
        let _ = self.client.wait();
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap()
}
