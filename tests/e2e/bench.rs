//! `corelog bench`.

use crate::support::corelog::Corelog;
use crate::support::folder::Folder;
use crate::support::server::Server;

#[test]
fn what_is_produced_is_measured_and_can_be_consumed() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let args = [
        "bench",
        "produce",
        "--total",
        "4MiB",
        "--batch-bytes",
        "64KiB",
        "--partitions",
        "2",
        "--output",
        "json",
    ];
    let produced = corelog.run(args).json();
    for number in ["mib_per_s", "records_per_s"] {
        assert!(produced[number].as_f64().unwrap() > 0.0, "{produced}");
    }
    let latency = |name: &str| produced["ack_us"][name].as_u64().unwrap();
    assert!(0 < latency("p50") && latency("p50") <= latency("p99"));
    assert!(latency("p99") <= latency("p99.9") && latency("p99.9") <= latency("max"));

    let consumed = corelog.run(["bench", "consume", "--output", "json"]).json();
    assert!(consumed["bytes"].as_u64().unwrap() >= 4 << 20, "{consumed}");
    assert!(
        corelog
            .run(["bench", "consume", "--count", "10"])
            .text()
            .contains("records/s")
    );
}

#[test]
fn places_are_sought_and_acknowledgements_probed() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    let probe = ["bench", "probe", "--rate", "200", "--duration", "500ms"];
    let acks = corelog
        .run(probe.into_iter().chain(["--output", "json"]))
        .json_lines();
    assert_eq!(acks.len(), 100);
    for (ack, offset) in acks.iter().zip(0u64..) {
        assert_eq!(ack["offset"].as_u64(), Some(offset));
        assert!(ack["us"].as_u64().unwrap() > 0 && ack["due_us"].as_u64().unwrap() > 0);
    }
    assert!(corelog.run(probe).text().contains("ack p99.9"));
    for by in ["offset", "time"] {
        let args = [
            "bench", "seek", "--by", by, "--count", "20", "--output", "json",
        ];
        let sought = corelog.run(args).json();
        let latency = |name: &str| sought["seek_us"][name].as_u64().unwrap();
        assert!(
            0 < latency("p50") && latency("p50") <= latency("max"),
            "{sought}"
        );
    }
    assert!(corelog.run(["bench", "seek"]).text().contains("p99"));
}

#[test]
fn what_cannot_be_measured_is_said() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let corelog = Corelog::to(&server);
    corelog
        .run(["bench", "produce", "--record-bytes", "0"])
        .failed(2);
    corelog
        .run(["bench", "produce", "--compression", "best"])
        .failed(2);
    assert!(
        corelog
            .run(["bench", "consume", "--topic", "none"])
            .failed(1)
            .contains("UnknownTopic")
    );
    corelog
        .run(["bench", "consume", "--count", "many"])
        .failed(2);
    corelog.run(["bench", "seek", "--count", "0"]).failed(2);
    corelog.run(["bench", "seek", "--topic", "none"]).failed(1);
    corelog.run(["bench", "probe", "--rate", "0"]).failed(2);
    corelog
        .run(["bench", "probe", "--duration", "long"])
        .failed(2);
}
