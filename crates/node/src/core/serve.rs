//! What a core answers to requests for its own partitions, whichever way they came.

use std::ops::Range;
use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::{fetch, list_offsets, produce, truncate};
use corelog_record::Offset;
use corelog_storage::log::{Piece, ReadError};

use super::Disk;
use super::acks::Due;
use super::files::Turn;
use super::refusal::error_of;
use super::slots::{PartitionKey, SlotId, SlotState};
use super::slowest::Timed;
use super::state::Core;
use super::terms::Terms;
use super::tickets::{Ticket, Tickets, Told};
use crate::failure::{Failure, failure};
use crate::metrics::{add, sub};
use crate::partition::{Answer, Appetite, Input, Refusal, Seek};
use crate::rt;

/// A Produce that was appended; its answer is due when `due` says so.
pub(crate) type Appended = Due;

/// Why a Produce was not appended.
pub(crate) enum NotAppended {
    /// Too much waits for the disk, until a flush of this core ends.
    TailFull(Failure),
    /// It will not be, as it is.
    Refused(Failure),
}

/// How much a Fetch takes, and if it may be parked.
pub(crate) type Hunger = Appetite;

/// What a Fetch found.
pub(crate) enum Fetched {
    /// Batches, and what lies around them.
    Batches {
        answer: fetch::Answer,
        pieces: Vec<Piece<Disk>>,
        bytes: usize,
    },
    /// Nothing, and the place where it is parked if it is.
    Nothing {
        answer: fetch::Answer,
        parked: Option<Parked>,
    },
}

/// A Fetch that is parked; it no longer is when this is dropped.
pub(crate) struct Parked {
    core: Rc<Core>,
    slot: SlotId,
    ticket: Ticket,
}

impl Core {
    /// Appends batches to a partition of this core.
    ///
    /// # Errors
    /// `NotAppended`; nothing was applied.
    pub(crate) fn produce(
        self: &Rc<Self>,
        key: PartitionKey,
        batches: &[u8],
        Terms {
            frame,
            level,
            taken,
        }: Terms,
    ) -> Result<Appended, NotAppended> {
        let slot = self.slot_of(key).map_err(NotAppended::Refused)?;
        if !self.has_room_for(batches.len()) {
            return Err(NotAppended::TailFull(error_of(&Refusal::TailFull)));
        }
        let told = self.step(
            slot,
            Input::Produce {
                token: Tickets::NOW,
                batches,
                level,
            },
        );
        let (base, end, epoch, level) = match told {
            Some(Ok(Answer::Appended {
                base,
                end,
                epoch,
                level,
                batches,
                bytes,
            })) => {
                add(&self.counters.appended_batches_total, batches as u64);
                add(&self.counters.appended_records_total, end.since(base));
                add(&self.counters.appended_bytes_total, bytes as u64);
                frame.passes(
                    self.id,
                    format_args!("is appended to {key} from {base} to {end}"),
                );
                (base, end, epoch, level)
            }
            Some(Err(refusal @ Refusal::TailFull)) => {
                return Err(NotAppended::TailFull(error_of(&refusal)));
            }
            Some(Err(Refusal::NotOwner)) => {
                let refused = self.check_owner(key).err();
                let refused = refused.unwrap_or_else(|| error_of(&Refusal::NotOwner));
                return Err(NotAppended::Refused(refused));
            }
            other => return Err(NotAppended::Refused(not_told(other))),
        };
        self.weigh(slot);
        let answer = produce::Answer {
            base,
            end,
            epoch,
            level,
        };
        Ok(match (level, self.slots.borrow().board(slot)) {
            (Level::Durable | Level::Unknown, Some(board)) => Due::Flushed {
                board: Rc::clone(board),
                seen: board.seen(),
                answer,
                timed: Timed {
                    slowest: Rc::clone(&self.slowest),
                    key,
                    taken,
                    appended: rt::now(),
                },
            },
            (Level::Durable | Level::Accepted | Level::Unknown, _) => Due::Now(Ok(answer)),
        })
    }

