//! How a node that closes a connection leaves its client: each knows what was taken.

use std::io::Write as _;
use std::thread;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::frame::{CorrelationId, PREFIX_BYTES};
use corelog_protocol::request;

use crate::client::{Client, batch, to};
use crate::{directory, start, start_with};

/// What was sent behind the last request that was taken was of unknown outcome, though the node knew.
#[test]
fn a_node_that_stops_says_what_it_took_last_and_answers_all_up_to_it() {
    let dir = directory();
    // However long the disk takes for what is under way.
    let node = start_with(&dir, |config| config.stop_timeout = Duration::from_secs(60));
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("orders", 1);
    let first = client.send(&to("orders", id, 0), &batch(&["0"]));
    assert_eq!(client.receive_any(), None);

    let mut socket = client.socket();
    let sends = thread::spawn(move || {
        let body = batch(&["1"]);
        let mut frame = Vec::new();
        for number in first + 1.. {
            frame.clear();
            let correlation = CorrelationId::new(number);
            request::encode(correlation, &to("orders", id, 0), body.len(), &mut frame)
                .expect("a frame");
            frame.extend_from_slice(&body);
            if socket.write_all(&frame).is_err() {
                return number;
            }
        }
        0
    });
    let mut acked = 1;
    while acked < 100 {
        assert_eq!(client.receive_any(), None);
        acked += 1;
    }
    let stops = thread::spawn(move || node.stop());
    let mut taken = None;
    while taken.is_none_or(|taken| first + acked <= taken) {
        match client.receive_any() {
            None => acked += 1,
            Some(error) => {
                assert!(error.is(ErrorCode::Stopping), "{error}");
                assert_eq!(taken, None, "it is said once");
                taken = error.detail.taken;
            }
        }
    }
    assert_eq!(taken, Some(first + acked - 1));
    assert!(client.is_closed(), "nothing else is answered");
    drop(client);
    stops.join().expect("stopped").expect("a clean stop");
    assert!(taken < Some(sends.join().expect("sent")), "more was sent");

    let node = start(&dir);
    let latest = Client::hello(node.addresses().listen).latest("orders", id, 0);
    assert_eq!(latest, u64::from(acked), "and no more was taken");
    node.stop().expect("a clean stop");
}

#[test]
fn what_was_sent_behind_a_frame_that_is_none_was_not_taken() {
    let dir = directory();
    let node = start(&dir);
    let mut client = Client::hello(node.addresses().listen);
    let id = client.create("orders", 1);
    let body = batch(&["0"]);
    let taken = client.send(&to("orders", id, 0), &body);
    let mut none = Vec::new();
    let correlation = CorrelationId::new(taken + 1);
    request::encode(correlation, &to("orders", id, 0), body.len(), &mut none).expect("a frame");
    none[PREFIX_BYTES - 1] ^= 1;
    none.extend_from_slice(&body);
    let behind = CorrelationId::new(taken + 2);
    let mut sent = none;
    request::encode(behind, &to("orders", id, 0), body.len(), &mut sent).expect("a frame");
    sent.extend_from_slice(&body);
    client.send_raw(&sent);

    // In whichever order: the answer, and why it closes.
    let said = [client.receive_any(), client.receive_any()];
    let mut errors = said.into_iter().flatten();
    let error = errors.next().expect("it says why it closes");
    assert!(error.is(ErrorCode::BadFrame), "{error}");
    assert_eq!(errors.next(), None, "what was taken is done");
    assert_eq!(error.detail.taken, Some(taken));
    assert!(client.is_closed());
    let latest = Client::hello(node.addresses().listen).latest("orders", id, 0);
    assert_eq!(latest, 1);
    node.stop().expect("a clean stop");
}
