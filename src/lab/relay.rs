//! Slow cable: a supervisor thread that receives frames on one interface and forwards them to another one
//! later, in order, in both directions. It sleeps until a frame arrives or is due, and ends with the
//! supervisor.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::error::{Doing, Kind, Result};
use crate::host::clock::Stopwatch;
use crate::host::tap::{self, Tap, Woken};
use crate::lab::{Delay, Direction};

/// Maximum number of bytes in transit, each way: further frames are dropped, as in a router. One second at
/// 256 Mbit/s.
const ROOM: usize = 32 << 20;
/// Maximum number of frames received from one side before it is the other side's turn.
const TURN: usize = 64;

/// A slow cable segment; removed when dropped.
#[derive(Debug)]
pub(super) struct Relay {
    /// Pipe whose other end is watched by the thread.
    leash: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

impl Relay {
    /// Starts forwarding frames between the interface on the node's side and the interface on the other side.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the thread can't be started.
    pub(super) fn start(near: Tap, far: Tap, delay: Delay) -> Result<Self> {
        let (leash, end) = tap::leash()?;
        let carry = move || {
            // If an interface has disappeared, there is nothing to forward, and nothing waits for the result.
            let _ = carry(&near, &far, delay, &end);
        };
        let thread = Builder::new()
            .name("relay".into())
            .spawn(carry)
            .doing(Kind::Io, || "starting a thread".into())?;
        Ok(Self { leash: Some(leash), thread: Some(thread) })
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        drop(self.leash.take());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// Forwards frames until the other end of `leash` is dropped.
fn carry(near: &Tap, far: &Tap, delay: Delay, leash: &OwnedFd) -> Result<()> {
    let clock = Stopwatch::start();
    let mut buffer = vec![0; tap::LONGEST];
    let mut ways =
        [(near, far, Way::new(delay.of(Direction::Out))), (far, near, Way::new(delay.of(Direction::In)))];
    loop {
        for (_, to, way) in &mut ways {
            while let Some(frame) = way.due(clock.elapsed()) {
                to.send(&frame)?;
            }
        }
        let next = ways.iter().filter_map(|(_, _, way)| way.next()).min();
        let limit = next.map(|next| next.saturating_sub(clock.elapsed()));
        if tap::wait([near, far], leash, limit)? == Woken::End {
            return Ok(());
        }
        for (from, _, way) in &mut ways {
            for _ in 0..TURN {
                let Some(length) = from.receive(&mut buffer)? else { break };
                way.take(clock.elapsed(), &buffer[..length]);
            }
        }
    }
}

/// Frames in transit, in order. Times are relative to the start of the relay.
struct Way {
    delay: Duration,
    frames: VecDeque<(Duration, Box<[u8]>)>,
    bytes: usize,
}

impl Way {
    fn new(delay: Duration) -> Self {
        Self { delay, frames: VecDeque::new(), bytes: 0 }
    }

    fn take(&mut self, now: Duration, frame: &[u8]) {
        if self.bytes + frame.len() <= ROOM {
            self.bytes += frame.len();
            self.frames.push_back((now + self.delay, frame.into()));
        }
    }

    /// Returns the time at which the next frame is due.
    fn next(&self) -> Option<Duration> {
        self.frames.front().map(|(due, _)| *due)
    }

    /// Returns the next frame, if it is due.
    fn due(&mut self, now: Duration) -> Option<Box<[u8]>> {
        self.next().filter(|due| *due <= now)?;
        let (_, frame) = self.frames.pop_front()?;
        self.bytes -= frame.len();
        Some(frame)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::{ROOM, Relay, Way};
    use crate::host;
    use crate::host::clock::Stopwatch;
    use crate::host::tap::Tap;
    use crate::lab::{Delay, Direction};

    #[test]
    fn frames_leave_in_order_and_no_earlier_than_they_are_due() {
        let at = Duration::from_millis;
        let mut way = Way::new(at(50));
        way.take(at(0), b"one");
        way.take(at(10), b"two");
        assert_eq!((way.next(), way.due(at(49))), (Some(at(50)), None));
        assert_eq!(way.due(at(60)).as_deref(), Some(&b"one"[..]));
        assert_eq!(way.due(at(60)).as_deref(), Some(&b"two"[..]));
        assert_eq!((way.next(), way.due(at(99)), way.bytes), (None, None, 0));
    }

    #[test]
    fn what_has_no_room_is_lost_and_room_comes_back() {
        let frame = vec![0; 1 << 20];
        let mut way = Way::new(Duration::ZERO);
        (0..100).for_each(|_| way.take(Duration::ZERO, &frame));
        assert_eq!(way.frames.len(), ROOM >> 20);
        assert!(way.due(Duration::ZERO).is_some());
        way.take(Duration::ZERO, &frame);
        assert_eq!((way.frames.len(), way.bytes), (ROOM >> 20, ROOM));
    }

    /// Runs in a separate network namespace, with an interface at either end of the slow segment.
    #[test]
    fn frames_pass_a_relay_after_their_delay_each_way() {
        if !host::namespace::is_root() {
            return;
        }
        let inside = || {
            host::namespace::isolate().unwrap();
            let [left, near, far, right] =
                ["left", "near", "far", "right"].map(|name| Tap::open(name).unwrap());
            bridge("one", ["left", "near"]);
            bridge("two", ["far", "right"]);
            let relay =
                Relay::start(near, far, Delay { milliseconds: 40, direction: Some(Direction::Out) }).unwrap();
            let (out, back) = (passes(&left, &right), passes(&right, &left));
            assert!((40..60).contains(&out.as_millis()), "{out:?}");
            assert!(back.as_millis() < 20, "{back:?}");
            drop(relay);
            let links = host::process::run(host::process::command("ip").args(["-brief", "link"])).unwrap();
            let links = String::from_utf8_lossy(&links.stdout).into_owned();
            assert!(links.contains("left") && !links.contains("near") && !links.contains("far"), "{links}");
        };
        std::thread::spawn(inside).join().unwrap();
    }

    fn bridge(name: &str, ports: [&str; 2]) {
        let [one, other] =
            ports.map(|port| format!("link set dev {port} master {name}\nlink set dev {port} up\n"));
        let batch = format!(
            "link add name {name} type bridge forward_delay 0 mcast_snooping 0\n{one}{other}link set dev \
            {name} up\n"
        );
        host::process::run_with_input(host::process::command("ip").args(["-batch", "-"]), batch.as_bytes())
            .unwrap();
    }

    /// Returns the time that a broadcast frame takes from one interface to the other. Its protocol type is
    /// reserved for experiments (IEEE 802, 9.2.3).
    fn passes(from: &Tap, to: &Tap) -> Duration {
        let mut frame = [&[0xff; 6][..], &[2, 0, 0, 0, 0, 1], &[0x88, 0xb5]].concat();
        frame.resize(60, 7);
        let mut buffer = [0; 2048];
        while to.receive(&mut buffer).unwrap().is_some() {}
        let watch = Stopwatch::start();
        from.send(&frame).unwrap();
        while watch.elapsed() < Duration::from_secs(5) {
            match to.receive(&mut buffer).unwrap() {
                Some(length) if buffer[..length] == frame[..] => return watch.elapsed(),
                Some(_) => {}
                None => host::clock::sleep(Duration::from_micros(200)),
            }
        }
        panic!("the frame did not arrive");
    }
}
