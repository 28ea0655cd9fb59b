//! What tells of a log: that it is there, and of one that is gone.

use super::{Context, Recovery, tidy};
use crate::disk::{Dir, Entry};
use crate::log::Event;
use crate::{Error, mark};

/// All that tells that a log without a manifest had one, if anything does: the manifest is made before the mark is, and before
/// what lies beside its directory.
pub(super) async fn files<D: Dir>(
    context: &Context<D>,
    entries: &[Entry],
) -> Result<Option<String>, Error> {
    let mut told = Vec::new();
    if let Some(begun) = &context.begun
        && begun.is_there().await?
    {
        told.push(begun.describe());
    }
    if entries.iter().any(|entry| entry.name == mark::NAME) {
        let dir = context.way.dir.describe();
        told.push(format!("{dir}/{}", mark::NAME));
    }
    Ok((!told.is_empty()).then(|| told.join(" as well as ")))
}

impl<D: Dir> Recovery<D> {
    /// Has something tell of the log, durably, before anything is acknowledged behind this opening. What is there behind a
    /// clean stop is durable: an opening that makes it takes the clean mark back before. Where it cannot be made a log that
    /// is there is opened all the same, unless it is about to get its mark, before which it is made.
    pub(super) async fn tell(&mut self) -> Result<(), Error> {
        let Some(begun) = self.context.begun.clone() else {
            return Ok(());
        };
        let is_there = begun.is_there().await.unwrap_or(false);
        if is_there && self.findings.is_clean {
            self.findings.is_told = true;
            return Ok(());
        }
        self.unset().await?;
        match begun.create().await {
            Ok(()) => {
                begun.sync().await?;
                self.findings.is_told = true;
            }
            Err(error) if self.mark.is_some() => {
                let why = tidy::cause(&error);
                self.findings.events.note(Event::Untold { why });
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}
