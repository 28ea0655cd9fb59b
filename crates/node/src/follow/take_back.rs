//! Calling a handover off: the target promises not to take over, and the owner goes on by an epoch of its own.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::handover;
use corelog_record::{Offset, TopicName};
use corelog_storage::format::replica::{Replica, Role};
use corelog_storage::log::Begin;

use super::ASK_TIMEOUT;
use super::handover::{LEVEL_PAUSE, is_early};
use super::ownership::{check_same, not_owner, owned_at};
use super::questions::has_none;
use super::target::Target;
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::partition::Change;
use crate::{router, rt};

impl Core {
    /// Takes a handover back that the target has not finished: it promises not to, and this node
    /// begins an epoch of its own.
    ///
    /// # Errors
    /// `NotOwner` if the target owns the partition already, or did and another node does now; `ReadOnly` if damage ends the log
    /// here; `SourceUnavailable` if the target does not promise, unless `accept_loss`: then two nodes may own it, and one of them has to rejoin.
    pub(crate) async fn abort_handover(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        accept_loss: bool,
    ) -> Result<handover::Partition, Failure> {
        let _hand = self.call_off(key).await?;
        let before = self.replica(key)?;
        if !before.role.owns() {
            return Err(not_owner(&before));
        }
        if before.role == Role::HandingOver {
            // No epoch begins behind damage: it stays given to whom it was.
            self.check_not_read_only(key)?;
            let begin = self.take_back(&topic, key, before, accept_loss).await?;
            self.own_again(topic, key, begin).await?;
        }
        let epoch = self.epoch(key)?;
        let mine = self.shared.addresses.get();
        Ok(handover::Partition {
            id: key.partition,
            end: self.place(key)?.log_end,
            epoch: epoch.unwrap_or_default(),
            owner: mine.map_or_else(String::new, |mine| mine.advertised.clone()),
        })
    }

    /// Takes back what the target was asked, and writes down that it is given to nobody: whoever asks
    /// from here on may not take this for a handover. Who asked before, and was started anew since the target promised, may
    /// be about to own it: so the target is asked once more behind that, also by who finishes this after a restart. Gives
    /// how this node goes on: as behind a start, if the target has promised.
    async fn take_back(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        mut before: Replica,
        accept_loss: bool,
    ) -> Result<Begin, Failure> {
        let to = self.given_to(&before).await;
        let is_known = matches!(to, Ok(Some(_)));
        if let Ok(Some(to)) = &to {
            before.target = Some(to.node);
        }
        let begin = |is_passed_over: bool| match is_known && !is_passed_over {
            true => Begin::Own,
            false => Begin::TakenBack,
        };
        let is_passed_over = async || match self.have_refused(topic, key, to.clone()).await {
            Ok(()) => Ok(false),
            Err(error) if error.is(ErrorCode::NotOwner) || !accept_loss => Err(error),
            Err(error) => {
                let (partition, error) = (key.partition.get(), &error.message);
                tracing::warn!(%topic, partition, error, "taken back without a promise");
                Ok(true)
            }
        };
        let was_passed_over = is_passed_over().await?;
        self.give_to_nobody(topic, key, &before).await?;
        if was_passed_over || before.sources.is_empty() {
            return Ok(begin(was_passed_over));
        }
        match is_passed_over().await {
            Ok(is_passed_over) => Ok(begin(is_passed_over)),
            Err(error) => {
                let role = before.role;
                let nobody = Replica {
                    sources: Vec::new(),
                    ..before
                };
                self.write_role(topic.clone(), key, nobody, role, (to?, None))
                    .await?;
                Err(error)
            }
        }
    }

    async fn give_to_nobody(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        before: &Replica,
    ) -> Result<(), Failure> {
        let before = before.clone();
        router::change_replica(self, topic.clone(), key, move |replica| {
            check_same(&before, &replica)?;
            Ok(Replica {
                sources: Vec::new(),
                target: before.target,
                ..replica
            })
        })
        .await
    }

    /// Has the target promise that it takes over no more, and looks that it had not done so before.
    ///
    /// # Errors
    /// `NotOwner` if it had; `SourceUnavailable` if it does not answer, or is not known any more.
    async fn have_refused(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        to: Result<Option<Target>, Failure>,
    ) -> Result<(), Failure> {
        let Some(to) = to? else {
            return Ok(());
        };
        match self.ask_to_refuse(topic, key, &to).await {
            // It owns it, or did: who does by now is told, if it can be found.
            Err(error) if error.is(ErrorCode::NotFollower) => {
                let given_on = self.check_not_given_on(topic, key, &to).await.err();
                let owned = given_on.filter(|error| error.is(ErrorCode::NotOwner));
                return Err(owned.unwrap_or_else(|| owned_once(&to.address)));
            }
            refused => refused?,
        }
        self.check_not_given_on(topic, key, &to).await
    }

