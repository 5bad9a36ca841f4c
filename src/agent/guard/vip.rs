//! The VIP on this machine's interface, and the connections to it.

use super::settings::Settings;
use crate::error::Result;
use crate::host::{self, link, process};

const LOOPBACK: &str = "lo";

impl Settings {
    /// Whether this machine holds the VIP.
    pub(super) fn holds_vip(&self) -> Result<bool> {
        Ok(link::addresses(&self.interface)?.contains(&self.vip))
    }

    /// Takes the VIP off the interface, where nothing else does.
    pub(super) fn remove_vip(&self) -> Result<()> {
        self.address("delete", &self.interface)
    }

    /// Ends all connections to the VIP: their clients are led to another machine from now on, and learn so by the reset.
    ///
    /// A reset can only be sent from an address that the machine has, so it gets the VIP once more, where no other machine sees it: on
    /// loopback, with `arp_ignore` and `arp_announce` (ip-sysctl.rst of the kernel). Sockets that are transparent would not
    /// need that; nginx and API servers have none.
    pub(super) fn end_connections(&self) -> Result<()> {
        self.address("replace", LOOPBACK)?;
        let mut command = host::process::command("ss");
        command.args(["--no-header", "--tcp", "--numeric", "--kill", "src", &self.vip.to_string()]);
        let ended = process::run(&mut command);
        self.address("delete", LOOPBACK)?;
        ended.map(drop)
    }

    /// Takes the VIP off loopback, where one that was ended just then may have left it.
    pub(super) fn tidy(&self) -> Result<()> {
        if link::addresses(LOOPBACK)?.contains(&self.vip) { self.address("delete", LOOPBACK) } else { Ok(()) }
    }

    fn address(&self, verb: &str, interface: &str) -> Result<()> {
        let whole = format!("{}/{}", self.vip, if self.vip.is_ipv6() { 128 } else { 32 });
        process::run(host::process::command("ip").args(["address", verb, &whole, "dev", interface])).map(drop)
    }
}
