//! What a run remembers of how far it came, and what it says of that.

use corelog_client::{Error, Start};

use super::Printing;
use super::remedy::Remedy;
use super::state::State;
use crate::exit::{self, Exit, stop};

impl Printing<'_> {
    /// Begins a partition again where retention has passed the place that the state kept of its beginning: nothing of it was
    /// printed yet, and what is left is what was to be read.
    pub(super) fn begins_again(&mut self, error: &Error) -> bool {
        let Error::OutOfRange {
            partition,
            offset,
            log_start,
            ..
        } = *error
        else {
            return false;
        };
        let Some((begun @ Start::Earliest, end)) = self.unread.get(&partition).copied() else {
            return false;
        };
        let kept = self.state.as_mut();
        let kept = kept.filter(|kept| offset < log_start && kept.next(partition) == Some(offset));
        kept.is_some_and(|kept| {
            kept.begin(partition, begun, (log_start, None));
            let topic = &self.args.topic;
            self.consumer.assign(topic, partition, begun, end);
            true
        })
    }

    /// The error of a run that was asked to stop before its end: its output is a part, which a script must not take for all.
    pub(super) fn cut_short(&self) -> anyhow::Error {
        let next = match &self.state {
            Some(state) => format!(
                "the next run goes on there, as {} says",
                state.path().display()
            ),
            None => "--state goes on where it stopped".to_owned(),
        };
        let printed = self.printed;
        stop(
            Exit::Failed,
            format!("stopped before the end; {printed} printed; {next}"),
        )
    }

    /// Says what ended one partition, at once: the others may be read for ever. The run ends with its code, too.
    pub(super) fn fail(&mut self, error: anyhow::Error) {
        let error = self.told(error);
        exit::tell(&error);
        self.failures.push(exit::of(&error));
    }

    /// An error with what to do next where it is the state that names a place which is no more.
    pub(super) fn told(&self, error: anyhow::Error) -> anyhow::Error {
        let told = self.state.as_ref().and_then(|state| {
            let Remedy {
                partition,
                asked,
                next,
            } = Remedy::of(error.downcast_ref()?)?;
            let kept = state.next(partition)?;
            let path = state.path().display();
            asked.is_none_or(|asked| asked == kept).then(|| {
                let next = format!("{path} says to go on at offset {kept}; {next}");
                let sentence = exit::sentence(&error);
                stop(exit::of(&error), format!("{sentence}; {next}"))
            })
        });
        told.unwrap_or(error)
    }

    /// Hands over what was printed, then remembers it: a record may come twice, none is left out, nor by a power cut where
    /// it goes to a file.
    pub(super) fn settle(&mut self) -> anyhow::Result<()> {
        if self.state.is_none() {
            return self.out.flush();
        }
        self.out.settle()?;
        self.note_begun();
        self.state.as_mut().map_or(Ok(()), State::save)
    }

    /// Notes of partitions that had no record yet where reading them began: the next time, --from may be another place.
    pub(super) fn note_begun(&mut self) {
        let Some(state) = &mut self.state else {
            return;
        };
        self.unremembered.retain(|partition| {
            let Some((from, _)) = self.unread.get(partition) else {
                return false;
            };
            let progress = self.consumer.progress(&self.args.topic, *partition);
            if let Some(progress) = progress {
                state.begin(*partition, *from, (progress.next, progress.epoch));
            }
            progress.is_none()
        });
    }
}
