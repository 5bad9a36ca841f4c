//! A web server on the loopback interface with the faults that real ones have; for tests.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Behaviour of the server for one path.
#[derive(Clone, Debug)]
pub(crate) enum Manner {
    /// Serves ranges.
    Good,
    /// Answers 200 with everything to a request for a range.
    NoRanges,
    /// Announces everything but closes after this many bytes, on the first request.
    TruncatesOnce(usize),
    /// As above, on each request.
    Truncates(usize),
    /// Sends this many bytes and then nothing more.
    Stalls(usize),
    /// Sends a few bytes at a time with pauses shorter than any time limit.
    Drips,
    /// Responds with this status this many times, then serves.
    Fails(u16, u32),
    RedirectsTo(String),
}

/// A running server; it ends with the test process.
#[derive(Debug)]
pub(crate) struct Server {
    address: String,
    files: Arc<Files>,
    /// Requests so far: path and the offset that was asked for.
    requests: Arc<Mutex<Vec<(String, u64)>>>,
}

impl Server {
    pub(crate) fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let server = Self {
            address: format!("http://{}", listener.local_addr().unwrap()),
            files: Arc::default(),
            requests: Arc::default(),
        };
        let (files, requests) = (Arc::clone(&server.files), Arc::clone(&server.requests));
        std::thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let (files, requests) = (Arc::clone(&files), Arc::clone(&requests));
                // A client that disconnects early is not an error.
                std::thread::spawn(move || serve(stream, &files, &requests));
            }
        });
        server
    }

    /// Serves `bytes` at `path` and returns the URL.
    pub(crate) fn file(&self, path: &str, bytes: &[u8], manner: Manner) -> String {
        self.files.lock().unwrap().insert(path.to_owned(), (bytes.to_vec(), manner));
        self.url(path)
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.address)
    }

    pub(crate) fn requests(&self) -> Vec<(String, u64)> {
        self.requests.lock().unwrap().clone()
    }
}

type Files = Mutex<BTreeMap<String, (Vec<u8>, Manner)>>;

fn serve(mut stream: TcpStream, files: &Files, requests: &Mutex<Vec<(String, u64)>>) -> std::io::Result<()> {
    let (path, offset) = request(&stream)?;
    requests.lock().unwrap().push((path.clone(), offset.unwrap_or(0)));
    let Some((bytes, manner)) = take(files, &path) else { return head(&mut stream, "404 Not Found", 0, "") };
    match manner {
        Manner::RedirectsTo(url) => {
            return head(&mut stream, "302 Found", 0, &format!("Location: {url}\r\n"));
        }
        Manner::Fails(status, _) => return head(&mut stream, &format!("{status} Oops"), 0, ""),
        _ => {}
    }
    let start = match (offset, &manner) {
        (None, _) | (_, Manner::NoRanges) => 0,
        (Some(offset), _) => usize::try_from(offset).unwrap(),
    };
    if start >= bytes.len() && start > 0 {
        return head(&mut stream, "416 Range Not Satisfiable", 0, "");
    }
    let body = &bytes[start..];
    if start > 0 {
        let range = format!("Content-Range: bytes {start}-{}/{}\r\n", bytes.len() - 1, bytes.len());
        head(&mut stream, "206 Partial Content", body.len(), &range)?;
    } else {
        head(&mut stream, "200 OK", body.len(), "")?;
    }
    send(&mut stream, body, &manner)
}

fn request(stream: &TcpStream) -> std::io::Result<(String, Option<u64>)> {
    let mut lines = BufReader::new(stream).lines();
    let first = lines.next().transpose()?.unwrap_or_default();
    let mut offset = None;
    for line in lines {
        let line = line?.to_ascii_lowercase();
        if line.is_empty() {
            break;
        }
        offset = offset.or_else(|| line.strip_prefix("range: bytes=")?.trim_end_matches('-').parse().ok());
    }
    Ok((first.split(' ').nth(1).unwrap_or_default().to_owned(), offset))
}

/// Returns what to do this time, and notes what to do next time.
fn take(files: &Files, path: &str) -> Option<(Vec<u8>, Manner)> {
    let mut files = files.lock().unwrap();
    let (bytes, manner) = files.get_mut(path)?;
    let now = manner.clone();
    *manner = match &now {
        Manner::TruncatesOnce(_) | Manner::Fails(_, 1) => Manner::Good,
        Manner::Fails(status, times) => Manner::Fails(*status, times - 1),
        other => other.clone(),
    };
    Some((bytes.clone(), now))
}

fn head(stream: &mut TcpStream, status: &str, length: usize, headers: &str) -> std::io::Result<()> {
    write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {length}\r\nConnection: close\r\n{headers}\r\n")
}

fn send(stream: &mut TcpStream, body: &[u8], manner: &Manner) -> std::io::Result<()> {
    match manner {
        Manner::TruncatesOnce(at) | Manner::Truncates(at) => stream.write_all(&body[..body.len().min(*at)]),
        Manner::Stalls(at) => {
            stream.write_all(&body[..body.len().min(*at)])?;
            std::thread::sleep(Duration::from_secs(20));
            Ok(())
        }
        Manner::Drips => body.chunks(body.len().div_ceil(8)).try_for_each(|chunk| {
            std::thread::sleep(Duration::from_millis(100));
            stream.write_all(chunk)
        }),
        _ => stream.write_all(body),
    }
}
