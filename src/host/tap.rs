//! Ethernet interface that exists while this program has it open: a TAP device
//! (`Documentation/networking/tuntap.rst` in the kernel). Frames that the interface sends are read here;
//! frames written here are received by the interface.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::error::{Doing, Error, Kind, Result};

/// Maximum frame size in bytes: the loopback interface's limit, which is higher than any network card's
/// limit.
pub(crate) const LONGEST: usize = 64 << 10;

/// A TAP interface, created when opened and removed when dropped.
pub(crate) struct Tap {
    name: String,
    device: SyncDevice,
}

impl Tap {
    /// Creates the interface `name`, initially down, in this thread's network namespace.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if permission is denied, or if the name is taken.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let step = || format!("creating the interface `{name}`");
        let device = DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state().build_sync();
        let device = device.doing(Kind::Io, step).map_err(hint)?;
        rustix::io::ioctl_fionbio(&device, true).doing(Kind::Io, step)?;
        Ok(Self { name: name.to_owned(), device })
    }

    /// Reads the next frame that the interface has sent into `buffer` and returns its length; `None` if there
    /// is none.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface no longer exists.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        match rustix::io::read(&self.device, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(err) => Err(err).doing(Kind::Io, || format!("receiving from `{}`", self.name)),
        }
    }

    /// Sends a frame to the interface; the frame is dropped if the interface is down or its queue is full.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface no longer exists.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        match rustix::io::write(&self.device, frame) {
            Ok(_)
            | Err(Errno::AGAIN | Errno::INTR | Errno::IO | Errno::NOBUFS | Errno::NOMEM | Errno::INVAL) => {
                Ok(())
            }
            Err(err) => Err(err).doing(Kind::Io, || format!("sending to `{}`", self.name)),
        }
    }
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.device.as_fd()
    }
}

impl fmt::Debug for Tap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tap").field(&self.name).finish()
    }
}

fn hint(err: Error) -> Error {
    err.hint("allow your user to open /dev/net/tun: `sudo chmod 666 /dev/net/tun`")
}

/// Returns two ends of a pipe: dropping the first wakes a thread that waits on the second.
///
/// # Errors
///
/// [`Kind::Io`] if this process has too many files open.
pub(crate) fn leash() -> Result<(OwnedFd, OwnedFd)> {
    let (waits, keeps) =
        rustix::pipe::pipe_with(PipeFlags::CLOEXEC).doing(Kind::Io, || "creating a pipe".into())?;
    Ok((keeps, waits))
}

/// Why [`wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Frames may have arrived, or the time limit has expired.
    Work,
    /// The other end of the leash was dropped.
    End,
}

/// Waits until an interface has sent a frame, the other end of the leash is dropped, or `limit` expires.
///
/// # Errors
///
/// [`Kind::Io`] if the kernel rejects the request.
pub(crate) fn wait(taps: [&Tap; 2], leash: &OwnedFd, limit: Option<Duration>) -> Result<Woken> {
    let [one, other] = taps.map(|tap| PollFd::from_borrowed_fd(tap.as_fd(), PollFlags::IN));
    let mut waiting = [one, other, PollFd::new(leash, PollFlags::empty())];
    let limit = limit.map(|limit| Timespec::try_from(limit).expect("limits are short"));
    match rustix::event::poll(&mut waiting, limit.as_ref()) {
        Ok(_) if waiting[2].revents().is_empty() => Ok(Woken::Work),
        Err(Errno::INTR) => Ok(Woken::Work),
        Ok(_) => Ok(Woken::End),
        Err(err) => Err(err).doing(Kind::Io, || "waiting for frames".into()),
    }
}
