//! Partitions whose owner is being changed: one change of each at a time.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;

use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt::{self, Notify};

/// How long it may take until a change that was called off has ended: longer than any answer that it
/// waits for.
const CALL_OFF_TIMEOUT: Duration = Duration::from_secs(15);
/// The longest pause between two looks if it has.
const CALL_OFF_PAUSE: Duration = Duration::from_millis(100);

/// The partitions of a core that change hands.
#[derive(Default)]
pub(crate) struct Hands {
    changing: RefCell<HashMap<PartitionKey, Rc<Change>>>,
    /// Notified when one has ended.
    ended: Notify,
}

/// A change of a partition's owner. Nothing else changes it, and it does not follow, while this lives.
pub(super) struct Hand {
    core: Rc<Core>,
    key: PartitionKey,
    change: Rc<Change>,
}

#[derive(Default)]
struct Change {
    /// Why it is not to go on, once it is called off.
    called_off: RefCell<Option<Failure>>,
    /// If its follower was halted, or not looked at, meanwhile.
    is_follower_due: Cell<bool>,
}

impl Hands {
    /// True if a partition's owner is being changed: if it is to follow is looked at after that.
    pub(super) fn puts_off(&self, key: PartitionKey) -> bool {
        let changing = self.changing.borrow();
        let change = changing.get(&key);
        change
            .iter()
            .for_each(|change| change.is_follower_due.set(true));
        change.is_some()
    }

    /// Calls off what changes a partition's owner, if anything does, and says `why`; that takes a while.
    pub(super) fn call_off(&self, key: PartitionKey, why: Failure) {
        let changing = self.changing.borrow();
        if let Some(running) = changing.get(&key) {
            running.called_off.borrow_mut().get_or_insert(why);
        }
    }
}

impl Core {
    /// Begins a change of a partition's owner.
    ///
    /// # Errors
    /// `Busy` while another goes on.
    pub(super) fn take_hand(self: &Rc<Self>, key: PartitionKey) -> Result<Hand, Failure> {
        let change = Rc::new(Change::default());
        let mut changing = self.hands.changing.borrow_mut();
        if changing.contains_key(&key) {
            let message = "its owner is being changed already";
            return Err(failure(ErrorCode::Busy, message));
        }
        changing.insert(key, Rc::clone(&change));
        Ok(Hand {
            core: Rc::clone(self),
            key,
            change,
        })
    }

    /// Calls off what changes a partition's owner, waits for its end, and begins a change in its place.
    ///
    /// # Errors
    /// `Busy` if that did not end in time.
    pub(super) async fn call_off(self: &Rc<Self>, key: PartitionKey) -> Result<Hand, Failure> {
        let deadline = rt::now() + CALL_OFF_TIMEOUT;
        loop {
            let ended = self.hands.ended.notified();
            match self.take_hand(key) {
                Err(_) if rt::now() < deadline => {}
                taken => return taken,
            }
            let why = failure(ErrorCode::InvalidRequest, "the handover was called off");
            self.hands.call_off(key, why);
            rt::timeout(CALL_OFF_PAUSE, ended).await;
        }
    }
}

impl Hand {
    /// If the change is to go on.
    ///
    /// # Errors
    /// Why it is not, once it is called off.
    pub(super) fn check(&self) -> Result<(), Failure> {
        let called_off = self.change.called_off.borrow();
        called_off.clone().map_or(Ok(()), Err)
    }
}

impl Drop for Hand {
    fn drop(&mut self) {
        let (core, key) = (&self.core, self.key);
        core.hands.changing.borrow_mut().remove(&key);
        core.hands.ended.notify();
        if core.is_stopping.get() || !self.change.is_follower_due.get() {
            return;
        }
        core.follow_one(key);
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::mpsc;

    use corelog_record::TopicName;
    use futures_lite::future::zip;

    use super::*;
    use crate::core::tests::{key, with_core};
    use crate::follow::line::tests::{connected, next, node, records};
    use crate::follow::questions::partition_at;

    /// An abort was `Busy` for as long as the target sent 64 KiB a second.
    #[test]
    fn a_change_whose_target_trickles_is_called_off_in_time() {
        let address = node(|mut stream, mut received| {
            let asked = next(&mut stream, &mut received);
            let (_kept, pause) = mpsc::channel::<()>();
            for piece in records(asked, 8 << 20).chunks(16 << 10) {
                if stream.write_all(piece).is_err() {
                    return;
                }
                pause.recv_timeout(CALL_OFF_PAUSE).unwrap_err();
            }
        });
        with_core(|core| async move {
            let (line, topic) = (connected(&address).await, TopicName::new("t").unwrap());
            let key = key(1, 0);
            let hand = core.take_hand(key).unwrap();
            let changing = async {
                let asked = partition_at(&line, &topic, key).await;
                drop(hand);
                asked.map(drop)
            };
            let (asked, taken) = zip(changing, core.call_off(key)).await;
            asked.unwrap_err();
            taken.map(drop).unwrap();
        });
    }
}
