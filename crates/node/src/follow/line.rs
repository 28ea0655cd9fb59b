//! A connection of this core to another node: requests in any number, answers in any order.

mod faults;
mod patience;
mod waiting;

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::answer;
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::frame::{self, CorrelationId, Frame, FrameError, Header};
use corelog_protocol::message::{Call, hello};
use corelog_record::NodeId;

use self::faults::{foreign, of_another_version, unavailable};
use self::patience::Heard;
use self::waiting::call;
use super::incoming::{Incoming, READ_BYTES};
use crate::failure::{Failure, failure, said_by};
use crate::names::{self, REACH_TIMEOUT};
use crate::rt::{self, Conn, Notify, Permit, ReadHalf, Semaphore, WriteHalf};
use crate::transfer::RATE_MIN;

/// How long the other side may take nothing of what is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a large answer may take beyond its bytes, by [`RATE_MIN`].
const READ_TIMEOUT: Duration = Duration::from_secs(10);

/// A connection to another node; it closes when the last holder drops it.
pub(crate) struct Line {
    shared: Held,
    /// The node at its other end.
    node: NodeId,
}

/// Ends the connection when it is dropped, also before it said Hello.
struct Held(Rc<Shared>);

/// An answer as it came: its head, and the bytes behind it.
pub(crate) struct Reply<T> {
    pub(crate) head: T,
    frame: Raw,
}

struct Raw {
    header: Header,
    bytes: Vec<u8>,
    /// What it takes of the room for answers.
    _held: Option<Permit>,
}

struct Shared {
    address: String,
    last: Cell<u32>,
    heard: Heard,
    /// Requests that wait; an answer is laid down where its request looks for it.
    waiting: RefCell<HashMap<u32, Option<Raw>>>,
    /// Frames that are to be sent.
    out: RefCell<Vec<u8>>,
    to_send: Notify,
    /// Notified when an answer came, or the connection ended.
    changed: Notify,
    /// Why nothing is asked any more, while what was asked may be answered yet.
    last_words: RefCell<Option<LastWords>>,
    /// Why it ended, once it did.
    ended: RefCell<Option<String>>,
    /// Why no Hello is answered there, later either: what came is no frame of ours.
    foreign: RefCell<Option<Failure>>,
}

struct LastWords {
    why: String,
    /// The last request that the other side took, if it said so.
    taken: Option<CorrelationId>,
}

impl Line {
    /// Connects to `address`, `host:port`, and says Hello. Large answers take of `room` while they are in
    /// memory, in bytes: whoever holds one asks for no other meanwhile.
    ///
    /// # Errors
    /// `SourceUnavailable` with the reason; `UnsupportedVersion` if no node answers there, or none that speaks our version.
    pub(crate) async fn connect(
        address: &str,
        client: String,
        room: Semaphore,
    ) -> Result<Self, Failure> {
        let deadline = rt::now() + REACH_TIMEOUT;
        let reach = names::reach(address, deadline, rt::sleep, Conn::connect);
        let conn = match rt::timeout(REACH_TIMEOUT, reach).await {
            Some(reached) => reached.map_err(|why| unavailable(address, &why.to_string()))?,
            None => return Err(unavailable(address, "it was not reached in time")),
        };
        let (reader, mut writer) = conn.split();
        writer.set_timeout(Some(WRITE_TIMEOUT));
        let shared = Rc::new(Shared {
            address: address.to_owned(),
            last: Cell::new(0),
            heard: Heard::new(),
            waiting: RefCell::default(),
            out: RefCell::default(),
            to_send: Notify::new(),
            changed: Notify::new(),
            last_words: RefCell::default(),
            ended: RefCell::default(),
            foreign: RefCell::default(),
        });
        let held = Held(Rc::clone(&shared));
        rt::spawn(read(Rc::clone(&shared), reader, room)).detach();
        rt::spawn(write(Rc::clone(&shared), writer)).detach();
        let greeting = hello::Request {
            versions: vec![frame::VERSION],
            client,
        };
        let left = deadline.saturating_duration_since(rt::now());
        let greeted = call(&shared, &greeting, left).await;
        let hello = greeted.map_err(|why| shared.ungreeted(why))?.head;
        if hello.version != frame::VERSION {
            let why = format!("it speaks version {}", hello.version);
            return Err(of_another_version(address, &why));
        }
        Ok(Self {
            shared: held,
            node: hello.node,
        })
    }

    /// Asks, and waits for the answer for at most `timeout`: one that comes later goes nowhere.
    ///
    /// # Errors
    /// What the other node said; `SourceUnavailable` if it said nothing in time, or nothing that
    /// makes sense.
    pub(crate) async fn call<R: Call>(
        &self,
        request: &R,
        timeout: Duration,
    ) -> Result<Reply<R::Answer>, Failure> {
        call(&self.shared.0, request, timeout).await
    }

    /// Where it leads to.
    pub(crate) fn address(&self) -> &str {
        &self.shared.0.address
    }

    /// The node at its other end, by what it said.
    pub(crate) fn node(&self) -> NodeId {
        self.node
    }

    /// Checks that it leads to the node that is meant by its address.
    ///
    /// # Errors
    /// `SourceUnavailable` if another one is there by now.
    pub(super) fn check_is(&self, meant: NodeId) -> Result<(), Failure> {
        let (address, found) = (self.address(), self.node);
        if found == meant {
            return Ok(());
        }
        let message = format!("at {address} is node {found} by now, not {meant}");
        Err(failure(ErrorCode::SourceUnavailable, message))
    }

    pub(crate) fn is_closed(&self) -> bool {
        let Shared {
            last_words, ended, ..
        } = &*self.shared.0;
        last_words.borrow().is_some() || ended.borrow().is_some()
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.end("nobody needs it any more");
    }
}

