//! Where a follower's log begins, before it takes anything of a source: most often it goes on.

use std::rc::Rc;

use corelog_protocol::error::{Detail, ErrorCode};
use corelog_protocol::message::epoch::Epoch;
use corelog_protocol::message::segments;
use corelog_record::{LeaderEpoch, Offset};
use corelog_storage::format::edit::{self, Point};

use super::copying::replaced;
use super::files::impossible;
use super::followed::Followed;
use super::lineage::{diverged, is_all, is_taken_over, newest, shared};
use super::task::{Following, Trouble};
use crate::core::Core;
use crate::failure::{Failure, failure, failure_with};
use crate::partition::{Change, Place};

/// What a follower does about its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Beginning {
    /// It goes on where it ends.
    GoesOn,
    /// It has no files, and becomes a copy from here on.
    New(Point),
    /// Its records expired further than the source's: it becomes a copy from here on, below its end.
    Below(Point),
    /// The source let go of what comes next: all that is here goes, and it becomes a copy from here on.
    Anew(Point),
    /// The source does not tell yet of the segment that comes first: it seals that just now, or is a copy that
    /// begins itself.
    NotYet,
    /// The source has less than this log, and nothing else: it follows, too, and lags.
    Lags,
    /// A segment that was asked for does not follow what is here.
    Apart(Offset),
    /// The same, but what is here from this offset on the source never had: another owner's, which may be all
    /// that is left of it.
    Parted(Offset),
    /// The source has let go of all segments that were asked for.
    Gone,
    /// The source's log is another one.
    Other,
    /// No log has such a segment as that which the source says to be its first.
    Impossible(Offset),
}

impl Following {
    /// Makes this log a copy of the source's, if it is none yet or fell behind what that still has.
    pub(super) async fn begin(
        &self,
        core: &Rc<Core>,
        origin: &segments::Answer,
        source: &Followed,
    ) -> Result<(), Trouble> {
        let place = core.place(self.key).map_err(Trouble::Again)?;
        let mine = core.epochs(self.key).map_err(Trouble::Again)?;
        let beginning = beginning((&place, &mine), origin, &self.replica.segments);
        let start = match beginning {
            Beginning::GoesOn => return Ok(()),
            Beginning::Other => return Err(Trouble::Stop(diverged(Offset::ZERO))),
            Beginning::Gone => return Err(Trouble::Stop(gone(origin.log_start))),
            Beginning::Impossible(segment) => return Err(Trouble::Again(impossible(segment))),
            Beginning::Parted(at) => return Err(Trouble::Stop(diverged(at))),
            Beginning::Apart(segment) => return Err(Trouble::Stop(apart(segment, place.log_end))),
            Beginning::NotYet => {
                return Err(not_now(
                    "the source is sealing the segment that comes first",
                ));
            }
            Beginning::Lags => {
                let here = mine.last().map(|newest| newest.epoch);
                let theirs = newest(&origin.epochs);
                return Err(self.behind(source, theirs, (here, place.log_end)));
            }
            // Its owner may still have what comes next.
            Beginning::Anew(_) if !source.leads() => {
                return Err(not_now("the source, a copy, begins behind this one"));
            }
            Beginning::Anew(start) => {
                let (topic, partition) = (&self.topic, self.key.partition.get());
                let (end, source_start) = (place.log_end.get(), origin.log_start.get());
                tracing::warn!(
                    %topic, partition, end, source_start,
                    "the source let go of what comes next: all that is here goes, and it begins anew"
                );
                start
            }
            Beginning::New(start) | Beginning::Below(start) => start,
        };
        let history = origin.history;
        let adopted = core.change(self.key, Change::Adopt { history, start });
        adopted.await.map_err(Trouble::Again)?;
        Ok(())
    }

    /// Another copy lags. An owner had all that is here on its disk: that is gone there, unless this copy has it from a later owner.
    fn behind(
        &self,
        source: &Followed,
        theirs: Option<LeaderEpoch>,
        (newest, end): (Option<LeaderEpoch>, Offset),
    ) -> Trouble {
        if !source.is_owner() {
            return not_now("the source has less than this copy so far");
        }
        if is_taken_over(theirs, newest) {
            return Trouble::Again(replaced(newest));
        }
        if !self.has_told_behind.replace(true) {
            let (topic, partition) = (&self.topic, self.key.partition.get());
            tracing::error!(
                %topic, partition, end = end.get(),
                "the owner has less than this copy, which has what was acknowledged there: before more is produced to it, promote this \
                 copy and rejoin the owner"
            );
        }
        not_now(
            "the owner has less than this copy: it was put back from an older copy of its data, or its disk has lost some",
        )
    }
}

