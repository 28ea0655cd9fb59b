//! How the system treats a connection's socket.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use socket2::{SockRef, TcpKeepalive};
use tokio::net::tcp::OwnedWriteHalf;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::Instant;

use super::SILENCE_MIN;
use super::alarm::in_time;

/// Connects to the first of a name's addresses that answers, each of which has its share of the time that is left; `None` if
/// none has until then. The last failure is told.
pub(super) async fn connect(address: &str, deadline: Instant) -> Option<io::Result<TcpStream>> {
    match in_time(deadline, lookup_host(address)).await? {
        Ok(found) => {
            let found: Vec<_> = found.take(ADDRESSES_MAX).collect();
            connect_to_any(&found, deadline).await
        }
        Err(error) => Some(Err(error)),
    }
}

async fn connect_to_any(
    addresses: &[SocketAddr],
    deadline: Instant,
) -> Option<io::Result<TcpStream>> {
    let mut last = Some(Err(io::ErrorKind::AddrNotAvailable.into()));
    let mut others = addresses;
    while let Some((address, behind)) = others.split_first() {
        let now = Instant::now();
        let shares = u32::try_from(others.len()).unwrap_or(u32::MAX);
        let share = deadline.saturating_duration_since(now) / shares;
        last = in_time(now + share, TcpStream::connect(address)).await;
        if let Some(Ok(_)) = last {
            break;
        }
        others = behind;
    }
    last
}

/// Readies a socket that is connected, for requests that are waited for that long.
pub(super) fn set_up(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    // Requests are gathered before they are written; the system need not wait for more.
    socket.set_nodelay(true)?;
    end_when_peer_is_gone(socket, patience)?;
    do_not_pace_locally(socket);
    keep_little_unsent(socket)
}

/// The half of a socket that is written to. Dropped, it tells the other side that nothing more comes.
#[derive(Debug)]
pub(super) struct Sink {
    /// There until it is dropped.
    half: Option<OwnedWriteHalf>,
    is_discarded: AtomicBool,
}

impl Sink {
    pub(super) const fn new(half: OwnedWriteHalf) -> Self {
        Self {
            half: Some(half),
            is_discarded: AtomicBool::new(false),
        }
    }

    pub(super) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        self.half()?.try_write(bytes)
    }

    pub(super) async fn writable(&self) -> io::Result<()> {
        self.half()?.writable().await
    }

    /// Has the system forget what it was handed and has not sent yet when the socket is closed: it goes on sending
    /// otherwise, and what was given up would reach the log behind what is asked on the next connection, or once more
    /// beside it.
    pub(super) fn discard(&self) {
        if let Some(half) = &self.half {
            // Refused, it is closed as any other, and what is on its way may come late.
            let _ = SockRef::from(half.as_ref()).set_linger(Some(Duration::ZERO));
            self.is_discarded.store(true, Ordering::Release);
        }
    }

    fn half(&self) -> io::Result<&OwnedWriteHalf> {
        let half = self.half.as_ref();
        half.ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Sink {
    fn drop(&mut self) {
        // An end that looks like one in order would go before the reset.
        if let Some(half) = self.half.take_if(|_| *self.is_discarded.get_mut()) {
            half.forget();
        }
    }
}

/// Has the system take no more than can be on its way: the rest waits in the client. Over the loopback what has been taken
/// and not been sent is sent by the server's processor, when it has read what came before.
fn keep_little_unsent(socket: &TcpStream) -> io::Result<()> {
    SockRef::from(socket).set_tcp_notsent_lowat(UNSENT_BYTES)
}

/// Has the system end a connection whose other end acknowledges nothing (tcp(7)). Whoever gives a request up by
/// himself does not wait for the client to notice, and without this the system takes a quarter of an hour.
fn end_when_peer_is_gone(socket: &TcpStream, patience: Duration) -> io::Result<()> {
    let keepalive = TcpKeepalive::new()
        .with_time(REST)
        .with_interval(PROBE_EVERY);
    let socket = SockRef::from(socket);
    socket.set_tcp_keepalive(&keepalive)?;
    // What nobody waits for any more is not to arrive.
    socket.set_tcp_user_timeout(Some(patience.clamp(SILENCE_MIN, SILENCE_MAX)))
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

/// Of a name with more addresses the rest is left out: each is to have time enough to answer.
const ADDRESSES_MAX: usize = 8;
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
        told_of(SILENCE_MAX, ask)
    }

    /// The same of one whose requests are waited for that long.
    fn told_of<T>(patience: Duration, ask: impl FnOnce(&SockRef<'_>) -> io::Result<T>) -> T {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_io()
            .build();
        let told = runtime.expect("a runtime").block_on(async {
            let socket = TcpStream::connect(address).await.expect("connected");
            set_up(&socket, patience).expect("set up");
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

    /// The system went on for a minute, and requests are given up after half of one.
    #[test]
    fn the_system_sends_nothing_for_longer_than_it_is_waited_for() {
        let patience = Duration::from_secs(7);
        let told = told_of(patience, |socket| socket.tcp_user_timeout());
        assert_eq!(told, Some(patience));
    }

    /// The first one had all the time, and no other was ever tried.
    #[tokio::test]
    async fn a_name_is_reached_at_another_address_where_the_first_one_does_not_answer() {
        let deaf = deaf().await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let deadline = Instant::now() + Duration::from_secs(2);
        let connected = connect_to_any(&[deaf.address, address], deadline).await;
        assert_eq!(connected.unwrap().unwrap().peer_addr().unwrap(), address);
        let deadline = Instant::now() + Duration::from_millis(100);
        let nobody = connect_to_any(&[deaf.address, deaf.address], deadline).await;
        assert!(nobody.is_none());
    }

    /// A port at which connections are neither taken nor refused: its queue is full.
    struct Deaf {
        address: SocketAddr,
        _listener: tokio::net::TcpListener,
        _queued: Vec<tokio::task::JoinHandle<io::Result<TcpStream>>>,
    }

    async fn deaf() -> Deaf {
        let port = tokio::net::TcpSocket::new_v4().unwrap();
        port.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = port.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        // More than a queue of one takes: what does not fit waits until the test is over.
        let queued = (0..8).map(|_| tokio::spawn(TcpStream::connect(address)));
        let queued: Vec<_> = queued.collect();
        while queued.iter().filter(|one| one.is_finished()).count() < 2 {
            tokio::task::yield_now().await;
        }
        Deaf {
            address,
            _listener: listener,
            _queued: queued,
        }
    }
}
