//! Lookup by time through the wire: the first batch whose greatest timestamp is at or after the
//! time, whatever the order of timestamps, and through the client the first such record.

use corelog_client::record::{PartitionId, TopicName};
use corelog_client::{Client, ClientConfig, ConsumerConfig, End, Start};
use corelog_protocol::message::list_offsets::{self, At};
use corelog_protocol::message::truncate;
use corelog_record::batch::{Builder, Codec};
use corelog_record::checksum::crc32c;
use corelog_record::{Offset, Timestamp};

use crate::support::chance;
use crate::support::folder::Folder;
use crate::support::server::{Server, Start as Serve};
use crate::support::wire::{Target, Wire};

const CODECS: [Codec; 5] = [
    Codec::None,
    Codec::Gzip,
    Codec::Snappy,
    Codec::Lz4,
    Codec::Zstd,
];

/// What was produced, kept as simply as can be.
#[derive(Default)]
struct Model {
    batches: Vec<Vec<i64>>,
}

impl Model {
    /// Base offset and greatest timestamp of the first batch that reaches `time`.
    fn batch_at(&self, time: i64) -> Option<(u64, i64)> {
        let mut base = 0;
        for times in &self.batches {
            let max = *times.iter().max().unwrap();
            if max >= time {
                return Some((base, max));
            }
            base += times.len() as u64;
        }
        None
    }

    /// Offset of the first record, at or behind `log_start`, with a timestamp at or after `time`.
    fn record_at(&self, time: i64, log_start: u64) -> Option<u64> {
        let times = self.batches.iter().flatten();
        (0..)
            .zip(times)
            .find(|(offset, at)| log_start <= *offset && **at >= time)
            .map(|(offset, _)| offset)
    }

    fn end(&self) -> u64 {
        self.batches.iter().map(|times| times.len() as u64).sum()
    }

    fn times(&self) -> Vec<i64> {
        let mut times: Vec<i64> = self.batches.iter().flatten().copied().collect();
        times.sort_unstable();
        times.dedup();
        times
    }
}

/// A batch of records with these timestamps, each with `padding` bytes that compress a little: a
/// batch that would not shrink is stored as it is.
fn batch_of(codec: Codec, times: &[i64], padding: usize, random: &mut fastrand::Rng) -> Vec<u8> {
    let mut builder = Builder::new(codec);
    for time in times {
        let mut value = vec![0; padding];
        random.fill(&mut value[padding / 4..]);
        let time = Timestamp::from_millis(*time);
        builder.append(time, None, Some(&value), &[]).unwrap();
    }
    builder.build().unwrap()
}

fn ask(wire: &mut Wire, topic: &Target, time: i64) -> list_offsets::Answer {
    let request = topic.list_offsets(0, At::Time(Timestamp::from_millis(time)));
    wire.call(&request, &[]).unwrap().unwrap().0
}

fn assert_like(wire: &mut Wire, topic: &Target, model: &Model, times: &[i64]) {
    for &time in times {
        let found = ask(wire, topic, time);
        let at = found.timestamp.map(Timestamp::millis);
        let wanted = model.batch_at(time);
        let offset = wanted.map_or(model.end(), |(offset, _)| offset);
        assert_eq!(found.offset.get(), offset, "{} at {time}", topic.name);
        assert_eq!(at, wanted.map(|(_, max)| max), "{} at {time}", topic.name);
        assert_eq!(found.high_watermark.get(), model.end());
    }
}

#[test]
fn disordered_and_equal_timestamps_are_found_in_log_order() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let mut random = fastrand::Rng::with_seed(7);
    let model = Model {
        batches: vec![
            vec![100, 40],
            vec![50, 50, 50],
            vec![0, 200, 10],
            vec![200],
            vec![120, 300],
            vec![300, 300],
            vec![1],
        ],
    };
    for codec in CODECS {
        let topic = wire.topic(&format!("few-{codec}"), 1, 1 << 20);
        // An empty partition has no record at any time.
        assert_like(&mut wire, &topic, &Model::default(), &[0, 1]);
        for times in &model.batches {
            let batch = batch_of(codec, times, 10, &mut random);
            wire.call(&topic.produce(0), &batch).unwrap().unwrap();
        }
        let times = [0, 1, 40, 41, 99, 100, 101, 120, 200, 201, 300, 301, 1 << 40];
        assert_like(&mut wire, &topic, &model, &times);
        for time in times {
            let record = record_at(&server, &topic, time);
            assert_eq!(record, model.record_at(time, 0), "{codec} at {time}");
        }
    }
}

