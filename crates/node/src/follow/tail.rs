//! Fetching what a source has behind the end of a follower's log, and waiting there for more.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::fetch;
use corelog_protocol::message::replica_status::State;
use corelog_record::Offset;

use super::ASK_TIMEOUT;
use super::followed::Followed;
use super::line::Line;
use super::lineage::{kept, told};
use super::task::{Following, PAUSE_MIN, Trouble};
use crate::core::{Core, PartitionKey};
use crate::failure::{Failure, failure};
use crate::rt;

/// About how many bytes are fetched at once: enough to keep both disks busy.
const FETCH_BYTES: u32 = 4 << 20;
/// From so many bytes on that are missing, whole segments come as files.
const FILES_BYTES: u64 = 32 << 20;
/// An answer of fewer bytes may have met the end of a segment.
const SHORT_BYTES: usize = 3 << 20;
/// How long a source waits for records before it answers that there are none.
const POLL: Duration = Duration::from_secs(2);

/// Why a source's tail is fetched no longer.
pub(super) enum Tail {
    /// All is here that was asked for.
    Done,
    /// The log has to begin, or begin anew, where the source's does.
    Behind,
    /// One of the sources before it may be back.
    Return,
}

impl Core {
    /// What this node says of its copy of a partition to whom it asks for more.
    pub(super) fn as_follower(
        &self,
        key: PartitionKey,
        tells_epochs: bool,
    ) -> Result<fetch::Follower, Failure> {
        let place = self.place(key)?;
        let advertised = self.shared.addresses.get();
        Ok(fetch::Follower {
            copy: place.copy,
            end: place.durable.offset,
            chain: place.durable.chain,
            node: Some(self.shared.node),
            address: advertised.map(|addresses| addresses.advertised.clone()),
            epochs: match tells_epochs {
                true => told(&self.epochs(key)?),
                false => Vec::new(),
            },
        })
    }
}

impl Following {
    /// Fetches what the source, of whose `epochs` it told, and where its log starts, has and waits for more.
    pub(super) async fn tail(
        &self,
        core: &Rc<Core>,
        source: &Followed,
        mut epochs: Vec<Epoch>,
        mut source_start: Offset,
    ) -> Result<Tail, Trouble> {
        let mut is_first = true;
        loop {
            if self.has_all(core)? {
                // What came last may begin below it.
                self.expire(core, source, source_start).await?;
                return Ok(Tail::Done);
            }
            if source.is_over() {
                return Ok(Tail::Return);
            }
            self.look(core, source).await?;
            let ask = self.ask(core, is_first)?;
            let asked = rt::now();
            let reply = source.line.call_as_it_comes(&ask, POLL + ASK_TIMEOUT);
            let reply = self.noting(core, source, reply).await;
            let reply = reply.map_err(Trouble::of)?;
            let answer = &reply.head;
            if !answer.epochs.is_empty() {
                epochs = kept(&answer.epochs);
                self.hear_epochs(core, &epochs);
                let told = (epochs.as_slice(), answer.high_watermark);
                self.forget_unused(core, told, source).await?;
            }
            self.progress.hear(answer.high_watermark, answer.lag_bytes);
            if !reply.body().is_empty() && !core.place(self.key).map_err(Trouble::Again)?.has_files
            {
                return Ok(Tail::Behind);
            }
            source_start = answer.log_start;
            self.expire(core, source, source_start).await?;
            let appended = self.append(core, ask.offset, answer, reply.body(), &epochs);
            let appended = appended.await?;
            let Some(end) = appended else {
                let message = "an epoch began that the source has not told of yet";
                return Err(Trouble::Again(failure(
                    ErrorCode::SourceUnavailable,
                    message,
                )));
            };
            is_first = false;
            self.progress.state.set(State::Following);
            let is_level = answer.high_watermark <= end;
            let is_far = FILES_BYTES <= answer.lag_bytes && reply.body().len() < SHORT_BYTES;
            let is_empty = reply.body().is_empty();
            // Its bytes are in the log: whoever asks on has given back their room.
            drop(reply);
            if is_far && self.is_at_sealed(core, &source.line).await? {
                return Ok(Tail::Behind);
            }
            if is_level || self.replica.until.is_some_and(|until| until <= end) {
                // Nothing else comes at once: the source hears next that all of it is durable here.
                core.durable(self.key, end).await.map_err(Trouble::Again)?;
                self.progress.reach(end);
            }
            if is_empty {
                // One that answers so at once would be asked without end.
                let waited = rt::now().saturating_duration_since(asked);
                rt::sleep(PAUSE_MIN.saturating_sub(waited)).await;
            }
        }
    }

    /// If a whole sealed segment of the source begins where this log ends.
    async fn is_at_sealed(&self, core: &Rc<Core>, line: &Line) -> Result<bool, Trouble> {
        let origin = self.segments(core, line).await?;
        Ok(!self.wanted(core, &origin).await?.is_empty())
    }

