//! What is done with each kind of request.

use std::rc::Rc;
use std::time::Duration;

use corelog_protocol::answer::CONNECTION_KIND;
use corelog_protocol::error::{ErrorBody, ErrorCode};
use corelog_protocol::frame::{CorrelationId, Frame};
use corelog_protocol::kind::Kind;
use corelog_protocol::limits;
use corelog_protocol::message::{
    Call, alter_topic, chain_at, clone_topic, copy_segments, create_snapshot, create_topic,
    delete_snapshot, delete_topic, fetch, forget_follower, hello, list_offsets, list_snapshots,
    ping, reopen_partition, restore_status, restore_topic, take_over, truncate,
};
use corelog_protocol::request::Request;
use corelog_record::{CoreId, Offset, PartitionId, TopicId, TopicName};

use super::each::{Each, each};
use super::last_produce::LastProduce;
use super::link::Link;
use super::produce::produce;
use super::reader::close_with;
use super::tell;
use crate::core::PartitionKey;
use crate::failure::{Failure, failure};
use crate::follow::Hearing;
use crate::frame_id::FrameId;
use crate::metrics::count_numbered;
use crate::partition::Appetite;
use crate::router::{self, Ask, Asker, FetchFrom, Picked};
use crate::rt::{self, Permit, Work};

/// A partition as a request names it.
type Target = (TopicName, TopicId, PartitionId);

/// What becomes of the connection.
pub(super) enum Next {
    Continue,
    Close,
    /// It sends segments, which takes long, and needs none of what the request came in.
    Copy(Asked, copy_segments::Request),
}

/// A request that is answered under its correlation id.
#[derive(Clone)]
pub(super) struct Asked {
    pub(super) link: Rc<Link>,
    pub(super) correlation: CorrelationId,
    pub(super) frame_bytes: usize,
}

/// What is known of a client by the frames that were taken.
#[derive(Default)]
pub(super) struct Known {
    pub(super) is_greeted: bool,
    last_produce: LastProduce,
}

/// Takes one frame: answers it, or sees to it that it will be.
pub(super) async fn take(link: &Rc<Link>, frame: &Frame<'_>, known: &mut Known) -> Next {
    let (kind, correlation) = (frame.header.kind, frame.header.correlation);
    count_numbered(&link.core.counters.requests, kind);
    if known.is_greeted && kind == Kind::Produce.number() {
        let asked = begin(link, frame);
        return match known.last_produce.of(frame) {
            Ok(_) if link.is_bulk.get() => asked.refuse_records(kind),
            Ok(request) => produce(asked, request, frame.body).await,
            Err(error) => asked.refuse(kind, &error.to_body()),
        };
    }
    if kind == CONNECTION_KIND {
        // An answer of that kind would say that the connection ends.
        let error = failure(ErrorCode::BadFrame, "kind 0 is no request's");
        close_with(link, correlation, error);
        return Next::Close;
    }
    let request = Request::decode(frame);
    if !known.is_greeted && !matches!(request, Ok(Request::Hello(_))) {
        let error = match &request {
            Err(error) if kind == Kind::Hello.number() => Box::new(error.to_body()),
            _ => failure(
                ErrorCode::HelloRequired,
                "the first frame has to be a Hello",
            ),
        };
        close_with(link, correlation, error);
        return Next::Close;
    }
    let asked = begin(link, frame);
    let request = match request {
        Ok(request) => request,
        Err(error) => return asked.refuse(kind, &error.to_body()),
    };
    match request {
        Request::Hello(_) if known.is_greeted => {
            let error = failure(ErrorCode::HelloRequired, "a second Hello");
            asked.told::<hello::Request>(Err(error));
        }
        Request::Hello(request) => {
            let greeted = tell::greet(link, &request);
            known.is_greeted = greeted.is_ok();
            asked.told::<hello::Request>(greeted);
            if !known.is_greeted {
                return Next::Close;
            }
        }
        Request::Fetch(_) if link.is_bulk.get() => return asked.refuse_records(kind),
        Request::CopySegments(request) => return Next::Copy(asked, request),
        Request::Ping(_) => asked.told::<ping::Request>(Ok(ping::Answer {})),
        Request::Metadata(request) => Box::pin(asked.metadata(request)).await,
        request => take_apart(asked, request),
    }
    Next::Continue
}

/// The request of a frame is under way from here on.
fn begin(link: &Rc<Link>, frame: &Frame<'_>) -> Asked {
    let (kind, correlation) = (frame.header.kind, frame.header.correlation);
    let frame_bytes = frame.header.total_bytes();
    link.begin(frame_bytes);
    link.taken.set(Some(correlation));
    let name = Kind::from_number(kind).map_or("an unknown kind", Kind::name);
    let taken = format_args!("{name} of {frame_bytes} bytes is taken");
    link.frame(correlation).passes(link.core.id, taken);
    Asked {
        link: Rc::clone(link),
        correlation,
        frame_bytes,
    }
}

