//! The consumer where logs change under it, answers are not what they should be, or it is asked for much.

use std::sync::Arc;
use std::time::Duration;

use corelog_client::protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_client::protocol::request::Request;
use corelog_client::record::batch::Codec;
use corelog_client::record::{LeaderEpoch, Offset, PartitionId, Timestamp, TopicName};
use corelog_client::{Consumer, ConsumerConfig, End, Error, Start};
use tokio::sync::Notify;
use tokio::time::timeout;

use crate::consuming::{P0, next_error, offset, three_batches};
use crate::server::{Act, Server};
use crate::{PATIENCE, connect, connect_to, error};

/// Where one goes on that has read eight records.
const BEHIND_THE_EIGHTH: Start = Start::Behind {
    offset: Offset::new(8).unwrap(),
    epoch: LeaderEpoch::ZERO,
};

/// Partitions were grouped by how many there were, the one that is replaced not among them: those of a consumer that
/// assigned all of its own again met on one connection, and who waited there for records held up the others.
#[tokio::test]
async fn partitions_that_are_assigned_again_share_a_connection_with_no_more_than_before() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 96);
    let config = ConsumerConfig {
        wait: Duration::from_secs(60),
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(config);
    for partition in (0..96).chain(0..96).map(PartitionId::new) {
        consumer.assign(&topic, partition, Start::Earliest, End::Follow);
    }
    let all_wait = server.until(|server| server.count(Some(0), "Fetch") == 96);
    timeout(PATIENCE, all_wait).await.unwrap();
    assert_eq!(server.count(Some(0), "Hello"), 3);
}

#[tokio::test]
async fn partitions_that_have_ended_leave_their_connection_to_others() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 64);
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    server.log(&topic, 63, |log| log.fill(Codec::None, &[1]));
    for partitions in [0..32, 32..64] {
        for partition in partitions.map(PartitionId::new) {
            consumer.assign(&topic, partition, Start::Earliest, End::HighWatermark);
        }
        while consumer.next().await.transpose().unwrap().is_some() {}
    }
    assert_eq!(server.count(Some(0), "Hello"), 1);
}

