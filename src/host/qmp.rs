//! Sends a command to a virtual machine's monitor: the QEMU Machine Protocol, lines of JSON over a local
//! socket
//! (<https://www.qemu.org/docs/master/interop/qmp-spec.html>).

use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::error::{Doing, Error, Kind, Result};

/// Time limit for a response.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs `command`, which takes no arguments, on the monitor at `socket`, such as `stop` or `cont`.
///
/// # Errors
///
/// [`Kind::Tool`] containing the monitor's message.
pub(crate) fn command(socket: &Path, command: &str) -> Result<()> {
    let step = || format!("sending `{command}` to the monitor `{}`", socket.display());
    let stream = UnixStream::connect(socket).doing(Kind::Tool, step)?;
    stream.set_read_timeout(Some(PATIENCE)).doing(Kind::Tool, step)?;
    let mut lines = BufReader::new(stream.try_clone().doing(Kind::Tool, step)?).lines();
    // The greeting comes first, and no command is accepted before this one.
    for word in ["qmp_capabilities", command] {
        writeln!(&stream, r#"{{"execute":"{word}"}}"#).doing(Kind::Tool, step)?;
        loop {
            let line =
                lines.next().ok_or_else(|| Error::new(Kind::Tool, "the monitor closed the connection"))?;
            if let Some(answer) = answer(&line.doing(Kind::Tool, step)?) {
                answer.map_err(|why| Error::new(Kind::Tool, format!("{}: {why}", step())))?;
                break;
            }
        }
    }
    Ok(())
}

/// Parses a line as a response; `None` for the greeting and for events.
fn answer(line: &str) -> Option<std::result::Result<(), String>> {
    let message: Value = serde_json::from_str(line).ok()?;
    match (message.get("return"), message.get("error")) {
        (Some(_), _) => Some(Ok(())),
        (_, Some(error)) => {
            Some(Err(error["desc"].as_str().unwrap_or("the command was rejected").to_owned()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::{answer, command};
    use crate::host;
    use crate::judge::judge;

    #[test]
    fn greetings_and_events_answer_nothing() {
        assert_eq!(answer(r#"{"QMP": {"version": {}, "capabilities": ["oob"]}}"#), None);
        assert_eq!(answer(r#"{"timestamp": {"seconds": 1}, "event": "STOP"}"#), None);
        assert_eq!(answer(r#"{"return": {}}"#), Some(Ok(())));
        let refusal =
            r#"{"error": {"class": "CommandNotFound", "desc": "The command halt has not been found"}}"#;
        assert_eq!(answer(refusal), Some(Err("The command halt has not been found".into())));
    }

    #[test]
    fn a_real_monitor_stops_its_machine_and_refuses_what_it_does_not_know() {
        let Some(mut qemu) = judge("qemu-system-x86_64") else { return };
        let dir = tempfile::tempdir().unwrap();
        let socket = dir.path().join("monitor");
        qemu.args(["-nodefaults", "-display", "none", "-machine", "none", "-qmp"]);
        let mut machine = qemu.arg(format!("unix:{},server=on,wait=off", socket.display())).spawn().unwrap();
        let watch = host::clock::Stopwatch::start();
        while !socket.exists() && watch.elapsed().as_secs() < 30 {
            host::clock::sleep(std::time::Duration::from_millis(20));
        }
        for word in ["stop", "cont"] {
            command(&socket, word).unwrap();
        }
        let refusal = command(&socket, "halt").unwrap_err().to_string();
        assert!(refusal.ends_with("The command halt has not been found"), "{refusal}");
        machine.kill().unwrap();
        machine.wait().unwrap();
    }
}
