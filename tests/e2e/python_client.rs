//! The protocol page suffices: a client that was written from it alone, in another language, does
//! its work against a live server.

use crate::support::folder::Folder;
use crate::support::python;
use crate::support::server::Start;

/// It creates a topic, produces, long-polls, lists offsets, meets errors, truncates and copies a
/// segment's file, and checks every answer against the page; here only the facts it found are looked at.
#[test]
fn a_client_written_from_the_page_alone_does_its_work() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).cores(2).start();
    // By the shared port, and by the port of each core: of two partitions one is elsewhere.
    let doors = server.ready.doors();
    for (number, door) in doors.iter().enumerate() {
        let topic = format!("by-door-{number}");
        let args = ["--server", &door.to_string(), "--topic", &topic];
        let facts = python::run("corelog_client.py", args).json();
        println!("{door}: {facts}");
        assert_eq!(facts["topic"], topic.as_str());
        assert_eq!(facts["topic_id"].as_str().map(str::len), Some(32));
        assert!(facts["durable"].as_u64() > Some(0), "{facts}");
        assert_eq!(facts["segments"], "equal");
        assert!(
            facts["copied"]["bytes"].as_u64() > Some(256 << 10),
            "{facts}"
        );
        // Long before the 20 seconds that it asked to wait are over.
        assert!(
            facts["long_poll_ms"].as_f64().unwrap() < 12_000.0,
            "{facts}"
        );
    }
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}

/// What is not as the page says ends it with exit code 1, so the test above can fail.
#[test]
fn the_client_fails_where_no_server_is() {
    let said = python::run("corelog_client.py", ["--server", "127.0.0.1:1"]).failed();
    assert!(said.contains("corelog_client.py: "), "{said}");
}
