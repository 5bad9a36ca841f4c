//! Messages between two kiln processes of one user: JSON over a local socket that preserves message
//! boundaries, with an optional file descriptor.

use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Doing, Kind, Result};

/// Maximum message size in bytes; fits into the kernel's default buffer.
const LONGEST: usize = 128 << 10;

/// One end of a connection.
#[derive(Debug)]
pub(crate) struct Channel(OwnedFd);

/// Socket that clients connect to.
#[derive(Debug)]
pub(crate) struct Listener(OwnedFd);

/// Result of receiving.
#[derive(Debug)]
pub(crate) enum Received<T> {
    Message(T, Option<OwnedFd>),
    /// The other end is closed.
    End,
    /// No message within the limit.
    Nothing,
}

impl Listener {
    /// Creates the socket; any user who can enter its directory can connect.
    pub(crate) fn bind(path: &Path) -> Result<Self> {
        let step = || format!("creating the socket `{}`", path.display());
        let address = SocketAddrUnix::new(path).doing(Kind::Io, step)?;
        let socket = socket().doing(Kind::Io, step)?;
        rustix::net::bind(&socket, &address).doing(Kind::Io, step)?;
        rustix::net::listen(&socket, 16).doing(Kind::Io, step)?;
        Ok(Self(socket))
    }

    /// Waits for the next client.
    pub(crate) fn accept(&self) -> Result<Channel> {
        rustix::net::accept_with(&self.0, SocketFlags::CLOEXEC)
            .map(Channel)
            .doing(Kind::Io, || "waiting for a client".into())
    }
}

impl Channel {
    /// Returns two connected ends.
    pub(crate) fn pair() -> Result<(Self, Self)> {
        rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
            .map(|(one, other)| (Self(one), Self(other)))
            .doing(Kind::Io, || "creating a socket pair".into())
    }

    /// Connects to a [`Listener`].
    pub(crate) fn connect(path: &Path) -> Result<Self> {
        let step = || format!("connecting to `{}`", path.display());
        let address = SocketAddrUnix::new(path).doing(Kind::Io, step)?;
        let socket = socket().doing(Kind::Io, step)?;
        rustix::net::connect(&socket, &address).doing(Kind::Io, step)?;
        Ok(Self(socket))
    }

    /// Returns the end that this process was started with as its standard input.
    pub(crate) fn from_stdin() -> Result<Self> {
        std::io::stdin()
            .as_fd()
            .try_clone_to_owned()
            .map(Self)
            .doing(Kind::Io, || "duplicating standard input".into())
    }

    /// Converts this end to the standard input of a process that is about to start.
    pub(crate) fn into_stdio(self) -> std::process::Stdio {
        self.0.into()
    }

    /// Sends a message, with an optional file descriptor.
    pub(crate) fn send(&self, message: &impl Serialize, handle: Option<BorrowedFd<'_>>) -> Result<()> {
        let step = || "sending a message".to_owned();
        let bytes = serde_json::to_vec(message).doing(Kind::Internal, step)?;
        let handles: Vec<BorrowedFd<'_>> = handle.into_iter().collect();
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        if !handles.is_empty() {
            ancillary.push(SendAncillaryMessage::ScmRights(&handles));
        }
        rustix::net::sendmsg(&self.0, &[IoSlice::new(&bytes)], &mut ancillary, SendFlags::NOSIGNAL)
            .doing(Kind::Io, step)?;
        Ok(())
    }

    /// Waits for a message, without limit or for `limit`.
    pub(crate) fn receive<T: DeserializeOwned>(&self, limit: Option<Duration>) -> Result<Received<T>> {
        let step = || "receiving a message".to_owned();
        set_socket_timeout(&self.0, Timeout::Recv, limit).doing(Kind::Io, step)?;
        let mut bytes = vec![0; LONGEST];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = RecvAncillaryBuffer::new(&mut space);
        let mut slices = [IoSliceMut::new(&mut bytes)];
        let received =
            match rustix::net::recvmsg(&self.0, &mut slices, &mut ancillary, RecvFlags::CMSG_CLOEXEC) {
                Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => return Ok(Received::Nothing),
                Err(rustix::io::Errno::CONNRESET) => return Ok(Received::End),
                other => other.doing(Kind::Io, step)?,
            };
        if received.bytes == 0 {
            return Ok(Received::End);
        }
        let handle = ancillary.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut handles) => handles.next(),
            _ => None,
        });
        Ok(Received::Message(
            serde_json::from_slice(&bytes[..received.bytes]).doing(Kind::Internal, step)?,
            handle,
        ))
    }
}

impl AsFd for Channel {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn socket() -> rustix::io::Result<OwnedFd> {
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::time::Duration;

    use super::{Channel, Listener, Received};

    #[test]
    fn a_message_arrives_with_its_handle_and_the_end_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("control");
        let listener = Listener::bind(&path).unwrap();
        let client = Channel::connect(&path).unwrap();
        let server = listener.accept().unwrap();
        client.send(&"hello", Some(client.as_fd())).unwrap();
        client.send(&"again", None).unwrap();
        let Received::Message(text, handle) = server.receive::<String>(None).unwrap() else {
            panic!("no message")
        };
        assert_eq!((text.as_str(), handle.is_some()), ("hello", true));
        let Received::Message(text, None) = server.receive::<String>(None).unwrap() else {
            panic!("no message")
        };
        assert_eq!(text, "again");
        drop(handle);
        assert!(matches!(
            server.receive::<String>(Some(Duration::from_millis(10))).unwrap(),
            Received::Nothing
        ));
        drop(client);
        assert!(matches!(server.receive::<String>(None).unwrap(), Received::End));
    }
}
