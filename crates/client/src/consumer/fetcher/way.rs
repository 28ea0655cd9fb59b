//! The way of a fetcher to its partition, as it is known.

use std::sync::Arc;

use corelog_record::{TopicId, TopicName};
use tokio::time::Instant;

use super::super::news::News;
use super::super::trouble::Trouble;
use super::Fetcher;
use crate::client::{Inner, Route, Tenant};
use crate::connection::{Claim, User};

/// The fetcher's way to its partition.
#[derive(Default)]
pub(super) struct Way {
    pub(super) route: Option<Route>,
    /// Where the route led, or the one before.
    pub(super) address: Option<Arc<str>>,
    /// The server that described the topic when the route was found.
    pub(super) server: usize,
    /// The one that answered last, and so knew the place that is read.
    pub(super) known_at: Option<usize>,
    /// When to look at the others again: that one stands in for those before it.
    pub(super) look_at: Option<Instant>,
    /// The topic that is being read; another one under its name is another log.
    pub(super) topic_id: Option<TopicId>,
    /// Whether that is the topic as it was when reading began, and not only what was known of it.
    pub(super) is_sure: bool,
    /// That reading begins, until a Fetch has told that it is the log which was read before.
    pub(super) begun: Option<News>,
    pub(super) failing: Trouble,
    /// What was readable, and is not where it is asked for.
    pub(super) missing: Trouble,
    /// Set once a request was not answered in time over a connection that others go on with, and whether it was sent: then until
    /// it is answered.
    pub(super) apart: Option<(Tenant, bool)>,
}

impl Way {
    /// If the last route's connection has not ended.
    pub(super) fn is_open(&self) -> bool {
        let route = self.route.as_ref();
        route.is_some_and(|route| !route.connection.is_closed())
    }

    /// If the place that is read is one that another server knew than the one that the route leads to.
    pub(super) fn is_known_elsewhere(&self) -> bool {
        self.known_at.is_some_and(|server| server != self.server)
    }

    /// As whom it goes.
    pub(super) fn user(&self, fetcher: &Fetcher) -> User {
        let apart = self.apart.as_ref();
        apart.map_or(fetcher.user, |(apart, _)| apart.user)
    }

    /// Goes on over a connection of its `own`, as what it asked was not answered in time, sent or not. What was sent before is not
    /// answered by what was not.
    pub(super) fn part(&mut self, own: Tenant, is_sent: bool) {
        let is_sent = is_sent || self.has_sent();
        self.apart = Some((own, is_sent));
    }

    /// Goes back to the connection of the others once all that was sent there under the `claim` is answered, or that has ended.
    pub(super) fn return_if_answered(&mut self, claim: &Claim) {
        if self.has_sent() && Arc::strong_count(claim) == 1 {
            (self.apart, self.route) = (None, None);
        }
    }

    /// Notes that what it asked for of the topic was answered.
    pub(super) fn answered(&mut self, client: &Inner, topic: &TopicName) {
        if self.failing.is_met() {
            client.metadata.heard(topic, self.topic_id);
        }
        (self.is_sure, self.failing) = (true, Trouble::default());
        self.known_at = Some(self.server);
    }

    /// If something was sent before it parted from the others.
    fn has_sent(&self) -> bool {
        matches!(self.apart, Some((_, true)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::metadata::tests::{silence, told};
    use crate::{Backoff, ClientConfig};

    #[test]
    fn a_partition_goes_back_once_what_it_had_sent_is_answered_and_not_where_it_found_no_room() {
        let client = Inner::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let (client, claim) = (Arc::new(client), Claim::default());
        for (attempts, is_back) in [
            (&[false][..], false),
            (&[true][..], true),
            (&[true, false][..], true),
            (&[false, true][..], true),
        ] {
            let mut way = Way::default();
            for is_sent in attempts {
                way.part(Tenant::new(&client), *is_sent);
            }
            let unanswered = Claim::clone(&claim);
            way.return_if_answered(&claim);
            assert!(way.apart.is_some());
            drop(unanswered);
            way.return_if_answered(&claim);
            assert_eq!(way.apart.is_none(), is_back, "{attempts:?}");
        }
    }

    /// How long a server said nothing counted from a first, short restart on, and at the next one, hours later, another topic of
    /// that name was believed at once: the reader was told that its own had been deleted.
    #[tokio::test]
    async fn who_reads_on_behind_a_failure_ends_the_silence_of_its_topic() {
        let client = Inner::new(ClientConfig::new(["127.0.0.1:1"])).unwrap();
        let (name, hour) = ("t".parse().unwrap(), Duration::from_secs(3600));
        let (topic, teller) = told(&name, 1, 0);
        let id = client.metadata.learn(topic, teller).id;
        silence(&client.metadata, &name, hour);
        let mut way = Way {
            topic_id: Some(id),
            ..Way::default()
        };
        let at_once = Backoff {
            first: Duration::ZERO,
            max: Duration::ZERO,
        };
        assert!(way.failing.pause(None, at_once, Duration::ZERO).await);
        way.answered(&client, &name);
        assert!(client.metadata.silent_for(&name) < hour);
    }
}
