//! What whoever started the server hears of it: the notifications of sd_notify(3), over the socket that
//! `NOTIFY_SOCKET` names. Where nobody listens nothing is said, and nobody waits long for one that
//! does not read.

use std::ffi::OsStr;
use std::os::linux::net::SocketAddrExt as _;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::Path;
use std::time::Duration;
use std::{env, io};

use corelog_node::Node;
use sd_notify::NotifyState;

/// Memory is being taken.
pub(crate) fn taking_memory() {
    tell(&[NotifyState::Status("takes its memory")]);
}

/// The topics of `data_dir` are being opened.
pub(crate) fn opening(data_dir: &Path) {
    let status = format!("opens the topics of {}", data_dir.display());
    tell(&[NotifyState::Status(&status)]);
}

/// The node serves.
pub(crate) fn serving(node: &Node) {
    tell(&[NotifyState::Ready, NotifyState::Status(&status(node))]);
}

/// The configuration is read again; [`reloaded`] ends that.
pub(crate) fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(error) => tracing::warn!(%error, "cannot tell the supervisor of the reload"),
    }
}

/// The configuration was read again, and is taken over if it `is_right`.
pub(crate) fn reloaded(node: &Node, is_right: bool) {
    let mut status = status(node);
    if !is_right {
        status.push_str("; the configuration is wrong: all stays as it was");
    }
    tell(&[NotifyState::Ready, NotifyState::Status(&status)]);
}

/// The node takes no more requests, and has ended `within` this time: a supervisor that would wait less waits that long.
pub(crate) fn stopping(within: Duration) {
    let status = "answers what it took and flushes";
    let extended = format!("EXTEND_TIMEOUT_USEC={}", within.as_micros());
    let extended = NotifyState::Custom(&extended);
    tell(&[NotifyState::Stopping, extended, NotifyState::Status(status)]);
}

/// The node lives; wanted again within [`watchdog`].
pub(crate) fn alive() {
    tell(&[NotifyState::Watchdog]);
}

/// Within which time the supervisor wants to hear that the node lives, if it does.
pub(crate) fn watchdog() -> Option<Duration> {
    sd_notify::watchdog_enabled()
}

/// One line for `systemctl status`.
fn status(node: &Node) -> String {
    let (report, address) = (node.report(), node.addresses().listen);
    format!(
        "serves at {address}; the start found {} topics, {} partitions, {} of them not to be opened",
        report.topics, report.partitions, report.failed
    )
}

/// The node serves, and stops, whether or not its supervisor hears of it.
fn tell(states: &[NotifyState<'_>]) {
    let Some(name) = env::var_os("NOTIFY_SOCKET") else {
        return;
    };
    let message: String = states.iter().map(|state| format!("{state}\n")).collect();
    match send(&name, message.as_bytes()) {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
            tracing::warn!("the supervisor does not read what it is told");
        }
        Err(error) => {
            tracing::warn!(%error, "cannot tell the supervisor; is NOTIFY_SOCKET its socket?");
        }
    }
}

/// Sends a message to the socket of that name, as sd_notify(3) writes it: one that begins with `@` is no file's.
///
/// # Errors
/// `WouldBlock` if nobody read what was sent before, for [`PATIENCE`].
fn send(name: &OsStr, message: &[u8]) -> io::Result<()> {
    let address = match name.as_bytes() {
        [b'@', name @ ..] => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(name)?,
    };
    let socket = UnixDatagram::unbound()?;
    socket.set_write_timeout(Some(PATIENCE))?;
    socket.send_to_addr(message, &address).map(drop)
}

/// How long a supervisor may take to read what it was told before: a word to one that is only busy is not lost, and
/// a stop begins in spite of one that hangs.
const PATIENCE: Duration = Duration::from_millis(250);

#[cfg(test)]
mod tests {
    use super::*;

    /// They were taken for files.
    #[test]
    fn a_name_that_begins_with_an_at_sign_is_no_files() {
        let own = format!("corelog-supervisor-{}", std::process::id());
        let address = SocketAddr::from_abstract_name(&own).unwrap();
        let supervisor = UnixDatagram::bind_addr(&address).unwrap();
        send(OsStr::new(&format!("@{own}")), b"READY=1\n").unwrap();
        let mut heard = [0; 64];
        let length = supervisor.recv(&mut heard).unwrap();
        assert_eq!(&heard[..length], b"READY=1\n");
    }
}
