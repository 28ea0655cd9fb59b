//! What the fetchers told and nobody took in yet.

use std::collections::VecDeque;

use tokio::sync::mpsc;

use super::news::Event;

/// News in the order in which they came. What waits is bounded by what each assignment may tell, for
/// assignments that are gone wait no news.
#[derive(Debug)]
pub(super) struct Inbox {
    sender: mpsc::UnboundedSender<Event>,
    receiver: mpsc::UnboundedReceiver<Event>,
    /// Received before the others.
    kept: VecDeque<Event>,
}

impl Inbox {
    pub(super) fn new() -> Self {
        let (sender, receiver) = mpsc::unbounded_channel();
        let kept = VecDeque::new();
        Self {
            sender,
            receiver,
            kept,
        }
    }

    /// A way in.
    pub(super) fn sender(&self) -> mpsc::UnboundedSender<Event> {
        self.sender.clone()
    }

    /// The next news, once there are some. Cancel-safe.
    pub(super) async fn next(&mut self) -> Option<Event> {
        match self.kept.pop_front() {
            Some(event) => Some(event),
            // A sender is in here, so the channel is never closed.
            None => self.receiver.recv().await,
        }
    }

    /// Drops the news of all other assignments.
    pub(super) fn retain(&mut self, is_assigned: impl Fn(u64) -> bool) {
        while let Ok(event) = self.receiver.try_recv() {
            self.kept.push_back(event);
        }
        self.kept.retain(|event| is_assigned(event.assignment));
    }
}

#[cfg(test)]
mod tests {
    use super::super::news::News;
    use super::*;

    /// Who assigned a partition again and again, and never called `next`, collected fetches without bound.
    #[tokio::test]
    async fn news_of_assignments_that_are_gone_are_dropped_and_the_others_keep_their_order() {
        let mut inbox = Inbox::new();
        let sender = inbox.sender();
        let tell = |assignment| {
            drop(sender.send(Event {
                assignment,
                news: News::Ended,
            }));
        };
        [1, 2, 1, 3].into_iter().for_each(tell);
        inbox.retain(|assignment| assignment != 1);
        tell(2);
        inbox.retain(|assignment| assignment != 1);
        assert_eq!(inbox.kept.len(), 3);
        tell(1);
        for expected in [2, 3, 2, 1] {
            assert_eq!(inbox.next().await.unwrap().assignment, expected);
        }
    }
}
