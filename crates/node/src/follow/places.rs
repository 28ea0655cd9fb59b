//! Where a source has the partitions of a topic. What it tells names all of them, so it is asked once for all the
//! followers that want to know at the time: each of ten thousand was told of ten thousand.

use std::cell::RefCell;
use std::collections::HashMap;
use std::rc::{Rc, Weak};
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
    asked: RefCell<HashMap<(String, TopicName), Weak<Asked>>>,
}

/// A topic at a source, as long as somebody asks for it.
struct Asked {
    /// One asks at a time: whoever comes meanwhile shares what is told.
    turn: Semaphore,
    told: RefCell<Option<(Instant, Told)>>,
}

/// The topic; none if the source says neither that nor why.
type Told = Result<Option<Rc<metadata::Topic>>, Failure>;

impl Places {
    /// What the node at `source`, to which `line` leads, tells of a topic.
    ///
    /// # Errors
    /// What it says of the topic, or as [`Line::call`].
    pub(super) async fn of(&self, source: &str, line: &Line, topic: &TopicName) -> Told {
        let (asked, came) = (self.asked(source, topic), rt::now());
        let _turn = asked.turn.acquire(1).await;
        if let Some(told) = asked.told_since(came) {
            return told;
        }
        let told = ask(line, topic).await;
        *asked.told.borrow_mut() = Some((rt::now(), told.clone()));
        told
    }

    fn asked(&self, source: &str, topic: &TopicName) -> Rc<Asked> {
        let mut all = self.asked.borrow_mut();
        let which = (source.to_owned(), topic.clone());
        if let Some(asked) = all.get(&which).and_then(Weak::upgrade) {
            return asked;
        }
        all.retain(|_, asked| asked.strong_count() > 0);
        let asked = Rc::new(Asked {
            turn: Semaphore::new(1),
            told: RefCell::default(),
        });
        all.insert(which, Rc::downgrade(&asked));
        asked
    }
}

impl Asked {
    /// What was told after `came`.
    fn told_since(&self, came: Instant) -> Option<Told> {
        let told = self.told.borrow();
        let (at, told) = told.as_ref()?;
        (came < *at).then(|| told.clone())
    }
}

async fn ask(line: &Line, topic: &TopicName) -> Told {
    let ask = metadata::Request {
        topics: Some(vec![topic.clone()]),
    };
    let told = line.call(&ask, ASK_TIMEOUT).await?.head;
    match told.errors.into_iter().next() {
        Some(error) => Err(Box::new(error.error)),
        None => Ok(told.topics.into_iter().next().map(Rc::new)),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpListener;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::thread;

    use corelog_protocol::answer;
    use corelog_record::{NodeId, TopicId};
    use futures_lite::future::zip;

    use super::*;
    use crate::follow::line::tests::{answer_to, connected, next};
    use crate::rt::tests::on_core;

    #[test]
    fn those_who_ask_at_the_same_time_are_told_by_one_answer() {
        let count = Arc::new(AtomicUsize::new(0));
        let address = telling(Arc::clone(&count));
        on_core(|| async move {
            let line = connected(&address).await;
            let (places, topic) = (Places::default(), TopicName::new("t").unwrap());
            let of = || places.of(&address, &line, &topic);
            let (one, other) = zip(of(), of()).await;
            let (one, other) = (one.unwrap().unwrap(), other.unwrap().unwrap());
            assert!(Rc::ptr_eq(&one, &other));
            assert_eq!(count.load(Ordering::SeqCst), 1);
            // Nobody asks any more: what comes later is told what is so then.
            assert_eq!(of().await.unwrap(), Some(one));
            assert_eq!(count.load(Ordering::SeqCst), 2);
        });
    }

    /// A node that has one topic, and counts how often it is asked for it.
    fn telling(count: Arc<AtomicUsize>) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap().to_string();
        thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut received = Vec::new();
            let greeting = next(&mut stream, &mut received);
            stream.write_all(&answer_to(greeting)).unwrap();
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
        });
        address
    }
}
