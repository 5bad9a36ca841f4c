//! A client's connection over TLS that shows who is at its other end, with a time limit for each answer as a whole: what measures a
//! service must not wait longer than it says. HTTP/1.1 as API servers speak it (RFC 9112).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::digest::Digest;
use crate::error::{Doing, Kind, Result};
use crate::host::http::Held;

/// Longest head of an answer.
const HEAD: usize = 16 << 10;

/// What connects to servers of one cluster.
#[derive(Clone, Debug)]
pub(crate) struct Dialler {
    config: Arc<ClientConfig>,
    name: ServerName<'static>,
}

/// One connection.
#[derive(Debug)]
pub(crate) struct Session {
    stream: StreamOwned<ClientConnection, Bounded>,
    host: String,
    /// Of the certificate that the server showed.
    pub(crate) server: Digest,
}

/// A whole answer.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// What came of an answer without an end.
#[derive(Debug)]
pub(crate) enum Waited {
    Data,
    Silence,
    End,
}

impl Dialler {
    /// Connects as `held` says to servers whose certificates have `name`.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] for what is no PEM.
    pub(crate) fn new(held: &Held<'_>, name: &str) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let certificates = |pem| CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().doing(Kind::Verify, step);
        let mut roots = RootCertStore::empty();
        for certificate in certificates(held.authority)? {
            roots.add(certificate).doing(Kind::Verify, step)?;
        }
        let key = PrivateKeyDer::from_pem_slice(held.key).doing(Kind::Verify, step)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().doing(Kind::Internal, step)?;
        let config = config.with_root_certificates(roots).with_client_auth_cert(certificates(held.certificate)?, key);
        let mut config = config.doing(Kind::Verify, step)?;
        // A resumed session does not show which server it is.
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(name.to_owned()).doing(Kind::Input, step)?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Connects within `limit`, handshake included.
    ///
    /// # Errors
    ///
    /// What the network or TLS said.
    pub(crate) fn connect(&self, address: SocketAddr, limit: Duration) -> io::Result<Session> {
        let end = Instant::now() + limit;
        let socket = TcpStream::connect_timeout(&address, limit)?;
        socket.set_nodelay(true)?;
        let connection = ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, Bounded { socket, end });
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let certificate = stream.conn.peer_certificates().and_then(<[_]>::first);
        let server = certificate.map(|certificate| Digest::of(certificate)).ok_or_else(|| io::Error::other("no certificate"))?;
        Ok(Session { stream, host: address.to_string(), server })
    }
}

impl Session {
    /// Sends a request and reads the whole answer, within `limit`.
    ///
    /// # Errors
    ///
    /// What the network said; the connection is of no use then.
    pub(crate) fn request(&mut self, method: &str, path: &str, body: &[u8], limit: Duration) -> io::Result<Response> {
        let (status, head, mut body) = self.begin(method, path, body, limit)?;
        if let Some(length) = field(&head, "content-length").and_then(|length| length.parse::<usize>().ok()) {
            while body.len() < length {
                self.more(&mut body)?;
            }
        } else if field(&head, "transfer-encoding").is_some() {
            while !body.ends_with(b"0\r\n\r\n") {
                self.more(&mut body)?;
            }
            body = dechunked(&body);
        }
        Ok(Response { status, body })
    }

    /// Sends a request whose answer has no end, and reads that answer's head within `limit`.
    ///
    /// # Errors
    ///
    /// What the network said.
    pub(crate) fn follow(&mut self, path: &str, limit: Duration) -> io::Result<u16> {
        self.begin("GET", path, b"", limit).map(|(status, ..)| status)
    }

    /// Waits for more of an answer without an end.
    pub(crate) fn wait(&mut self, limit: Duration) -> Waited {
        self.stream.sock.end = Instant::now() + limit;
        match self.more(&mut Vec::new()) {
            Ok(()) => Waited::Data,
            Err(err) if is_silence(&err) => Waited::Silence,
            Err(_) => Waited::End,
        }
    }

    /// Status, head, and what has come of the body.
    fn begin(&mut self, method: &str, path: &str, body: &[u8], limit: Duration) -> io::Result<(u16, String, Vec<u8>)> {
        self.stream.sock.end = Instant::now() + limit;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head = format!("{method} {path} HTTP/1.1\r\nHost: {}\r\n{kind}Content-Length: {}\r\n\r\n", self.host, body.len());
        self.stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
                break at + 4;
            }
            if bytes.len() > HEAD {
                return Err(io::Error::other("its head does not end"));
            }
            self.more(&mut bytes)?;
        };
        let rest = bytes.split_off(end);
        let head = String::from_utf8(bytes).map_err(io::Error::other)?;
        let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
        Ok((status.ok_or_else(|| io::Error::other("it has no status"))?, head, rest))
    }

    fn more(&mut self, bytes: &mut Vec<u8>) -> io::Result<()> {
        let mut buffer = [0; 4096];
        match self.stream.read(&mut buffer)? {
            0 => Err(io::ErrorKind::UnexpectedEof.into()),
            length => {
                bytes.extend_from_slice(&buffer[..length]);
                Ok(())
            }
        }
    }
}

/// A field of a head, by its name in lower case.
fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().filter_map(|line| line.split_once(':'));
    fields.filter(|(field, _)| field.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
}

/// Chunks without what frames them.
fn dechunked(mut bytes: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    while let Some(at) = bytes.windows(2).position(|two| two == b"\r\n") {
        let size = std::str::from_utf8(&bytes[..at]).ok().and_then(|size| usize::from_str_radix(size.trim(), 16).ok()).unwrap_or(0);
        let Some(chunk) = bytes.get(at + 2..at + 2 + size).filter(|chunk| !chunk.is_empty()) else { break };
        body.extend_from_slice(chunk);
        bytes = bytes.get(at + 4 + size..).unwrap_or_default();
    }
    body
}

fn is_silence(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// A socket on which nothing waits longer than to one moment.
#[derive(Debug)]
struct Bounded {
    socket: TcpStream,
    end: Instant,
}

impl Bounded {
    fn left(&self) -> io::Result<Option<Duration>> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(Some(left)) }
    }
}

impl Read for Bounded {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.socket.set_read_timeout(self.left()?)?;
        self.socket.read(buffer)
    }
}

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.socket.set_write_timeout(self.left()?)?;
        self.socket.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.socket.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::{dechunked, field};

    #[test]
    fn fields_and_chunks_are_read_as_they_are_written() {
        let head = "HTTP/1.1 200 OK\r\nContent-LENGTH: 12\r\n\r\n";
        assert_eq!(field(head, "content-length"), Some("12"));
        assert_eq!(field(head, "transfer-encoding"), None);
        assert_eq!(dechunked(b"3\r\nabc\r\nA\r\n0123456789\r\n0\r\n\r\n"), b"abc0123456789");
    }
}
