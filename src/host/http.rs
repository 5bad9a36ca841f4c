//! HTTP as kiln needs it: one GET, from an offset, with time limits, through the user's proxy. What the bytes mean is the caller's business.

use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use ureq::config::{Config, ConfigBuilder};
use ureq::http::Response;
use ureq::http::header::{CONTENT_LENGTH, CONTENT_RANGE};
use ureq::tls::{Certificate, ClientCert, PemItem, PrivateKey, RootCerts, TlsConfig, TlsConfigBuilder};
use ureq::typestate::AgentScope;
use ureq::{Agent, Body as UreqBody, BodyReader};

use crate::error::{Doing, Error, Kind, Result, Within};
use crate::host::fs;

/// Certificate authorities of the host, in the order of preference: Debian, Fedora, and their descendants.
const HOST_AUTHORITIES: [&str; 2] = ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// An answer of which only the status matters is shorter.
const LONGEST_STATUS: u64 = 1 << 16;

/// How long to wait, and how often to try again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For a name and a connection.
    pub(crate) connect: Duration,
    /// For the next byte.
    pub(crate) silence: Duration,
    /// Before the second attempt; doubles with each one.
    pub(crate) pause: Duration,
    pub(crate) attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(15), silence: seconds(30), pause: Duration::from_millis(500), attempts: 4 }
    }
}

/// Who asks machines of a cluster, and whose certificates they must have; PEM.
pub(crate) struct Held<'a> {
    pub(crate) authority: &'a [u8],
    pub(crate) certificate: &'a [u8],
    pub(crate) key: &'a [u8],
}

/// Keeps connections open between requests; shared by threads.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    patience: Patience,
}

/// What a server says to a request that it understood.
#[derive(Debug)]
pub(crate) enum Answer {
    Body(Body),
    /// It will not serve this, now or later: the status, such as 404.
    Refused(u16),
}

/// The bytes of an answer.
pub(crate) struct Body {
    /// Offset of the first byte in the whole file; 0 when the server ignored the wish to start later.
    pub(crate) offset: u64,
    /// Size of the whole file, when the server tells.
    pub(crate) size: Option<u64>,
    reader: BodyReader<'static>,
}

impl Client {
    /// Asks servers of the world, through the user's proxy.
    pub(crate) fn new(patience: Patience) -> Result<Self> {
        Ok(Self::with(patience, config().tls_config(tls()?)))
    }

    /// Asks programs on this machine, without TLS.
    pub(crate) fn local(patience: Patience) -> Self {
        Self::with(patience, config().proxy(None))
    }

    /// Asks machines of a cluster by their addresses, by mutual TLS. No proxy must see that.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] for what is no PEM.
    pub(crate) fn among(held: &Held<'_>, patience: Patience) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let key = PrivateKey::from_pem(held.key).doing(Kind::Verify, step)?;
        let certificate = ClientCert::new_with_certs(&certificates(held.certificate).doing(Kind::Verify, step)?, key);
        let authority = RootCerts::new_with_certs(&certificates(held.authority).doing(Kind::Verify, step)?);
        let tls = provided().root_certs(authority).client_cert(Some(certificate)).build();
        Ok(Self::with(patience, config().proxy(None).tls_config(tls)))
    }

    /// Asks machines of a cluster, by TLS, and shows no certificate of its own. No proxy must see that.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] for what is no PEM.
    pub(crate) fn trusting(authority: &[u8], patience: Patience) -> Result<Self> {
        let authority = certificates(authority).doing(Kind::Verify, || "preparing TLS".into())?;
        let tls = provided().root_certs(RootCerts::new_with_certs(&authority)).build();
        Ok(Self::with(patience, config().proxy(None).tls_config(tls)))
    }

    fn with(patience: Patience, config: ConfigBuilder<AgentScope>) -> Self {
        let config = config
            .http_status_as_error(false)
            .timeout_resolve(Some(patience.connect))
            .timeout_connect(Some(patience.connect))
            .timeout_recv_response(Some(patience.silence))
            .timeout_per_read(Some(patience.silence))
            .max_idle_connections_per_host(8)
            .user_agent(concat!("kiln/", env!("CARGO_PKG_VERSION")))
            .build();
        Self { agent: config.new_agent(), patience }
    }

