//! `--output json`: a line per acknowledged batch, as it arrives, on a thread of its own so that
//! nobody waits for whoever reads stdout.

use std::io;
use std::sync::{Arc, mpsc};
use std::thread::{self, JoinHandle};

use corelog_client::{BatchReport, Observer};
use corelog_protocol::message::ack::Level;
use serde::Serialize;

use crate::output::{ClosedPipe, Out};

/// An acknowledged batch, as it is printed.
#[derive(Debug, Serialize)]
struct Ack {
    partition: u32,
    first: u64,
    last: u64,
    level: Level,
}

/// The printing thread.
pub(super) struct Printer {
    /// Nothing means that no more comes. It has no bound: at one, the lane that tells of an acknowledgement would wait for
    /// whoever reads stdout, and with it every answer, until records were given up that are in the log. One takes 32 bytes.
    acks: mpsc::Sender<Option<Ack>>,
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Printer {
    /// Starts it; every batch that the observer is told of and that was acknowledged is printed.
    ///
    /// # Errors
    /// Where no thread can be started.
    pub(super) fn start() -> io::Result<(Self, Observer)> {
        let (acks, receiver) = mpsc::channel();
        let thread = thread::Builder::new()
            .name("acks".to_owned())
            .spawn(move || print(&receiver))?;
        let to_print = acks.clone();
        let observer = move |report: &BatchReport| {
            if let Ok(ack) = &report.result {
                let (first, last) = (ack.first.get(), ack.last.get());
                let partition = report.partition.get();
                // A thread that ended says why at the end.
                let _ = to_print.send(Some(Ack {
                    partition,
                    first,
                    last,
                    level: ack.level,
                }));
            }
        };
        Ok((Self { acks, thread }, Arc::new(observer)))
    }

    /// Prints what the observer was told of until now, and ends.
    ///
    /// # Errors
    /// Where stdout cannot be written; a reader that left is no error, what it asked for is done.
    pub(super) fn finish(self) -> anyhow::Result<()> {
        // A thread that ended by itself needs no telling.
        let _ = self.acks.send(None);
        match self.thread.join() {
            Ok(Err(error)) if !error.is::<ClosedPipe>() => Err(error),
            _ => Ok(()),
        }
    }
}

fn print(acks: &mpsc::Receiver<Option<Ack>>) -> anyhow::Result<()> {
    let mut out = Out::while_read();
    let mut next = acks.recv().ok().flatten();
    while let Some(ack) = next {
        out.json(&ack)?;
        next = match acks.try_recv() {
            Ok(next) => next,
            Err(_) => {
                out.flush()?;
                acks.recv().ok().flatten()
            }
        };
    }
    out.flush()
}
