//! A look at what answers at the VIP, on this machine.

use std::time::Duration;

use super::settings::Settings;
use super::verdict::Look;
use crate::error::Result;
use crate::host::clock::Stopwatch;
use crate::host::fs;
use crate::host::http::{Client, Patience};

/// How much longer than its limits a question takes only where this program is not run.
const LATE: Duration = Duration::from_millis(500);

/// Asks over a connection that is kept, so that a balancer that has all the connections it may have still answers.
pub(super) struct Own<'a> {
    settings: &'a Settings,
    client: Client,
}

impl<'a> Own<'a> {
    pub(super) fn new(settings: &'a Settings) -> Result<Self> {
        Ok(Self { settings, client: client(settings, settings.limit)? })
    }

    pub(super) fn look(&self) -> Look {
        let watch = Stopwatch::start();
        match self.client.status(&self.settings.alive) {
            Ok(_) => Look::Answered,
            // To connect, and to answer.
            Err(_) if watch.elapsed() > 2 * self.settings.limit + LATE => Look::Void,
            Err(_) => Look::Failed,
        }
    }
}

/// Asks once, and waits so long for a connection and for an answer.
pub(super) fn client(settings: &Settings, limit: Duration) -> Result<Client> {
    let patience = Patience { connect: limit, silence: limit, pause: Duration::ZERO, attempts: 1 };
    match &settings.authority {
        Some(authority) => Client::trusting(&fs::read(authority)?, patience),
        None => Ok(Client::local(patience)),
    }
}
