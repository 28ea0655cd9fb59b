//! One segment after the other, from the sources that have it.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use corelog_protocol::limits;
use corelog_protocol::message::copy_segments::{self, Part};
use corelog_protocol::message::segments::{self, Sealed};
use corelog_record::{Offset, Position};
use corelog_storage::disk::block_on;
use corelog_storage::disk::std::StdDir;
use corelog_storage::format::edit::Digest;
use corelog_storage::intake::{self, Intake, Left, Of, Ready};

use super::givers::Givers;
use super::job::Job;
use super::sources::Tries;
use super::{Fault, Order, ReceiveError, Wanted};
use crate::rt;
use crate::transfer::budget::Budget;
use crate::transfer::peer::{Peer, PeerError};

/// A worker, and the source that it is connected to.
struct Worker<'a> {
    job: &'a Job<'a>,
    /// Which source to begin with: each worker with another one.
    first: usize,
    line: Option<Line<'a>>,
}

/// A connection to a source.
struct Line<'a> {
    source: usize,
    peer: Peer<'a>,
    /// What it has, by base offset.
    sealed: BTreeMap<Offset, Sealed>,
}

/// What ends a try.
enum Trouble {
    /// The source, which is named.
    Source(Fault),
    /// This node.
    Here(ReceiveError),
    /// The order does not go on.
    Over,
}

/// Why not all of a segment came in.
enum Unfilled {
    /// There is no source left, or this node does not go on.
    Ended(ReceiveError),
    /// What a source has does not go on where others ended: nobody knows which of them deceives.
    Disputed {
        /// The source.
        by: usize,
    },
}

/// Receives segments until there is nothing left to take.
pub(super) fn run<'a>(job: &'a Job<'a>, first: usize) {
    let mut worker = Worker {
        job,
        first,
        line: None,
    };
    while let Some(number) = job.take() {
        let received = worker.segment(number);
        job.note(number, received);
    }
}

impl<'a> Worker<'a> {
    /// Receives the segment `number`, whole.
    fn segment(&mut self, number: usize) -> Result<Ready, ReceiveError> {
        let wanted = &self.job.order.segments[number];
        let segment = wanted.seal.digest.base;
        let (_claim, mut left) = match self.job.files.take(number) {
            Some((claim, left)) => (claim, Some(left)),
            None => {
                let claim = self.job.claims.take(self.job.order, wanted.segment());
                (claim.ok_or(ReceiveError::InUse { segment })?, None)
            }
        };
        let mut tries = self.job.sources.tries();
        for _ in 0..ROUNDS_MAX {
            // Space for all of it is prepared before a byte of it comes.
            self.job.check_goes_on()?;
            let mut intake = self.open(wanted, left.take())?;
            let mut givers = Givers::of(&intake);
            match self.fill(&mut intake, number, &mut tries, &mut givers) {
                Ok(()) => {}
                Err(Unfilled::Disputed { by }) => {
                    block_on(intake.discard())?;
                    // All of it from that one: then it is right, or it is known who deceives.
                    self.first = by;
                    continue;
                }
                Err(Unfilled::Ended(error)) => {
                    // What was verified stays for the next try; that is all that can be done for it here.
                    let _ = block_on(intake.park());
                    return Err(error);
                }
            }
            match block_on(intake.finish()) {
                Ok(ready) => return Ok(ready),
                Err(error @ intake::Error::Storage(_)) => return Err(error.into()),
                Err(error) => {
                    self.line = None;
                    match givers.only() {
                        // Who gave all of it deceived.
                        Some(only) => {
                            let fault = Fault::Wrong(error);
                            self.job.sources.met(&mut tries, only, segment, fault);
                        }
                        // Of several nobody knows who did: from the start.
                        None => block_on(self.open(wanted, None)?.discard())?,
                    }
                }
            }
        }
        Err(ReceiveError::NoSource { segment })
    }

    /// Begins to receive a segment; what is `left` of it is looked for if it is not known, and read anew unless the order
    /// is to stop meanwhile.
    fn open(&self, wanted: &Wanted, left: Option<Left>) -> Result<Intake<StdDir>, ReceiveError> {
        let order = self.job.order;
        let of = Of {
            history: order.history,
            seal: wanted.seal.clone(),
            generation: wanted.generation,
            epochs: order.epochs.clone(),
            interval_bytes: order.interval_bytes,
        };
        let (dir, now) = (&order.dir, rt::wall_clock());
        let left = match left {
            Some(left) => left,
            None => block_on(Left::of(dir))?,
        };
        let stop = &self.job.progress.stop;
        let opened = block_on(Intake::open_behind(dir, of, left, now, stop.call_off()));
        opened.map_err(|error| match error {
            intake::Error::Storage(corelog_storage::Error::CalledOff) => ReceiveError::Stopped,
            other => other.into(),
        })
    }

