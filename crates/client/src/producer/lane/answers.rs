//! The answers that a lane waits for, oldest first.

use std::collections::VecDeque;
use std::sync::Arc;

use corelog_protocol::message::produce;
use tokio::time::Instant;

use super::super::share::Held;
use super::{Answer, SILENCE_MAX};
use crate::connection::{Alarm, Ticket};

/// The tickets of what is in flight, in the order of the window.
pub(super) struct Answers {
    awaited: VecDeque<Awaited>,
    /// Goes off when the oldest answer is late, or when none came for long, or before: one timer, rather than one for each
    /// answer.
    alarm: Alarm,
    /// When the alarm was last found to be early, because something had come.
    looked: Instant,
    /// Whether anything came since.
    is_heard: bool,
    /// Whether nothing came for so long that the partition is held to be in trouble.
    is_silent: bool,
    held: Arc<Held>,
}

struct Awaited {
    ticket: Ticket,
    /// When it is given up, whatever comes.
    end: Instant,
}

impl Answers {
    pub(super) fn new(held: &Arc<Held>) -> Self {
        let now = Instant::now();
        Self {
            awaited: VecDeque::new(),
            alarm: Alarm::at(now + SILENCE_MAX),
            looked: now,
            is_heard: false,
            is_silent: false,
            held: Arc::clone(held),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.awaited.is_empty()
    }

    /// Waits for an answer, behind those before it, until `end`, or until nothing came for as long as the request has time if
    /// that is sooner: what is in front of it may take long to leave.
    pub(super) fn expect(&mut self, ticket: Ticket, end: Instant) {
        self.awaited.push_back(Awaited { ticket, end });
    }

    /// Waits for the answer of the oldest batch in flight, or until that is late; for ever while there is none. Notes that
    /// the partition is in trouble once nothing came for long. Cancel-safe.
    pub(super) async fn next(&mut self) -> Answer {
        loop {
            let Some(Awaited {
                ticket,
                end: given_up,
            }) = self.awaited.front_mut()
            else {
                return std::future::pending().await;
            };
            let late = ticket.deadline().min(*given_up);
            let silent = ticket.entered().max(self.looked) + SILENCE_MAX;
            let end = if self.is_silent {
                late
            } else {
                late.min(silent)
            };
            tokio::select! {
                biased;
                arrived = ticket.arrived() => {
                    let answer = arrived.and_then(|raw| ticket.understand::<produce::Request>(&raw));
                    self.hear();
                    return answer;
                }
                () = self.alarm.run_out(end) => {}
            }
            if end == late {
                if ticket.extend(*given_up) {
                    continue;
                }
                let late = ticket.time_out();
                self.awaited.pop_front();
                return Err(late);
            }
            if !self.is_heard {
                self.is_silent = true;
                self.held.begin_trouble();
            }
            self.is_heard = false;
            self.looked = Instant::now();
        }
    }

    fn hear(&mut self) {
        self.awaited.pop_front();
        self.is_heard = true;
        self.is_silent = false;
    }
}