/// What becomes of a log that is at `place`, has the epochs `mine` and follows one whose segments, from
/// the end of this one on, are those of `origin`; of them only the `named` ones come, if any are.
///
/// A segment that has ended and is not sealed yet is not told of, so the first one of an answer may begin
/// behind records that the source still has. What is here is given up only if the source's log itself
/// begins behind it.
fn beginning(
    (place, mine): (&Place, &[edit::Epoch]),
    origin: &segments::Answer,
    named: &[Offset],
) -> Beginning {
    if !place.can_be_of(origin.history) {
        return match origin.can_be_of(place.history) {
            true => Beginning::Lags,
            false => Beginning::Other,
        };
    }
    if lags((place, mine), origin) {
        return Beginning::Lags;
    }
    let Some(start) = first_of(origin, named) else {
        if !named.is_empty() && named.iter().all(|base| *base < origin.log_start) {
            return Beginning::Gone;
        }
        let has_records = origin.log_start < origin.high_watermark;
        if !named.is_empty() || (has_records && !place.has_files) {
            return Beginning::NotYet;
        }
        // What this log comes to by itself, as when it takes over, is to be of the source's history, which its place
        // does not tell where the source was restored.
        let is_told = origin.high_watermark > Offset::ZERO || place.history == origin.history;
        return match is_told {
            true => Beginning::GoesOn,
            false => Beginning::New(Point::origin(origin.history)),
        };
    };
    if !start.is_possible() {
        return Beginning::Impossible(start.offset);
    }
    let is_whole = start.offset <= origin.log_start;
    if !place.has_files {
        return match is_whole || !named.is_empty() {
            true => Beginning::New(start),
            false => Beginning::NotYet,
        };
    }
    if !named.is_empty() {
        return match start.offset <= place.log_end {
            true => Beginning::GoesOn,
            false => Beginning::Apart(start.offset),
        };
    }
    if is_whole && place.is_empty && start.offset < place.log_end {
        return Beginning::Below(start);
    }
    if !is_whole || start.offset <= place.log_end {
        return Beginning::GoesOn;
    }
    // A source that is a copy without records may have heard of no epoch yet, by which it would be seen that this
    // log is another owner's.
    let is_silent = origin.epochs.is_empty() && origin.log_start == origin.high_watermark;
    match parted((place, mine), origin) {
        Some(at) => Beginning::Parted(at),
        None if is_silent && !place.is_empty => Beginning::NotYet,
        None => Beginning::Anew(start),
    }
}

/// Where the records of this log are not the source's any more: the newest epoch that began there below the end
/// of this one is not here. Those before the oldest records the source has forgotten with what it let go of.
fn parted((place, mine): (&Place, &[edit::Epoch]), origin: &segments::Answer) -> Option<Offset> {
    let is_here = |theirs: &&Epoch| {
        let mut mine = mine.iter();
        mine.any(|mine| (mine.epoch, mine.lineage) == (theirs.epoch, theirs.lineage))
    };
    let theirs = origin.epochs.iter();
    let theirs = theirs.filter(|theirs| theirs.start < place.log_end);
    let newest = theirs.clone().max_by_key(|theirs| theirs.epoch);
    if place.is_empty || newest.is_none_or(|newest| is_here(&newest)) {
        return None;
    }
    let missing = theirs.filter(|theirs| !is_here(theirs));
    missing.map(|theirs| theirs.start).min()
}

/// If all that the source has is here, up to its end, and more: its newest epoch, too, so it is no former
/// owner that went on by itself.
fn lags((place, mine): (&Place, &[edit::Epoch]), origin: &segments::Answer) -> bool {
    let theirs = (origin.epochs.as_slice(), origin.high_watermark);
    let common = shared((mine, place.log_end), theirs);
    is_all(common, (newest(theirs.0), theirs.1)) && theirs.1 < place.log_end
}

/// Where the first segment of a source's answer begins, of those that are `named` if any are; none if
/// it has no records there.
fn first_of(origin: &segments::Answer, named: &[Offset]) -> Option<Point> {
    let is_named = |base: &Offset| named.is_empty() || named.binary_search(base).is_ok();
    let mut sealed = origin.sealed.iter();
    if let Some(first) = sealed.find(|sealed| is_named(&sealed.base)) {
        return Some(Point {
            offset: first.base,
            ordinal: first.digest.first_ordinal,
            chain: first.digest.chain_base,
        });
    }
    let active = origin.active.as_ref().filter(|_| named.is_empty())?;
    Some(Point {
        offset: active.base,
        ordinal: active.base_ordinal,
        chain: active.chain_base,
    })
}

