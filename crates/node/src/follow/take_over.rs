//! Owning a partition from where its owner asks a follower to.

use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::take_over;
use corelog_record::Offset;
use corelog_storage::format::replica::Role;

use super::lineage::diverged;
use super::ownership::not_follower;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure, failure_with};

impl Core {
    /// Takes a partition over from its owner, which takes no more appends. Asked for an end that no log
    /// has, it takes over no more at that epoch.
    ///
    /// # Errors
    /// `NotEqual` while this log is not the owner's up to its end, `NotFollower`, `Diverged`;
    /// `InvalidRequest` at an epoch that was taken back; `Busy` while its owner is changed otherwise.
    pub(crate) async fn take_over(
        self: &Rc<Self>,
        key: PartitionKey,
        request: take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let hand = self.take_hand(key)?;
        match self.replica(key)?.role {
            Role::Follower => {}
            Role::Owner => return self.taken_over(key, &request).await,
            _ => return Err(not_follower(&request.topic, key)),
        }
        let place = self.place(key)?;
        let here = (place.durable.offset, place.durable.chain);
        if request.end == Offset::MAX {
            self.hands.refuse(key, request.epoch);
            return Err(not_equal(here.0, request.end));
        }
        if self.hands.is_refused(key, request.epoch) {
            let message = "its owner took this handover back";
            return Err(failure(ErrorCode::InvalidRequest, message));
        }
        if place.history != request.history {
            return Err(diverged(Offset::ZERO));
        }
        if here != (request.end, request.chain) || place.log_end != request.end {
            return Err(not_equal(here.0, request.end));
        }
        self.halt(key).await;
        let end = self.place(key)?.log_end;
        if end != request.end {
            return Err(not_equal(end, request.end));
        }
        let (epoch, lineage, _) = self.own(&hand, request.topic, key).await?;
        Ok(take_over::Answer { epoch, lineage })
    }

    /// The answer to a TakeOver that was done before.
    async fn taken_over(
        self: &Rc<Self>,
        key: PartitionKey,
        request: &take_over::Request,
    ) -> Result<take_over::Answer, Failure> {
        let epochs = self.epochs(key)?;
        let mut later = epochs.iter().filter(|began| began.epoch > request.epoch);
        let began = later.find(|began| began.offset == request.end);
        let other = || not_follower(&request.topic, key);
        let began = began.ok_or_else(other)?;
        let at = self.chain_at(key, request.end).await?;
        match at.chain == request.chain && self.place(key)?.history == request.history {
            true => Ok(take_over::Answer {
                epoch: began.epoch,
                lineage: began.lineage,
            }),
            false => Err(other()),
        }
    }
}

fn not_equal(here: Offset, end: Offset) -> Failure {
    let message = format!("this copy ends at {here}, not at {end}");
    let detail = Detail {
        end: Some(here),
        ..Detail::default()
    };
    failure_with(ErrorCode::NotEqual, message, detail)
}