    /// Has the target promise that it takes over no more at the epoch in force here.
    async fn ask_to_refuse(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        to: &Target,
    ) -> Result<(), Failure> {
        // No log ends there: whoever is asked for it takes back what was asked before.
        let request = self.taking_over(topic, key, Offset::MAX)?;
        if to.node == self.shared.node {
            return Ok(());
        }
        let line = self.line_to_target(to).await?;
        let deadline = rt::now() + ASK_TIMEOUT;
        loop {
            match line.call(&request, ASK_TIMEOUT).await {
                Err(error) if error.is(ErrorCode::NotEqual) => return Ok(()),
                Err(error) if is_early(&error) && rt::now() < deadline => {
                    rt::sleep(LEVEL_PAUSE).await;
                }
                Err(error) => return Err(error),
                Ok(_) => {
                    let message = format!("{} took over what has no end", to.address);
                    return Err(failure(ErrorCode::BadSource, message));
                }
            }
        }
    }

    /// Checks that a target which promised to take over no more had not done so before, and has passed the partition on
    /// since. One that says that it owns the partition and has not taken it over from here, by a later epoch, does not count.
    ///
    /// # Errors
    /// `NotOwner` with the address of who owns it then.
    async fn check_not_given_on(
        self: &Rc<Self>,
        topic: &TopicName,
        key: PartitionKey,
        to: &Target,
    ) -> Result<(), Failure> {
        let first = match self.first_at(topic, key, &to.address).await {
            Err(error) if has_none(&error) => return Err(may_have_owned(&to.address)),
            first => first?,
        };
        let Some(rival) = self.owner_of(topic, key, first).await?.rival() else {
            return Ok(());
        };
        if rival.node() != to.node {
            let claim = self.claim_of(topic, key, &rival, &to.as_peer()).await;
            if claim.is_err_and(|error| error.is(ErrorCode::Diverged)) {
                return Ok(());
            }
        }
        Err(owned_at(Some(rival.address().to_owned())))
    }

    /// Begins an epoch and takes appends again, as an owner that handed over.
    async fn own_again(
        self: &Rc<Self>,
        topic: TopicName,
        key: PartitionKey,
        begin: Begin,
    ) -> Result<(), Failure> {
        let before = self.replica(key)?;
        let end = self.place(key)?.log_end;
        self.durable(key, end).await?;
        let asked = rt::now();
        match self.check_unclaimed(&topic, key, &before).await {
            // Two own it already: it gets no worse, and one of the two can rejoin the other then.
            Err(error) if error.is(ErrorCode::Diverged) => {}
            checked => checked?,
        }
        self.check_awake_since(asked)?;
        // A log without an epoch was promised about as one of the first.
        let promised = self.epoch(key)?.unwrap_or_default();
        self.hear_epoch(key, promised);
        self.change(key, Change::Epoch(begin)).await?;
        // Another than the target may have been promoted meanwhile.
        self.doubt_of(key, &before);
        self.write_role(topic, key, before, Role::Owner, (None, None))
            .await
            .map(drop)
    }
}

/// A target has the topic no more, and what it was to the partition went with that.
fn may_have_owned(to: &str) -> Failure {
    let message = format!(
        "{to} has no such topic any more, and may have owned the partition and passed it on before: if nobody else owns it, take \
         it back with accept_loss"
    );
    failure(ErrorCode::SourceUnavailable, message)
}

/// A target owned a partition, or does; who does by now was not found.
fn owned_once(to: &str) -> Failure {
    let mut failure = owned_at(None);
    failure.message = format!(
        "{to} has owned it since it was asked to, and no later owner was found: rejoin that one, or, if it is gone for good, \
         promote {to} with accept_loss and ask for the handover again"
    );
    failure
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::core::tests::{created, with_core};

    /// It went on by the very epoch about which its target had promised: that refused each handover from then on.
    #[test]
    fn a_partition_without_records_that_is_taken_back_goes_on_above_what_was_promised() {
        with_core(|core| async move {
            let (topic, key) = created(&core).await;
            let promised = core.taking_over(&topic, key, Offset::MAX).unwrap().epoch;
            let place = (&topic, key.topic, key.partition);
            let handing = |replica| {
                let role = Role::HandingOver;
                Ok(Replica { role, ..replica })
            };
            let admin = core.admin().unwrap();
            admin.change_replica(place, None, handing).await.unwrap();
            core.own_again(topic, key, Begin::Own).await.unwrap();
            assert_eq!(core.replica(key).unwrap().role, Role::Owner);
            assert!(core.epoch(key).unwrap() > Some(promised));
        });
    }
}
