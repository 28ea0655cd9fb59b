//! A node as it is watched: its last picture, what was before it, and since when it is away.

use jiff::Timestamp;

use super::history::History;
use super::picture::Picture;
use super::poll::{self, Poll};
use crate::admin;
use crate::exit::sentence;

/// What is shown of a node.
#[derive(Clone, Debug)]
pub(super) struct Watched {
    pub(super) picture: Picture,
    pub(super) history: History,
    /// It does not answer, and the picture is the last there is.
    pub(super) away: Option<Away>,
}

/// Since when a node does not answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Away {
    pub(super) since: Timestamp,
    pub(super) for_s: i64,
    pub(super) why: String,
    /// The same without whom was asked for what.
    pub(super) cause: String,
}

/// Makes pictures of polls.
pub(super) struct Watch {
    admin: String,
    before: Poll,
    pub(super) watched: Watched,
}

/// Begins to watch. A node that starts, or stops, is away until it tells of itself.
///
/// # Errors
/// Exit code 4 if nobody answers there.
pub(super) async fn begin(admin: &str) -> anyhow::Result<Watch> {
    match poll::ask(admin).await {
        Err(error) if admin::is_unready(&error) => Ok(Watch::begin_away(admin, error)),
        first => Ok(Watch::begin(admin, first?)),
    }
}

impl Watch {
    /// Begins with a node that has told nothing yet.
    fn begin_away(admin: &str, error: anyhow::Error) -> Self {
        let nothing = Poll::nothing();
        let now = nothing.time;
        let mut watch = Self::begin(admin, nothing);
        watch.see(Err(error), now);
        watch
    }

    /// Begins with the first poll, which has no rates.
    pub(super) fn begin(admin: &str, first: Poll) -> Self {
        let mut history = History::default();
        let mut picture = Picture::of(admin, &first, None);
        history.see(&mut picture);
        Self {
            admin: admin.to_owned(),
            before: first,
            watched: Watched {
                picture,
                history,
                away: None,
            },
        }
    }

    /// Takes in what a poll came to.
    pub(super) fn see(&mut self, polled: anyhow::Result<Poll>, now: Timestamp) {
        match polled {
            Ok(poll) => {
                let mut picture = Picture::of(&self.admin, &poll, Some(&self.before));
                self.watched.history.see(&mut picture);
                self.watched.picture = picture;
                self.watched.away = None;
                self.before = poll;
            }
            Err(error) => {
                let since = self.watched.away.as_ref().map_or(now, |away| away.since);
                self.watched.history.miss();
                self.watched.away = Some(Away {
                    since,
                    for_s: now.duration_since(since).as_secs(),
                    why: sentence(&error),
                    cause: error.root_cause().to_string(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session;
    use crate::side::Side;

    /// It ended at once, as at a wrong address.
    #[test]
    fn a_node_that_starts_is_away_until_it_tells_of_itself() {
        let side = Side::start("127.0.0.1:0".parse().unwrap(), false).unwrap();
        let admin = side.address().to_string();
        let watch = session::on_this_thread(|| begin(&admin)).unwrap();
        let away = watch.watched.away.unwrap();
        assert_eq!(away.cause, "the node is starting");
        assert_eq!(away.for_s, 0);
        side.stop();
        assert!(session::on_this_thread(|| begin(&admin)).is_err());
    }
}
