//! The way of a fetcher to its partition, as it is known.

use std::sync::Arc;

use corelog_record::TopicId;
use tokio::time::Instant;

use super::super::news::News;
use super::super::trouble::Trouble;
use super::Fetcher;
use crate::client::{Route, Tenant};
use crate::connection::User;

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
}
