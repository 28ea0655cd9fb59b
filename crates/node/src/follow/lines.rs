//! The connections of this core to other nodes, each shared by a number of partitions.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
use std::time::Instant;

use corelog_protocol::error::ErrorCode;

use super::line::Line;
use crate::core::Core;
use crate::failure::Failure;
use crate::rt::{self, Semaphore};

/// Partitions that share a connection: each has at most one request on its way but for a moment,
/// and the other side takes 64.
const USERS_MAX: usize = 32;

/// Connections by address, kept while somebody uses them.
pub(crate) struct Lines {
    ways: RefCell<HashMap<String, Rc<Way>>>,
    room: Semaphore,
}

/// The connections to one address.
struct Way {
    lines: RefCell<Vec<Weak<Line>>>,
    /// One connects at a time: whoever came before it began shares what becomes of that.
    turn: Semaphore,
    /// When the last one that failed began, and why it did.
    failed: RefCell<Option<(Instant, Failure)>>,
}

impl Core {
    /// A connection to another node.
    ///
    /// # Errors
    /// `SourceUnavailable` with the reason.
    pub(crate) async fn line_to(&self, address: &str) -> Result<Rc<Line>, Failure> {
        self.line_to_named(address).await.map_err(|mut why| {
            // What answers there now, as a balancer does while the node starts, may be gone the next time.
            if why.is(ErrorCode::UnsupportedVersion) {
                why.code = ErrorCode::SourceUnavailable.number();
            }
            why
        })
    }

    /// The same to one that was just named, where nothing was written down yet.
    ///
    /// # Errors
    /// As [`Line::connect`].
    pub(crate) async fn line_to_named(&self, address: &str) -> Result<Rc<Line>, Failure> {
        self.lines.to(address, &self.name()).await
    }
}

impl Lines {
    /// None yet; of all of them, large answers of so many bytes are in memory at once: a few fetches of
    /// whole batches, which go on to the disk.
    pub(crate) fn new(bytes_max: u64) -> Self {
        Self {
            ways: RefCell::default(),
            room: Semaphore::new(bytes_max),
        }
    }

    /// A connection to `address` with room for one more user; `client` names this node there.
    ///
    /// # Errors
    /// As [`Line::connect`].
    pub(crate) async fn to(&self, address: &str, client: &str) -> Result<Rc<Line>, Failure> {
        let (way, asked) = (self.way(address), rt::now());
        if let Some(line) = way.open() {
            return Ok(line);
        }
        let _turn = way.turn.acquire(1).await;
        if let Some(line) = way.open() {
            return Ok(line);
        }
        if let Some(why) = way.failed_since(asked) {
            return Err(why);
        }
        let begun = rt::now();
        match Line::connect(address, client.to_owned(), self.room.clone()).await {
            Ok(line) => Ok(way.add(line)),
            Err(why) => {
                *way.failed.borrow_mut() = Some((begun, why.clone()));
                Err(why)
            }
        }
    }

    fn way(&self, address: &str) -> Rc<Way> {
        let mut ways = self.ways.borrow_mut();
        if let Some(way) = ways.get(address) {
            return Rc::clone(way);
        }
        ways.retain(|_, way| Rc::strong_count(way) > 1 || way.is_used());
        let way = Rc::new(Way {
            lines: RefCell::default(),
            turn: Semaphore::new(1),
            failed: RefCell::default(),
        });
        ways.insert(address.to_owned(), Rc::clone(&way));
        way
    }
}

impl Way {
    fn open(&self) -> Option<Rc<Line>> {
        let lines = self.lines.borrow();
        let mut open = lines.iter().filter_map(Weak::upgrade);
        // The one that was just taken up counts itself.
        open.find(|line| !line.is_closed() && Rc::strong_count(line) <= USERS_MAX)
    }

    fn add(&self, line: Line) -> Rc<Line> {
        let line = Rc::new(line);
        let mut lines = self.lines.borrow_mut();
        lines.retain(|line| line.strong_count() > 0);
        lines.push(Rc::downgrade(&line));
        line
    }

    /// Why connecting failed that began after `asked`: one that had begun before says nothing of a node that came meanwhile.
    fn failed_since(&self, asked: Instant) -> Option<Failure> {
        let failed = self.failed.borrow();
        let (_, why) = failed.as_ref().filter(|(begun, _)| asked < *begun)?;
        Some(why.clone())
    }

    fn is_used(&self) -> bool {
        let lines = self.lines.borrow();
        lines.iter().any(|line| line.strong_count() > 0)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use corelog_protocol::limits::FRAME_BYTES_MAX;
    use futures_lite::future::zip;

    use super::*;
    use crate::rt::tests::on_core;

    /// An operator who had a node just started was told that it is not there, by a look that others had begun before.
    #[test]
    fn who_asks_while_others_connect_is_told_by_what_begins_behind_that() {
        let count = Arc::new(AtomicUsize::new(0));
        let address = closing(Arc::clone(&count));
        on_core(|| async move {
            let lines = Lines::new(FRAME_BYTES_MAX.into());
            let to = || lines.to(&address, "test");
            let (first, (second, third)) = zip(to(), zip(to(), to())).await;
            for told in [first, second, third] {
                let why = told.err().expect("it closes each connection");
                assert!(why.is(ErrorCode::SourceUnavailable), "{why:?}");
            }
            assert_eq!(count.load(Ordering::SeqCst), 2, "those two share one");
        });
    }

    /// A node that is about to come: it closes each connection, and counts them.
    fn closing(count: Arc<AtomicUsize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            for stream in listener.incoming() {
                let _stream = stream.unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        address
    }
}