/// Requests that are answered by a task of their own: they may wait, and overtake each other.
fn take_apart(asked: Asked, request: Request) {
    match request {
        Request::Fetch(request) => rt::spawn(fetch(asked, request)).detach(),
        Request::ListOffsets(r) => {
            let seek = router::seek_of(r.at);
            let target = (r.topic, r.id, r.partition);
            asked.of_owner::<list_offsets::Request>(&target, |key| Ask::Find { key, seek });
        }
        Request::Truncate(r) => {
            let lowest = r.lowest;
            let target = (r.topic, r.id, r.partition);
            asked.by_owner::<truncate::Request>(&target, |key| Ask::Truncate { key, lowest });
        }
        Request::Segments(request) => asked.segments(request),
        Request::ChainAt(r) => {
            let offset = r.offset;
            let target = (r.topic, r.id, r.partition);
            asked.of_owner::<chain_at::Request>(&target, |key| Ask::ChainAt { key, offset });
        }
        Request::ReopenPartition(r) => {
            let target = (r.topic, r.id, r.partition);
            asked.by_owner::<reopen_partition::Request>(&target, |key| Ask::Reopen { key });
        }
        Request::CreateTopic(r) => asked.by_catalog::<create_topic::Request>(Ask::Create(r)),
        Request::AlterTopic(r) => asked.by_catalog::<alter_topic::Request>(Ask::Alter(r)),
        Request::DeleteTopic(r) => asked.by_catalog::<delete_topic::Request>(Ask::Delete(r)),
        Request::CreateSnapshot(r) => {
            asked.by_catalog::<create_snapshot::Request>(Ask::CreateSnapshot(r));
        }
        Request::ListSnapshots(r) => {
            asked.by_catalog::<list_snapshots::Request>(Ask::ListSnapshots(r));
        }
        Request::DeleteSnapshot(r) => {
            asked.by_catalog::<delete_snapshot::Request>(Ask::DeleteSnapshot(r));
        }
        Request::CloneTopic(r) => asked.by_catalog::<clone_topic::Request>(Ask::Clone(r)),
        Request::ForgetFollower(r) => {
            asked.by_catalog::<forget_follower::Request>(Ask::ForgetFollower(r));
        }
        Request::ReplicaStatus(request) => asked.replicas(request),
        Request::Promote(request) => asked.by_each(request),
        Request::Handover(request) => asked.by_each(request),
        Request::Rejoin(request) => asked.by_each(request),
        Request::RepairTopic(request) => asked.by_each(request),
        Request::TakeOver(request) => asked.take_over(request),
        Request::RestoreTopic(r) => asked.by_catalog::<restore_topic::Request>(Ask::Restore(r)),
        Request::RestoreStatus(r) => {
            asked.by_catalog::<restore_status::Request>(Ask::RestoreStatus(r));
        }
        Request::ScrubTopic(request) => asked.scrub(request),
        Request::DescribeTopic(request) => asked.describe(request),
        other => {
            let kind = other.kind();
            let message = format!("{kind} is not supported by this version");
            let error = failure(ErrorCode::NotSupported, message);
            asked.refuse(kind.number(), &error);
        }
    }
}

impl Asked {
    pub(super) fn frame(&self) -> FrameId {
        self.link.frame(self.correlation)
    }

    pub(super) fn told<R: Call>(&self, told: Result<R::Answer, Failure>) {
        match told {
            Ok(answer) => self
                .link
                .answer::<R>(self.correlation, self.frame_bytes, &answer),
            Err(error) => {
                self.refuse(R::KIND.number(), &error);
            }
        }
    }

    fn refuse(&self, kind: u16, error: &ErrorBody) -> Next {
        let Self {
            link,
            correlation,
            frame_bytes,
        } = self;
        link.refuse(kind, *correlation, *frame_bytes, error);
        Next::Continue
    }

    fn refuse_records(&self, kind: u16) -> Next {
        let message = "segments are sent over this connection; use another one for records";
        self.refuse(kind, &failure(ErrorCode::InvalidRequest, message))
    }