    /// Asks for `url` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] for what may go better next time: no connection, silence, an overloaded server.
    pub(crate) fn get(&self, url: &str, offset: u64) -> Result<Answer> {
        let step = || format!("requesting `{url}`");
        let mut request = self.agent.get(url);
        if offset > 0 {
            request = request.header("Range", format!("bytes={offset}-"));
        }
        let response = request.call().doing(Kind::Network, step)?;
        match response.status().as_u16() {
            200 => Ok(Answer::Body(Body::new(response, 0))),
            206 if range_start(&response) == Some(offset) => Ok(Answer::Body(Body::new(response, offset))),
            // The file here is shorter than what we have: it is another file, so take it from the start.
            206 | 416 if offset > 0 => self.get(url, 0).within(step),
            status @ (408 | 429 | 500..) => {
                Err(Error::new(Kind::Network, format!("requesting `{url}`: the server answered with status {status}")))
            }
            status => Ok(Answer::Refused(status)),
        }
    }

    /// The status that the server answers with, whatever it is.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] if nothing answers in time.
    pub(crate) fn status(&self, url: &str) -> Result<u16> {
        let step = || format!("requesting `{url}`");
        let response = self.agent.get(url).call().doing(Kind::Network, step)?;
        let status = response.status().as_u16();
        // A connection is used again once its answer was read to the end.
        response.into_body().into_with_config().limit(LONGEST_STATUS).read_to_vec().doing(Kind::Network, step)?;
        Ok(status)
    }

    /// Reads a small file whole; `None` when the server does not have it.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] after the last attempt, or if the file is larger than `limit` bytes.
    pub(crate) fn read(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.persist(|| match self.get(url, 0)? {
            Answer::Refused(404 | 410) => Ok(None),
            Answer::Refused(status) => Err(Error::new(Kind::Network, format!("`{url}` is refused with status {status}"))),
            Answer::Body(body) => {
                let mut bytes = Vec::new();
                body.take(limit + 1).read_to_end(&mut bytes).doing(Kind::Network, || format!("reading `{url}`"))?;
                if bytes.len() as u64 > limit {
                    return Err(Error::new(Kind::Network, format!("`{url}` is larger than {limit} bytes")));
                }
                Ok(Some(bytes))
            }
        })
    }

    /// Repeats `attempt` while the network fails it, with growing pauses and a last time.
    pub(crate) fn persist<T>(&self, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
        let mut pause = self.patience.pause;
        for _ in 1..self.patience.attempts {
            match attempt() {
                Err(err) if err.kind() == Kind::Network => std::thread::sleep(pause),
                other => return other,
            }
            pause *= 2;
        }
        attempt()
    }
}

impl Body {
    fn new(response: Response<UreqBody>, offset: u64) -> Self {
        let length = response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        Self { offset, size: length.map(|length| offset + length), reader: response.into_body().into_reader() }
    }
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

impl std::fmt::Debug for Body {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Body").field("offset", &self.offset).field("size", &self.size).finish_non_exhaustive()
    }
}

/// Start of the range in a `Content-Range: bytes 500-999/1000` (RFC 9110 section 14.4).
fn range_start(response: &Response<UreqBody>) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn config() -> ConfigBuilder<AgentScope> {
    Config::builder()
}

/// Trusts the host's authorities, so that a company's own one works; without any, those that browsers trust.
fn tls() -> Result<TlsConfig> {
    let chosen = std::env::var_os("SSL_CERT_FILE").map(Into::into);
    let bundle = chosen.or_else(|| HOST_AUTHORITIES.iter().map(Into::into).find(|path: &std::path::PathBuf| path.exists()));
    Ok(match bundle {
        Some(path) => provided().root_certs(authorities(&path)?).build(),
        None => provided().root_certs(RootCerts::WebPki).build(),
    })
}

fn provided() -> TlsConfigBuilder {
    TlsConfig::builder().unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

fn authorities(path: &Path) -> Result<RootCerts> {
    let certificates = certificates(&fs::read(path)?).doing(Kind::Io, || format!("parsing `{}`", path.display()))?;
    Ok(RootCerts::new_with_certs(&certificates))
}

/// All certificates of a PEM file, whatever else is in it.
fn certificates(pem: &[u8]) -> std::result::Result<Vec<Certificate<'static>>, ureq::Error> {
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(err) => Some(Err(err)),
    };
    ureq::tls::parse_pem(pem).filter_map(certificate).collect()
}
