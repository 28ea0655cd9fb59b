//! Taking connections, up to the limit.

use std::cell::Cell;
use std::rc::Rc;

use corelog_protocol::answer;
use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::frame::CorrelationId;
use futures_lite::FutureExt;

use super::link::Link;
use super::{reader, writer};
use crate::core::Core;
use crate::failure::failure_with;
use crate::metrics::{add, count_numbered, sub};
use crate::rt::{self, Conn, Listener};

/// Takes connections until the listener is stopped.
pub(crate) async fn serve_listener(core: Rc<Core>, listener: Rc<Listener>) {
    while let Some(conn) = listener.accept().await {
        if core.connection_count() >= connections_max(&core) {
            add(&core.counters.connections_refused_total, 1);
            rt::spawn(refuse(Rc::clone(&core), conn)).detach();
            continue;
        }
        add(&core.counters.connections_accepted_total, 1);
        rt::spawn(serve(Rc::clone(&core), conn)).detach();
    }
}

async fn serve(core: Rc<Core>, conn: Conn) {
    add(&core.counters.connections, 1);
    core.connection_count.set(core.connection_count() + 1);
    let peer = conn.peer();
    let (receiver, mut sender) = conn.split();
    sender.set_timeout(Some(core.shared.limits.write_timeout));
    let link = Link::new(Rc::clone(&core), peer);
    let writing = rt::spawn(writer::write(Rc::clone(&link), sender));
    reader::read(&link, receiver).or(core.cutting()).await;
    link.begin_close();
    writing.or(core.cutting()).await;
    link.end();
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
        let (_receiver, mut sender) = conn.split();
        sender.set_timeout(Some(core.shared.limits.write_timeout));
        // The client may be gone already; it is refused either way.
        let _ = sender.write_all(&frame).await;
        sender.finish();
    }
}

/// This core's part of the node's limit: the kernel spreads connections evenly enough.
fn connections_max(core: &Core) -> usize {
    let cores = usize::from(core.shared.core_count);
    core.shared.limits.connections_max.div_ceil(cores)
}

impl Core {
    /// Connections that are open on this core.
    pub(crate) fn connection_count(&self) -> usize {
        Cell::get(&self.connection_count)
    }
}
