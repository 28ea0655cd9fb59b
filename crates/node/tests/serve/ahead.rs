//! What is read ahead from the disk takes no more memory than is meant for it.

use corelog_protocol::message::{delete_topic, fetch};
use corelog_record::TopicId;

use crate::client::{Client, from, name, to};
use crate::{directory, keeping, reads_ahead, resident_bytes, run_apart};

const LARGE_BYTES: u32 = 7_000_000;

/// A topic of so many batches, some of them large ones of seven records.
fn fill(client: &mut Client, topic: &str, count: u32, is_large: impl Fn(u32) -> bool) -> TopicId {
    let megabyte = "x".repeat(1_000_000);
    let large = [&*megabyte; 7];
    let id = client.create(topic, 1);
    for number in 0..count {
        let values = match is_large(number) {
            true => &large[..],
            false => &["v"],
        };
        client.produce(&to(topic, id, 0), values).expect("produced");
    }
    id
}

/// Asks for one batch and the one behind it, as who reads on; gives what to ask for next.
fn read_on(client: &mut Client, mut request: fetch::Request) -> fetch::Request {
    for _ in 0..2 {
        request.offset = client.fetch(&request).0.next;
    }
    request
}

/// A place counted as the byte that its reader asks for, however large the batch there is.
#[test]
fn readers_that_ask_for_a_byte_have_no_large_batches_read_ahead() {
    run_apart("ahead::readers_of_a_byte");
}

#[test]
#[ignore = "a child process of the test above, which takes memory of its own only"]
fn readers_of_a_byte() {
    let dir = directory();
    let node = keeping(&dir, 0);
    let mut client = Client::hello(node.addresses().listen);
    let id = fill(&mut client, "mixed", 36, |number| number % 3 == 2);
    let before = resident_bytes();
    for place in 0..12 {
        let mut request = from("mixed", id, 0, place * 9);
        request.max_bytes = 1;
        read_on(&mut client, request);
    }
    let taken = resident_bytes().saturating_sub(before);
    assert!(taken < 40 << 20, "{taken} bytes of memory more");
    node.stop().expect("a clean stop");
}

#[test]
fn what_was_read_ahead_of_a_topic_goes_with_it() {
    let dir = directory();
    let node = keeping(&dir, 0);
    let mut client = Client::hello(node.addresses().listen);
    let id = fill(&mut client, "gone", 12, |number| number % 3 > 0);
    let other = fill(&mut client, "other", 3, |number| number < 2);
    for place in 0..4 {
        let mut request = from("gone", id, 0, place * 15);
        request.max_bytes = LARGE_BYTES;
        read_on(&mut client, request);
    }
    let delete = delete_topic::Request {
        name: name("gone"),
        id,
    };
    client.ask(&delete).expect("deleted");
    let mut request = from("other", other, 0, 0);
    request.max_bytes = LARGE_BYTES;
    let request = read_on(&mut client, request);
    client.fetch(&request);
    assert_eq!(reads_ahead(&node), 1, "it left no room");
    node.stop().expect("a clean stop");
}
