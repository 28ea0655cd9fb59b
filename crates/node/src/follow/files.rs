//! Whole sealed segments of a source: received as files, then taken in.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use corelog_protocol::error::{Detail, ErrorBody, ErrorCode};
use corelog_protocol::message::replica_status::{Dropped, State};
use corelog_protocol::message::segments;
use corelog_record::Offset;
use corelog_storage::disk::Dir;
use corelog_storage::disk::std::StdDir;
use corelog_storage::format::edit::{Digest, Kind, Seal};
use corelog_storage::log::Options;

use super::lineage::heard;
use super::task::{Following, Trouble};
use crate::catalog;
use crate::core::{Core, with_causes};
use crate::failure::{Failure, failure, failure_with};
use crate::partition::Change;
use crate::transfer::{Met, Order, Progress, ReceiveError, Received, Wanted};

/// So many bytes of segments are received before they are taken in: what was received and is not in
/// the log yet would be in nobody's way, but is of use to nobody either.
const ORDER_BYTES_MAX: u64 = 1 << 30;
/// How long a source may send nothing.
const PATIENCE: Duration = Duration::from_secs(10);
/// Sources that failed that are told of.
const DROPPED_MAX: usize = 8;

impl Following {
    /// Receives the sealed segments that begin where this log ends, and those behind them; nothing if
    /// the source has none there.
    pub(super) async fn copy_sealed(
        &self,
        core: &Rc<Core>,
        origin: &segments::Answer,
        source: &str,
    ) -> Result<(), Trouble> {
        let mut sealed = self.wanted(core, origin)?;
        while !sealed.is_empty() {
            let mut bytes = 0;
            let count = sealed
                .iter()
                .take_while(|next| {
                    let fits = bytes == 0 || bytes + next.digest.bytes <= ORDER_BYTES_MAX;
                    bytes += next.digest.bytes;
                    fits
                })
                .count();
            let rest = sealed.split_off(count);
            self.receive(core, origin, source, &sealed).await?;
            sealed = rest;
        }
        Ok(())
    }

    /// Those of a source's segments that can be taken in, one behind the other.
    pub(super) fn wanted(
        &self,
        core: &Core,
        origin: &segments::Answer,
    ) -> Result<Vec<segments::Sealed>, Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        if !place.has_files {
            return Ok(Vec::new());
        }
        let named = &self.replica.segments;
        let is_named = |base: &Offset| named.is_empty() || named.contains(base);
        let (mut end, mut wanted) = (place.log_end, Vec::new());
        for sealed in origin.sealed.iter().filter(|sealed| is_named(&sealed.base)) {
            if sealed.base == end && self.replica.until.is_none_or(|until| end < until) {
                end = seal_of(sealed).digest.end;
                wanted.push(sealed.clone());
            }
        }
        Ok(wanted)
    }

    async fn receive(
        &self,
        core: &Rc<Core>,
        origin: &segments::Answer,
        source: &str,
        sealed: &[segments::Sealed],
    ) -> Result<(), Trouble> {
        let order = self.order(core, origin, source, sealed)?;
        let progress = Arc::new(Progress::new(&order));
        self.progress.state.set(State::Copying);
        *self.progress.copying.borrow_mut() = Some(Arc::clone(&progress));
        let Received {
            mut ready,
            faults,
            error,
        } = core
            .shared
            .transfers
            .receivers()
            .receive(order, Arc::clone(&progress))
            .await;
        self.drop_sources(&faults);
        // Behind a gap nothing can be taken in: it is there as far as it came, for the next time.
        let mut expected = sealed.iter().map(|sealed| sealed.base);
        let dense = ready
            .iter()
            .take_while(|one| expected.next() == Some(one.base()))
            .count();
        ready.truncate(dense);
        if !ready.is_empty() {
            core.change(self.key, Change::Install(ready))
                .await
                .map_err(Trouble::Again)?;
        }
        self.progress.arrived(&progress);
        match error {
            None => Ok(()),
            Some(error) => Err(trouble_of(&error, &faults)),
        }
    }

    fn order(
        &self,
        core: &Core,
        origin: &segments::Answer,
        source: &str,
        sealed: &[segments::Sealed],
    ) -> Result<Order, Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        let dir = catalog::partition_dir(&core.root, &self.topic, self.key.partition);
        let others = self.replica.sources.iter().filter(|other| *other != source);
        let mut sources = vec![source.to_owned()];
        sources.extend(others.cloned());
        let mut wanted = Vec::new();
        for sealed in sealed {
            let generation = core.generation_next(self.key, sealed.base);
            wanted.push(Wanted {
                seal: seal_of(sealed),
                generation: generation.map_err(Trouble::Again)?,
            });
        }
        Ok(Order {
            sources,
            client: core.name(),
            topic: self.topic.clone(),
            id: self.key.topic,
            partition: self.key.partition,
            history: place.history,
            segments: wanted,
            epochs: heard(&origin.epochs),
            dir: StdDir::new(dir.describe()),
            interval_bytes: Options::default().index_interval_bytes,
            rate: self.replica.rate.unwrap_or_default(),
            patience: PATIENCE,
        })
    }

    /// Takes note of sources that failed, the last of them first.
    fn drop_sources(&self, faults: &[Met]) {
        let mut dropped = self.progress.dropped.borrow_mut();
        for Met {
            source,
            segment,
            fault,
        } in faults
        {
            let (topic, partition) = (&self.topic, self.key.partition.get());
            let (segment, error) = (segment.get(), with_causes(fault));
            tracing::warn!(%topic, partition, source, segment, error, "a source failed");
            dropped.retain(|known| known.from != *source);
            let code = match fault.is_deceit() {
                true => ErrorCode::BadSource,
                false => ErrorCode::SourceUnavailable,
            };
            let error = ErrorBody::new(code, error);
            let from = source.clone();
            dropped.insert(0, Dropped { from, error });
            dropped.truncate(DROPPED_MAX);
        }
    }
}

/// A sealed segment as this node would have written it down.
pub(super) fn seal_of(sealed: &segments::Sealed) -> Seal {
    let digest = &sealed.digest;
    Seal {
        digest: Digest {
            kind: Kind::Original,
            base: digest.first,
            end: digest.last.plus(1),
            ordinal: digest.first_ordinal,
            end_ordinal: digest.last_ordinal.plus(1),
            bytes: digest.bytes,
            batches: digest.batches,
            chain: digest.chain_base,
            end_chain: digest.chain_end,
            hash: None,
        },
        max_timestamp: sealed.max_timestamp,
        sealed: sealed.sealed_at,
    }
}

/// Why segments are not here: the first fault tells more than that nobody gives them.
pub(super) fn why_not(error: &ReceiveError, faults: &[Met]) -> Failure {
    let ReceiveError::NoSource { segment } = error else {
        return failure(ErrorCode::Internal, with_causes(error));
    };
    let detail = Detail {
        segment: Some(*segment),
        ..Detail::default()
    };
    let deceit = faults.iter().find(|met| met.fault.is_deceit());
    let code = match deceit {
        Some(_) => ErrorCode::BadSource,
        None => ErrorCode::SourceUnavailable,
    };
    let met = deceit.or(faults.last()).map_or_else(String::new, |met| {
        format!(": {}: {}", met.source, with_causes(&met.fault))
    });
    failure_with(code, format!("{error}{met}"), detail)
}

fn trouble_of(error: &ReceiveError, faults: &[Met]) -> Trouble {
    Trouble::Again(why_not(error, faults))
}
