//! A write fails under a server that serves: its partition is fenced, what waited for it is unknown,
//! everything else goes on, and reopening lifts the fence.

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{create_snapshot, describe_topic};
use corelog_record::Offset;
use corelog_record::batch::{Batches, Codec, View};

use crate::support::corelog::Corelog;
use crate::support::deadline::until;
use crate::support::folder::Folder;
use crate::support::http::metric;
use crate::support::server::Start;
use crate::support::wire::{Target, Wire, batch};

const RECORD_BYTES: usize = 100_000;
/// More than fit in the smallest segment there is.
const RECORDS: u64 = 12;

#[test]
fn a_write_that_fails_fences_its_partition_until_it_is_reopened() {
    let folder = Folder::new();
    let server = Start::on(&folder.path().join("data")).start();
    let corelog = Corelog::to(&server);
    let mut wire = Wire::open(server.ready.listen).unwrap();
    // The limit is one for the whole server: no file of the sound one may come to it, whatever it has under way.
    let (broken, sound) = (
        wire.topic("broken", 1, 64 << 20),
        wire.topic("sound", 1, 1 << 20),
    );
    let mut acked = Vec::new();
    for number in 0..RECORDS {
        acked.push(produce(&mut wire, &broken, number).unwrap());
        produce(&mut wire, &sound, number).unwrap();
    }

    // Beyond its end, nothing of the broken one can be written any more.
    server.fail_writes_beyond(RECORDS * RECORD_BYTES as u64);
    let (mut refused, mut numbers) = (Vec::new(), 1_000..2_000);
    until("the partition is fenced", || {
        let number = numbers.next().unwrap();
        if let Err(code) = produce(&mut wire, &broken, number) {
            refused.push((number, code));
        }
        wire.state(&broken) == describe_topic::State::Fenced
    });
    server.write_again();
    assert!(!refused.is_empty());
    assert!(
        refused.iter().all(|(_, code)| matches!(
            code,
            ErrorCode::OutcomeUnknown | ErrorCode::Fenced | ErrorCode::StorageFull
        )),
        "{refused:?}"
    );
    assert_eq!(produce(&mut wire, &broken, 2_000), Err(ErrorCode::Fenced));
    assert!(metric(server.ready.admin, "corelog_fenced_partitions") >= 1.0);
    let told = Corelog::to(&server)
        .feed(["produce", "broken"], b"x\n")
        .failed(1);
    assert!(told.contains("Fenced"), "{told}");
    // Reads of it go on, and so does the other.
    let before = values(&mut wire, &broken);
    assert!(before.len() >= acked.len());
    produce(&mut wire, &sound, 3_000).unwrap();
    // A snapshot of it is refused and leaves nothing; one of the other is taken.
    let snapshot = |topics: &[&Target]| create_snapshot::Request {
        snapshot: "s".to_owned(),
        topics: topics.iter().map(|topic| topic.name.clone()).collect(),
    };
    let error = wire
        .call(&snapshot(&[&broken, &sound]), &[])
        .unwrap()
        .unwrap_err();
    assert!(error.is(ErrorCode::Fenced), "{error:?}");
    assert!(error.message.contains("broken/0"), "{error:?}");
    wire.call(&snapshot(&[&sound]), &[]).unwrap().unwrap();

    corelog.run(["partition", "reopen", "broken", "0"]).done();
    assert_eq!(wire.state(&broken), describe_topic::State::Ok);
    assert!(metric(server.ready.admin, "corelog_fenced_partitions") < 1.0);
    produce(&mut wire, &broken, 4_000).unwrap();
    let values = values(&mut wire, &broken);
    for (number, offset) in acked.iter().enumerate() {
        assert_eq!(
            values[usize::try_from(offset.get()).unwrap()],
            number as u64
        );
    }
    assert_eq!(values.last(), Some(&4_000));
    // Only of what nobody knew may be there, and once: whoever was told that it is not sends it again.
    for (number, code) in refused {
        let times = values.iter().filter(|value| **value == number).count();
        let times_max = usize::from(code == ErrorCode::OutcomeUnknown);
        assert!(times <= times_max, "{number}: {code:?}, {times} times");
    }
    assert!(server.stop().status.success());
}

/// Produces one record; gives its offset.
fn produce(wire: &mut Wire, topic: &Target, number: u64) -> Result<Offset, ErrorCode> {
    let mut value = vec![b'x'; RECORD_BYTES];
    value[..8].copy_from_slice(&number.to_le_bytes());
    let request = corelog_protocol::message::produce::Request {
        run: u32::try_from(number).unwrap(),
        ..topic.produce(0)
    };
    let answer = wire.call(&request, &batch(Codec::None, [value])).unwrap();
    match answer {
        Ok((answer, _)) => Ok(answer.base),
        Err(error) => Err(error.known_code().unwrap()),
    }
}

/// The numbers of all records, by offset.
fn values(wire: &mut Wire, topic: &Target) -> Vec<u64> {
    let mut values = Vec::new();
    for bytes in Batches::over(&wire.read_all(topic, 0, Offset::ZERO)) {
        let batch = View::verify(bytes.unwrap()).unwrap();
        let record = batch.records().unwrap().next().unwrap().unwrap();
        values.push(u64::from_le_bytes(
            record.value.unwrap()[..8].try_into().unwrap(),
        ));
    }
    values
}