fn not_now(message: &str) -> Trouble {
    Trouble::Again(failure(ErrorCode::SourceUnavailable, message))
}

fn gone(log_start: Offset) -> Failure {
    let message =
        format!("the source has let go of the segments asked for: it begins at {log_start}");
    let detail = Detail {
        log_start: Some(log_start),
        ..Detail::default()
    };
    failure_with(ErrorCode::OutOfRange, message, detail)
}

fn apart(segment: Offset, end: Offset) -> Failure {
    let message = format!("segment {segment} does not follow what is here, which ends at {end}");
    let detail = Detail {
        segment: Some(segment),
        end: Some(end),
        ..Detail::default()
    };
    failure_with(ErrorCode::InvalidRequest, message, detail)
}

#[cfg(test)]
mod tests {
    use corelog_protocol::message::segments::{Active, Digest, DigestKind, Sealed};
    use corelog_record::{Chain, CopyId, HistoryId, Lineage, Ordinal, Position, Timestamp};

    use super::super::lineage::told;
    use super::*;

    fn offset(value: u64) -> Offset {
        Offset::new(value).unwrap()
    }

    fn point(at: u64) -> Point {
        Point {
            offset: offset(at),
            ordinal: Ordinal::new(at).unwrap(),
            chain: Chain::from_raw(at),
        }
    }

    /// A source that still has all from `start` on: sealed segments, and an active one.
    fn source(start: u64, sealed: &[(u64, u64)], active: Option<u64>) -> segments::Answer {
        let sealed = sealed.iter().map(|&(first, end)| Sealed {
            base: offset(first),
            generation: 0,
            digest: Digest {
                kind: DigestKind::Original,
                first: offset(first),
                last: offset(end - 1),
                first_ordinal: Ordinal::new(first).unwrap(),
                last_ordinal: Ordinal::new(end - 1).unwrap(),
                bytes: 4096,
                batches: 7,
                chain_base: Chain::from_raw(first),
                chain_end: Chain::from_raw(end),
                hash: None,
            },
            max_timestamp: Timestamp::from_millis(0),
            sealed_at: Timestamp::from_millis(0),
        });
        let active = active.map(|base| Active {
            base: offset(base),
            base_ordinal: Ordinal::new(base).unwrap(),
            chain_base: Chain::from_raw(base),
            durable_position: Position::ZERO,
            durable_offset: offset(base + 1),
            durable_ordinal: Ordinal::new(base + 1).unwrap(),
            durable_chain: Chain::from_raw(base + 1),
        });
        segments::Answer {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([2; 16]),
            log_start: offset(start),
            high_watermark: offset(5000),
            epochs: Vec::new(),
            sealed: sealed.collect(),
            active,
        }
    }

    /// A follower that has the records from `start` up to `end`.
    fn follower(start: u64, end: u64) -> Place {
        Place {
            history: HistoryId::from_bytes([1; 16]),
            copy: CopyId::from_bytes([3; 16]),
            log_start: offset(start),
            durable: point(end),
            log_end: offset(end),
            is_empty: start == end,
            has_files: true,
        }
    }

    fn without_files() -> Place {
        Place {
            history: HistoryId::from_bytes([9; 16]),
            has_files: false,
            ..follower(0, 0)
        }
    }

    fn beginning_of(place: &Place, origin: &segments::Answer, named: &[Offset]) -> Beginning {
        beginning((place, &[]), origin, named)
    }

    fn began(epoch: i32, owner: u8, at: u64) -> edit::Epoch {
        edit::Epoch {
            epoch: LeaderEpoch::new(epoch).unwrap(),
            lineage: Lineage::from_bytes([owner; 16]),
            offset: offset(at),
            ordinal: Ordinal::new(at).unwrap(),
        }
    }

    /// Of two sources the owner restarted, and the other one, a follower itself, lagged: the two logs
    /// were said to part, and the follower stopped for good.
    #[test]
    fn a_source_that_lags_is_waited_for_and_a_former_owner_is_not() {
        let follower = follower(0, 1500);
        let mine = [began(0, 1, 0), began(1, 1, 1200)];
        let found = |end, epochs: &[edit::Epoch]| {
            let mut source = source(0, &[], Some(0));
            source.high_watermark = offset(end);
            source.epochs = told(epochs);
            beginning((&follower, &mine), &source, &[])
        };
        assert_eq!(found(1400, &mine), Beginning::Lags);
        assert_eq!(found(1200, &mine), Beginning::Lags);
        assert_eq!(found(1100, &mine[..1]), Beginning::Lags);
        assert_eq!(found(0, &[]), Beginning::Lags);
        assert_eq!(found(1500, &mine), Beginning::GoesOn);
        let other = [began(0, 1, 0), began(1, 2, 1300)];
        assert_eq!(found(1400, &other), Beginning::GoesOn);
        assert_eq!(found(1300, &mine[..1]), Beginning::GoesOn);
    }