/// A replica that ends right where the reader stands answers with nothing, again and again: as nothing failed, it was
/// asked for ever, many times a second.
#[tokio::test]
async fn records_that_were_readable_and_do_not_come_are_reported() {
    let (server, topic) = three_batches(Codec::None).await;
    let config = ConsumerConfig {
        fetch_bytes_max: 1,
        unreachable_timeout: Some(Duration::from_millis(500)),
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(config);
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    // There is no room for a third fetch before the first is handed out.
    server
        .until(|server| server.count(Some(0), "Fetch") == 2)
        .await;
    server.log(&topic, 0, |log| log.cut(offset(6)));
    for expected in 0..6 {
        assert_eq!(
            consumer.next().await.unwrap().unwrap().offset,
            offset(expected)
        );
    }
    match timeout(PATIENCE, next_error(&mut consumer)).await.unwrap() {
        Error::OutOfRange {
            offset: end,
            high_watermark,
            ..
        } => {
            assert_eq!((end, high_watermark), (offset(9), offset(6)));
        }
        other => panic!("{other}"),
    }
}

/// Where the owner was being restarted, a replica that had not all of its log yet answered instead: reading ended for good.
#[tokio::test]
async fn a_server_that_is_behind_what_was_read_is_waited_for_and_reported_only_if_it_stays_so() {
    for (refusals, is_read) in [(2, true), (usize::MAX, false)] {
        let (server, topic) = three_batches(Codec::None).await;
        server.script(move |seen| match seen.request {
            Request::Fetch(asked) if asked.offset == offset(6) && seen.nth - 2 < refusals => {
                Act::Refuse(ends_at(5))
            }
            _ => Act::Serve,
        });
        let config = ConsumerConfig {
            fetch_bytes_max: 1,
            unreachable_timeout: (!is_read).then_some(Duration::from_millis(500)),
            ..ConsumerConfig::default()
        };
        let mut consumer = connect(&server).await.consumer(config);
        consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
        for expected in 0..if is_read { 9 } else { 6 } {
            let record = timeout(PATIENCE, consumer.next()).await.unwrap();
            assert_eq!(record.unwrap().unwrap().offset, offset(expected));
        }
        match consumer.next().await {
            None => assert!(is_read),
            Some(Err(Error::OutOfRange { offset: asked, .. })) => {
                assert_eq!((is_read, asked), (false, offset(6)));
            }
            other => panic!("{other:?}"),
        }
    }
}

/// A follower that follows nobody any more would be asked for ever.
#[tokio::test]
async fn where_one_server_stays_behind_the_next_is_asked() {
    let (behind, topic) = three_batches(Codec::None).await;
    let whole = Server::start(1).await;
    whole.copy(&behind);
    behind.script(|seen| match seen.request {
        Request::Fetch(asked) if asked.offset == offset(6) => Act::Refuse(ends_at(5)),
        _ => Act::Serve,
    });
    let mut consumer = patient_consumer([&behind, &whole]).await;
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    reads_all(&mut consumer).await;
}

/// Where that one's log ended right where the reader stood, it was asked until it was given up.
#[tokio::test]
async fn where_one_server_ends_before_a_bounded_read_does_the_next_is_asked() {
    let (behind, topic) = three_batches(Codec::None).await;
    let whole = Server::start(1).await;
    whole.copy(&behind);
    let mut consumer = patient_consumer([&behind, &whole]).await;
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    // There is no room for a third fetch before the first is handed out.
    behind
        .until(|server| server.count(Some(0), "Fetch") == 2)
        .await;
    behind.log(&topic, 0, |log| log.cut(offset(6)));
    reads_all(&mut consumer).await;
}

/// It was told that there is no such offset, by a copy that had not got so far, and ended at once.
#[tokio::test]
async fn who_goes_on_where_it_stopped_does_so_at_a_server_that_has_got_so_far() {
    let (whole, topic) = three_batches(Codec::None).await;
    let behind = Server::start(1).await;
    behind.copy(&whole);
    behind.log(&topic, 0, |log| log.cut(offset(6)));
    let mut consumer = patient_consumer([&behind, &whole]).await;
    consumer.assign(&topic, P0, BEHIND_THE_EIGHTH, End::HighWatermark);
    let record = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(record.unwrap().unwrap().offset, offset(8));
    assert!(consumer.next().await.is_none());
}

#[tokio::test]
async fn that_no_server_has_got_so_far_is_reported_once_none_has_for_long() {
    let (server, topic) = three_batches(Codec::None).await;
    server.log(&topic, 0, |log| log.cut(offset(6)));
    let config = ConsumerConfig {
        unreachable_timeout: Some(Duration::from_millis(500)),
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(config);
    consumer.assign(&topic, P0, BEHIND_THE_EIGHTH, End::HighWatermark);
    match timeout(PATIENCE, next_error(&mut consumer)).await.unwrap() {
        Error::OutOfRange { offset: asked, .. } => assert_eq!(asked, offset(8)),
        other => panic!("{other}"),
    }
    assert!(1 < server.count(Some(0), "Fetch"));
}

/// A consumer of both, the first one first, that waits for ever.
async fn patient_consumer(servers: [&Server; 2]) -> Consumer {
    let config = ConsumerConfig {
        fetch_bytes_max: 1,
        unreachable_timeout: None,
        ..ConsumerConfig::default()
    };
    connect_to(servers).await.consumer(config)
}

/// Reads the three batches.
async fn reads_all(consumer: &mut Consumer) {
    for expected in 0..9 {
        let record = timeout(PATIENCE, consumer.next()).await.unwrap();
        assert_eq!(record.unwrap().unwrap().offset, offset(expected));
    }
}

/// What a server says whose log ends there.
fn ends_at(end: u64) -> ErrorBody {
    let detail = Detail {
        log_start: Some(offset(0)),
        high_watermark: Some(offset(end)),
        ..Detail::default()
    };
    error(ErrorCode::OutOfRange).with_detail(detail)
}

/// The server says when to come again, and a moment later would have served what a peer had sound.
#[tokio::test]
async fn damage_that_is_being_repaired_is_waited_for() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Fetch(_) if seen.nth < 2 => {
            let detail = Detail {
                retry_ms: Some(1),
                ..Detail::default()
            };
            Act::Refuse(error(ErrorCode::Damaged).with_detail(detail))
        }
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    let mut count = 0;
    while consumer.next().await.transpose().unwrap().is_some() {
        count += 1;
    }
    assert_eq!(count, 9);
}

/// The base offset lies outside the checksum: of the last batch of an answer it was believed, so that what was read had
/// other offsets than in the log, and a consumer that goes on from one of them leaves records out.
#[tokio::test]
async fn a_base_offset_that_was_changed_on_the_way_is_reported_before_a_record_is_handed_out() {
    let changes: [fn(&mut [u8]); 5] = [
        |body| body[7] += 1,
        |body| body[body.len() / 3 + 7] += 1,
        |body| body[body.len() / 3 + 7] -= 1,
        |body| body[body.len() / 3 * 2 + 7] += 1,
        |body| body[body.len() / 3 * 2 + 7] -= 1,
    ];
    for (change, number) in changes.into_iter().zip(0..) {
        let (server, topic) = three_batches(Codec::None).await;
        server.script(move |seen| match seen.request {
            Request::Fetch(_) => Act::Tamper(change),
            _ => Act::Serve,
        });
        let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
        consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
        let error = next_error(&mut consumer).await;
        assert!(
            matches!(error, Error::Damaged { .. }),
            "change {number}: {error}"
        );
        assert!(consumer.next().await.is_none(), "it ended its partition");
    }
}

/// One that was lowered leaves a gap behind its batch, which is nothing strange: only where the answer before ended tells.
#[tokio::test]
async fn a_base_offset_below_the_answer_before_is_reported() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Fetch(asked) if asked.offset == offset(9) => Act::Tamper(|body| body[7] -= 1),
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    for expected in 0..9 {
        let received = consumer.next().await.unwrap().unwrap();
        assert_eq!(received.offset, offset(expected));
    }
    // One answer brings both.
    server.log(&topic, 0, |log| {
        log.fill(Codec::None, &[1, 2, 3]);
        log.fill(Codec::None, &[1, 2, 3]);
    });
    match timeout(PATIENCE, next_error(&mut consumer)).await.unwrap() {
        Error::Damaged { offset: at, .. } => assert_eq!(at, offset(9)),
        other => panic!("{other}"),
    }
}

