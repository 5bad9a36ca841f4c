//! Access to the outside world: files, processes, clock, network, signals. No other module opens files, runs
//! programs or reads the clock.

pub(crate) mod batch;
pub(crate) mod cgroup;
pub(crate) mod channel;
pub(crate) mod clock;
pub(crate) mod console;
pub(crate) mod fs;
pub(crate) mod http;
pub(crate) mod link;
pub(crate) mod lock;
pub(crate) mod mount;
pub(crate) mod namespace;
pub(crate) mod notify;
pub(crate) mod ntp;
pub(crate) mod packets;
pub(crate) mod pressure;
pub(crate) mod process;
pub(crate) mod publish;
pub(crate) mod qmp;
pub(crate) mod random;
pub(crate) mod root;
pub(crate) mod sandbox;
pub(crate) mod scoped;
pub(crate) mod session;
pub(crate) mod signal;
pub(crate) mod tap;
pub(crate) mod tls;

#[cfg(test)]
pub(crate) mod test_server;