    /// A source had rolled at 2000 and not sealed 1000..2000 yet. A follower at 1500 gave up all it had
    /// and began anew at 2000.
    #[test]
    fn a_follower_goes_on_where_its_source_has_rolled_and_not_sealed() {
        let source = source(0, &[], Some(2000));
        assert_eq!(
            beginning_of(&follower(0, 1500), &source, &[]),
            Beginning::GoesOn
        );
    }

    #[test]
    fn a_new_copy_waits_for_a_first_segment_that_is_being_sealed() {
        let rolling = source(0, &[], Some(1000));
        assert_eq!(
            beginning_of(&without_files(), &rolling, &[]),
            Beginning::NotYet
        );
        let all = beginning_of(&without_files(), &source(0, &[], None), &[]);
        assert_eq!(all, Beginning::NotYet);
        let sealed = source(300, &[(0, 1000)], Some(2000));
        let new = beginning_of(&without_files(), &sealed, &[]);
        assert_eq!(new, Beginning::New(point(0)));
    }

    #[test]
    fn a_new_copy_of_a_log_without_records_waits_for_the_first() {
        let mut source = source(5000, &[], None);
        source.high_watermark = source.log_start;
        let new = beginning_of(&without_files(), &source, &[]);
        assert_eq!(new, Beginning::GoesOn);
    }

    /// It stayed of the history that its place tells, and what it came to by itself parted from the restored source.
    #[test]
    fn a_new_copy_of_a_restored_log_that_was_never_used_is_of_its_history() {
        let unused = |history: u8| segments::Answer {
            high_watermark: Offset::ZERO,
            history: HistoryId::from_bytes([history; 16]),
            ..source(0, &[], None)
        };
        let adopted = Beginning::New(Point::origin(HistoryId::from_bytes([1; 16])));
        assert_eq!(beginning_of(&without_files(), &unused(1), &[]), adopted);
        let derived = beginning_of(&without_files(), &unused(9), &[]);
        assert_eq!(derived, Beginning::GoesOn);
        // The other way round the source has no history of its own yet, unless it tells of an epoch.
        let mut begun_anew = unused(9);
        let found = |source: &_| beginning_of(&follower(0, 500), source, &[]);
        assert_eq!(found(&begun_anew), Beginning::Lags);
        begun_anew.epochs = told(&[began(0, 1, 0)]);
        assert_eq!(found(&begun_anew), Beginning::Other);
    }

    /// A log whose records have all gone told nothing: a copy stayed where it was until the next record came.
    #[test]
    fn a_copy_of_a_log_that_lost_all_records_begins_where_that_goes_on() {
        let mut source = source(2000, &[], Some(2000));
        source.high_watermark = source.log_start;
        source.epochs = told(&[began(0, 1, 0)]);
        let mine = [began(0, 1, 0)];
        let found = |place: &Place, source: &segments::Answer| {
            let mine = if place.has_files { &mine[..] } else { &[] };
            beginning((place, mine), source, &[])
        };
        let all = Beginning::New(point(2000));
        assert_eq!(found(&without_files(), &source), all);
        let behind = Beginning::Anew(point(2000));
        assert_eq!(found(&follower(0, 1500), &source), behind);
        assert_eq!(found(&follower(1500, 1500), &source), behind);
        assert_eq!(found(&follower(0, 2000), &source), Beginning::GoesOn);
        // A copy that began just now has no epochs by which it would be told from another owner's.
        source.epochs.clear();
        assert_eq!(found(&without_files(), &source), all);
        assert_eq!(found(&follower(0, 1500), &source), Beginning::NotYet);
        assert_eq!(found(&follower(1500, 1500), &source), behind);
        assert_eq!(found(&follower(2500, 2500), &source), Beginning::Lags);
    }

    #[test]
    fn a_follower_begins_anew_only_behind_what_its_source_has_let_go_of() {
        let source = source(2300, &[(2000, 3000)], Some(3000));
        let behind = beginning_of(&follower(0, 1500), &source, &[]);
        assert_eq!(behind, Beginning::Anew(point(2000)));
        let within = beginning_of(&follower(0, 2500), &source, &[]);
        assert_eq!(within, Beginning::GoesOn);
    }

