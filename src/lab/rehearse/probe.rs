//! Clients, which send requests at fixed times, regardless of earlier ones, from the network of the lab's
//! bridge.
//!
//! One thread enters that network, and all threads that it starts inherit the network; the rest of the
//! process stays outside.

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

/// Stack size of a thread; each request runs in its own thread.
const STACK: usize = 512 << 10;
/// Time limit for a query in addition to the traffic.
const QUESTION: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce(&Arc<Shared>) + Send>;

/// Clients of one lab, which stop when this value is dropped.
#[derive(Debug)]
pub(super) struct Probe {
    pub(super) shared: Arc<Shared>,
    jobs: mpsc::Sender<Job>,
    thread: Option<JoinHandle<()>>,
}

/// State shared by all clients.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) target: Target,
    clock: Stopwatch,
    stop: AtomicBool,
    samples: Mutex<Vec<Sample>>,
    pub(super) watches: Mutex<Vec<Watch>>,
    /// VIP holders, each with the time since which it held the VIP.
    pub(super) holders: Mutex<Vec<(f64, Option<String>)>>,
    /// Number of acknowledged writes, and the highest revision among them.
    pub(super) written: AtomicU64,
    pub(super) revision: AtomicU64,
    /// API server that also receives new connections, in addition to the endpoint.
    pub(super) direct: Mutex<Option<SocketAddr>>,
    /// Lease to observe.
    pub(super) lease: Mutex<Option<Lease>>,
    /// True if each API server is queried individually; `readiness` contains the results.
    pub(super) asks_each: AtomicBool,
    pub(super) readiness: Mutex<Vec<Readiness>>,
    /// Nodes by API server certificate.
    pub(super) names: Mutex<BTreeMap<Digest, String>>,
}

pub(super) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    /// Returns the seconds since the probe started.
    pub(super) fn now(&self) -> f64 {
        self.clock.elapsed().as_secs_f64()
    }

    pub(super) fn record(&self, sample: Sample) {
        locked(&self.samples).push(sample);
    }

    /// Returns requests that were sent in a time span and have ended.
    pub(super) fn samples(&self, from: f64, to: f64) -> Vec<Sample> {
        let samples = locked(&self.samples);
        // Old samples are at the beginning.
        let recent = samples.iter().rev().take_while(|sample| sample.sent + 5.0 > from);
        recent.filter(|sample| sample.sent >= from && sample.sent < to).cloned().collect()
    }

    pub(super) fn is_over(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// Runs `work` in a new thread.
    pub(super) fn spawn(self: &Arc<Self>, work: impl FnOnce(&Arc<Self>) + Send + 'static) {
        let shared = Arc::clone(self);
        // If the thread can't be started, the request counts as not sent.
        let _ = Builder::new().stack_size(STACK).spawn(move || work(&shared));
    }
}

impl Probe {
    /// Starts the clients in the network namespace that `network` refers to.
    ///
    /// # Errors
    ///
    /// [`Kind::Io`] if the namespace can't be entered.
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

    /// Starts sending requests.
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

    /// Runs a query from within the lab's network and returns the answer; `None` if the query took too long.
    pub(super) fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Shared) -> T + Send + 'static,
    ) -> Option<T> {
        let (answer, answered) = mpsc::channel();
        let job = move |shared: &Arc<Shared>| drop(answer.send(question(shared)));
        self.jobs.send(Box::new(job)).ok()?;
        answered.recv_timeout(QUESTION).ok()
    }

    pub(super) fn now(&self) -> f64 {
        self.shared.now()
    }

    /// Like [`Shared::samples`].
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
