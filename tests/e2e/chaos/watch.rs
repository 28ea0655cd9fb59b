//! A consumer that follows all partitions whatever happens to the server.

use std::sync::Arc;
use std::sync::Mutex;
use std::thread::{self, JoinHandle};

use corelog_client::record::{PartitionId, TopicName};
use corelog_client::{ClientConfig, ConsumerConfig, End, Start};
use corelog_record::Offset;
use tokio::sync::Notify;

use crate::support::books::Id;
use crate::support::deadline::DEADLINE;
use crate::support::load::connect;

/// What a partition's reader was shown, in that order.
pub(super) type Seen = Vec<(Offset, Id)>;

/// Following until it has seen all there is.
pub(super) struct Watch {
    thread: JoinHandle<Vec<Seen>>,
    ends: Arc<Ends>,
}

/// Where the partitions end, once that is known.
#[derive(Default)]
struct Ends {
    known: Mutex<Option<Vec<usize>>>,
    changed: Notify,
}

impl Watch {
    pub(super) fn begin(server: String, topic: TopicName, partitions: u32) -> Self {
        let ends = Arc::<Ends>::default();
        let thread = thread::spawn({
            let ends = Arc::clone(&ends);
            move || follow(server, &topic, partitions, &ends)
        });
        Self { thread, ends }
    }

    /// Waits until as many records of each partition were seen, and gives them.
    pub(super) fn end(self, counts: Vec<usize>) -> Vec<Seen> {
        *self.ends.known.lock().unwrap() = Some(counts);
        self.ends.changed.notify_one();
        self.thread.join().unwrap()
    }
}

fn follow(server: String, topic: &TopicName, partitions: u32, ends: &Ends) -> Vec<Seen> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(async {
        let client = connect(&ClientConfig::new([server])).await;
        let mut consumer = client.consumer(ConsumerConfig {
            unreachable_timeout: None,
            ..ConsumerConfig::default()
        });
        for partition in (0..partitions).map(PartitionId::new) {
            consumer.assign(topic, partition, Start::Earliest, End::Follow);
        }
        let mut seen = vec![Seen::new(); partitions as usize];
        let is_over = |seen: &[Seen]| {
            let known = ends.known.lock().unwrap();
            known.as_ref().is_some_and(|ends| {
                let all = seen.iter().zip(ends);
                all.into_iter().all(|(seen, end)| seen.len() >= *end)
            })
        };
        let deadline = tokio::time::Instant::now() + 2 * DEADLINE;
        while !is_over(&seen) {
            tokio::select! {
                () = tokio::time::sleep_until(deadline) => panic!("not all was seen in time"),
                received = consumer.next() => {
                    let received = received.unwrap().unwrap();
                    let id = Id::of(&received.value.unwrap());
                    let seen = &mut seen[received.partition.get() as usize];
                    assert_eq!(received.offset.get(), seen.len() as u64, "none twice, none left out");
                    seen.push((received.offset, id));
                }
                () = ends.changed.notified() => {}
            }
        }
        seen
    })
}
