//! The clients: requests at fixed times, whatever became of those before, from the network that the lab's bridge is in.
//!
//! A thread enters that network, and every thread that it starts is there too; the rest of the process stays where it is.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

use crate::digest::Digest;
use crate::error::{Doing, Kind, Result};
use crate::host;
use crate::host::clock::Stopwatch;
use crate::host::namespace::Scope;
use crate::lab::rehearse::ready::{self, Readiness};
use crate::lab::rehearse::record::{Lease, Sample, Watch};
use crate::lab::rehearse::target::Target;
use crate::lab::rehearse::traffic;

/// A request has a thread of its own.
const STACK: usize = 512 << 10;
/// Longest time for a question asked beside the traffic.
const QUESTION: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// The clients of one lab; they end with this value.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

/// What all clients know.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: Target,
    clock: Stopwatch,
    stop: AtomicBool,
    samples: Mutex<Vec<Sample>>,
    pub(super) watches: Mutex<Vec<Watch>>,
    /// Who answered for the VIP, from when on.
    pub(super) holders: Mutex<Vec<(f64, Option<String>)>>,
    /// Writes that were acknowledged, and the highest revision among them.
    pub(super) written: AtomicU64,
    pub(super) revision: AtomicU64,
    /// The API server that gets new connections beside the endpoint.
    pub(super) direct: Mutex<Option<SocketAddr>>,
    /// The Lease that is looked at.
    pub(super) lease: Mutex<Option<Lease>>,
    /// Whether each API server is asked by itself, and what they said.
    pub(super) asks_each: AtomicBool,
    pub(super) readiness: Mutex<Vec<Readiness>>,
    /// Nodes by the certificate of their API server.
    pub(super) names: Mutex<BTreeMap<Digest, String>>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Seconds since the probe began.
    pub(super) fn now(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    pub(super) fn record(&self, sample: Sample) {
        locked(&self.samples).push(sample);
    }

    /// Requests that were sent in a time and have ended.
    pub(super) fn samples(&self, from: f64, to: f64) -> Vec<Sample> {
        let samples = locked(&self.samples);
        // Those of long ago are at the beginning.
        let recent = samples.iter().rev().take_while(|sample| sample.sent + 5.0 > from);
        recent.filter(|sample| sample.sent >= from && sample.sent < to).cloned().collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Does `work` beside everything else.
    pub(super) fn spawn(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let shared = Arc::clone(self);
        // Without a thread there is no request, which counts as none sent.
        let _ = Builder::new().stack_size(STACK).spawn(move || work(&shared));
    }
}

impl Probe {
    /// Starts the clients in the network that `network` is a handle to.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if that can't be entered.
    pub(super) fn start(target: Target, network: OwnedFd) -> Result<Self> {
        let shared = Arc::new(Shared {
            target,
            clock: Stopwatch::start(),
            stop: AtomicBool::new(false),
            samples: Mutex::default(),
            watches: Mutex::default(),
            holders: Mutex::default(),
            written: AtomicU64::new(0),
            revision: AtomicU64::new(0),
            direct: Mutex::default(),
            lease: Mutex::default(),
            asks_each: AtomicBool::new(false),
            readiness: Mutex::default(),
            names: Mutex::default(),
        });
        let (jobs, queue) = mpsc::channel::<Job>();
        let (entered, answer) = mpsc::channel();
        let clients = Arc::clone(&shared);
        let thread = Builder::new().spawn(move || {
            let inside = host::namespace::enter(network, Scope::Network);
            let failed = inside.is_err();
            let _ = entered.send(inside);
            if !failed {
                serve(&clients, &queue);
            }
        });
        let thread = thread.doing(Kind::Io, || "starting a thread".into())?;
        answer.recv().doing(Kind::Internal, || "entering the lab's network".into())??;
        Ok(Self { shared, jobs, thread: Some(thread) })
    }

    /// Begins to send requests.
    pub(super) fn begin(&self) {
        for work in traffic::ALL {
            let _ = self.jobs.send(Box::new(*work));
        }
        let _ = self.jobs.send(Box::new(ready::look));
    }

    /// Opens another watch.
    pub(super) fn watch(&self) {
        let _ = self.jobs.send(Box::new(traffic::watch));
    }

    /// The answer to a question that is asked from within the network; `None` if it took too long.
    pub(super) fn ask<T: Send + 'static>(&self, question: impl FnOnce(&Shared) -> T + Send + 'static) -> Option<T> {
        let (answer, answered) = mpsc::channel();
        let job = move |shared: &Arc<Shared>| drop(answer.send(question(shared)));
        self.jobs.send(Box::new(job)).ok()?;
        answered.recv_timeout(QUESTION).ok()
    }

    pub(super) fn now(&self) -> f64 {
        self.shared.now()
    }

    /// As [`Shared::samples`].
    pub(super) fn samples(&self, from: f64, to: f64) -> Vec<Sample> {
        self.shared.samples(from, to)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn serve(shared: &Arc<Shared>, queue: &mpsc::Receiver<Job>) {
    while !shared.is_over() {
        match queue.recv_timeout(Duration::from_millis(100)) {
            Ok(job) => shared.spawn(job),
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return,
        }
    }
}
