//! A producer that goes on until its server is gone or stops. It sends again only what the server said was
//! not applied, in order, under the next run.

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::mpsc::Sender;
use std::thread;
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::error::ErrorCode;
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
    // The server ends while this runs, so every way ends here.
    let _ = produce(task, begun, &mut acked);
    acked
}

struct Sent {
    correlation: u32,
    contents: Contents,
    batch: Vec<u8>,
}

fn produce(task: &Task, begun: &Sender<()>, acked: &mut Vec<Acked>) -> io::Result<()> {
    let mut wire = Wire::open(task.address)?;
    let mut writer = Writer::new(task.producer, task.seed);
    let mut window: VecDeque<Sent> = VecDeque::new();
    let mut request = produce::Request {
        level: Some(task.level),
        ..task.topic.produce(task.partition)
    };
    let mut end = Offset::ZERO;
    loop {
        while window.len() < task.window {
            let (contents, batch) = writer.next();
            let correlation = wire.send(&request, &batch)?;
            window.push_back(Sent {
                correlation,
                contents,
                batch,
            });
        }
        let answer = next_answer(&mut wire, &window[0])?;
        // Nobody may listen any more.
        let _ = begun.send(());
        let answer = match answer {
            Ok(answer) => answer,
            Err(ErrorCode::Busy) => {
                let behind = window.iter().skip(1);
                for sent in behind {
                    let told = next_answer(&mut wire, sent)?.err();
                    let is_refused = matches!(told, Some(ErrorCode::Aborted | ErrorCode::Stopping));
                    assert!(is_refused, "the rest of the run: {told:?}");
                }
                thread::park_timeout(Duration::from_millis(20));
                request.run += 1;
                for sent in &mut window {
                    sent.correlation = wire.send(&request, &sent.batch)?;
                }
                continue;
            }
            Err(ErrorCode::Stopping) => return Ok(()),
            Err(code) => panic!("refused: {code}"),
        };
        let Some(Sent { contents, .. }) = window.pop_front() else {
            unreachable!("its answer was just read");
        };
        assert_eq!(answer.end.since(answer.base), u64::from(contents.count));
        assert!(answer.base >= end, "offsets of a producer rise");
        end = answer.end;
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

/// The answer to what was sent first: answers of a partition keep their order. What was taken is answered also behind what a
/// server that stops says of that.
fn next_answer(wire: &mut Wire, sent: &Sent) -> io::Result<Result<produce::Answer, ErrorCode>> {
    let mut reply = wire.receive()?;
    if reply.kind == answer::CONNECTION_KIND {
        reply = wire.receive()?;
    }
    assert_eq!(reply.correlation, sent.correlation, "out of order");
    let answer = reply.read::<produce::Request>();
    Ok(answer
        .map(|(answer, _)| answer)
        .map_err(|error| error.known_code().unwrap()))
}
