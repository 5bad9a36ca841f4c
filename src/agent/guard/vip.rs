//! The VIP on this machine's interface, and the connections to it.

use super::settings::Settings;
use crate::error::Result;
use crate::host::{self, link, process};

const LOOPBACK: &str = "lo";

impl Settings {
    /// Checks whether this machine holds the VIP.
    pub(super) fn holds_vip(&self) -> Result<bool> {
        Ok(link::addresses(&self.interface)?.contains(&self.vip))
    }

    /// Removes the VIP from the interface, in case no other program does.
    pub(super) fn remove_vip(&self) -> Result<()> {
        self.address("delete", &self.interface)
    }

    /// Closes all connections to the VIP: the reset makes clients reconnect, to the machine that now holds
    /// the VIP.
    ///
    /// A reset can only be sent from an address of this machine, so the VIP is added to the loopback
    /// interface, where `arp_ignore` and `arp_announce` hide it from other machines (the kernel's
    /// ip-sysctl.rst). Transparent sockets would not need this, but nginx and API servers do not use them.
    pub(super) fn end_connections(&self) -> Result<()> {
        self.address("replace", LOOPBACK)?;
        let mut command = host::process::command("ss");
        command.args(["--no-header", "--tcp", "--numeric", "--kill", "src", &self.vip.to_string()]);
        let ended = process::run(&mut command);
        self.address("delete", LOOPBACK)?;
        ended.map(drop)
    }

    /// Removes the VIP from the loopback interface, where a process killed in [`Self::end_connections`] may
    /// have left it.
    pub(super) fn tidy(&self) -> Result<()> {
        if link::addresses(LOOPBACK)?.contains(&self.vip) { self.address("delete", LOOPBACK) } else { Ok(()) }
    }

    fn address(&self, verb: &str, interface: &str) -> Result<()> {
        let whole = format!("{}/{}", self.vip, if self.vip.is_ipv6() { 128 } else { 32 });
        process::run(host::process::command("ip").args(["address", verb, &whole, "dev", interface])).map(drop)
    }
}
