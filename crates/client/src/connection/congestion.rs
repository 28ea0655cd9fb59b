//! How fast a connection may send.

use socket2::SockRef;
use tokio::net::TcpStream;

/// Has what is sent to a server on this same machine not be paced by timers, as some congestion controls do (BBR):
/// over the loopback there is no network to spare. Where the system refuses, it goes on as it is.
pub(super) fn do_not_pace_locally(socket: &TcpStream) {
    let is_local = match (socket.local_addr(), socket.peer_addr()) {
        (Ok(own), Ok(peer)) => own.ip() == peer.ip(),
        _ => false,
    };
    if is_local {
        let _ = SockRef::from(socket).set_tcp_congestion(b"reno");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_on_this_machine_is_sent_without_timers() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let connected = runtime.expect("a runtime").block_on(async {
            let socket = TcpStream::connect(address).await.expect("connected");
            do_not_pace_locally(&socket);
            SockRef::from(&socket).tcp_congestion()
        });
        let name = connected.expect("told");
        assert_eq!(name.split(|byte| *byte == 0).next(), Some(&b"reno"[..]));
    }
}
