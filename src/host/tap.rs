//! Frames of an Ethernet interface that exists for as long as this program has it open: a TAP, `Documentation/networking/tuntap.rst`
//! of the kernel. What the interface sends is read here, and what is written here it receives.

use std::fmt;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::pipe::PipeFlags;
use tun_rs::{DeviceBuilder, Layer, SyncDevice};

use crate::error::{Doing, Error, Kind, Result};

/// Longest frame, in bytes: that of the loopback interface, which is longer than any of a network card.
pub(crate) const LONGEST: usize = 64 << 10;

/// An interface, made when this is opened and gone when it is dropped.
pub(crate) struct Tap {
    name: String,
    device: SyncDevice,
}

impl Tap {
    /// Makes the interface `name` in this thread's network namespace, switched off.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if this process may not, or there is one of that name.
    pub(crate) fn open(name: &str) -> Result<Self> {
        let step = || format!("making the interface `{name}`");
        let device = DeviceBuilder::new().name(name).layer(Layer::L2).inherit_enable_state().build_sync();
        let device = device.doing(Kind::Io, step).map_err(hint)?;
        rustix::io::ioctl_fionbio(&device, true).doing(Kind::Io, step)?;
        Ok(Self { name: name.to_owned(), device })
    }

    /// The next frame that the interface has sent, in `buffer`, and how long it is; none if there is none now.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface is gone.
    pub(crate) fn receive(&self, buffer: &mut [u8]) -> Result<Option<usize>> {
        match rustix::io::read(&self.device, buffer) {
            Ok(length) => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            Err(err) => Err(err).doing(Kind::Io, || format!("receiving from `{}`", self.name)),
        }
    }

    /// Lets the interface receive a frame; one that is switched off, or has no room for it, does not.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the interface is gone.
    pub(crate) fn send(&self, frame: &[u8]) -> Result<()> {
        match rustix::io::write(&self.device, frame) {
            Ok(_) | Err(Errno::AGAIN | Errno::INTR | Errno::IO | Errno::NOBUFS | Errno::NOMEM | Errno::INVAL) => Ok(()),
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
    err.hint("make sure that you may open /dev/net/tun: `sudo chmod 666 /dev/net/tun`")
}

/// Two ends of which one is seen to be dropped by who waits at the other: the one to keep, and the one to wait at.
///
/// # Errors
///
/// [`Kind::Io`] if this process has too many files open.
pub(crate) fn leash() -> Result<(OwnedFd, OwnedFd)> {
    let (waits, keeps) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).doing(Kind::Io, || "making a pipe".into())?;
    Ok((keeps, waits))
}

/// What [`wait`] ended with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Woken {
    /// Frames may have come, or the time is over.
    Work,
    /// The other end of the leash was dropped.
    End,
}

/// Waits until an interface has sent a frame, or the other end of the leash is dropped, or `limit` is over.
///
/// # Errors
///
/// [`Kind::Io`] if the kernel refuses.
pub(crate) fn wait(taps: [&Tap; 2], leash: &OwnedFd, limit: Option<Duration>) -> Result<Woken> {
    let [one, other] = taps.map(|tap| PollFd::from_borrowed_fd(tap.as_fd(), PollFlags::IN));
    let mut waiting = [one, other, PollFd::new(leash, PollFlags::empty())];
    let limit = limit.map(|limit| Timespec::try_from(limit).expect("a limit is short"));
    match rustix::event::poll(&mut waiting, limit.as_ref()) {
        Ok(_) if waiting[2].revents().is_empty() => Ok(Woken::Work),
        Err(Errno::INTR) => Ok(Woken::Work),
        Ok(_) => Ok(Woken::End),
        Err(err) => Err(err).doing(Kind::Io, || "waiting for frames".into()),
    }
}