/// Of whoever waits at the end nothing was read before, and no batch there begins below it.
#[tokio::test]
async fn a_base_offset_below_the_end_at_which_was_waited_is_reported() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Fetch(_) if seen.nth == 0 => Act::Hurry,
        Request::Fetch(_) => Act::Tamper(|body| body[7] -= 1),
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Latest, End::Follow);
    // What the first one brought is taken, so that there is room for more.
    let asked_again = server.until(|server| server.count(Some(0), "Fetch") >= 2);
    tokio::select! {
        () = asked_again => {}
        record = consumer.next() => panic!("{record:?}"),
    }
    // One answer brings both.
    server.log(&topic, 0, |log| {
        log.fill(Codec::None, &[1, 2, 3]);
        log.fill(Codec::None, &[1, 2, 3]);
    });
    match timeout(PATIENCE, next_error(&mut consumer)).await.unwrap() {
        Error::Damaged { offset: at, .. } => assert_eq!(at, offset(9)),
        other => panic!("{other}"),
    }
}

/// The batch that it lies in began below where the empty answer ended, and was told as damaged.
#[tokio::test]
async fn an_offset_within_a_batch_is_read_also_where_the_first_answer_was_empty() {
    let (server, topic) = three_batches(Codec::None).await;
    server.script(|seen| match seen.request {
        Request::Fetch(_) if seen.nth < 2 => Act::Empty,
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Offset(offset(4)), End::Follow);
    for expected in 4..9 {
        let received = timeout(PATIENCE, consumer.next()).await.unwrap();
        assert_eq!(received.unwrap().unwrap().offset, offset(expected));
    }
}

/// The server tells by it whether what is asked for follows what was read.
#[tokio::test]
async fn a_fetch_names_the_epoch_of_what_was_read_and_a_log_that_parted_from_it_is_reported() {
    let (server, topic) = three_batches(Codec::None).await;
    let parted = ErrorBody::new(ErrorCode::Diverged, "another log").with_detail(Detail {
        offset: Some(offset(4)),
        ..Detail::default()
    });
    server.script(move |seen| match seen.request {
        Request::Fetch(asked) if asked.offset == offset(9) => {
            assert_eq!(asked.last_epoch, Some(LeaderEpoch::ZERO));
            Act::Refuse(parted.clone())
        }
        Request::Fetch(asked) => {
            assert_eq!(asked.last_epoch, None);
            Act::Serve
        }
        _ => Act::Serve,
    });
    let is_parted = |error| match error {
        Error::Diverged {
            offset: at,
            parting,
            ..
        } => assert_eq!((at, parting), (offset(9), offset(4))),
        other => panic!("{other}"),
    };
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    let mut epoch = None;
    for _ in 0..9 {
        epoch = consumer.next().await.unwrap().unwrap().epoch;
    }
    is_parted(next_error(&mut consumer).await);
    let (offset, epoch) = (offset(9), epoch.unwrap());
    // Who kept the offset alone was not told.
    let progress = consumer.progress(&topic, P0).unwrap();
    let resume = progress.resume();
    let expected = Start::Resumed {
        topic: progress.topic,
        offset,
        epoch: Some(epoch),
    };
    assert_eq!(resume, expected);
    consumer.assign(&topic, P0, resume, End::Follow);
    is_parted(next_error(&mut consumer).await);
}

/// Its place was told by then: who held it against the end of the log, and left, never heard that the log is another one.
#[tokio::test]
async fn who_goes_on_has_a_place_once_the_log_has_told_that_it_is_the_one_that_was_read() {
    let (server, topic) = three_batches(Codec::None).await;
    let (asked, due) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (is_asked, answer) = (Arc::clone(&asked), Arc::clone(&due));
    server.script(move |seen| match seen.request {
        Request::Fetch(first) if seen.nth == 0 => {
            assert_eq!(first.max_wait_ms, 0);
            is_asked.notify_one();
            Act::Hold(Arc::clone(&answer))
        }
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, BEHIND_THE_EIGHTH, End::Follow);
    timeout(PATIENCE, asked.notified()).await.unwrap();
    assert!(timeout(Duration::ZERO, consumer.next()).await.is_err());
    assert_eq!(consumer.progress(&topic, P0), None);
    due.notify_one();
    let received = timeout(PATIENCE, consumer.next()).await.unwrap();
    assert_eq!(received.unwrap().unwrap().offset, offset(8));
    let place = consumer.progress(&topic, P0).unwrap();
    assert_eq!(place.next, place.high_watermark);
}

#[tokio::test]
async fn reading_goes_on_behind_the_epoch_of_what_was_handed_out_last() {
    let (server, topic) = three_batches(Codec::None).await;
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Offset(offset(2)), End::Follow);
    let id = server.state.lock().unwrap().id_of(&topic).unwrap();
    let resumed = |at, epoch| Start::Resumed {
        topic: id,
        offset: offset(at),
        epoch,
    };
    let behind = |at| resumed(at, Some(LeaderEpoch::ZERO));
    consumer.next().await.unwrap().unwrap();
    let resume = |consumer: &Consumer| consumer.progress(&topic, P0).unwrap().resume();
    assert_eq!(resume(&consumer), behind(3));
    consumer.next_batch().await.unwrap().unwrap();
    assert_eq!(resume(&consumer), behind(6));
    consumer.assign(&topic, P0, behind(6), End::Offset(offset(6)));
    assert!(consumer.next().await.is_none());
    assert_eq!(resume(&consumer), behind(6));
    // Nothing is known of what lies before.
    let start = Start::Offset(offset(6));
    consumer.assign(&topic, P0, start, End::Offset(offset(6)));
    assert!(consumer.next().await.is_none());
    assert_eq!(resume(&consumer), resumed(6, None));
}

/// It read on in another topic of that name, at the offset where it had stopped in the one before.
#[tokio::test]
async fn who_goes_on_is_told_that_the_topic_is_another_one_by_now() {
    let (server, topic) = three_batches(Codec::None).await;
    let client = connect(&server).await;
    let mut consumer = client.consumer(ConsumerConfig::default());
    let resume = async |consumer: &mut Consumer, start| {
        consumer.assign(&topic, P0, start, End::Offset(offset(3)));
        while consumer.next().await.transpose()?.is_some() {}
        Ok::<_, Error>(consumer.progress(&topic, P0).unwrap().resume())
    };
    let first = resume(&mut consumer, Start::Earliest).await.unwrap();
    assert_eq!(resume(&mut consumer, first).await.unwrap(), first);
    server.topic("numbers", 1);
    server.log(&topic, 0, |log| log.fill(Codec::None, &[1, 2, 3, 4]));
    let changed = resume(&mut consumer, first).await.unwrap_err();
    assert!(changed.refusal().unwrap().is(ErrorCode::TopicChanged));
    // Of the new one, which this client has not met.
    let id = server.state.lock().unwrap().id_of(&topic).unwrap();
    let (offset, epoch) = (offset(3), None);
    let new = Start::Resumed {
        topic: id,
        offset,
        epoch,
    };
    assert_eq!(resume(&mut consumer, new).await.unwrap(), new);
}

/// Records of a log that are sound, behind which is one that is none.
const SOUND: u64 = 20;

async fn badly_filled() -> (Server, TopicName, Consumer) {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    server.log(&topic, 0, |log| log.fill_badly(SOUND));
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, Start::Earliest, End::HighWatermark);
    (server, topic, consumer)
}

