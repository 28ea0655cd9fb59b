//! The server is killed in the middle of producing, and comes back on its data and its ports.

use std::path::Path;
use std::time::Duration;

use corelog_client::ProducerConfig;
use corelog_record::batch::Codec;

use super::watch::Watch;
use crate::support::books;
use crate::support::chance;
use crate::support::folder::Folder;
use crate::support::load::{Load, Task};
use crate::support::server::{Start, start_anywhere};
use crate::support::wire::Wire;

/// `CORELOG_CHAOS_ROUNDS` sets the number of kills.
#[test]
fn a_client_tells_the_truth_about_every_record_when_its_server_is_killed() {
    let mut random = chance::random("chaos::kill");
    let rounds = chance::number("CORELOG_CHAOS_ROUNDS", 6);
    let folder = Folder::new();
    let data = folder.path().join("data");
    let (mut server, listen) = start_anywhere(|| start(&data), &mut random);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let topic = wire.topic("killed", PARTITIONS, 1 << 20);
    drop(wire);

    let config = any_config(&mut random);
    println!("{config:?}");
    let load = Load::begin(Task {
        server: listen.to_string(),
        topic: topic.name.clone(),
        partitions: PARTITIONS,
        producer: config.clone(),
        timeout: Duration::from_secs(30),
    });
    let watch = Watch::begin(listen.to_string(), topic.name.clone(), PARTITIONS);
    for round in 0..rounds {
        load.wait_for_acks(random.usize(1..1_000));
        let ended = server.kill();
        assert!(!ended.log.contains("panicked"), "{}", ended.log);
        println!("round {round}: {} records failed so far", load.failed());
        server = start(&data).at(listen).start();
    }
    load.wait_for_acks(500);
    let report = load.end();

    let mut wire = Wire::open(listen).unwrap();
    let tally = report.books.audit(&mut wire, &topic, PARTITIONS);
    println!(
        "{tally:?}, {} batches, at most {} of {} bytes not settled",
        report.settled_batches, report.unsettled_most, config.memory_bytes_max
    );
    assert!(tally.acked >= 500, "{tally:?}");
    let logs: Vec<_> = (0..PARTITIONS)
        .map(|partition| books::read(&mut wire, &topic, partition))
        .collect();
    let seen = watch.end(logs.iter().map(Vec::len).collect());
    assert!(seen == logs, "a consumer saw something else than the log");

    // The same once more, from what the disk holds.
    drop(wire);
    server.kill();
    let server = start(&data).at(listen).start();
    let mut wire = Wire::open(listen).unwrap();
    report.books.audit(&mut wire, &topic, PARTITIONS);
    let ended = server.stop();
    assert_eq!(ended.status.code(), Some(0), "{}", ended.log);
}

/// Small batches and little memory: much in flight, and soon full.
pub(super) fn any_config(random: &mut fastrand::Rng) -> ProducerConfig {
    let codecs = [
        Codec::None,
        Codec::Gzip,
        Codec::Snappy,
        Codec::Lz4,
        Codec::Zstd,
    ];
    ProducerConfig {
        linger: Duration::from_millis(random.u64(0..3)),
        batch_bytes_max: random.usize(2_000..30_000),
        codec: codecs[random.usize(..codecs.len())],
        memory_bytes_max: random.usize(100_000..400_000),
        in_flight_max: random.usize(1..=8),
        ..ProducerConfig::default()
    }
}

fn start(data: &Path) -> Start {
    Start::on(data).cores(2)
}

const PARTITIONS: u32 = 4;