    /// A follower copied from an owner that was none any more, and was then asked to follow the true one, whose
    /// log began behind: what it had alone was removed, and not put in quarantine.
    #[test]
    fn a_follower_that_parted_from_its_source_gives_nothing_up() {
        let follower = follower(0, 600);
        let mine = [began(0, 1, 0)];
        let found = |mine: &[edit::Epoch], theirs: &[edit::Epoch]| {
            let mut source = source(2300, &[(2000, 3000)], Some(3000));
            source.epochs = told(theirs);
            beginning((&follower, mine), &source, &[])
        };
        let parted = Beginning::Parted(offset(500));
        assert_eq!(found(&mine, &[began(1000, 2, 500)]), parted);
        let all = [began(0, 1, 0), began(1000, 2, 500)];
        assert_eq!(found(&mine, &all), parted);
        let anew = Beginning::Anew(point(2000));
        assert_eq!(found(&mine, &[began(1000, 2, 600)]), anew);
        let from_a_later_copy = [began(0, 1, 2000)];
        assert_eq!(found(&mine, &from_a_later_copy), anew);
        // A copy need not have heard of an epoch without batches.
        let here = [began(0, 1, 0), began(2, 1, 400)];
        let there = [began(0, 1, 0), began(1, 1, 400), began(2, 1, 400)];
        assert_eq!(found(&here, &there), anew);
    }

    #[test]
    fn a_log_that_expired_more_than_its_source_begins_below() {
        let source = source(1000, &[], Some(1000));
        let empty = beginning_of(&follower(1500, 1500), &source, &[]);
        assert_eq!(empty, Beginning::Below(point(1000)));
        let more = beginning_of(&follower(1400, 1500), &source, &[]);
        assert_eq!(more, Beginning::GoesOn);
    }

    /// A clone of one segment, asked for where a copy was already, gave up that copy.
    #[test]
    fn segments_that_were_asked_for_never_replace_what_is_here() {
        let source = source(0, &[(2000, 3000), (3000, 4000)], Some(4000));
        let named = [offset(3000)];
        let apart = beginning_of(&follower(0, 2000), &source, &named);
        assert_eq!(apart, Beginning::Apart(offset(3000)));
        let next = beginning_of(&follower(0, 3000), &source, &named);
        assert_eq!(next, Beginning::GoesOn);
        let new = beginning_of(&without_files(), &source, &named);
        assert_eq!(new, Beginning::New(point(3000)));
    }

    #[test]
    fn segments_that_were_asked_for_are_waited_for_until_they_are_sealed() {
        let source = source(0, &[(0, 1000)], Some(1000));
        let named = [offset(1000)];
        assert_eq!(
            beginning_of(&without_files(), &source, &named),
            Beginning::NotYet
        );
        let behind = beginning_of(&follower(0, 1000), &source, &named);
        assert_eq!(behind, Beginning::NotYet);
    }

    /// They were waited for without end.
    #[test]
    fn segments_that_a_source_has_let_go_of_are_not_waited_for() {
        let source = source(2000, &[(2000, 3000)], Some(3000));
        let gone = [offset(0), offset(1000)];
        let place = without_files();
        assert_eq!(beginning_of(&place, &source, &gone), Beginning::Gone);
        let behind = beginning_of(&follower(0, 1000), &source, &gone);
        assert_eq!(behind, Beginning::Gone);
    }

    /// A copy began where its source said, with as many batches as can be counted, and ended the node with the
    /// first one that came.
    #[test]
    fn a_source_with_more_batches_than_offsets_is_not_believed() {
        let mut active = source(0, &[], Some(0));
        let mut sealed = source(2000, &[(2000, 3000)], Some(3000));
        let places = [without_files(), follower(3500, 3500), follower(0, 500)];
        for (origin, ordinal, at) in [
            (&mut active, Ordinal::MAX, 0),
            (&mut sealed, Ordinal::new(2001).unwrap(), 2000),
        ] {
            origin.active.as_mut().unwrap().base_ordinal = ordinal;
            for sealed in &mut origin.sealed {
                sealed.digest.first_ordinal = ordinal;
            }
            for place in &places {
                let found = beginning_of(place, origin, &[]);
                assert_eq!(found, Beginning::Impossible(offset(at)));
            }
        }
    }

    #[test]
    fn the_log_of_another_history_is_another() {
        let mut source = source(0, &[(0, 1000)], None);
        source.history = HistoryId::from_bytes([5; 16]);
        assert_eq!(
            beginning_of(&follower(0, 500), &source, &[]),
            Beginning::Other
        );
        let new = beginning_of(&without_files(), &source, &[]);
        assert_eq!(new, Beginning::New(point(0)));
    }
}
