//! One connection as its tasks share it: what is in flight, what is to be sent.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Instant;

use corelog_protocol::answer;
use corelog_protocol::error::ErrorBody;
use corelog_protocol::frame::{CorrelationId, FrameError};
use corelog_protocol::message::{Call, produce};

use super::connections::Traffic;
use super::intake::Intake;
use super::out::{Chunk, Out};
use super::untaken::{self, Held};
use crate::core::{Acks, Core};
use crate::frame_id::FrameId;
use crate::metrics::{add, count_numbered, sub};
use crate::router::{Batches, CONNECTION_BYTES_MAX, ConnAcks, Patience, Room};
use crate::rt::{self, Notify, Semaphore, Socket};

/// What a connection keeps of its last answers' buffer: some 90 acknowledgements.
const SPARE_BYTES_MAX: usize = 5 << 10;

/// A connection as its tasks share it.
pub(super) struct Link {
    pub(super) core: Rc<Core>,
    pub(super) intake: Intake,
    /// Its number on this core.
    pub(super) id: u64,
    pub(super) peer: SocketAddr,
    /// What operators are told of it.
    pub(super) traffic: Traffic,
    /// Answers to Produces, in line.
    pub(super) acks: ConnAcks,
    /// Notified when there may be something to send, or the connection closes.
    pub(super) to_send: Notify,
    /// Bytes of batches that may be read for the client before it takes them.
    pub(super) room_to_answer: Semaphore,
    /// Whether the client still waits for what may come, of the requests from here on.
    patience: RefCell<Rc<Patience>>,
    /// For those who send what the writer cannot.
    pub(super) socket: Socket,
    /// Files are sent over it, and nothing that somebody waits for.
    pub(super) is_bulk: Cell<bool>,
    out: RefCell<Out>,
    /// A buffer whose bytes were sent, for the next answers.
    spare: Cell<Vec<u8>>,
    pub(super) in_flight: Cell<InFlight>,
    /// The last request that was taken.
    pub(super) taken: Cell<Option<CorrelationId>>,
    /// Notified when something left, or the connection dies.
    pub(super) left: Notify,
    /// Notified when the connection dies.
    died: Notify,
    is_closing: Cell<bool>,
    is_dead: Cell<bool>,
    /// It is counted among those that were cut.
    is_cut: Cell<bool>,
    /// When the last answer that was waited for had left.
    answered_at: Cell<Instant>,
    has_logged: Cell<bool>,
}

#[derive(Debug, Clone, Copy, Default)]
pub(super) struct InFlight {
    pub(super) requests: usize,
    pub(super) bytes: usize,
}

impl Link {
    pub(super) fn new(
        core: Rc<Core>,
        intake: Intake,
        peer: SocketAddr,
        socket: Socket,
    ) -> Rc<Self> {
        let to_send = Notify::new();
        let acks = Acks::new(to_send.clone(), Rc::clone(&core.aborted_runs));
        Rc::new(Self {
            id: core.next_connection(),
            core,
            intake,
            peer,
            traffic: Traffic::begin(),
            acks: Rc::new(RefCell::new(acks)),
            to_send,
            room_to_answer: Semaphore::new(CONNECTION_BYTES_MAX),
            patience: RefCell::default(),
            socket,
            is_bulk: Cell::new(false),
            out: RefCell::default(),
            spare: Cell::default(),
            in_flight: Cell::default(),
            taken: Cell::default(),
            left: Notify::new(),
            died: Notify::new(),
            is_closing: Cell::new(false),
            is_dead: Cell::new(false),
            is_cut: Cell::new(false),
            answered_at: Cell::new(rt::now()),
            has_logged: Cell::new(false),
        })
    }

    /// Requests that wait for their answer.
    pub(super) fn in_flight_count(&self) -> usize {
        self.in_flight.get().requests
    }

    /// A frame of this connection.
    pub(super) fn frame(&self, request: CorrelationId) -> FrameId {
        FrameId::new(self.peer, request)
    }

    /// A request of so many bytes is in flight until its answer was sent.
    pub(super) fn begin(&self, frame_bytes: usize) {
        let InFlight { requests, bytes } = self.in_flight.get();
        self.in_flight.set(InFlight {
            requests: requests + 1,
            bytes: bytes + frame_bytes,
        });
        add(&self.core.counters.in_flight_requests, 1);
    }

