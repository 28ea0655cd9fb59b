//! The way of a connection's requests to the socket, in the order they were entered.
//!
//! A small request that is alone leaves at once, from the hands of whoever enters it: to wake a task for it would cost a
//! lone client more than all else that is done for it here. All else is written by a task, which gathers what comes meanwhile.

use std::io;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};

use bytes::Bytes;
use tokio::net::tcp::OwnedWriteHalf;
use tokio::sync::mpsc;
use tokio::task::coop;

use super::socket::Sink;
use super::table::Table;
use crate::error::Fault;

/// A request on its way to the socket.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) correlation: u32,
    /// Prefix and head.
    pub(super) head: Vec<u8>,
    pub(super) body: Bytes,
}

/// A request in the queue, and what became of it in its caller's hands.
type Queued = (Outgoing, Tried);

#[derive(Debug)]
enum Tried {
    /// Nothing has left.
    No,
    /// What is not in the request any more has left.
    Begun,
    /// The socket told this, and tells it once.
    Failed(io::Error),
}

/// Where requests are handed over. The queue is bounded by the connection's room, which also what is withdrawn
/// has until the task comes to it.
#[derive(Debug)]
pub(super) struct Outbox {
    queue: mpsc::UnboundedSender<Queued>,
    /// How many are in the queue or in the task's hands.
    queued: Arc<AtomicUsize>,
    /// The task's, and gone with it.
    socket: Weak<Sink>,
}

/// The connection has ended.
#[derive(Debug)]
pub(super) struct Ended;

impl Outbox {
    /// The socket, for as long as it is written to.
    pub(super) fn socket(&self) -> Weak<Sink> {
        Weak::clone(&self.socket)
    }

    /// Hands a request over; `is_alone` if no other is to leave with it. Requests leave in the order of these calls, of which there
    /// is one at a time. True if the first bytes have left.
    ///
    /// # Errors
    /// The connection has ended; nothing of the request has left.
    pub(super) fn put(&self, mut outgoing: Outgoing, is_alone: bool) -> Result<bool, Ended> {
        let is_small = outgoing.body.len() <= GATHERED_BODY_BYTES_MAX;
        let mut tried = Tried::No;
        if is_alone && is_small && self.queued.load(Ordering::Acquire) == 0 {
            let socket = self.socket.upgrade().ok_or(Ended)?;
            outgoing.head.extend_from_slice(&outgoing.body);
            outgoing.body.clear();
            match socket.try_write(&outgoing.head) {
                Ok(written) if written == outgoing.head.len() => return Ok(true),
                Ok(0) => {}
                Ok(written) => {
                    outgoing.head.drain(..written);
                    tried = Tried::Begun;
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => tried = Tried::Failed(error),
            }
        }
        let is_begun = matches!(tried, Tried::Begun);
        self.queued.fetch_add(1, Ordering::Relaxed);
        match self.queue.send((outgoing, tried)) {
            Err(_) if !is_begun => Err(Ended),
            // What has begun ends with the connection, as sent, if that is over.
            _ => Ok(is_begun),
        }
    }
}

/// The task's side.
pub(super) struct Writer {
    queue: mpsc::UnboundedReceiver<Queued>,
    queued: Arc<AtomicUsize>,
    socket: Arc<Sink>,
    /// Small requests gather here and leave together.
    gathered: Vec<u8>,
}

/// Both sides.
pub(super) fn split(half: OwnedWriteHalf) -> (Outbox, Writer) {
    let (sender, queue) = mpsc::unbounded_channel();
    let (socket, queued) = (Arc::new(Sink::new(half)), Arc::new(AtomicUsize::new(0)));
    let outbox = Outbox {
        queue: sender,
        queued: Arc::clone(&queued),
        socket: Arc::downgrade(&socket),
    };
    let writer = Writer {
        queue,
        queued,
        socket,
        gathered: Vec::with_capacity(GATHERED_BYTES),
    };
    (outbox, writer)
}

impl Writer {
    /// Writes until the queue or the socket ends.
    pub(super) async fn run(&mut self, table: &Table) -> Fault {
        while let Some(outgoing) = self.queue.recv().await {
            let mut taken = 0;
            let mut next = Some(outgoing);
            while let Some(outgoing) = next.take() {
                if let Err(source) = self.take(outgoing, table).await {
                    return Fault::Io { source };
                }
                taken += 1;
                // Where the socket takes all, nothing else lets other tasks of the thread go on.
                coop::consume_budget().await;
                next = self.queue.try_recv().ok();
            }
            if let Err(source) = self.flush().await {
                return Fault::Io { source };
            }
            self.queued.fetch_sub(taken, Ordering::Release);
        }
        Fault::Dropped
    }

