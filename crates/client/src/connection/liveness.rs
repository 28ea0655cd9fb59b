//! How it is noticed that the other end of a connection is gone without a word.

use std::io;
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::TcpStream;

/// Has the system end a connection whose other end acknowledges nothing (tcp(7)). Whoever gives a request up by
/// himself does not wait for the client to notice, and without this the system takes a quarter of an hour.
pub(super) fn end_when_peer_is_gone(socket: &TcpStream) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(REST)
        .with_interval(PROBE_EVERY);
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(SILENCE_MAX))
}

/// After so long without a word the other end is probed.
const REST: Duration = Duration::from_secs(30);
/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_secs(10);
/// More than a server takes to read on that waits for its disk, and no more than whoever produces has patience.
const SILENCE_MAX: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    /// A machine that lost its power was asked again and again, although others were configured.
    #[test]
    fn a_peer_that_is_gone_without_a_word_ends_its_connection_in_a_minute() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let told = runtime.expect("a runtime").block_on(async {
            let socket = TcpStream::connect(address).await.expect("connected");
            end_when_peer_is_gone(&socket).expect("set");
            let socket = SockRef::from(&socket);
            (
                socket.keepalive().expect("told"),
                socket.tcp_keepalive_time().expect("told"),
                socket.tcp_user_timeout().expect("told"),
            )
        });
        assert_eq!(told, (true, REST, Some(SILENCE_MAX)));
    }
}
