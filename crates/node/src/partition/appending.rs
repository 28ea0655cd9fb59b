//! What is appended, by clients or from a source: whether it may be, and what that starts.

use corelog_protocol::message::ack::Level;
use corelog_record::Timestamp;
use corelog_record::batch::Rules;
use corelog_storage::disk::Dir;
use corelog_storage::log::{AppendError, Appended};

use super::effect::{Answer, Effects, Refusal};
use super::input::{Incoming, Token};
use super::state::{Partition, push_start};

impl<D: Dir> Partition<D> {
    /// Whether so many bytes may be appended now, whatever they are.
    ///
    /// # Errors
    /// Why not.
    pub(crate) fn admit(&self, bytes: usize) -> Result<(), Refusal> {
        self.check_owned()?;
        Ok(self.log.admit(bytes)?)
    }

    /// What is asked of batches that are appended.
    pub(crate) fn rules(&self) -> &Rules {
        self.log.rules()
    }

    /// Checks that appends are this node's to take.
    fn check_owned(&self) -> Result<(), Refusal> {
        if self.is_closing {
            return Err(Refusal::Closing);
        }
        match self.policy.replication.takes_appends() {
            true => Ok(()),
            false => Err(Refusal::NotOwner),
        }
    }

    /// Appends what a client sent.
    pub(super) fn produce(
        &mut self,
        token: Token,
        batches: Incoming<'_>,
        level: Option<Level>,
        now: Timestamp,
        effects: &mut Effects<D>,
    ) {
        if let Err(refusal) = self.check_owned() {
            return effects.refuse(token, refusal);
        }
        let appended = match batches {
            Incoming::Unchecked(bytes) => self.log.append(bytes, now),
            Incoming::Checked(checked) => self.log.append_checked(checked, now),
        };
        let level = level.unwrap_or(self.policy.level);
        self.appended(token, appended, level, effects);
    }

    /// Tells what an append came to, and has what was appended go to the disk.
    pub(super) fn appended(
        &mut self,
        token: Token,
        appended: Result<Appended, AppendError>,
        level: Level,
        effects: &mut Effects<D>,
    ) {
        let appended = match appended {
            Ok(appended) => appended,
            Err(error) => return effects.refuse(token, error.into()),
        };
        assert!(
            self.bounds.log_end <= appended.base,
            "an append gave out offsets twice"
        );
        assert!(appended.base < appended.end, "an append of nothing");
        let start = match level {
            Level::Durable | Level::Unknown => self.group.join(),
            Level::Accepted => {
                self.group
                    .accept(appended.base, appended.end, self.log.pending_bytes())
            }
        };
        effects.answer(
            token,
            Answer::Appended {
                base: appended.base,
                end: appended.end,
                epoch: appended.epoch,
                level,
                batches: appended.batches,
                bytes: appended.bytes,
            },
        );
        push_start(start, effects);
    }
}
