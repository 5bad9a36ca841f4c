//! Minimal HTTP client: GET from an offset, with time limits, through the user's proxy. Callers interpret the
//! bytes.

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

/// CA bundles of the host, in order of preference: Debian, Fedora, and their derivatives.
const HOST_AUTHORITIES: [&str; 2] =
    ["/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt"];

/// Size limit in bytes for a response of which only the status matters.
const LONGEST_STATUS: u64 = 1 << 16;

/// Time limits, and pauses between attempts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For name resolution and connecting.
    pub(crate) connect: Duration,
    /// For the next byte.
    pub(crate) silence: Duration,
    /// Before the second attempt; doubles with each attempt.
    pub(crate) pause: Duration,
    pub(crate) attempts: u32,
}

impl Default for Patience {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { connect: seconds(15), silence: seconds(30), pause: Duration::from_millis(500), attempts: 4 }
    }
}

/// Client identity for the machines of a cluster, and the CA of their certificates, in PEM format.
pub(crate) struct Held<'a> {
    pub(crate) authority: &'a [u8],
    pub(crate) certificate: &'a [u8],
    pub(crate) key: &'a [u8],
}

/// Client that keeps connections open between requests; shared by threads.
#[derive(Debug)]
pub(crate) struct Client {
    agent: Agent,
    patience: Patience,
}

/// Response of a server to a request that it understood.
#[derive(Debug)]
pub(crate) enum Answer {
    Body(Body),
    /// Status, such as 404, of a request that would fail again if it were retried.
    Refused(u16),
}

/// Body of a response.
pub(crate) struct Body {
    /// Offset in the whole file at which this body begins; 0 if the server ignored the requested offset.
    pub(crate) offset: u64,
    /// Size of the whole file, if the server reports it.
    pub(crate) size: Option<u64>,
    reader: BodyReader<'static>,
}

impl Client {
    /// Creates a client for servers anywhere, through the user's proxy.
    pub(crate) fn new(patience: Patience) -> Result<Self> {
        Ok(Self::with(patience, config().tls_config(tls()?)))
    }

    /// Creates a client for programs on this machine, without TLS.
    pub(crate) fn local(patience: Patience) -> Self {
        Self::with(patience, config().proxy(None))
    }

    /// Creates a client for the machines of a cluster, by address, with mutual TLS and without a proxy.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if a certificate or key is not valid PEM.
    pub(crate) fn among(held: &Held<'_>, patience: Patience) -> Result<Self> {
        let step = || "preparing TLS".to_owned();
        let key = PrivateKey::from_pem(held.key).doing(Kind::Verify, step)?;
        let certificate =
            ClientCert::new_with_certs(&certificates(held.certificate).doing(Kind::Verify, step)?, key);
        let authority = RootCerts::new_with_certs(&certificates(held.authority).doing(Kind::Verify, step)?);
        let tls = provided().root_certs(authority).client_cert(Some(certificate)).build();
        Ok(Self::with(patience, config().proxy(None).tls_config(tls)))
    }

    /// Creates a client for the machines of a cluster, with TLS, without a client certificate and without a
    /// proxy.
    ///
    /// # Errors
    ///
    /// [`Kind::Verify`] if a certificate or key is not valid PEM.
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

    /// Requests `url`, starting at `offset`.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] for errors that a retry may fix: no connection, silence, an overloaded server.
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
            // The file is shorter than the part already received: it is a different file, so read it from the
            // start.
            206 | 416 if offset > 0 => self.get(url, 0).within(step),
            status @ (408 | 429 | 500..) => Err(Error::new(
                Kind::Network,
                format!("requesting `{url}`: the server responded with status {status}"),
            )),
            status => Ok(Answer::Refused(status)),
        }
    }

    /// Returns the status that the server responds with, whatever it is.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] if there is no response in time.
    pub(crate) fn status(&self, url: &str) -> Result<u16> {
        let step = || format!("requesting `{url}`");
        let response = self.agent.get(url).call().doing(Kind::Network, step)?;
        let status = response.status().as_u16();
        // A connection is reused only after the response has been read to the end.
        response
            .into_body()
            .into_with_config()
            .limit(LONGEST_STATUS)
            .read_to_vec()
            .doing(Kind::Network, step)?;
        Ok(status)
    }

    /// Reads a small file; `None` if the server does not have it.
    ///
    /// # Errors
    ///
    /// [`Kind::Network`] after the last attempt, or if the file is larger than `limit` bytes.
    pub(crate) fn read(&self, url: &str, limit: u64) -> Result<Option<Vec<u8>>> {
        self.persist(|| match self.get(url, 0)? {
            Answer::Refused(404 | 410) => Ok(None),
            Answer::Refused(status) => {
                Err(Error::new(Kind::Network, format!("the server returned status {status} for `{url}`")))
            }
            Answer::Body(body) => {
                let mut bytes = Vec::new();
                body.take(limit + 1)
                    .read_to_end(&mut bytes)
                    .doing(Kind::Network, || format!("reading `{url}`"))?;
                if bytes.len() as u64 > limit {
                    return Err(Error::new(Kind::Network, format!("`{url}` is larger than {limit} bytes")));
                }
                Ok(Some(bytes))
            }
        })
    }

    /// Repeats `attempt` after network errors, with growing pauses, a limited number of times.
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
        let length =
            response.headers().get(CONTENT_LENGTH).and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
        Self {
            offset,
            size: length.map(|length| offset + length),
            reader: response.into_body().into_reader(),
        }
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

/// Returns the start of the range in a `Content-Range: bytes 500-999/1000` (RFC 9110 section 14.4).
fn range_start(response: &Response<UreqBody>) -> Option<u64> {
    let range = response.headers().get(CONTENT_RANGE)?.to_str().ok()?;
    range.strip_prefix("bytes ")?.split('-').next()?.parse().ok()
}

fn config() -> ConfigBuilder<AgentScope> {
    Config::builder()
}

/// Trusts the host's CAs, including a company's own CAs; if there are none, the CAs that browsers trust.
fn tls() -> Result<TlsConfig> {
    let chosen = std::env::var_os("SSL_CERT_FILE").map(Into::into);
    let bundle = chosen
        .or_else(|| HOST_AUTHORITIES.iter().map(Into::into).find(|path: &std::path::PathBuf| path.exists()));
    Ok(match bundle {
        Some(path) => provided().root_certs(authorities(&path)?).build(),
        None => provided().root_certs(RootCerts::WebPki).build(),
    })
}

fn provided() -> TlsConfigBuilder {
    TlsConfig::builder()
        .unversioned_rustls_crypto_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
}

fn authorities(path: &Path) -> Result<RootCerts> {
    let certificates =
        certificates(&fs::read(path)?).doing(Kind::Io, || format!("parsing `{}`", path.display()))?;
    Ok(RootCerts::new_with_certs(&certificates))
}

/// Returns all certificates in a PEM file, ignoring other content.
fn certificates(pem: &[u8]) -> std::result::Result<Vec<Certificate<'static>>, ureq::Error> {
    let certificate = |item| match item {
        Ok(PemItem::Certificate(certificate)) => Some(Ok(certificate)),
        Ok(_) => None,
        Err(err) => Some(Err(err)),
    };
    ureq::tls::parse_pem(pem).filter_map(certificate).collect()
}
