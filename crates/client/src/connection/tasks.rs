//! The tasks of a connection.

use std::sync::atomic::AtomicU32;
use std::sync::{Arc, OnceLock};

use corelog_protocol::frame::Decoder;
use corelog_protocol::limits;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;

use super::table::Table;
use super::writer::{self, Outbox};
use super::{HELLO_BYTES_MAX, Shared, reader};
use crate::error::Fault;

/// Starts the two tasks; they end with the connection, and it with them.
pub(super) fn start(socket: TcpStream, address: Arc<str>) -> (Arc<Shared>, Outbox) {
    let (source, sink) = socket.into_split();
    let (outbox, writer) = writer::split(sink);
    let shared = Arc::new(Shared {
        address,
        socket: outbox.socket(),
        table: Table::new(),
        // Room for Hello alone, until its answer says how much there is.
        slots: Arc::new(Semaphore::new(1)),
        bytes: Arc::new(Semaphore::new(HELLO_BYTES_MAX as usize)),
        bytes_max: AtomicU32::new(HELLO_BYTES_MAX),
        tasks: OnceLock::new(),
    });
    let decoder = Decoder::answers(limits::FRAME_BYTES_MAX);
    let (reading, writing) = (Task::of(&shared), Task::of(&shared));
    let reads = tokio::spawn(async move {
        let fault = reader::read(source, decoder, &reading.shared).await;
        reading.shared.break_off(fault);
    });
    let writes = tokio::spawn(async move {
        // Dropped in the middle, the task is, while there is a socket, before the writer is.
        let mut writer = writer;
        let mut writing = writing;
        let fault = writer.run(&writing.shared.table).await;
        // Whoever closes it may have sent answers, and why; nobody waits for them if this side lets go of it.
        if !matches!(fault, Fault::Dropped) {
            writing.shared.refuse(fault, None);
            writing.is_done = true;
        }
    });
    let tasks = [reads.abort_handle(), writes.abort_handle()];
    shared.tasks.get_or_init(|| tasks);
    // One of them may have ended before the other could be told.
    if shared.table.is_ended() {
        shared.end_tasks();
    }
    (shared, outbox)
}

/// What one of the tasks holds: it may end in the middle, with its runtime or in a panic, and nobody is to wait on for what
/// it would have read or written.
struct Task {
    shared: Arc<Shared>,
    /// The connection ends, but not with this task.
    is_done: bool,
}

impl Task {
    fn of(shared: &Arc<Shared>) -> Self {
        let shared = Arc::clone(shared);
        let is_done = false;
        Self { shared, is_done }
    }
}

impl Drop for Task {
    fn drop(&mut self) {
        if !self.is_done {
            self.shared.break_off(Fault::Dropped);
        }
    }
}