    /// Reads from a partition of this core, or parks the request. Whoever meets damage waits a little
    /// if it may heal.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn fetch(
        self: &Rc<Self>,
        key: PartitionKey,
        from: Offset,
        hunger: Hunger,
    ) -> Result<Fetched, Failure> {
        match self.fetch_once(key, from, hunger).await {
            Err(mut error) if error.is(ErrorCode::Damaged) => {
                self.heal(key, error.detail.segment);
                if self.healed(key).await {
                    return self.fetch_once(key, from, hunger).await;
                }
                error.detail.retry_ms = self.repairs.retry_ms(key);
                Err(error)
            }
            fetched => fetched,
        }
    }

    async fn fetch_once(
        self: &Rc<Self>,
        key: PartitionKey,
        from: Offset,
        hunger: Hunger,
    ) -> Result<Fetched, Failure> {
        let slot = self.slot_of(key)?;
        let ticket = self.tickets.issue();
        let token = if hunger.may_park {
            ticket.token()
        } else {
            Tickets::NOW
        };
        let mut told = self.step(
            slot,
            Input::Fetch {
                token,
                from,
                appetite: hunger,
            },
        );
        if hunger.may_park {
            told = ticket.take_told();
        }
        match told {
            Some(Ok(Answer::Read {
                plan,
                log_start,
                high_watermark,
            })) => {
                let read = match plan.is_ready() {
                    true => plan.run().await,
                    false => self.read_disk(slot, (key, from), plan, hunger).await,
                };
                let read = read.map_err(|error| {
                    let error = self.unless_missing(slot, error);
                    if let ReadError::Damaged { from, to, .. } = &error {
                        self.met_damage(slot, *from, *to);
                    }
                    error_of(&Refusal::from(error))
                })?;
                add(&self.counters.fetched_bytes_total, read.bytes as u64);
                let (segment_base, next) = (read.segment_base, read.next);
                let answer = fetch::Answer {
                    log_start,
                    high_watermark,
                    segment_base,
                    next,
                    epochs: vec![],
                    lag_bytes: 0,
                };
                Ok(Fetched::Batches {
                    answer,
                    pieces: read.pieces,
                    bytes: read.bytes,
                })
            }
            Some(Ok(Answer::Nothing {
                log_start,
                high_watermark,
                segment_base,
                is_parked,
            })) => {
                let next = from;
                let answer = fetch::Answer {
                    log_start,
                    high_watermark,
                    segment_base,
                    next,
                    epochs: vec![],
                    lag_bytes: 0,
                };
                let parked = is_parked.then(|| {
                    add(&self.counters.parked_fetches, 1);
                    Parked {
                        core: Rc::clone(self),
                        slot,
                        ticket,
                    }
                });
                Ok(Fetched::Nothing { answer, parked })
            }
            other => Err(not_told(other)),
        }
    }

    /// What a read failed with: a file that is gone although the log still has its segment did not
    /// expire.
    fn unless_missing(&self, slot: SlotId, error: ReadError) -> ReadError {
        let ReadError::Removed { segment } = error else {
            return error;
        };
        let slots = self.slots.borrow();
        let partition = slots.get(slot).and_then(|found| found.partition());
        match partition.and_then(|partition| partition.offsets_of(segment)) {
            Some(Range { start, end }) => ReadError::Damaged {
                from: start,
                to: end,
                segment,
            },
            None => error,
        }
    }

    /// Finds an offset in a partition of this core.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn find(
        self: &Rc<Self>,
        key: PartitionKey,
        seek: Seek,
    ) -> Result<list_offsets::Answer, Failure> {
        let slot = self.slot_of(key)?;
        match self.step(
            slot,
            Input::Find {
                token: Tickets::NOW,
                seek,
            },
        ) {
            Some(Ok(Answer::Found {
                offset,
                log_start,
                high_watermark,
            })) => Ok(list_offsets::Answer {
                offset,
                timestamp: None,
                log_start,
                high_watermark,
            }),
            Some(Ok(Answer::Search {
                plan,
                log_start,
                high_watermark,
            })) => {
                let turn = self.files.turn(Turn::Read).await;
                let found = plan.run().await;
                drop(turn);
                let found = found.map_err(|error| error_of(&Refusal::from(error)))?;
                let (offset, timestamp) = match found {
                    Some((offset, timestamp)) => (offset.max(log_start), Some(timestamp)),
                    None => (high_watermark, None),
                };
                Ok(list_offsets::Answer {
                    offset,
                    timestamp,
                    log_start,
                    high_watermark,
                })
            }
            other => Err(not_told(other)),
        }
    }

    /// Moves the log start of a partition of this core up.
    ///
    /// # Errors
    /// What the client is told.
    pub(crate) async fn truncate(
        self: &Rc<Self>,
        key: PartitionKey,
        lowest: Offset,
    ) -> Result<truncate::Answer, Failure> {
        let slot = self.slot_of(key)?;
        if self.slots.borrow_mut().partition_mut(slot).is_none() {
            return Err(not_told(None));
        }
        let ticket = self.tickets.issue();
        self.step(
            slot,
            Input::Truncate {
                token: ticket.token(),
                lowest,
            },
        );
        match ticket.told().await {
            Ok(Answer::Truncated { log_start }) => Ok(truncate::Answer { log_start }),
            other => Err(not_told(Some(other))),
        }
    }

    /// Where a partition of this core lives.
    ///
    /// # Errors
    /// `UnknownTopic` if it was deleted meanwhile, `Busy` while it is opened, `Internal` if it could not be.
    pub(crate) fn slot_of(&self, key: PartitionKey) -> Result<SlotId, Failure> {
        let slots = self.slots.borrow();
        let gone = || failure(ErrorCode::UnknownTopic, "the topic was deleted");
        let id = slots.find(key).ok_or_else(gone)?;
        match slots.get(id).map(|slot| &slot.state) {
            Some(SlotState::Open(_)) => Ok(id),
            Some(SlotState::Opening) => {
                Err(failure(ErrorCode::Busy, "the partition is being opened"))
            }
            Some(SlotState::Failed) | None => Ok(id),
        }
    }
}

impl Parked {
    /// Waits until it is worth to fetch again.
    pub(crate) async fn woken(&self) {
        self.ticket.woken().await;
    }
}

impl Drop for Parked {
    fn drop(&mut self) {
        sub(&self.core.counters.parked_fetches, 1);
        self.core.step(
            self.slot,
            Input::Unpark {
                token: self.ticket.token(),
            },
        );
    }
}

/// The error of a request whose step told anything but what was asked for.
pub(super) fn not_told(told: Option<Told>) -> Failure {
    match told {
        Some(Err(refusal)) => error_of(&refusal),
        None => failure(
            ErrorCode::Damaged,
            "the partition could not be opened; the server's log says why, reopening may help",
        ),
        Some(Ok(_)) => failure(ErrorCode::Internal, "the partition told something else"),
    }
}