/// Up to 255 of them were left out with it. Where the batch ends was not told: who read on at the next offset met it again.
#[tokio::test]
async fn records_before_one_that_is_none_are_handed_out_and_those_behind_its_batch() {
    let (server, topic, mut consumer) = badly_filled().await;
    server.log(&topic, 0, |log| log.fill(Codec::None, &[1]));
    for expected in 0..SOUND {
        let received = consumer.next().await.unwrap().unwrap();
        assert_eq!(received.offset, offset(expected));
    }
    let next = match next_error(&mut consumer).await {
        Error::Damaged {
            offset: at, next, ..
        } => {
            assert_eq!(at, offset(SOUND));
            next.unwrap()
        }
        other => panic!("{other}"),
    };
    assert_eq!(next, offset(SOUND + 1));
    consumer.assign(&topic, P0, Start::Offset(next), End::HighWatermark);
    assert_eq!(consumer.next().await.unwrap().unwrap().offset, next);
}

#[tokio::test]
async fn a_batch_gives_the_records_before_one_that_is_none() {
    let (_server, _, mut consumer) = badly_filled().await;
    let batch = consumer.next_batch().await.unwrap().unwrap();
    let read: Vec<_> = batch.records().map(|record| record.is_ok()).collect();
    let sound = usize::try_from(SOUND).unwrap();
    assert_eq!(read, [vec![true; sound], vec![false]].concat());
}