    /// Has sources fill the intake, one after the other, each from where the last one ended. Notes who
    /// gave anything.
    fn fill(
        &mut self,
        intake: &mut Intake<StdDir>,
        number: usize,
        tries: &mut Tries,
        givers: &mut Givers,
    ) -> Result<(), Unfilled> {
        let segment = intake.base();
        while intake.position() < intake.bytes() {
            self.job.progress.note(number, intake.position());
            self.job.check_goes_on()?;
            let connected = self.line.as_ref().map(|line| line.source);
            let after = connected.unwrap_or(self.first);
            let Some(source) = self.job.sources.pick(tries, after) else {
                return Err(ReceiveError::NoSource { segment }.into());
            };
            self.job.progress.stop.pause(pause(tries.failed(source)));
            self.job.progress.note_source(number, source);
            let (from, asked) = (intake.position(), rt::now());
            let pulled = self.pull(source, intake, number);
            let is_silent = intake.position() == from;
            if pulled.is_err() {
                self.line = None;
                intake.rewind();
            }
            if from < intake.position() {
                self.job.sources.gave(tries, source);
                givers.note(source);
            }
            match pulled {
                Ok(()) => {}
                Err(Trouble::Here(error)) => return Err(error.into()),
                Err(Trouble::Over) => {
                    if is_silent {
                        self.note_silence(tries, source, segment, asked);
                    }
                    return Err(self.job.why_not_on().into());
                }
                Err(Trouble::Source(Fault::Wrong(_))) if !givers.are_none_but(source) => {
                    return Err(Unfilled::Disputed { by: source });
                }
                Err(Trouble::Source(fault)) => self.job.sources.met(tries, source, segment, fault),
            }
        }
        self.job.progress.note(number, intake.position());
        Ok(())
    }

    /// Notes that a source that was asked then has sent nothing for as long as a turn lasts, if that was its delay.
    fn note_silence(&self, tries: &mut Tries, source: usize, segment: Offset, asked: Instant) {
        let Order { rate, turn, .. } = *self.job.order;
        let lasted = rt::now().saturating_duration_since(asked);
        if turn <= lasted && rate == 0 && !self.job.progress.stop.is_set() {
            let sources = self.job.sources;
            sources.said_nothing(tries, source, segment, turn);
        }
    }

    /// Asks a source for the rest of a segment, and takes in what it sends.
    fn pull(
        &mut self,
        source: usize,
        intake: &mut Intake<StdDir>,
        number: usize,
    ) -> Result<(), Trouble> {
        let job = self.job;
        job.begin();
        let line = self.line(source)?;
        let digest = &job.order.segments[number].seal.digest;
        let sealed = line.sealed.get(&digest.base);
        let sealed = sealed.filter(|sealed| is_same(sealed, digest));
        let generation = sealed.ok_or(Fault::Lacks)?.generation;
        let position = Position::new(intake.position()).unwrap_or(Position::MAX);
        let part = Part {
            segment: digest.base,
            generation,
            position,
            bytes: None,
        };
        let order = job.order;
        line.peer.send(&copy_segments::Request {
            topic: order.topic.clone(),
            id: order.id,
            partition: order.partition,
            history: order.history,
            parts: vec![part],
            piece_bytes_max: piece_bytes_max(&job.budget),
        })?;
        while intake.position() < intake.bytes() {
            let piece = line.peer.piece(|| job.goes_on())?;
            let left = intake.bytes() - intake.position();
            let is_asked_for = (piece.segment, piece.generation) == (digest.base, generation)
                && piece.position.get() == intake.position()
                && piece.is_final == (left == u64::from(piece.bytes))
                // Each piece may take its time: of crumbs a segment would take years.
                && (left.min(limits::COPY_PIECE_BYTES_MIN.into())..=left).contains(&u64::from(piece.bytes));
            if !is_asked_for {
                return Err(PeerError::Astray.into());
            }
            take_in(job, &mut line.peer, intake, (number, piece.bytes))?;
        }
        Ok(())
    }

