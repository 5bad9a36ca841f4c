//! HTTPS connection that identifies the server, with a time limit for each response as a whole: a measurement
//! must not wait longer than it reports. ureq, used everywhere else, does not expose the certificate and the
//! connection.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use httparse::Status;
use rustls::client::Resumption;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::digest::Digest;
use crate::error::{Doing, Kind, Result};
use crate::host::http::Held;

/// Maximum number of header fields.
const FIELDS: usize = 64;
/// Length of the line break at the end of a chunk.
const END: usize = "\r\n".len();

/// Client for the servers of one cluster.
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
    /// Digest of the certificate that the server presented.
    pub(crate) server: Digest,
    /// True if the server closed the connection properly (RFC 8446 section 6.1) without answering the last
    /// request. The request may then be repeated on another connection, as HTTP/2 clients do if the server
    /// reports that it did not process the request (RFC 9113 section 6.8).
    pub(crate) is_ended: bool,
}

/// A complete response.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Result of waiting for more of an endless response.
#[derive(Debug)]
pub(crate) enum Waited {
    Data,
    Silence,
    End,
}

impl Dialler {
    /// Creates a client with the identity in `held`, for servers whose certificates contain `name`.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if a certificate or key is not valid PEM.
    pub(crate) fn new(held: &Held<'_>, name: &str) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let certificates = |pem| {
            CertificateDer::pem_slice_iter(pem).collect::<Result<Vec<_>, _>>().doing(Kind::Verify, step)
        };
        let mut roots = RootCertStore::empty();
        for certificate in certificates(held.authority)? {
            roots.add(certificate).doing(Kind::Verify, step)?;
        }
        let key = PrivateKeyDer::from_pem_slice(held.key).doing(Kind::Verify, step)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .doing(Kind::Internal, step)?;
        let config =
            config.with_root_certificates(roots).with_client_auth_cert(certificates(held.certificate)?, key);
        let mut config = config.doing(Kind::Verify, step)?;
        // A resumed session does not identify the server.
        config.resumption = Resumption::disabled();
        let name = ServerName::try_from(name.to_owned()).doing(Kind::Input, step)?;
        Ok(Self { config: Arc::new(config), name })
    }

    /// Connects within `limit`, including the handshake.
    ///
    /// # Errors
    ///
    /// Network and TLS errors.
    pub(crate) fn connect(&self, address: SocketAddr, limit: Duration) -> io::Result<Session> {
        let end = Instant::now() + limit;
        let socket = TcpStream::connect_timeout(&address, limit)?;
        socket.set_nodelay(true)?;
        let connection =
            ClientConnection::new(Arc::clone(&self.config), self.name.clone()).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, Bounded { socket, end });
        while stream.conn.is_handshaking() {
            stream.conn.complete_io(&mut stream.sock)?;
        }
        let certificate = stream.conn.peer_certificates().and_then(<[_]>::first);
        let server = certificate
            .map(|certificate| Digest::of(certificate))
            .ok_or_else(|| io::Error::other("no server certificate"))?;
        Ok(Session { stream, host: address.to_string(), server, is_ended: false })
    }
}

impl Session {
    /// Sends a request and reads the whole response, within `limit`.
    ///
    /// # Errors
    ///
    /// Network errors; the connection is then unusable.
    pub(crate) fn request(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        limit: Duration,
    ) -> io::Result<Response> {
        let (head, mut body) = self.begin(method, path, body, limit)?;
        match head.length {
            Length::Known(length) => {
                while body.len() < length {
                    self.more(&mut body)?;
                }
            }
            Length::Chunks => body = self.chunks(body)?,
        }
        Ok(Response { status: head.status, body })
    }

    /// Sends a request whose response is endless, and reads the head of that response within `limit`.
    ///
    /// # Errors
    ///
    /// Network errors.
    pub(crate) fn follow(&mut self, path: &str, limit: Duration) -> io::Result<u16> {
        self.begin("GET", path, b"", limit).map(|(head, _)| head.status)
    }

    /// Waits for more of an endless response.
    pub(crate) fn wait(&mut self, limit: Duration) -> Waited {
        self.stream.sock.end = Instant::now() + limit;
        match self.more(&mut Vec::new()) {
            Ok(()) => Waited::Data,
            Err(err) if is_silence(&err) => Waited::Silence,
            Err(_) => Waited::End,
        }
    }