    fn ask(&self, core: &Core, is_first: bool) -> Result<fetch::Request, Trouble> {
        // It may have been opened anew since, up to where damage ends it.
        core.check_not_read_only(self.key).map_err(Trouble::Again)?;
        let place = core.place(self.key).map_err(Trouble::Again)?;
        // The source compares epochs once, when this copy comes, and says at once what it found: until then none is followed.
        let wait = if is_first { Duration::ZERO } else { POLL };
        let follower = core.as_follower(self.key, is_first);
        Ok(fetch::Request {
            topic: self.topic.clone(),
            id: self.key.topic,
            partition: self.key.partition,
            offset: place.log_end,
            max_bytes: FETCH_BYTES,
            min_bytes: 1,
            max_wait_ms: u32::try_from(wait.as_millis()).unwrap_or(u32::MAX),
            last_epoch: None,
            follower: Some(follower.map_err(Trouble::Again)?),
        })
    }

    /// Lets go of what the source has let go of.
    pub(super) async fn expire(
        &self,
        core: &Rc<Core>,
        source: &Followed,
        source_start: Offset,
    ) -> Result<(), Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        let lowest = source_start.min(place.durable.offset);
        if source.leads() && place.has_files && place.log_start < lowest {
            core.truncate(self.key, lowest)
                .await
                .map_err(Trouble::Again)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;
    use std::net::TcpStream;
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::sync::{Arc, mpsc};

    use corelog_protocol::message::{metadata, replica_status, segments};
    use corelog_record::{PartitionId, TopicId};
    use corelog_storage::format::replica::{Replica, Role};
    use futures_lite::FutureExt;

    use super::super::line::tests::{log, next, no_topics, node, records, tell};
    use super::*;
    use crate::core::tests::{topic, until, with_core};

    /// A copy asked it as fast as the two could, for as long as they lived.
    #[test]
    fn a_source_that_has_nothing_or_begins_anew_and_says_so_at_once_is_asked_now_and_then() {
        for begins_anew in [false, true] {
            let count = Arc::<AtomicUsize>::default();
            let address = hasty(begins_anew, Arc::clone(&count));
            with_core(move |core| async move {
                let following = opened(&core, address).await;
                let lived = rt::timeout(20 * PAUSE_MIN, following.run(&core)).await;
                assert!(lived.is_none(), "it follows on");
                let count = count.load(Ordering::Relaxed);
                assert!((1..=21).contains(&count), "{count}");
            });
        }
    }

    /// An owner that answers each Fetch at once: that it has nothing, or bytes that a copy without files does not take so. It
    /// counts them.
    fn hasty(begins_anew: bool, count: Arc<AtomicUsize>) -> String {
        owner(move |stream, received| {
            loop {
                let asked = next(stream, received);
                count.fetch_add(1, Ordering::Relaxed);
                let answer = records(asked, usize::from(begins_anew));
                if stream.write_all(&answer).is_err() {
                    return;
                }
                if begins_anew {
                    tell::<segments::Request>(stream, received, &log(END, END));
                }
            }
        })
    }

    /// A clone was told as done, by what its source had said of itself, just before that found that the logs part.
    #[test]
    fn no_source_is_followed_before_it_has_compared_the_logs() {
        let (ask, asked) = mpsc::channel();
        let (go_on, told) = mpsc::channel();
        let address = owner(move |stream, received| {
            let first = next(stream, received);
            ask.send(()).unwrap();
            told.recv().unwrap();
            stream.write_all(&records(first, 0)).unwrap();
            next(stream, received);
            told.recv().unwrap();
        });
        with_core(move |core| async move {
            let following = opened(&core, address).await;
            let state = || following.progress.state.get();
            let looking = async {
                until("the source compares", || asked.try_recv().is_ok()).await;
                assert_eq!(state(), State::Waiting);
                go_on.send(()).unwrap();
                until("it is followed", || state() == State::Following).await;
            };
            let living = async {
                following.run(&core).await;
                panic!("it has ended");
            };
            looking.or(living).await;
            go_on.send(()).unwrap();
        });
    }

    /// One that is to follow the node at an address.
    async fn opened(core: &Rc<Core>, address: String) -> Following {
        let (topic, key) = topic(1);
        assert!(core.open_partition(&topic, key).await);
        let replica = Replica {
            role: Role::Follower,
            sources: vec![address],
            ..Replica::owner(key.partition)
        };
        Following::new(key, &topic.name, &replica)
    }

    /// An owner that has let go of all that it had; `serve` answers each Fetch.
    fn owner(serve: impl FnOnce(&mut TcpStream, &mut Vec<u8>) + Send + 'static) -> String {
        node(move |mut stream, mut received| {
            tell::<metadata::Request>(&mut stream, &mut received, &no_topics());
            let owner = replica_status::Answer {
                id: TopicId::from_bytes([1; 16]),
                partitions: vec![replica_status::Partition::owned(PartitionId::new(0), END)],
            };
            tell::<replica_status::Request>(&mut stream, &mut received, &owner);
            tell::<segments::Request>(&mut stream, &mut received, &log(END, END));
            serve(&mut stream, &mut received);
        })
    }

    const END: Offset = Offset::ZERO.plus(5);
}
