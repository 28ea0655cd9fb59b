//! What whoever started the server hears of it: the notifications of sd_notify(3), over the socket that
//! `NOTIFY_SOCKET` names. Where nobody listens nothing is said.

use std::path::Path;
use std::time::Duration;

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

/// The node takes no more requests.
pub(crate) fn stopping() {
    let status = "answers what it took and flushes";
    tell(&[NotifyState::Stopping, NotifyState::Status(status)]);
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

/// The node serves whether or not its supervisor hears of it.
fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        tracing::warn!(%error, "cannot tell the supervisor; is NOTIFY_SOCKET its socket?");
    }
}
