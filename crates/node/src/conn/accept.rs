//! Taking connections, up to the limit.

use std::cell::Cell;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::frame::CorrelationId;
use futures_lite::FutureExt;

use super::connections::Connections;
use super::link::Link;
use super::{reader, writer};
use crate::core::Core;
use crate::failure::failure_with;
use crate::metrics::{add, count_numbered, sub};
use crate::rt::{self, Conn, Listener, ReadHalf};

/// How long a connection that is closed waits for its client to be silent.
const LINGER: Duration = Duration::from_millis(250);
/// How many reads of such a client are thrown away: together 4 MiB.
const LINGER_READS_MAX: usize = 1024;

/// Takes connections until the listener is stopped.
pub(crate) async fn serve_listener(
    core: Rc<Core>,
    connections: Rc<Connections>,
    listener: Rc<Listener>,
) {
    while let Some(conn) = listener.accept().await {
        if connection_count(&core) >= core.shared.limits.connections_max {
            add(&core.counters.connections_refused_total, 1);
            rt::spawn(refuse(Rc::clone(&core), conn)).detach();
            continue;
        }
        add(&core.counters.connections_accepted_total, 1);
        rt::spawn(serve(Rc::clone(&core), Rc::clone(&connections), conn)).detach();
    }
}

async fn serve(core: Rc<Core>, connections: Rc<Connections>, conn: Conn) {
    add(&core.counters.connections, 1);
    core.connection_count.set(core.connection_count() + 1);
    let peer = conn.peer();
    let socket = conn.socket();
    let (mut receiver, mut sender) = conn.split();
    sender.set_timeout(Some(core.shared.limits.write_timeout));
    let link = Link::new(Rc::clone(&core), peer, socket);
    connections.begin(&link);
    let writing = rt::spawn(writer::write(Rc::clone(&link), sender));
    reader::read(&link, &mut receiver).or(core.cutting()).await;
    link.begin_close();
    writing.or(core.cutting()).await;
    if !link.is_dead() {
        linger(&mut receiver).or(core.cutting()).await;
    }
    link.end();
    connections.end(&link);
    sub(&core.counters.connections, 1);
    core.connection_count.set(core.connection_count() - 1);
    core.connection_ended.notify();
}

/// Says why and closes.
async fn refuse(core: Rc<Core>, conn: Conn) {
    let connections_max = core.shared.limits.connections_max;
    let message = format!("the node holds {connections_max} connections, as many as it may");
    let detail = Detail {
        limit: Some(connections_max as u64),
        ..Detail::default()
    };
    let error = failure_with(ErrorCode::TooManyConnections, message, detail);
    count_numbered(&core.counters.errors, error.code);
    let mut frame = Vec::new();
    let correlation = CorrelationId::new(0);
    if answer::encode_err(answer::CONNECTION_KIND, correlation, &error, &mut frame).is_ok() {
        let (mut receiver, mut sender) = conn.split();
        sender.set_timeout(Some(core.shared.limits.write_timeout));
        // The client may be gone already; it is refused either way.
        let _ = sender.write_all(&frame).await;
        sender.finish();
        linger(&mut receiver).await;
    }
}

/// Connections that are open on the whole node, as its cores tell it.
fn connection_count(core: &Core) -> usize {
    let counters = &core.shared.counters;
    let open = counters
        .iter()
        .map(|core| core.connections.load(Ordering::Relaxed));
    usize::try_from(open.sum::<u64>()).unwrap_or(usize::MAX)
}

/// Reads what a client still sends and throws it away: closing with unread bytes would take the
/// last answers from the client.
async fn linger(receiver: &mut ReadHalf) {
    let mut scrap = vec![0; 4 << 10];
    receiver.set_timeout(Some(LINGER));
    for _ in 0..LINGER_READS_MAX {
        match receiver.read(&mut scrap).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

impl Core {
    /// Connections that are open on this core.
    pub(crate) fn connection_count(&self) -> usize {
        Cell::get(&self.connection_count)
    }
}