    /// Has the core that owns a partition tell something, unless the connection dies first.
    fn of_owner<R: Call<Answer: Picked> + 'static>(
        self,
        target: &Target,
        ask: impl FnOnce(PartitionKey) -> Ask,
    ) {
        let Some((at, key)) = self.owner::<R>(target) else {
            return;
        };
        let ask = ask(key);
        rt::spawn(async move {
            let _work = rt::outstanding(Work::Request);
            let link = &self.link;
            let told = Box::pin(router::told(&link.core, at, ask, Some(self.frame())));
            if let Some(told) = link.alive(told).await {
                self.told::<R>(told);
            }
        })
        .detach();
    }

    /// Has the core of a partition take it over; what is not here may come before that which is promised against.
    fn take_over(self, request: take_over::Request) {
        let (topic, partition) = (request.id, request.partition);
        let routed = router::route(&self.link.core, &request.topic, topic, partition);
        // Of a topic that cannot be read nobody knows what this node is to it: it may own it, and promises nothing.
        let is_elsewhere = routed.is_err_and(|error| !error.is(ErrorCode::Damaged));
        if request.end == Offset::MAX && is_elsewhere {
            let key = PartitionKey { topic, partition };
            return self.by_catalog::<take_over::Request>(Ask::TakeOver { key, request });
        }
        let target = (request.topic.clone(), topic, partition);
        self.by_owner::<take_over::Request>(&target, |key| Ask::TakeOver { key, request });
    }

    /// Has the core that owns a partition do it.
    fn by_owner<R: Call<Answer: Picked> + 'static>(
        self,
        target: &Target,
        ask: impl FnOnce(PartitionKey) -> Ask,
    ) {
        if let Some((at, key)) = self.owner::<R>(target) {
            self.by_core::<R>(at, ask(key));
        }
    }

    /// The core that owns a partition; if there is none, that is the answer.
    pub(super) fn owner<R: Call>(
        &self,
        (topic, id, partition): &Target,
    ) -> Option<(CoreId, PartitionKey)> {
        let core = &self.link.core;
        let routed = router::route(core, topic, *id, *partition);
        routed.map_err(|error| self.told::<R>(Err(error))).ok()
    }

    /// Has the cores of one partition, or of all, do it; it is done even if the connection dies.
    fn by_each<R: Each>(self, request: R) {
        let Some(kept) = self.kept::<R>() else { return };
        rt::spawn(async move {
            let _held = (rt::outstanding(Work::Request), kept);
            self.told::<R>(each(&self.link.core, &request, self.frame()).await);
        })
        .detach();
    }

    /// Has the core that writes the catalog do it.
    fn by_catalog<R: Call<Answer: Picked> + 'static>(self, ask: Ask) {
        self.by_core::<R>(CoreId::new(0), ask);
    }

    /// Has a core do it; it is done even if the connection dies meanwhile.
    fn by_core<R: Call<Answer: Picked> + 'static>(self, at: CoreId, ask: Ask) {
        let Some(kept) = self.kept::<R>() else { return };
        rt::spawn(async move {
            let _held = (rt::outstanding(Work::Request), kept);
            self.told::<R>(router::told(&self.link.core, at, ask, Some(self.frame())).await);
        })
        .detach();
    }

    /// Room for the request until it is answered, whatever becomes of the connection; if there is none, that
    /// is the answer.
    pub(super) fn kept<R: Call>(&self) -> Option<Permit> {
        let kept = self.link.intake.keep(R::KIND, self.frame_bytes);
        kept.map_err(|error| self.told::<R>(Err(error))).ok()
    }
}

async fn fetch(asked: Asked, mut request: fetch::Request) {
    let Asked { link, .. } = &asked;
    let fetched = link.alive(fetched(&asked, &mut request)).await;
    match fetched {
        Some(Ok((answer, batches, room))) => link.answer_with::<fetch::Request>(
            asked.correlation,
            asked.frame_bytes,
            &answer,
            (batches, room),
        ),
        Some(Err(error)) => asked.told::<fetch::Request>(Err(error)),
        None => {}
    }
}

async fn fetched(
    asked: &Asked,
    request: &mut fetch::Request,
) -> Result<(fetch::Answer, router::Batches, router::Room), Failure> {
    let link = &asked.link;
    // What a follower tells may be long, and a Fetch that waits keeps what it has.
    let follower = request.follower.take();
    let wait_ms = request.max_wait_ms.min(limits::FETCH_WAIT_MS_MAX);
    let mut from = FetchFrom {
        frame: asked.frame(),
        topic: &request.topic,
        id: request.id,
        partition: request.partition,
        from: request.offset,
        appetite: Appetite {
            bytes_max: request.max_bytes.min(router::FETCH_BYTES_MAX) as usize,
            bytes_min: u64::from(request.min_bytes.min(router::FETCH_BYTES_MAX)),
            is_replica: follower.is_some(),
            last_epoch: request.last_epoch,
            may_park: wait_ms > 0,
        },
        wait: Duration::from_millis(u64::from(wait_ms)),
    };
    let asker = Asker {
        room: &link.room_to_answer,
        patience: &link.patience(),
    };
    let hearing = match follower {
        Some(follower) => Box::pin(router::hear(&link.core, &from, follower)).await?,
        None => Hearing::default(),
    };
    // Who has to be told of an epoch is told at once.
    from.appetite.may_park &= hearing.epochs.is_empty();
    let (mut answer, batches, room) = router::fetch(&link.core, asker, &from).await?;
    answer.epochs = hearing.epochs;
    answer.lag_bytes = hearing.lag_bytes;
    Ok((answer, batches, room))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each had 13 KiB, and 16,384 may wait.
    #[test]
    fn a_fetch_that_waits_has_no_room_for_what_it_reads() {
        fn bytes<F>(_: impl Fn(Asked, fetch::Request) -> F) -> usize {
            size_of::<F>()
        }
        let fetch = bytes(fetch);
        assert!(fetch <= 3 << 10, "{fetch}");
    }
}
