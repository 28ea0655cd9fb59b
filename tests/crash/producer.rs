//! A producer that goes on until its server is gone. It never sends anything twice.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;

use corelog_protocol::message::ack::Level;
use corelog_protocol::message::produce;
use corelog_record::Offset;

use crate::payload::{Contents, Writer};
use crate::support::wire::{Target, Wire};

/// What a producer is told.
#[derive(Clone, Debug)]
pub(crate) struct Task {
    pub(crate) address: SocketAddr,
    pub(crate) topic: Target,
    pub(crate) partition: u32,
    pub(crate) producer: u32,
    pub(crate) seed: u64,
    pub(crate) level: Level,
    /// Batches that wait for their answers at a time.
    pub(crate) window: usize,
}

/// A batch that the server said is on disk.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acked {
    pub(crate) base: Offset,
    pub(crate) contents: Contents,
}

/// Produces until the connection breaks; gives what was promised. Tells `begun` of its first
/// answer.
pub(crate) fn run(task: &Task, begun: &Sender<()>) -> Vec<Acked> {
    let mut acked = Vec::new();
    let Ok(mut wire) = Wire::open(task.address) else {
        return acked;
    };
    let mut writer = Writer::new(task.producer, task.seed);
    let mut window = VecDeque::new();
    let request = produce::Request {
        level: Some(task.level),
        ..task.topic.produce(task.partition)
    };
    let mut end = Offset::ZERO;
    loop {
        while window.len() < task.window {
            let (contents, batch) = writer.next();
            let Ok(correlation) = wire.send(&request, &batch) else {
                return acked;
            };
            window.push_back((correlation, contents));
        }
        let Ok(reply) = wire.receive() else {
            return acked;
        };
        let (correlation, contents) = window.pop_front().unwrap();
        assert_eq!(
            reply.correlation, correlation,
            "answers of a partition keep their order"
        );
        let (answer, _) = reply
            .read::<produce::Request>()
            .unwrap_or_else(|error| panic!("refused: {error:?}"));
        assert_eq!(answer.end.since(answer.base), u64::from(contents.count));
        assert!(answer.base >= end, "offsets of a producer rise");
        end = answer.end;
        if acked.is_empty() {
            // Nobody may wait for it any more.
            let _ = begun.send(());
        }
        assert!(
            answer.level == task.level || answer.level == Level::Durable,
            "a weaker promise than was asked for"
        );
        if answer.level == Level::Durable {
            let base = answer.base;
            acked.push(Acked { base, contents });
        }
    }
}
