//! Where a source has the partitions of a topic. What it tells names all of them, so it is asked once for all the
//! followers that want to know at the time: each of ten thousand was told of ten thousand.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::Rc;
use std::time::Instant;

use corelog_protocol::message::metadata;
use corelog_record::TopicName;

use super::ASK_TIMEOUT;
use super::line::Line;
use crate::failure::Failure;
use crate::rt::{self, Semaphore};

/// What followers of a core ask their sources for together: of which source, of which topic.
#[derive(Default)]
pub(super) struct Places {
    asked: RefCell<HashMap<Which, Rc<Asked>>>,
}

/// A topic at a source.
type Which = (String, TopicName);

/// What is asked of one, as long as somebody does.
struct Asked {
    /// One asks at a time: those who come meanwhile share the next answer.
    turn: Semaphore,
    /// What was told last, and when that was asked for.
    told: RefCell<Option<(Instant, Told)>>,
}

/// One who asks.
struct Asking<'a> {
    places: &'a Places,
    which: Which,
    asked: Rc<Asked>,
}

/// The topic; none if the source says neither that nor why.
type Told = Result<Option<Rc<metadata::Topic>>, Failure>;

impl Places {
    /// What the node at `source`, to which `line` leads, tells of a topic.
    ///
    /// # Errors
    /// What it says of the topic, or as [`Line::call`].
    pub(super) async fn of(&self, source: &str, line: &Line, topic: &TopicName) -> Told {
        let came = rt::now();
        let asking = self.asking((source.to_owned(), topic.clone()));
        let asked = &asking.asked;
        let _turn = asked.turn.acquire(1).await;
        if let Some(told) = asked.told_to(came) {
            return told;
        }
        let sent = rt::now();
        let told = topic_at(line, topic).await.map(|told| told.map(Rc::new));
        *asked.told.borrow_mut() = Some((sent, told.clone()));
        told
    }

    fn asking(&self, which: Which) -> Asking<'_> {
        let mut all = self.asked.borrow_mut();
        let asked = all.entry(which.clone()).or_insert_with(|| {
            Rc::new(Asked {
                turn: Semaphore::new(1),
                told: RefCell::default(),
            })
        });
        let asked = Rc::clone(asked);
        Asking {
            places: self,
            which,
            asked,
        }
    }
}

impl Asked {
    /// What was asked for since `came`: an answer may be older than whoever comes while it is on its way.
    fn told_to(&self, came: Instant) -> Option<Told> {
        let told = self.told.borrow();
        let (sent, told) = told.as_ref()?;
        (came <= *sent).then(|| told.clone())
    }
}

impl Drop for Asking<'_> {
    fn drop(&mut self) {
        // The places have it, and whoever asks.
        if Rc::strong_count(&self.asked) == 2 {
            self.places.asked.borrow_mut().remove(&self.which);
        }
    }
}

/// What the node at the other end of `line` tells of a topic; nothing if it says neither that nor why.
///
/// # Errors
/// What it says of the topic, or as [`Line::call`].
pub(crate) async fn topic_at(
    line: &Line,
    topic: &TopicName,
) -> Result<Option<metadata::Topic>, Failure> {
    let ask = metadata::Request {
        topics: Some(vec![topic.clone()]),
    };
    let told = line.call(&ask, ASK_TIMEOUT).await?.head;
    match told.errors.into_iter().next() {
        Some(error) => Err(Box::new(error.error)),
        None => Ok(told.topics.into_iter().next()),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use corelog_protocol::answer;
    use corelog_record::{NodeId, TopicId};
    use futures_lite::future::zip;

    use super::*;
    use crate::follow::line::tests::{connected, next, node};
    use crate::rt::tests::on_core;

    #[test]
    fn those_who_ask_while_one_does_are_told_by_one_answer() {
        let count = Arc::new(AtomicUsize::new(0));
        let address = telling(Arc::clone(&count));
        on_core(|| async move {
            let line = connected(&address).await;
            let (places, topic) = (Places::default(), TopicName::new("t").unwrap());
            let of = || places.of(&address, &line, &topic);
            let (first, (one, other)) = zip(of(), zip(of(), of())).await;
            let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
            assert_eq!(first.unwrap().as_ref(), Some(&one));
            assert!(Rc::ptr_eq(&one, &other));
            assert_eq!(count.load(Ordering::SeqCst), 2);
            assert!(places.asked.borrow().is_empty());
            // Nobody asks any more: what comes later is told what is so then.
            assert_eq!(of().await.unwrap(), Some(one));
            assert_eq!(count.load(Ordering::SeqCst), 3);
        });
    }

    /// A node that has one topic, and counts how often it is asked for it.
    fn telling(count: Arc<AtomicUsize>) -> String {
        node(move |mut stream, mut received| {
            loop {
                let asked = next(&mut stream, &mut received);
                count.fetch_add(1, Ordering::SeqCst);
                let told = metadata::Answer {
                    node: NodeId::from_bytes([1; 16]),
                    cores: Vec::new(),
                    shared: String::new(),
                    topics: vec![metadata::Topic {
                        name: TopicName::new("t").unwrap(),
                        id: TopicId::from_bytes([2; 16]),
                        settings: Default::default(),
                        partitions: Vec::new(),
                    }],
                    errors: Vec::new(),
                };
                let mut out = Vec::new();
                answer::encode_ok::<metadata::Request>(asked, &told, 0, &mut out).unwrap();
                stream.write_all(&out).unwrap();
            }
        })
    }
}
