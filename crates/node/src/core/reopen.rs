//! Reopening partitions.

use std::rc::Rc;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::{describe_topic, reopen_partition};
use corelog_storage::Error;
use corelog_storage::log::OpenReport;

use super::files::Turn;
use super::slots::{PartitionKey, SlotId};
use super::state::Core;
use crate::catalog::{self, Topic};
use crate::failure::{Failure, deleted, failure};
use crate::rt;

impl Core {
    /// Recovers a partition anew, which lifts its fence.
    ///
    /// # Errors
    /// `Busy` while it is opened or closed already, `Stopping`; why it cannot be opened: `StorageFull` or `Busy` where
    /// something is missing, for which it is tried again, else `Damaged` with the reason.
    pub(crate) async fn reopen_partition(
        self: &Rc<Self>,
        key: PartitionKey,
    ) -> Result<reopen_partition::Answer, Failure> {
        let slot = self.slots.borrow().find(key).ok_or_else(deleted)?;
        let Some(claim) = self.claim(slot) else {
            let message = "the partition is being opened or closed already";
            return Err(failure(ErrorCode::Busy, message));
        };
        let core = Rc::clone(self);
        // Whoever asked may go away: what was begun is brought to its end.
        rt::run_on(async move {
            let reopened = core.reopen_claimed(claim.slot(), key).await;
            drop(claim);
            reopened
        })
        .await
    }

    async fn reopen_claimed(
        self: &Rc<Self>,
        slot: SlotId,
        key: PartitionKey,
    ) -> Result<reopen_partition::Answer, Failure> {
        // Until then it serves, and its owner may change.
        let call_off = self.call_off_of(slot);
        let turn = self.files.turn(Turn::Open);
        let _turn = self.unless_called_off(&call_off, turn).await?;
        if self.is_stopping.get() {
            return Err(failure(ErrorCode::Stopping, "the node is stopping"));
        }
        if let Some((log, accepted)) = self.take_log(slot).await
            && let Err(error) = self.close_log(slot, log, accepted).await
        {
            self.log_trouble(slot, "not closed cleanly before reopening", &error, None);
        }
        let topic = self.slots.borrow().get(slot).map(|it| it.topic.clone());
        let topic = topic.ok_or_else(deleted)?;
        let report = self.open_log_again(slot, key, &topic).await?;
        if report.torn.is_some() {
            self.trim_quarantine();
        }
        Ok(answer_of(&report))
    }

    /// Opens the log of a partition that was here before. Where a volume is not mounted there are no files, and records may be
    /// on it: a log without any is believed only beside the file of its topic.
    async fn open_log_again(
        self: &Rc<Self>,
        slot: SlotId,
        key: PartitionKey,
        topic: &Topic,
    ) -> Result<OpenReport, Failure> {
        let opened = self.open_files(slot, key, topic).await;
        // It may also go while its log is opened.
        let has_files = match &opened {
            Ok((log, _)) => log.has_files(),
            Err(error) => !matches!(error, Error::Gone { .. }) && !error.is_missing(),
        };
        if has_files {
            return self.take_opened(slot, key, opened);
        }
        if !catalog::is_there(&self.root, topic).await {
            return Err(self.set_away(slot));
        }
        // The volume may have come back between the two looks.
        self.open_log(slot, key, topic).await
    }
}

fn answer_of(report: &OpenReport) -> reopen_partition::Answer {
    let is_damaged = report.is_read_only || !report.damage.is_empty();
    let message = told(report.is_read_only, is_damaged, report.torn.is_some());
    reopen_partition::Answer {
        log_start: report.log_start,
        log_end: report.log_end,
        epoch: report.epoch,
        state: if is_damaged {
            describe_topic::State::Damaged
        } else {
            describe_topic::State::Ok
        },
        torn_bytes: report.torn.as_ref().map_or(0, |torn| torn.bytes),
        message: message.to_owned(),
    }
}

/// What a recovery came to. Damage in the midst of a log keeps nothing from what is behind it.
const fn told(is_read_only: bool, is_damaged: bool, is_torn: bool) -> &'static str {
    match (is_read_only, is_damaged, is_torn) {
        (true, _, _) => {
            "recovered with damage at its end; what precedes it is served, and nothing is written"
        }
        (false, true, _) => "recovered with damage; what lies around it is served",
        (false, false, true) => "recovered; torn bytes were quarantined and cut",
        (false, false, false) => "recovered; nothing was torn or damaged",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of damage anywhere it was said that only what precedes it is served.
    #[test]
    fn what_is_served_beside_damage_is_told_by_whether_more_is_written() {
        assert!(told(true, true, false).contains("what precedes it is served"));
        assert!(told(false, true, true).contains("what lies around it is served"));
    }
}