    /// Queues a good answer.
    pub(super) fn answer<R: Call>(
        &self,
        correlation: CorrelationId,
        frame_bytes: usize,
        answer: &R::Answer,
    ) {
        let shape = (R::KIND.number(), correlation, frame_bytes);
        self.queue(shape, |out| {
            answer::encode_ok::<R>(correlation, answer, 0, out)
        });
    }

    /// All answers to a request of so many bytes were sent by others.
    pub(super) fn answered(&self, frame_bytes: usize) {
        self.leave(InFlight {
            requests: 1,
            bytes: frame_bytes,
        });
        self.to_send.notify();
    }

    /// Queues a good answer with batches behind its head.
    pub(super) fn answer_with<R: Call>(
        &self,
        correlation: CorrelationId,
        frame_bytes: usize,
        answer: &R::Answer,
        (batches, room): (Batches, Room),
    ) {
        let (bytes, shape) = (
            batches.bytes(),
            (R::KIND.number(), correlation, frame_bytes),
        );
        let encode = |out: &mut Vec<u8>| answer::encode_ok::<R>(correlation, answer, bytes, out);
        if self.queue(shape, encode) && bytes > 0 {
            let mut out = self.out.borrow_mut();
            out.chunks.push_back(Chunk::Batches(batches, room));
            out.bytes += bytes;
            self.count_bytes(bytes, 0);
        }
    }

    /// Queues an error answer.
    pub(super) fn refuse(
        &self,
        kind: u16,
        correlation: CorrelationId,
        frame_bytes: usize,
        error: &ErrorBody,
    ) {
        count_numbered(&self.core.counters.errors, error.code);
        let frame = self.frame(correlation);
        frame.is_refused(kind, error, &self.has_logged);
        let shape = (kind, correlation, frame_bytes);
        self.queue(shape, |out| {
            answer::encode_err(kind, correlation, error, out)
        });
    }

    /// Takes all that is to be sent now.
    pub(super) fn take_out(&self) -> Out {
        self.acks
            .borrow_mut()
            .collect(|_, tag, produced| match produced {
                Ok(answer) => {
                    self.answer::<produce::Request>(tag.correlation, tag.frame_bytes, &answer);
                }
                Err(error) => {
                    let kind = produce::Request::KIND.number();
                    self.refuse(kind, tag.correlation, tag.frame_bytes, &error);
                }
            });
        let mut out = self.out.borrow_mut();
        let taken = Out {
            chunks: std::mem::take(&mut out.chunks),
            ..*out
        };
        *out = Out {
            bytes: taken.bytes,
            answer_bytes: taken.answer_bytes,
            ..Out::default()
        };
        taken
    }

    /// What its client holds of the core's room while `sending` is sent, which was taken: what waits behind that as well.
    pub(super) fn held(&self, sending: Held) -> Held {
        let out = self.out.borrow();
        Held {
            // Until it was sent it is counted with what waits.
            answers: out.answer_bytes,
            ..out.batches_with(sending)
        }
    }

    /// What was taken was sent, or never will be.
    pub(super) fn sent(&self, mut out: Out) {
        out.chunks.clear();
        let mut left = self.out.borrow_mut();
        if left.chunks.is_empty() {
            left.chunks = out.chunks;
        }
        left.bytes -= out.bytes;
        left.answer_bytes -= out.answer_bytes;
        drop(left);
        self.core.release_answer(out.answer_bytes);
        self.leave(InFlight {
            requests: out.answers,
            bytes: out.bytes,
        });
    }

    /// So much is in flight no more.
    fn leave(&self, gone: InFlight) {
        let InFlight { requests, bytes } = self.in_flight.get();
        let requests = requests - gone.requests;
        self.in_flight.set(InFlight {
            requests,
            bytes: bytes - gone.bytes,
        });
        let answers = gone.requests as u64;
        sub(&self.core.counters.in_flight_requests, answers);
        // When it was idle last matters if that has a limit.
        if requests == 0 && !self.core.shared.limits.idle_timeout.is_zero() {
            self.answered_at.set(rt::now());
        }
        self.left.notify();
    }

