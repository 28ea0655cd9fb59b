//! Records that wait for a partition in trouble, of which something changes meanwhile.

use corelog_client::protocol::error::ErrorCode;
use corelog_client::record::Record;
use tokio::time::timeout;

use crate::fewer::{PATIENCE, moved, place_among};
use crate::memory::{MEMORY_BYTES, assert_waits, small};
use crate::producing::on_produce;
use crate::server::{Act, Server};
use crate::{connect, error};

/// It stayed with the partition that it had waited for: of the other topic that was not where its key goes.
#[tokio::test]
async fn a_key_that_waits_for_a_partition_goes_by_the_topic_that_there_is_when_it_has_room() {
    // Of one that has fewer there may be no such partition at all.
    for [count, count_anew] in [[2, 4], [4, 2]] {
        let server = Server::start(1).await;
        let topic = server.topic("numbers", count);
        server.script(on_produce(|_| Act::Refuse(error(ErrorCode::StorageFull))));
        let producer = connect(&server).await.producer(small());
        let first = producer.send(&topic, None, half()).await.unwrap();
        server
            .until(|server| server.state.lock().unwrap().count_all("Produce") >= 2)
            .await;
        let mut waiting = Box::pin(producer.send(&topic, None, moved()));
        assert_waits(&mut waiting).await;
        server.topic("numbers", count_anew);
        server.script(|_| Act::Serve);
        first.await.unwrap_err();
        let sent = timeout(PATIENCE, waiting).await.unwrap().unwrap();
        let expected = place_among(count_anew.try_into().unwrap());
        assert_eq!(sent.await.unwrap().partition, expected);
    }
}

/// A record of that key with which a partition in trouble holds what it may.
fn half() -> Record {
    Record {
        value: Some(vec![b'v'; MEMORY_BYTES / 2]),
        ..moved()
    }
}