impl<T> Reply<T> {
    /// The bytes behind the head.
    pub(crate) fn body(&self) -> &[u8] {
        self.frame.frame().body
    }
}

impl Raw {
    fn frame(&self) -> Frame<'_> {
        Frame::of(self.header, &self.bytes)
    }
}

impl Shared {
    fn end(&self, why: &str) {
        let mut ended = self.ended.borrow_mut();
        if ended.is_none() {
            let last_words = self.last_words.borrow();
            let said = last_words.as_ref().map(|said| said.why.as_str());
            *ended = Some(said.unwrap_or(why).to_owned());
            drop((ended, last_words));
            self.changed.notify();
            self.to_send.notify();
        }
    }

    /// The other side closes the connection, and may have said why.
    fn part(&self, said: Option<ErrorBody>) {
        let Some(said) = said else {
            let why = "it closed the connection".to_owned();
            return self.refuse(LastWords { why, taken: None });
        };
        let (why, taken) = (said.message.clone(), said.detail.taken);
        if said.is(ErrorCode::UnsupportedVersion) {
            let said = said_by(&self.address, Box::new(said));
            self.foreign.replace(Some(said));
        }
        let taken = taken.map(CorrelationId::new);
        self.refuse(LastWords { why, taken });
    }

    /// Asks nothing any more. The first reason stays, but for one that says what was taken.
    fn refuse(&self, last_words: LastWords) {
        let mut first = self.last_words.borrow_mut();
        if first.is_none() || last_words.taken.is_some() {
            *first = Some(last_words);
        }
        drop(first);
        self.changed.notify();
    }

    /// What came is no frame of ours, or one that was bent on its way.
    fn lose(&self, error: &FrameError) {
        self.foreign.replace(foreign(&self.address, error));
        self.end(&error.to_string());
    }

    /// Why Hello was not answered.
    fn ungreeted(&self, why: Failure) -> Failure {
        (self.foreign.take()).unwrap_or_else(|| said_by(&self.address, why))
    }

    fn unavailable(&self, why: &str) -> Failure {
        unavailable(&self.address, why)
    }

    /// Why a request cannot be answered any more, if it cannot.
    fn why_unanswered(&self, number: u32) -> Option<Failure> {
        if let Some(why) = &*self.ended.borrow() {
            return Some(self.unavailable(why));
        }
        let last_words = self.last_words.borrow();
        let LastWords { why, taken } = last_words.as_ref()?;
        let is_behind = CorrelationId::new(number).is_behind((*taken)?);
        is_behind.then(|| self.unavailable(why))
    }

    /// Waits for what comes under a number, or for the end.
    async fn answered(&self, number: u32) -> Result<Raw, Failure> {
        let take_answer = || {
            let mut waiting = self.waiting.borrow_mut();
            let came = waiting.get_mut(&number).and_then(Option::take);
            came.map(Ok)
                .or_else(|| self.why_unanswered(number).map(Err))
        };
        self.changed.some(take_answer).await
    }
}

/// Reads answers until the connection ends. Behind what the other side says of why it closes it, there may be some yet: the
/// last records that a follower gets of a source that stops.
async fn read(shared: Rc<Shared>, mut reader: ReadHalf, room: Semaphore) {
    let mut incoming = Incoming::new();
    let mut held: Option<Permit> = None;
    let mut due = rt::now();
    while shared.ended.borrow().is_none() {
        match incoming.take() {
            Ok(Some((header, bytes))) => {
                let raw = Raw {
                    header,
                    bytes,
                    _held: held.take(),
                };
                if header.kind == answer::CONNECTION_KIND {
                    let said = answer::decode_err(&raw.frame()).ok().flatten();
                    shared.part(said);
                    rt::yield_if_needed().await;
                    continue;
                }
                let number = header.correlation.get();
                if let Some(place) = shared.waiting.borrow_mut().get_mut(&number) {
                    *place = Some(raw);
                }
                shared.changed.notify();
                rt::yield_if_needed().await;
                continue;
            }
            Ok(None) => {}
            Err(error) => {
                shared.lose(&error);
                break;
            }
        }
        let needed = incoming.needed();
        let held_bytes = held.as_ref().map_or(0, Permit::units);
        if READ_BYTES < needed && held_bytes < needed as u64 {
            drop(held.take());
            held = Some(shared.heard.stand(room.acquire(needed as u64)).await);
            due = rt::now() + READ_TIMEOUT + Duration::from_secs(needed as u64 / RATE_MIN);
            continue;
        }
        // Others wait for the room that it has, whoever waits for it.
        let left = due.saturating_duration_since(rt::now());
        reader.set_timeout(held.is_some().then_some(left));
        match incoming.read(&mut reader).await {
            Ok(0) => shared.end("it closed the connection"),
            Ok(bytes) => {
                shared.heard.note(bytes);
                rt::yield_if_needed().await;
            }
            Err(error) => shared.end(&error.to_string()),
        }
    }
    reader.shutdown();
}

/// Sends what is to be sent until the connection ends.
async fn write(shared: Rc<Shared>, mut writer: WriteHalf) {
    loop {
        let to_send = shared.to_send.notified();
        if shared.ended.borrow().is_some() {
            break;
        }
        let out = std::mem::take(&mut *shared.out.borrow_mut());
        if out.is_empty() {
            to_send.await;
        } else if let Err(error) = writer.write_all(&out).await {
            // Who closed it may have answered, and said why: that is read yet.
            let (why, taken) = (error.to_string(), None);
            shared.refuse(LastWords { why, taken });
        }
    }
    writer.shutdown();
}

#[cfg(test)]
pub(super) mod tests;
