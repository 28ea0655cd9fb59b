//! What a connection holds while its client takes by and by what was asked for.

use std::net::TcpStream;

use corelog_protocol::message::fetch;

use super::*;
use crate::core::tests::with_core;
use crate::follow::samples::found_nothing;
use crate::rt::{Conn, Port};

/// A connection of this core, and its client's end.
pub(in crate::conn) async fn linked(core: &Rc<Core>) -> (Rc<Link>, TcpStream) {
    let (link, _conn, client) = linked_over(core).await;
    (link, client)
}

/// As [`linked`], and what it sends by.
pub(in crate::conn) async fn linked_over(core: &Rc<Core>) -> (Rc<Link>, Conn, TcpStream) {
    let listener = Port::claim("127.0.0.1:0".parse().unwrap());
    let listener = listener.unwrap().listen().unwrap();
    let client = TcpStream::connect(listener.address()).unwrap();
    let conn = listener.accept().await.unwrap().unwrap();
    let intake = Intake::new(Semaphore::new(1 << 30));
    let link = Link::new(Rc::clone(core), intake, conn.peer(), conn.socket());
    (link, conn, client)
}

/// Has it answer with so many bytes of batches.
pub(in crate::conn) fn answer_with_batches(link: &Link, bytes: usize) {
    let correlation = CorrelationId::new(1);
    let [of_connection, of_core] = [&link.room_to_answer, &link.core.send_budget]
        .map(|room| room.try_acquire(bytes as u64).unwrap());
    let batches = Batches::Bytes(vec![0; bytes]);
    let room = Room::of(of_connection, of_core);
    link.begin(0);
    link.answer_with::<fetch::Request>(correlation, 0, &found_nothing(), (batches, room));
}

/// Who took the first of many answers by and by held all of them.
#[test]
fn what_waits_behind_what_is_sent_is_held_as_well() {
    with_core(|core| async move {
        let (link, _client) = linked(&core).await;
        let bytes = 100_000;
        let answer = || answer_with_batches(&link, bytes);
        let held = |sending| (link.held(sending).batches, link.held(sending).answers);
        answer();
        let first = link.take_out();
        let sending = first.batches_with(Held::default());
        let head_bytes = core.answer_bytes.get();
        assert_eq!(held(sending), (bytes, head_bytes));
        answer();
        answer();
        assert_eq!(held(sending), (3 * bytes, 3 * head_bytes));
        link.sent(first);
        assert_eq!(held(Held::default()), (2 * bytes, 2 * head_bytes));
        link.end();
        assert_eq!(core.answer_bytes.get(), 0);
    });
}
