//! How the system treats a connection's socket.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Readies a socket that is connected.
pub(super) fn set_up(socket: &TcpStream) -> io::Result<()> {
    // Requests are gathered before they are written; the system need not wait for more.
    socket.set_nodelay(true)?;
    end_when_peer_is_gone(socket)?;
    do_not_pace_locally(socket);
    keep_little_unsent(socket)
}

/// Has the system take no more than can be on its way: the rest waits in the client. Over the loopback what has been taken
/// and not been sent is sent by the server's processor, when it has read what came before.
fn keep_little_unsent(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES)
}

/// Has the system end a connection whose other end acknowledges nothing (tcp(7)). Whoever gives a request up by
/// himself does not wait for the client to notice, and without this the system takes a quarter of an hour.
fn end_when_peer_is_gone(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(REST)
        .with_interval(PROBE_EVERY);
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))
}

/// Has what is sent to a server on this same machine not be paced by timers, as some congestion controls do (BBR):
/// over the loopback there is no network to spare. Where the system refuses, it goes on as it is.
fn do_not_pace_locally(socket: &TcpStream) {
    let is_local = match (socket.local_addr(), socket.peer_addr()) {
        (Ok(own), Ok(peer)) => own.ip() == peer.ip(),
        _ => false,
    };
    if is_local {
        let _ = SockRef::from(socket).set_tcp_congestion(b"reno");
    }
}

/// After so long without a word the other end is probed.
const REST: Duration = Duration::from_secs(30);
/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// More than a server takes to read on that waits for its disk, and no more than whoever produces has patience.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// Bytes that wait in the system for their turn to be sent: enough for a fast network until the client is woken.
const UNSENT_BYTES: u32 = 1 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    /// What the system says of a socket that was set up, and is connected to this machine.
    fn told<T>(ask: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> T {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let told = runtime.expect("a runtime").block_on(async {
            let socket = TcpStream::connect(address).await.expect("connected");
            set_up(&socket).expect("set up");
            ask(&SockRef::from(&socket))
        });
        told.expect("told")
    }

    #[test]
    fn what_stays_on_this_machine_is_sent_without_timers() {
        let name = told(|socket| socket.tcp_congestion());
        assert_eq!(name.split(|byte| *byte == 0).next(), Some(&b"reno"[..]));
    }

    #[test]
    fn what_is_not_on_its_way_waits_in_the_client() {
        assert_eq!(told(|socket| socket.tcp_notsent_lowat()), UNSENT_BYTES);
    }

    /// A machine that lost its power was asked again and again, although others were configured.
    #[test]
    fn a_peer_that_is_gone_without_a_word_ends_its_connection_in_a_minute() {
        assert!(told(|socket| socket.keepalive()));
        assert_eq!(told(|socket| socket.tcp_keepalive_time()), REST);
        assert_eq!(told(|socket| socket.tcp_user_timeout()), Some(SILENCE_MAX));
    }
}
