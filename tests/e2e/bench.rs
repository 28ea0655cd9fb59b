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
}