    /// Keeps a buffer whose bytes were sent, unless it is large.
    pub(super) fn recycle(&self, mut buffer: Vec<u8>) {
        buffer.clear();
        if buffer.capacity() <= SPARE_BYTES_MAX {
            self.spare.set(buffer);
        }
    }

    /// How long the client waits, for a request that is taken now.
    pub(super) fn patience(&self) -> Rc<Patience> {
        Rc::clone(&self.patience.borrow())
    }

    /// Has the long polls that wait answered with what there is; those that come may wait.
    pub(super) fn hurry(&self) {
        self.patience.take().end();
    }

    /// No more requests are taken; what is in flight is still answered.
    pub(super) fn begin_close(&self) {
        self.is_closing.set(true);
        self.patience().end();
        self.to_send.notify();
    }

    /// Nothing can be sent any more.
    pub(super) fn die(&self) {
        self.is_dead.set(true);
        self.died.notify();
        self.left.notify();
        self.to_send.notify();
    }

    /// Cuts the connection for what the client does, or does not do.
    pub(super) fn cut(&self) {
        self.count_cut();
        self.die();
    }

    /// Counts the connection among those that are cut; once, whatever else it is cut for.
    pub(super) fn count_cut(&self) {
        if !self.is_cut.replace(true) {
            add(&self.core.counters.connections_cut_total, 1);
        }
    }

    /// Forgets all that was in flight.
    pub(super) fn end(&self) {
        self.die();
        self.acks.borrow_mut().clear();
        let left = std::mem::take(&mut *self.out.borrow_mut());
        self.core.release_answer(left.answer_bytes);
        sub(
            &self.core.counters.in_flight_requests,
            self.in_flight.take().requests as u64,
        );
    }

    /// When the last answer that was waited for had left.
    pub(super) fn answered_at(&self) -> Instant {
        self.answered_at.get()
    }

    pub(super) fn is_dead(&self) -> bool {
        self.is_dead.get()
    }

    /// If no more requests come and all are answered.
    pub(super) fn is_done(&self) -> bool {
        self.is_closing.get() && self.in_flight.get().requests == 0
    }

    /// `future`'s value, or None if the connection dies first.
    pub(super) fn alive<T>(
        &self,
        future: impl Future<Output = T>,
    ) -> impl Future<Output = Option<T>> {
        rt::unless(future, self.dead())
    }

    /// Waits until the connection is dead.
    pub(super) fn dead(&self) -> impl Future<Output = ()> {
        self.died.until(|| self.is_dead())
    }

    /// Queues an answer; false if it was not what `encode` had, but an error or nothing.
    fn queue(
        &self,
        (kind, correlation, frame_bytes): (u16, CorrelationId, usize),
        encode: impl FnOnce(&mut Vec<u8>) -> Result<(), FrameError>,
    ) -> bool {
        if self.is_dead() {
            return false;
        }
        let mut out = self.out.borrow_mut();
        let bytes = out.frames(&self.spare);
        let before = bytes.len();
        let encoded = encode(bytes);
        if let Err(error) = &encoded {
            tracing::error!(peer = %self.peer, %error, "an answer could not be encoded");
            if answer::encode_err(kind, correlation, &error.to_body(), bytes).is_err() {
                // Without an answer the client would wait for ever.
                drop(out);
                self.die();
                return false;
            }
        }
        let added = bytes.len() - before;
        if untaken::only_asks(kind) && !self.core.has_room_to_answer(added) {
            bytes.truncate(before);
            bytes.shrink_to(SPARE_BYTES_MAX);
            drop(out);
            self.refuse(kind, correlation, frame_bytes, &crate::failure::untaken());
            return false;
        }
        self.frame(correlation)
            .passes(self.core.id, format_args!("is answered"));
        self.core.hold_answer(added);
        out.bytes += added;
        out.answer_bytes += added;
        out.answers += 1;
        self.count_bytes(added, frame_bytes);
        self.to_send.notify();
        encoded.is_ok()
    }

    fn count_bytes(&self, added: usize, gone: usize) {
        let InFlight { requests, bytes } = self.in_flight.get();
        self.in_flight.set(InFlight {
            requests,
            bytes: bytes + added - gone,
        });
    }
}

#[cfg(test)]
pub(super) mod tests;