/// Over several segments, sealed and active, before and after a restart and a kill: as a search
/// from the beginning would find it.
#[test]
fn any_time_is_found_in_any_segment() {
    let mut random = chance::random("time");
    let folder = Folder::new();
    let mut server = Serve::on(&folder.path().join("data")).start();
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let (mut model, topic) = (Model::default(), wire.topic("many", 1, 1 << 20));
    // Times that wander, jump back, and repeat.
    let mut now = 1_700_000_000_000;
    for codec in CODECS {
        let until = model.batches.len() + 60;
        while model.batches.len() < until {
            now += random.i64(-40..60);
            let spread = 1 + random.i64(0..30);
            let times: Vec<i64> = (0..random.usize(1..8))
                .map(|_| now + random.i64(0..spread))
                .collect();
            let batch = batch_of(codec, &times, 4_000, &mut random);
            wire.call(&topic.produce(0), &batch).unwrap().unwrap();
            model.batches.push(times);
        }
    }
    let mut times = model.times();
    times.extend([0, now + 1_000]);
    random.shuffle(&mut times);
    times.truncate(300);
    for is_clean in [true, false] {
        assert_like(&mut wire, &topic, &model, &times);
        drop(wire);
        server = restart(server, is_clean);
        wire = Wire::open(server.ready.listen).unwrap();
    }
    assert_like(&mut wire, &topic, &model, &times);
    for &time in &times[..40] {
        let record = record_at(&server, &topic, time);
        assert_eq!(record, model.record_at(time, 0), "{time}");
    }
}

/// The greatest timestamp of a compressed batch is its producer's claim. The server answers by it,
/// the client looks for itself and goes on to the batch that does hold a record of the time.
#[test]
fn a_compressed_batch_that_claims_too_much_leads_the_client_on() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let mut random = fastrand::Rng::with_seed(8);
    let topic = wire.topic("claims", 1, 1 << 20);
    let mut liar = batch_of(Codec::Zstd, &[10, 20], 400, &mut random);
    claim(&mut liar, 1_000);
    let honest = batch_of(Codec::Zstd, &[30, 500], 400, &mut random);
    for batch in [&liar, &honest] {
        wire.call(&topic.produce(0), batch).unwrap().unwrap();
    }
    let found = ask(&mut wire, &topic, 400);
    assert_eq!(found.offset.get(), 0);
    assert_eq!(found.timestamp.map(Timestamp::millis), Some(1_000));
    assert_eq!(record_at(&server, &topic, 400), Some(3));
    assert_eq!(record_at(&server, &topic, 15), Some(1));
    assert_eq!(record_at(&server, &topic, 600), None);
}

/// What truncation hid is not found, even in the batch that the log now begins in.
#[test]
fn a_time_below_the_log_start_leads_to_what_is_left() {
    let folder = Folder::new();
    let server = Server::start(folder.path());
    let mut wire = Wire::open(server.ready.listen).unwrap();
    let mut random = fastrand::Rng::with_seed(9);
    let topic = wire.topic("cut", 1, 1 << 20);
    let model = Model {
        batches: vec![vec![10, 20, 30], vec![40, 35], vec![50]],
    };
    for times in &model.batches {
        let batch = batch_of(Codec::Lz4, times, 10, &mut random);
        wire.call(&topic.produce(0), &batch).unwrap().unwrap();
    }
    for lowest in [1, 2, 3, 4, 6] {
        let request = truncate::Request {
            topic: topic.name.clone(),
            id: topic.id,
            partition: PartitionId::new(0),
            lowest: Offset::ZERO.plus(lowest),
        };
        let (answer, _) = wire.call(&request, &[]).unwrap().unwrap();
        assert_eq!(answer.log_start.get(), lowest);
        for time in [0, 10, 20, 25, 30, 35, 40, 45, 50, 51] {
            let found = ask(&mut wire, &topic, time);
            assert_eq!(found.log_start.get(), lowest);
            let record = record_at(&server, &topic, time);
            let wanted = model.record_at(time, lowest);
            assert_eq!(record, wanted, "{time} from {lowest}: {found:?}");
        }
    }
}

/// The first record that a consumer gets which starts at `time`.
fn record_at(server: &Server, topic: &Target, time: i64) -> Option<u64> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let config = ClientConfig::new([server.address()]);
        let client = Client::connect(config).await.unwrap();
        let mut consumer = client.consumer(ConsumerConfig::default());
        let (name, start) = (TopicName::clone(&topic.name), Timestamp::from_millis(time));
        let partition = PartitionId::new(0);
        consumer.assign(&name, partition, Start::Time(start), End::HighWatermark);
        let received = consumer.next().await?.unwrap();
        assert!(received.timestamp >= start, "{received:?}");
        Some(received.offset.get())
    })
}

/// Has a batch claim a greatest timestamp, with a checksum that fits.
fn claim(batch: &mut [u8], max_timestamp: i64) {
    batch[MAX_TIMESTAMP..MAX_TIMESTAMP + 8].copy_from_slice(&be(max_timestamp));
    let checksum = crc32c(&batch[CHECKED_FROM..]);
    let checksum = be(i64::from(checksum));
    batch[CHECKED_FROM - 4..CHECKED_FROM].copy_from_slice(&checksum[4..]);
}

#[expect(clippy::big_endian_bytes, reason = "a batch's header is big-endian")]
fn be(number: i64) -> [u8; 8] {
    number.to_be_bytes()
}

fn restart(server: Server, is_clean: bool) -> Server {
    let data = server.ready.data.clone();
    let ended = if is_clean {
        server.stop()
    } else {
        server.kill()
    };
    assert!(!ended.log.contains("panicked"), "{}", ended.log);
    Serve::on(&data).start()
}

/// Where a batch's header says the greatest timestamp.
const MAX_TIMESTAMP: usize = 35;
/// Where the checked part of a batch begins; its checksum stands in front of it.
const CHECKED_FROM: usize = 21;