/// A consumer of `0..9` whose first fetch was held back until more was appended, up to 15, and all below `log_start` gone.
async fn outrun(start: Start, end: End, log_start: u64) -> (Server, Consumer) {
    let (server, topic) = three_batches(Codec::None).await;
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    server.script(move |seen| match seen.request {
        Request::Fetch(_) if seen.nth == 0 => Act::Hold(Arc::clone(&held)),
        _ => Act::Serve,
    });
    let mut consumer = connect(&server).await.consumer(ConsumerConfig::default());
    consumer.assign(&topic, P0, start, end);
    server
        .until(|server| server.count(Some(0), "Fetch") == 1)
        .await;
    server.log(&topic, 0, |log| {
        log.fill(Codec::None, &[1, 2, 3]);
        log.fill(Codec::None, &[1, 2, 3]);
        log.truncate(offset(log_start));
    });
    gate.notify_one();
    (server, consumer)
}

/// The log's first offset was asked for, and gone by the time it was fetched from: a reader of all there is ended with
/// an error.
#[tokio::test]
async fn where_retention_outruns_the_first_fetch_reading_begins_with_what_is_left() {
    for start in [
        Start::Earliest,
        Start::LastN(8),
        Start::Time(Timestamp::ZERO),
    ] {
        let (_server, mut consumer) = outrun(start, End::HighWatermark, 6).await;
        for expected in 6..9 {
            let received = consumer.next().await.unwrap().unwrap();
            assert_eq!(received.offset, offset(expected), "{start:?}");
        }
        let behind = consumer.next().await;
        assert!(behind.is_none(), "it ends where it was to: {behind:?}");
    }
}

#[tokio::test]
async fn where_retention_outruns_all_of_a_bounded_read_nothing_is_read() {
    let (_server, mut consumer) = outrun(Start::Earliest, End::HighWatermark, 12).await;
    assert!(consumer.next().await.is_none());
}

/// Both are promised all records from a place on.
#[tokio::test]
async fn an_offset_or_the_latest_that_retention_outran_is_reported() {
    for start in [Start::Offset(offset(1)), Start::Latest] {
        let (_server, mut consumer) = outrun(start, End::Follow, 12).await;
        match next_error(&mut consumer).await {
            Error::OutOfRange { log_start, .. } => assert_eq!(log_start, offset(12), "{start:?}"),
            other => panic!("{start:?}: {other}"),
        }
    }
}

/// It would leave out records without a word.
#[tokio::test]
async fn who_was_answered_once_is_told_of_what_retention_took() {
    let server = Server::start(1).await;
    let topic = server.topic("numbers", 1);
    let config = ConsumerConfig {
        wait: Duration::from_millis(1),
        ..ConsumerConfig::default()
    };
    let mut consumer = connect(&server).await.consumer(config);
    consumer.assign(&topic, P0, Start::Earliest, End::Follow);
    // The first was answered with nothing. What it brought is taken, so that there is room for more.
    let asked_again = server.until(|server| server.count(Some(0), "Fetch") >= 2);
    tokio::select! {
        () = asked_again => {}
        record = consumer.next() => panic!("{record:?}"),
    }
    server.log(&topic, 0, |log| {
        for _ in 0..3 {
            log.fill(Codec::None, &[1, 2, 3]);
        }
        log.truncate(offset(6));
    });
    match timeout(PATIENCE, next_error(&mut consumer)).await.unwrap() {
        Error::OutOfRange { log_start, .. } => assert_eq!(log_start, offset(6)),
        other => panic!("{other}"),
    }
}
