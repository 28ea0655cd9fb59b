//! Sending a file over a socket inside the kernel. All of it waits: for the disk, and for a peer that
//! is slow to read.

use std::io;
use std::os::fd::{AsFd, AsRawFd};
use std::time::Duration;

use nix::libc;
use nix::sys::sendfile::sendfile64;
use nix::sys::socket::{MsgFlags, send, setsockopt, sockopt};
use nix::sys::time::{TimeVal, TimeValLike};

/// Bounds how long each later call waits for the peer to take anything.
///
/// # Errors
/// As the kernel says.
pub(crate) fn wait_at_most(socket: &impl AsFd, time: Duration) -> io::Result<()> {
    let micros = i64::try_from(time.as_micros()).map_err(io::Error::other)?;
    let time = TimeVal::microseconds(micros);
    Ok(setsockopt(socket, sockopt::SendTimeout, &time)?)
}

/// Sends bytes; gives how many were taken. The kernel waits with them if `behind` says that so many
/// more follow at once.
///
/// # Errors
/// `WouldBlock` if the peer took none in time, or as the kernel says.
pub(crate) fn send_ahead(socket: &impl AsFd, bytes: &[u8], behind: u64) -> io::Result<usize> {
    let more = match behind {
        0 => MsgFlags::empty(),
        _ => MsgFlags::from_bits_retain(libc::MSG_MORE),
    };
    let flags = MsgFlags::MSG_NOSIGNAL | more;
    Ok(send(socket.as_fd().as_raw_fd(), bytes, flags)?)
}

/// Sends at most `bytes` of a file from `position` on; gives how many were taken, 0 at the file's end.
///
/// # Errors
/// `WouldBlock` if the peer took none in time, or as the kernel says.
pub(crate) fn send_file(
    socket: &impl AsFd,
    file: &impl AsFd,
    position: u64,
    bytes: u64,
) -> io::Result<usize> {
    let mut position = i64::try_from(position).map_err(io::Error::other)?;
    let bytes = usize::try_from(bytes).map_err(io::Error::other)?;
    Ok(sendfile64(socket, file, Some(&mut position), bytes)?)
}
