//! The machine's consoles, where users look when a machine does not boot.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

/// Writes `text` to every console that the kernel uses, or to `/dev/console` if those are not visible, as in
/// a container. Skips consoles that can't be written to, since there is no other place to report an error.
pub(crate) fn announce(text: &str) {
    let active = super::fs::read_to_string(Path::new("/sys/class/tty/console/active")).unwrap_or_default();
    let reported =
        active.split_whitespace().filter(|name| write(&Path::new("/dev").join(name), text)).count();
    if reported == 0 {
        write(Path::new("/dev/console"), text);
    }
}

fn write(console: &Path, text: &str) -> bool {
    let flags = OFlags::NOCTTY | OFlags::NONBLOCK;
    let flags = i32::try_from(flags.bits()).expect("open flags fit");
    let Ok(mut console) = OpenOptions::new().write(true).custom_flags(flags).open(console) else {
        return false;
    };
    // A terminal in raw mode needs the carriage return.
    console.write_all(text.replace('\n', "\r\n").as_bytes()).is_ok()
}
