//! A node as it is watched: its last picture, what was before it, and since when it is away.

use jiff::Timestamp;

use super::history::History;
use super::picture::Picture;
use super::poll::Poll;
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

impl Watch {
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