    /// Gathers a request; a large body goes out uncopied.
    async fn take(&mut self, (outgoing, tried): Queued, table: &Table) -> io::Result<()> {
        match tried {
            Tried::Failed(error) => return Err(error),
            Tried::No if !table.begin_sending(outgoing.correlation) => return Ok(()),
            Tried::No | Tried::Begun => {}
        }
        self.gathered.extend_from_slice(&outgoing.head);
        if outgoing.body.len() <= GATHERED_BODY_BYTES_MAX {
            self.gathered.extend_from_slice(&outgoing.body);
        } else {
            self.flush().await?;
            write_all(&self.socket, &outgoing.body).await?;
        }
        if self.gathered.len() >= GATHERED_BYTES {
            self.flush().await
        } else {
            Ok(())
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        write_all(&self.socket, &self.gathered).await?;
        self.gathered.clear();
        Ok(())
    }
}

async fn write_all(socket: &Sink, mut bytes: &[u8]) -> io::Result<()> {
    while !bytes.is_empty() {
        match socket.try_write(bytes) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(written) => bytes = &bytes[written..],
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => socket.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

/// Gathered requests leave when they reach this size: a few system calls' worth.
const GATHERED_BYTES: usize = 64 << 10;

/// Copying less than this costs less than a system call of its own.
pub(super) const GATHERED_BODY_BYTES_MAX: usize = 16 << 10;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use socket2::SockRef;
    use tokio::io::AsyncReadExt;
    use tokio::net::{TcpListener, TcpStream};
    use tokio::sync::Semaphore;

    use super::*;
    use crate::connection::table::Ending;
    use crate::connection::table::tests::{patience, permits};

    impl From<Ending> for Ended {
        fn from(_: Ending) -> Self {
            Self
        }
    }

    /// Both sides of a connection that holds about twice as many bytes on its way, and who reads it.
    async fn connect(bytes: usize) -> (Outbox, Writer, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let socket = TcpStream::connect(listener.local_addr().unwrap());
        let (socket, accepted) = tokio::join!(socket, listener.accept());
        let (socket, peer) = (socket.unwrap(), accepted.unwrap().0);
        SockRef::from(&socket).set_send_buffer_size(bytes).unwrap();
        SockRef::from(&peer).set_recv_buffer_size(bytes).unwrap();
        let (_, socket) = socket.into_split();
        let (outbox, writer) = split(socket);
        (outbox, writer, peer)
    }

    fn request(correlation: u32, bytes: usize) -> Outgoing {
        let mut random = fastrand::Rng::with_seed(correlation.into());
        let mut any = |bytes| {
            let mut piece = vec![0; bytes];
            random.fill(&mut piece);
            piece
        };
        Outgoing {
            correlation,
            head: any(40),
            body: any(bytes).into(),
        }
    }

    fn bytes_of(request: &Outgoing) -> Vec<u8> {
        [&request.head[..], &request.body].concat()
    }

    #[tokio::test]
    async fn a_request_that_is_alone_leaves_at_once_and_others_with_the_task() {
        let (outbox, _writer, mut peer) = connect(16 << 10).await;
        assert!(outbox.put(request(1, 1_000), true).unwrap());
        let mut read = vec![0; 1_040];
        peer.read_exact(&mut read).await.unwrap();
        assert_eq!(read, bytes_of(&request(1, 1_000)));
        assert!(!outbox.put(request(2, 1_000), false).unwrap());
        assert!(!outbox.put(request(3, 1_000), true).unwrap(), "behind it");
        let nothing = peer.try_read(&mut read).unwrap_err();
        assert_eq!(nothing.kind(), io::ErrorKind::WouldBlock);
    }

    #[tokio::test]
    async fn what_the_socket_told_a_caller_is_what_the_connection_ends_with() {
        let (outbox, mut writer, peer) = connect(16 << 10).await;
        SockRef::from(&peer)
            .set_linger(Some(Duration::ZERO))
            .unwrap();
        drop(peer);
        // What a reset socket tells first, it tells once.
        while outbox.put(request(1, 1_000), true).unwrap() {}
        drop(outbox);
        let fault = writer.run(&Table::new()).await;
        let reset = io::ErrorKind::ConnectionReset;
        assert!(matches!(fault, Fault::Io { source } if source.kind() == reset));
    }

    #[tokio::test]
    async fn requests_leave_whole_and_in_order_where_the_socket_takes_parts_of_them() {
        let (outbox, mut writer, mut peer) = connect(16 << 10).await;
        let table = Arc::new(Table::new());
        let of_writer = Arc::clone(&table);
        let writing = tokio::spawn(async move { writer.run(&of_writer).await });
        let (mut expected, mut read) = (Vec::new(), Vec::new());
        let (mut begun, mut withdrawn) = (0, 0);
        let room = Arc::new(Semaphore::new(600));
        let mut random = fastrand::Rng::with_seed(1);
        for _ in 0..300 {
            let bytes = random.usize(0..20_000);
            let hand_over = |correlation, _| {
                let outgoing = request(correlation, bytes);
                expected.extend(bytes_of(&outgoing));
                let put = outbox.put(outgoing, true);
                begun += u32::from(matches!(put, Ok(true)));
                put
            };
            let entered = table.enter(permits(&room), patience(), hand_over);
            let (correlation, _answer) = entered.unwrap();
            if random.bool() && !table.abandon(correlation) {
                withdrawn += 1;
                expected.truncate(expected.len() - 40 - bytes);
            }
            while read.len() < expected.len() && random.u8(..) < 220 {
                peer.read_buf(&mut read).await.unwrap();
            }
        }
        assert!(30 < begun && 30 < withdrawn, "{begun} and {withdrawn}");
        while read.len() < expected.len() {
            peer.read_buf(&mut read).await.unwrap();
        }
        assert!(read == expected);
        drop(outbox);
        assert!(matches!(writing.await.unwrap(), Fault::Dropped));
    }

    /// Who sent on where nobody read had one room after another of bytes in the queue, and the producer's memory was free.
    #[tokio::test]
    async fn requests_that_are_withdrawn_have_their_room_until_the_queue_is_rid_of_them() {
        let (outbox, mut writer, mut peer) = connect(16 << 10).await;
        let (table, room) = (Table::new(), Arc::new(Semaphore::new(4)));
        for _ in 0..2 {
            let hand_over = |correlation, _| outbox.put(request(correlation, 1_000), false);
            let entered = table.enter(permits(&room), patience(), hand_over);
            assert!(!table.abandon(entered.unwrap().0));
        }
        assert!(table.is_empty(), "nobody waits");
        assert_eq!(room.available_permits(), 0);
        drop(outbox);
        assert!(matches!(writer.run(&table).await, Fault::Dropped));
        assert_eq!(room.available_permits(), 4);
        drop(writer);
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert!(read.is_empty());
    }

    /// Hands over large requests until the socket is full: the last one's task, who reads it, and what it is to read, if a part of that
    /// request has left.
    async fn begin(buffer_bytes: usize) -> Option<(Writer, TcpStream, Vec<u8>)> {
        let (outbox, writer, peer) = connect(buffer_bytes).await;
        let mut expected = Vec::new();
        for number in 1.. {
            let large = request(number, GATHERED_BODY_BYTES_MAX);
            expected.extend(bytes_of(&large));
            let is_begun = outbox.put(large, true).unwrap();
            if 0 < outbox.queued.load(Ordering::Relaxed) {
                return is_begun.then_some((writer, peer, expected));
            }
        }
        None
    }

    #[tokio::test]
    async fn what_has_begun_leaves_whole_also_if_it_was_answered_meanwhile() {
        let mut begun = None;
        for kib in 8..200 {
            begun = begin(kib << 10).await;
            if begun.is_some() {
                break;
            }
        }
        let (mut writer, mut peer, expected) = begun.expect("some socket takes a part");
        // Of a table that knows of no request any more.
        let writing = tokio::spawn(async move { writer.run(&Table::new()).await });
        let mut read = Vec::new();
        peer.read_to_end(&mut read).await.unwrap();
        assert!(read == expected);
        assert!(matches!(writing.await.unwrap(), Fault::Dropped));
    }

    #[tokio::test]
    async fn what_has_begun_counts_as_sent_also_where_the_task_has_ended() {
        let mut begun = 0;
        for kib in 8..200 {
            let (outbox, Writer { queue, socket, .. }, _peer) = connect(kib << 10).await;
            drop(queue);
            while outbox.queued.load(Ordering::Relaxed) == 0 {
                let put = outbox.put(request(1, GATHERED_BODY_BYTES_MAX), true);
                begun += u32::from(put.is_ok() && 0 < outbox.queued.load(Ordering::Relaxed));
            }
            drop(socket);
        }
        assert!(0 < begun, "some socket takes a part");
    }
}
