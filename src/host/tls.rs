//! One query over mutual TLS: a client with a certificate from the same CA receives the answer, and the
//! connection is closed.
//!
//! There is no request: the TLS handshake identifies both sides, and only the answer is sent (RFC 8446).

use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream, StreamOwned,
};

use crate::error::{Doing, Kind, Result};

/// Time limit for connecting, and for each read and write.
const PATIENCE: Duration = Duration::from_secs(2);
/// Maximum size of an answer, in bytes.
const LONGEST: u64 = 1 << 16;
/// Maximum size of the head of a request, in bytes.
const HEAD: usize = 4096;
/// Number of connections answered in parallel; more wait in the kernel's queue.
const WORKERS: usize = 4;

/// Files of one side, in PEM format, as etcd uses them.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) authority: PathBuf,
    pub(crate) certificate: PathBuf,
    pub(crate) key: PathBuf,
}

impl Identity {
    fn roots(&self) -> Result<Arc<RootCertStore>> {
        let mut roots = RootCertStore::empty();
        for certificate in certificates(&self.authority)? {
            roots
                .add(certificate)
                .doing(Kind::Verify, || format!("reading `{}`", self.authority.display()))?;
        }
        Ok(Arc::new(roots))
    }

    fn own(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = PrivateKeyDer::from_pem_file(&self.key)
            .doing(Kind::Io, || format!("reading the key `{}`", self.key.display()))?;
        Ok((certificates(&self.certificate)?, key))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let step = || format!("reading `{}`", path.display());
    CertificateDer::pem_file_iter(path)
        .doing(Kind::Io, step)?
        .collect::<Result<_, _>>()
        .doing(Kind::Verify, step)
}

/// Client side.
#[derive(Clone, Debug)]
pub(crate) struct Asking(Arc<ClientConfig>);

impl Asking {
    pub(crate) fn new(identity: &Identity) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let (certificates, key) = identity.own()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .doing(Kind::Internal, step)?;
        let config = config.with_root_certificates(identity.roots()?);
        Ok(Self(Arc::new(config.with_client_auth_cert(certificates, key).doing(Kind::Verify, step)?)))
    }

    /// Reads the answer of the server at `address`, whose certificate must contain that address.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] containing the reason: no route, no answer, an invalid certificate.
    pub(crate) fn ask(&self, address: SocketAddr) -> Result<Vec<u8>> {
        self.answer(address).doing(Kind::Network, || format!("querying `{address}`"))
    }

    fn answer(&self, address: SocketAddr) -> io::Result<Vec<u8>> {
        let name = ServerName::IpAddress(address.ip().into());
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        bounded(&socket)?;
        let mut answer = Vec::new();
        Stream::new(&mut connection, &mut socket).take(LONGEST).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// Server side.
#[derive(Debug)]
pub(crate) struct Answering {
    config: Arc<ServerConfig>,
    listener: TcpListener,
}

impl Answering {
    /// Listens on `address`. Serves only clients with a certificate from the CA.
    pub(crate) fn bind(identity: &Identity, address: SocketAddr) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let (certificates, key) = identity.own()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(identity.roots()?, Arc::clone(&provider)).build();
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .doing(Kind::Internal, step)?;
        let config = config.with_client_cert_verifier(verifier.doing(Kind::Verify, step)?);
        let config = Arc::new(config.with_single_cert(certificates, key).doing(Kind::Verify, step)?);
        let listener = TcpListener::bind(address).doing(Kind::Io, || format!("listening on `{address}`"))?;
        Ok(Self { config, listener })
    }

    /// Answers forever.
    pub(crate) fn serve(&self, answer: impl Fn() -> Vec<u8> + Sync) -> ! {
        self.each(|socket| self.converse(socket, &answer))
    }

    /// Answers HTTP/1.0 requests forever, only for clients with this common name; `find` returns the content
    /// of a path.
    pub(crate) fn serve_files(&self, reader: &str, find: &(impl Fn(&str) -> Option<Found> + Sync)) -> ! {
        self.each(|socket| self.hand_out(socket, reader, find))
    }

    fn each(&self, converse: impl Fn(TcpStream) -> io::Result<()> + Sync) -> ! {
        let work = || -> ! {
            loop {
                match self.listener.accept() {
                    // A rejected client receives the reason through TLS; it is not reported here.
                    Ok((socket, _)) => drop(converse(socket)),
                    Err(_) => super::clock::sleep(Duration::from_millis(100)),
                }
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..WORKERS {
                scope.spawn(work);
            }
            work()
        })
    }

    fn hand_out(
        &self,
        socket: TcpStream,
        reader: &str,
        find: &impl Fn(&str) -> Option<Found>,
    ) -> io::Result<()> {
        bounded(&socket)?;
        let connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        let mut stream = StreamOwned::new(connection, socket);
        let head = head(&mut stream)?;
        let path = head.strip_prefix("GET ").and_then(|rest| rest.split(' ').next()).unwrap_or_default();
        let is_reader = common_name(stream.conn.peer_certificates()).as_deref() == Some(reader);
        let found = if is_reader {
            find(path).ok_or("404 Not Found")
        } else {
            Err("403 Forbidden: this certificate is not allowed to read snapshots")
        };
        let answer =
            |status: &str, length: u64| format!("HTTP/1.0 {status}\r\nContent-Length: {length}\r\n\r\n");
        match found {
            Err(status) => stream.write_all(answer(status, 0).as_bytes())?,
            Ok(Found::Text(text)) => {
                stream.write_all(answer("200 OK", text.len() as u64).as_bytes())?;
                stream.write_all(&text)?;
            }
            Ok(Found::File(file)) => {
                let length = file.metadata()?.len();
                stream.write_all(answer("200 OK", length).as_bytes())?;
                io::copy(&mut file.take(length), &mut stream)?;
            }
        }
        stream.conn.send_close_notify();
        stream.flush()
    }

    fn converse(&self, mut socket: TcpStream, answer: impl Fn() -> Vec<u8>) -> io::Result<()> {
        bounded(&socket)?;
        let mut connection = ServerConnection::new(Arc::clone(&self.config)).map_err(io::Error::other)?;
        while connection.is_handshaking() {
            connection.complete_io(&mut socket)?;
        }
        connection.writer().write_all(&answer())?;
        connection.send_close_notify();
        while connection.wants_write() {
            connection.write_tls(&mut socket)?;
        }
        socket.flush()
    }
}

/// Content of a path.
#[derive(Debug)]
pub(crate) enum Found {
    Text(Vec<u8>),
    File(File),
}

/// Reads the head before a body, byte by byte, so that the rest remains unread.
fn head(stream: &mut impl Read) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        if head.len() > HEAD {
            return Err(io::Error::other("the head of the request is too long"));
        }
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    String::from_utf8(head).map_err(io::Error::other)
}

/// Returns the common name in the subject of the first certificate.
fn common_name(certificates: Option<&[CertificateDer<'_>]>) -> Option<String> {
    let (_, parsed) = x509_parser::parse_x509_certificate(certificates?.first()?).ok()?;
    let name = parsed.subject().iter_common_name().next()?.as_str().ok()?;
    Some(name.to_owned())
}

fn bounded(socket: &TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))
}
