//! The connections of this core to other nodes, each shared by a number of partitions.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};

use super::line::Line;
use crate::failure::Failure;
use crate::rt::Semaphore;

/// Partitions that share a connection: each has at most one request on its way but for a moment,
/// and the other side takes 64.
const USERS_MAX: usize = 32;

/// Connections by address, kept while somebody uses them.
pub(crate) struct Lines {
    lines: RefCell<HashMap<String, Vec<Weak<Line>>>>,
    /// One connects at a time: whoever comes meanwhile shares what that makes.
    turn: Semaphore,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            lines: RefCell::default(),
            turn: Semaphore::new(1),
        }
    }
}

impl Lines {
    /// A connection to `address` with room for one more user; `client` names this node there.
    ///
    /// # Errors
    /// As [`Line::connect`].
    pub(crate) async fn to(&self, address: &str, client: &str) -> Result<Rc<Line>, Failure> {
        if let Some(line) = self.open(address) {
            return Ok(line);
        }
        let _turn = self.turn.acquire(1).await;
        if let Some(line) = self.open(address) {
            return Ok(line);
        }
        let line = Rc::new(Line::connect(address, client.to_owned()).await?);
        let mut lines = self.lines.borrow_mut();
        let open = lines.entry(address.to_owned()).or_default();
        open.retain(|line| line.strong_count() > 0);
        open.push(Rc::downgrade(&line));
        Ok(line)
    }

    fn open(&self, address: &str) -> Option<Rc<Line>> {
        let lines = self.lines.borrow();
        let open = lines.get(address)?.iter().filter_map(Weak::upgrade);
        // The one that was just taken up counts itself.
        open.filter(|line| !line.is_closed())
            .find(|line| Rc::strong_count(line) <= USERS_MAX)
    }
}
