//! Silent connections between members, which the agent closes with ss(8). The test uses its own programs as
//! endpoints, because the installed etcd may close silent connections itself.

use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::common::judge;
use crate::common::lab::eventually;
use crate::member::Member;
use crate::world::World;

/// The etcd peer port.
const PORT: u16 = 2380;
/// Time after which a silent connection is closed.
const SILENT: Duration = Duration::from_secs(6);
/// Time for the check after that to complete on a busy machine.
const SEEN: Duration = Duration::from_secs(20);

/// Accepts connections and reads from them. The first byte selects the response: `t` gets one byte per second
/// for ever, `h` for two seconds, and any other byte nothing.
const LISTEN: &str = "
import socket, sys, threading, time
def serve(c):
    words = {b't': 1 << 30, b'h': 2}.get(c.recv(1), 0)
    threading.Thread(target=lambda: [None for _ in iter(lambda: c.recv(65536), b'')], daemon=True).start()
    for word in range(1 << 30):
        time.sleep(1)
        if word < words: c.send(b'x')
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
while True:
    threading.Thread(target=serve, args=(s.accept()[0],), daemon=True).start()
";

/// Connects, sends a byte a number of times, and reads until the connection is closed.
const DIAL: &str = "
import socket, sys
c = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5)
c.settimeout(None)
c.sendall(sys.argv[3].encode() * int(sys.argv[4]))
try:
    while c.recv(65536): pass
except OSError: pass
";

/// A program that is killed when the test ends.
struct Running(Child);

impl Running {
    fn new(mut command: Command) -> Self {
        Self(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }

    fn is_over(&mut self) -> bool {
        self.0.try_wait().unwrap().is_some()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub(crate) fn readers_that_hear_nothing_are_ended_and_no_others() {
    let Some(world) = World::new(3) else { return };
    if judge("python3").is_none() || judge("ss").is_none() {
        return;
    }
    let (one, other) = (&world.members[0], &world.members[1]);
    let python = |member: &Member, program: &str, words: &[&str]| {
        let mut command = member.command("python3");
        command.args(["-c", program]).args(words);
        Running::new(command)
    };
    let ports = [PORT, PORT + 1].map(|port| port.to_string());
    let _listening = ports.each_ref().map(|port| python(other, LISTEN, &["10.0.0.12", port]));
    for port in [PORT, PORT + 1] {
        eventually("a listener", SEEN, || other.listens(port));
    }
    let begin = Instant::now();
    let mut silent = python(one, DIAL, &["10.0.0.12", &ports[0], "h", "2000"]);
    let mut kept = [
        // In this order: a connection that receives data, like heartbeats; one on which no data is expected;
        // one that sent a snapshot, which takes long to answer; and one that does not belong to etcd.
        python(one, DIAL, &["10.0.0.12", &ports[0], "t", "2000"]),
        python(one, DIAL, &["10.0.0.12", &ports[0], "s", "2000"]),
        python(one, DIAL, &["10.0.0.12", &ports[0], "s", "200000"]),
        python(one, DIAL, &["10.0.0.12", &ports[1], "s", "2000"]),
    ];
    let _agent = Running::new(one.agent("streams"));
    eventually("the silent connection is closed", SEEN, || {
        if silent.is_over() { Ok(()) } else { Err("it is still open".into()) }
    });
    assert!(begin.elapsed() >= SILENT, "{:?}", begin.elapsed());
    std::thread::sleep(SILENT);
    assert_eq!(kept.each_mut().map(Running::is_over), [false; 4]);
}