    /// Sends a request; returns the head of the response, and the part of its body received so far.
    fn begin(
        &mut self,
        method: &str,
        path: &str,
        body: &[u8],
        limit: Duration,
    ) -> io::Result<(Head, Vec<u8>)> {
        self.stream.sock.end = Instant::now() + limit;
        let kind = if body.is_empty() { "" } else { "Content-Type: application/json\r\n" };
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: {}\r\n{kind}Content-Length: {}\r\n\r\n",
            self.host,
            body.len()
        );
        self.stream.write_all(&[head.as_bytes(), body].concat())?;
        let mut bytes = Vec::new();
        loop {
            let more = self.more(&mut bytes);
            // rustls reports any other end as unexpected.
            self.is_ended = bytes.is_empty()
                && self.stream.conn.process_new_packets().is_ok_and(|state| state.peer_has_closed());
            more?;
            if let Some((head, end)) = Head::parse(&bytes)? {
                return Ok((head, bytes.split_off(end)));
            }
        }
    }

    /// Returns the content of a chunked body, of which `bytes` have been received.
    fn chunks(&mut self, mut bytes: Vec<u8>) -> io::Result<Vec<u8>> {
        let (mut body, mut at) = (Vec::new(), 0);
        loop {
            let size = httparse::parse_chunk_size(&bytes[at..])
                .map_err(|_| io::Error::other("the response has malformed chunks"))?;
            let whole = match size {
                Status::Complete((start, size)) => usize::try_from(size).ok().map(|size| (at + start, size)),
                Status::Partial => None,
            };
            match whole.filter(|(start, size)| bytes.len() >= start + size + END) {
                Some((_, 0)) => return Ok(body),
                Some((start, size)) => {
                    body.extend_from_slice(&bytes[start..start + size]);
                    at = start + size + END;
                }
                None => self.more(&mut bytes)?,
            }
        }
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

/// Relevant parts of the head of a response.
#[derive(Debug, PartialEq, Eq)]
struct Head {
    status: u16,
    length: Length,
}

/// Length of a body (RFC 9112 section 6.3).
#[derive(Debug, PartialEq, Eq)]
enum Length {
    Known(usize),
    Chunks,
}

impl Head {
    /// Parses the head and returns it with its length, once it is complete.
    fn parse(bytes: &[u8]) -> io::Result<Option<(Self, usize)>> {
        let mut fields = [httparse::EMPTY_HEADER; FIELDS];
        let mut response = httparse::Response::new(&mut fields);
        let Status::Complete(end) = response.parse(bytes).map_err(io::Error::other)? else { return Ok(None) };
        let status = response.code.ok_or_else(|| io::Error::other("the response contains no status"))?;
        let field = |name: &str| response.headers.iter().find(|field| field.name.eq_ignore_ascii_case(name));
        let known = field("content-length")
            .and_then(|field| std::str::from_utf8(field.value).ok()?.trim().parse().ok());
        let length = if field("transfer-encoding").is_some() {
            Length::Chunks
        } else {
            Length::Known(known.unwrap_or(0))
        };
        Ok(Some((Self { status, length }, end)))
    }
}

fn is_silence(err: &io::Error) -> bool {
    matches!(err.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

/// Socket whose operations share one deadline.
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
    use std::io::{Read, Write};
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::time::Duration;

    use rcgen::CertifiedKey;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{ServerConfig, ServerConnection, StreamOwned};

    use super::{Dialler, Head, Length};
    use crate::host::http::Held;

    #[test]
    fn a_head_says_where_the_body_ends() {
        let whole = |head: &str| {
            Head::parse(head.as_bytes()).unwrap().map(|(head, end)| (head.status, head.length, end))
        };
        assert_eq!(
            whole("HTTP/1.1 200 OK\r\nContent-LENGTH: 12\r\n\r\n{"),
            Some((200, Length::Known(12), 39))
        );
        assert_eq!(
            whole("HTTP/1.1 500 No\r\nTransfer-Encoding: chunked\r\n\r\n"),
            Some((500, Length::Chunks, 47))
        );
        assert_eq!(whole("HTTP/1.1 200 OK\r\nContent-Le"), None);
        assert!(Head::parse(b"SSH-2.0\r\n\r\n").is_err());
    }

    /// Whether the connection counts as ended in good order after a server that answers `said` to a request,
    /// and takes leave or does not.
    fn is_ended(said: &'static str, takes_leave: bool) -> bool {
        let CertifiedKey { cert, signing_key } =
            rcgen::generate_simple_self_signed(vec!["kubernetes".to_owned()]).unwrap();
        let (pem, key) = (cert.pem(), signing_key.serialize_pem());
        let held = Held { authority: pem.as_bytes(), certificate: pem.as_bytes(), key: key.as_bytes() };
        let dialler = Dialler::new(&held, "kubernetes").unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth();
        let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
        let config = config.with_single_cert(vec![CertificateDer::from(cert.der().to_vec())], key).unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let server = std::thread::spawn(move || {
            let (socket, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(Arc::new(config)).unwrap(), socket);
            assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
            stream.write_all(said.as_bytes()).unwrap();
            if takes_leave {
                stream.conn.send_close_notify();
            }
            stream.flush().unwrap();
        });
        let limit = Duration::from_secs(10);
        let mut session = dialler.connect(address, limit).unwrap();
        session.request("GET", "/", b"", limit).unwrap_err();
        server.join().unwrap();
        session.is_ended
    }

    #[test]
    fn a_connection_is_ended_in_good_order_by_a_server_that_takes_leave_before_it_answers() {
        assert!(is_ended("", true));
        assert!(!is_ended("", false), "it was cut");
        assert!(!is_ended("HTTP/1.1 200 OK\r\n", true), "it has begun to answer");
    }
}
