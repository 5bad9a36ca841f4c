//! One question over mutual TLS: whoever shows a certificate of the same authority gets the answer, and the connection ends.
//!
//! There is no request: the TLS handshake names both sides, and the answer is all that there is to read (RFC 8446).

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, Stream};

use crate::error::{Doing, Error, Kind, Result};

/// How long connecting, and then each read and write may take.
const PATIENCE: Duration = Duration::from_secs(2);
/// An answer is smaller.
const LONGEST: u64 = 1 << 16;
/// Connections that are answered at once; more wait in the kernel's queue.
const WORKERS: usize = 4;

/// Files of one side: PEM, as etcd has them.
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
            roots.add(certificate).doing(Kind::Verify, || format!("reading `{}`", self.authority.display()))?;
        }
        Ok(Arc::new(roots))
    }

    fn own(&self) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>)> {
        let key = PrivateKeyDer::from_pem_file(&self.key).doing(Kind::Io, || format!("reading the key `{}`", self.key.display()))?;
        Ok((certificates(&self.certificate)?, key))
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let step = || format!("reading `{}`", path.display());
    CertificateDer::pem_file_iter(path).doing(Kind::Io, step)?.collect::<Result<_, _>>().doing(Kind::Verify, step)
}

/// What asks others.
#[derive(Clone, Debug)]
pub(crate) struct Asking(Arc<ClientConfig>);

impl Asking {
    pub(crate) fn new(identity: &Identity) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let (certificates, key) = identity.own()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().doing(Kind::Internal, step)?;
        let config = config.with_root_certificates(identity.roots()?);
        Ok(Self(Arc::new(config.with_client_auth_cert(certificates, key).doing(Kind::Verify, step)?)))
    }

    /// As [`Asking::ask`], of a server of HTTP/1.0: the body of what is at `path`.
    ///
    /// # Errors
    ///
    /// As [`Asking::ask`]; [`Kind::Network`] for any status but 200.
    pub(crate) fn get(&self, address: SocketAddr, path: &str) -> Result<Vec<u8>> {
        let step = || format!("asking `{address}` for `{path}`");
        let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n");
        let answer = self.answer(address, request.as_bytes()).doing(Kind::Network, step)?;
        let refused = || Error::new(Kind::Network, format!("{}: {}", step(), String::from_utf8_lossy(&answer[..answer.len().min(80)])));
        let end = answer.windows(4).position(|bytes| bytes == b"\r\n\r\n").ok_or_else(refused)?;
        let is_good = answer.starts_with(b"HTTP/1.0 200 ") || answer.starts_with(b"HTTP/1.1 200 ");
        if is_good { Ok(answer[end + 4..].to_vec()) } else { Err(refused()) }
    }

    /// Reads the answer of the side at `address`, whose certificate must have that address.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] with the reason: no route, no answer, a certificate that is not valid.
    pub(crate) fn ask(&self, address: SocketAddr) -> Result<Vec<u8>> {
        self.answer(address, &[]).doing(Kind::Network, || format!("asking `{address}`"))
    }

    fn answer(&self, address: SocketAddr, request: &[u8]) -> io::Result<Vec<u8>> {
        let name = ServerName::IpAddress(address.ip().into());
        let mut connection = ClientConnection::new(Arc::clone(&self.0), name).map_err(io::Error::other)?;
        let mut socket = TcpStream::connect_timeout(&address, PATIENCE)?;
        bounded(&socket)?;
        let mut answer = Vec::new();
        let mut stream = Stream::new(&mut connection, &mut socket);
        stream.write_all(request)?;
        stream.take(LONGEST).read_to_end(&mut answer)?;
        Ok(answer)
    }
}

/// What answers others.
#[derive(Debug)]
pub(crate) struct Answering {
    config: Arc<ServerConfig>,
    listener: TcpListener,
}

impl Answering {
    /// Listens. Only certificates of the authority are served.
    pub(crate) fn bind(identity: &Identity, address: SocketAddr) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let (certificates, key) = identity.own()?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let verifier = WebPkiClientVerifier::builder_with_provider(identity.roots()?, Arc::clone(&provider)).build();
        let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().doing(Kind::Internal, step)?;
        let config = config.with_client_cert_verifier(verifier.doing(Kind::Verify, step)?);
        let config = Arc::new(config.with_single_cert(certificates, key).doing(Kind::Verify, step)?);
        let listener = TcpListener::bind(address).doing(Kind::Io, || format!("listening on `{address}`"))?;
        Ok(Self { config, listener })
    }

    /// Answers for ever.
    pub(crate) fn serve(&self, answer: impl Fn() -> Vec<u8> + Sync) -> ! {
        std::thread::scope(|scope| {
            for _ in 1..WORKERS {
                scope.spawn(|| -> ! { self.work(&answer) });
            }
            self.work(&answer)
        })
    }

    fn work(&self, answer: &impl Fn() -> Vec<u8>) -> ! {
        loop {
            match self.listener.accept() {
                // Whoever is refused learns so by TLS; here it is no event.
                Ok((socket, _)) => drop(self.converse(socket, answer)),
                Err(_) => super::clock::sleep(Duration::from_millis(100)),
            }
        }
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

fn bounded(socket: &TcpStream) -> io::Result<()> {
    socket.set_read_timeout(Some(PATIENCE))?;
    socket.set_write_timeout(Some(PATIENCE))
}