    /// The connection to a source, which has told what it has.
    fn line(&mut self, source: usize) -> Result<&mut Line<'a>, Trouble> {
        let line = self.line.take().filter(|line| line.source == source);
        let line = match line {
            Some(line) => line,
            None => self.connect(source)?,
        };
        Ok(self.line.insert(line))
    }

    fn connect(&self, source: usize) -> Result<Line<'a>, Trouble> {
        let (order, job) = (self.job.order, self.job);
        let address = job.sources.address(source);
        let stop = &job.progress.stop;
        let mut peer = Peer::connect(address, &order.client, order.patience, stop)?;
        let first = order.segments.first();
        let told = peer.ask(&segments::Request {
            topic: order.topic.clone(),
            id: order.id,
            partition: order.partition,
            from: first.map_or(Offset::ZERO, |wanted| wanted.seal.digest.base),
        })?;
        let sealed = match told.history == order.history {
            true => told.sealed,
            // Another log: it has nothing of this one.
            false => Vec::new(),
        };
        Ok(Line {
            source,
            peer,
            sealed: sealed
                .into_iter()
                .map(|sealed| (sealed.base, sealed))
                .collect(),
        })
    }
}

/// Takes in the `bytes` of a piece.
fn take_in(
    job: &Job<'_>,
    peer: &mut Peer<'_>,
    intake: &mut Intake<StdDir>,
    (number, bytes): (usize, u32),
) -> Result<(), Trouble> {
    let mut deadline = peer.deadline(bytes.into());
    let mut left = bytes as usize;
    while 0 < left {
        let space = intake.space();
        let portion = usize::try_from(job.budget.portion()).unwrap_or(usize::MAX);
        let wanted = left.min(space.len()).min(portion);
        let read = peer.read(&mut space[..wanted], deadline, &|| job.goes_on())?;
        let came = rt::now();
        if !job.budget.wait(read as u64, || !job.goes_on()) {
            return Err(Trouble::Over);
        }
        let verified = intake.verified();
        match block_on(intake.fill(read)) {
            Err(error @ intake::Error::Wrong { .. }) => return Err(Fault::Wrong(error).into()),
            other => other.map_err(|error| Trouble::Here(error.into()))?,
        }
        if verified < intake.verified() {
            job.note_batch();
        }
        job.progress.note(number, intake.position());
        left -= read;
        // What it waits for here, the rate and the disk, is no delay of the peer's.
        deadline.extend(rt::now().saturating_duration_since(came));
    }
    Ok(())
}

/// What a piece has at most: at a rate that is kept here the source would wait too long for a long one to be taken.
fn piece_bytes_max(budget: &Budget) -> u32 {
    let bytes_max = limits::COPY_PIECE_BYTES_MAX;
    u32::try_from(budget.piece(bytes_max.into())).unwrap_or(bytes_max)
}

/// Whether a source's segment holds the same.
fn is_same(sealed: &Sealed, digest: &Digest) -> bool {
    let theirs = &sealed.digest;
    (theirs.bytes, theirs.batches) == (digest.bytes, digest.batches)
        && (theirs.first, theirs.first_ordinal) == (digest.base, digest.ordinal)
        && (theirs.chain_base, theirs.chain_end) == (digest.chain, digest.end_chain)
}

/// How long a source is left alone that failed so often.
fn pause(failed: u32) -> Duration {
    match failed.checked_sub(1) {
        None => Duration::ZERO,
        Some(again) => PAUSE.saturating_mul(1 << again.min(5)),
    }
}

impl From<ReceiveError> for Unfilled {
    fn from(error: ReceiveError) -> Self {
        Self::Ended(error)
    }
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Source(fault)
    }
}

impl From<PeerError> for Trouble {
    fn from(error: PeerError) -> Self {
        match error {
            PeerError::Stopped => Self::Over,
            PeerError::Refused(body) => Self::Source(Fault::Refused(body)),
            other => Self::Source(Fault::Peer(other)),
        }
    }
}

/// So often a segment is begun: anew each time that sources do not agree about it, or that its batches are sound and yet
/// not those that were sealed. Two of them settle it between an honest source and one that deceives.
const ROUNDS_MAX: usize = 8;

/// How long a source that failed once is left alone; twice as long after each time more.
const PAUSE: Duration = Duration::from_millis(50);
