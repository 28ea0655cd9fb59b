//! How fast a connection may send.

use std::ffi::OsString;
use std::os::fd::AsFd;

use nix::sys::socket::{setsockopt, sockopt};

/// Has what a socket sends to this same machine not be paced.
///
/// A congestion control that spreads by timers what it sends (BBR) takes a quarter of the throughput over the loopback
/// and two fifths more of the processor, and there is no network there to spare. `reno` (tcp(7)) has no timers, is in every
/// kernel, and anyone may choose it. What goes to other machines is theirs who look after this one to say.
pub(super) fn do_not_pace(socket: &impl AsFd) {
    let chosen = setsockopt(socket, sockopt::TcpCongestion, &OsString::from("reno"));
    if let Err(error) = chosen {
        // tcp_allowed_congestion_control of tcp(7) may leave it out.
        tracing::debug!(%error, "what is sent over the loopback may be paced");
    }
}
