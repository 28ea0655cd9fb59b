//! Taking connections, up to the limit.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::frame::CorrelationId;
use corelog_protocol::limits;
use futures_lite::FutureExt;

use super::connections::Connections;
use super::link::Link;
use super::per_address::Place;
use super::{reader, writer};
use crate::core::Core;
use crate::failure::{Failure, failure_with};
use crate::metrics::{add, count_numbered, sub};
use crate::rt::{self, Conn, Listener, ReadHalf};

/// How long a client that is cut as the node stops has for the answers that are there.
const LAST_WORDS: Duration = Duration::from_millis(100);
/// How long a connection that is closed waits for its client to be silent.
const LINGER: Duration = Duration::from_millis(250);
/// How long it waits in all, however much of its client's bytes still come.
const LINGER_MAX: Duration = Duration::from_secs(2);
/// So many bytes of such a client are thrown away: what it may have under way, and as much in the system's buffers.
const LINGER_BYTES_MAX: usize = 2 * limits::IN_FLIGHT_BYTES_MAX as usize;

/// Takes connections until the listener is stopped.
pub(crate) async fn serve_listener(
    core: Rc<Core>,
    connections: Rc<Connections>,
    listener: Rc<Listener>,
) {
    while let Some(accepted) = listener.accept().await {
        let Ok(conn) = accepted else {
            add(&core.counters.accepts_failed_total, 1);
            continue;
        };
        match room_for(&core, &connections, conn.peer()) {
            Ok(place) => {
                add(&core.counters.connections_accepted_total, 1);
                let (core, connections) = (Rc::clone(&core), Rc::clone(&connections));
                rt::spawn(serve(core, connections, conn, place)).detach();
            }
            Err(error) => {
                add(&core.counters.connections_refused_total, 1);
                count_numbered(&core.counters.errors, error.code);
                refuse(&core, conn, error);
            }
        }
        // Who connects as fast as one core accepts is always there: nobody else would have a turn.
        rt::yield_if_needed().await;
    }
}

/// A place for a connection from `peer`, or why there is none.
fn room_for(core: &Core, connections: &Connections, peer: SocketAddr) -> Result<Place, Failure> {
    let limits = &core.shared.limits;
    let (all, each) = (limits.connections_max, limits.connections_per_address_max);
    if connection_count(core) >= all {
        let message = format!("the node holds {all} connections, as many as it may");
        return Err(too_many(message, all));
    }
    let place = connections.per_address.take(peer.ip(), each);
    place.ok_or_else(|| {
        let ip = peer.ip();
        too_many(
            format!(
                "{ip} has {each} connections, as many as one address may; close some, or start the \
                 server with more --connections-per-address-max"
            ),
            each,
        )
    })
}

fn too_many(message: String, limit: usize) -> Failure {
    let detail = Detail {
        limit: Some(limit as u64),
        ..Detail::default()
    };
    failure_with(ErrorCode::TooManyConnections, message, detail)
}

/// Serves a connection, which has its place until it is closed.
///
/// No `async fn`: of its arguments it keeps what each connection has for as long as it is open.
fn serve(
    core: Rc<Core>,
    connections: Rc<Connections>,
    conn: Conn,
    place: Place,
) -> impl Future<Output = ()> {
    add(&core.counters.connections, 1);
    let peer = conn.peer();
    let socket = conn.socket();
    let (mut receiver, mut sender) = conn.split();
    sender.set_timeout(Some(core.shared.limits.write_timeout));
    let intake = connections.intake.clone();
    let link = Link::new(core, intake, peer, socket);
    connections.begin(&link);
    let mut writing = rt::spawn(writer::write(Rc::clone(&link), sender));
    async move {
        let cut = async {
            link.core.cutting().await;
            // Nothing may come between the bytes of a file.
            if !link.is_bulk.get() {
                reader::leave(&link);
            }
        };
        reader::read(&link, &mut receiver).or(cut).await;
        link.begin_close();
        let closed = async {
            (&mut writing).await;
            if !link.is_dead() {
                rt::timeout(LINGER_MAX, linger(&mut receiver)).await;
            }
        };
        let cut = async {
            link.core.cutting().await;
            rt::sleep(LAST_WORDS).await;
        };
        closed.or(cut).await;
        writing.cancel().await;
        link.end();
        connections.end(&link);
        receiver.close().await;
        sub(&link.core.counters.connections, 1);
        link.core.connection_ended.notify();
        drop(place);
    }
}

/// Says why and closes; where many are being told already, it only closes: each of them holds a
/// descriptor meanwhile.
fn refuse(core: &Rc<Core>, conn: Conn, error: Failure) {
    if let Some(turn) = core.refusals.try_acquire(1) {
        let core = Rc::clone(core);
        rt::spawn(async move {
            rt::timeout(LINGER_MAX, say_why(&core, conn, &error)).await;
            drop(turn);
        })
        .detach();
    }
}

async fn say_why(core: &Core, conn: Conn, error: &Failure) {
    let mut frame = Vec::new();
    let correlation = CorrelationId::new(0);
    if answer::encode_err(answer::CONNECTION_KIND, correlation, error, &mut frame).is_ok() {
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
    let mut thrown_away = 0;
    while thrown_away < LINGER_BYTES_MAX {
        match receiver.read(&mut scrap).await {
            Ok(0) | Err(_) => return,
            Ok(bytes) => {
                thrown_away += bytes;
                // Most send nothing any more, and all of them may be here at once.
                if bytes == scrap.len() {
                    scrap.resize(16 << 10, 0);
                }
            }
        }
        rt::yield_if_needed().await;
    }
}

impl Core {
    /// Connections that are open on this core.
    pub(crate) fn connection_count(&self) -> u64 {
        self.counters.connections.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rt::WriteHalf;

    /// Each had the room of one that sends segments, which few ever do: 14 KiB.
    #[test]
    fn a_connection_has_no_room_for_what_few_ask_for() {
        fn bytes<F>(_: impl Fn(Rc<Core>, Rc<Connections>, Conn, Place) -> F) -> usize {
            size_of::<F>()
        }
        fn writer_bytes<F>(_: impl Fn(Rc<Link>, WriteHalf) -> F) -> usize {
            size_of::<F>()
        }
        let (reading, writing) = (bytes(serve), writer_bytes(writer::write));
        assert!(reading <= 1_736, "{reading}");
        assert!(writing <= 712, "{writing}");
    }
}
