//! How far a clone is, until it is over: bars on a terminal, elsewhere a JSON object per line.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use corelog_client::{Admin, Error};
use corelog_protocol::error::ErrorCode;
use corelog_protocol::message::clone_topic;
use corelog_protocol::message::replica_status::{Partition, Role, State};
use corelog_record::{Offset, PartitionId, TopicName};
use serde_json::{Value, json};

use crate::exit::{Exit, say};
use crate::progress::{Bars, Part};
use crate::session;

/// How often the server is asked how far it is.
const ASK_EVERY: Duration = Duration::from_millis(100);
/// How often a line is written where there is no terminal.
const SAY_EVERY: Duration = Duration::from_secs(1);

/// How long a copy waits for what is damaged at its source before this command does not any more: somebody has to do something.
const DAMAGE_PATIENCE: Duration = Duration::from_secs(30);

/// Asks how far the partitions are until none of them has anything left to do, or gets any further; gives how each was
/// found last.
///
/// # Errors
/// Exit code 5 where the server that clones does not answer any more.
pub(super) async fn until_over(
    admin: &Admin,
    topic: &TopicName,
    cloned: &clone_topic::Answer,
) -> anyhow::Result<Vec<Partition>> {
    let server = session::server(admin);
    let mut watch = Watch::default();
    let mut shown = Shown::new();
    loop {
        let status = admin.replica_status(topic, Some(cloned.id)).await;
        let status = status.map_err(|error| lost(topic, server, error))?;
        let mut partitions = status.partitions;
        partitions.retain(|partition| cloned.partitions.contains(&partition.id));
        let is_over = watch.is_over(&partitions, Instant::now());
        shown.show(topic, &partitions, is_over);
        if is_over {
            return Ok(partitions);
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
}

/// The server could not be asked any more: what becomes of the clone is its own business.
fn lost(topic: &TopicName, server: &str, error: Error) -> anyhow::Error {
    let next = format!(
        "the clone goes on by itself when its server does, look with `corelog topic describe {topic}`"
    );
    session::ended_by(server, error, Exit::Unknown, &next)
}

/// Knows when a clone is over.
#[derive(Debug, Default)]
struct Watch {
    /// Where each source ended when it was first heard of.
    goals: BTreeMap<PartitionId, Offset>,
    /// How far those were that wait for what is damaged, and since when.
    stuck: BTreeMap<PartitionId, ((Offset, u64), Instant)>,
}

impl Watch {
    fn is_over(&mut self, partitions: &[Partition], now: Instant) -> bool {
        for partition in partitions {
            if let Some(end) = partition.source_end {
                self.goals.entry(partition.id).or_insert(end);
            }
            if waits_for_damage(partition) {
                let far = (partition.end, partition.bytes_done);
                let stuck = self.stuck.entry(partition.id).or_insert((far, now));
                if stuck.0 != far {
                    *stuck = (far, now);
                }
            } else if partition.state == State::Waiting && partition.error.is_some() {
                self.stuck.remove(&partition.id);
            }
        }
        let mut left = partitions.iter().filter(|one| !self.is_done(one));
        left.all(|one| waits_for_damage(one) && self.stuck[&one.id].1 + DAMAGE_PATIENCE <= now)
    }

    fn is_done(&self, partition: &Partition) -> bool {
        let goal = self.goals.get(&partition.id);
        match partition.state {
            State::Done | State::Stopped => true,
            // Of one that has an end only its server knows whether all is there: what stands in for its source may have less.
            State::Following if partition.until.is_some() => false,
            State::Following => goal.is_some_and(|goal| *goal <= partition.end),
            // Promoted, or handed over to, meanwhile.
            State::Idle => partition.role != Role::Follower,
            State::Copying | State::Waiting | State::Unknown => false,
        }
    }
}

/// If its source has damage in what comes next, and none of the others gives that.
pub(super) fn waits_for_damage(partition: &Partition) -> bool {
    let error = partition.error.as_ref();
    let is_damage = error.is_some_and(|error| error.is(ErrorCode::Damaged));
    partition.state == State::Waiting && is_damage
}

/// What is shown of it on stderr.
struct Shown {
    begun: Instant,
    /// Bytes that were there when this command looked first: they say nothing of the rate.
    bytes_before: Option<u64>,
    bars: Option<Bars>,
    last_line: Option<(Instant, Value)>,
    waiting: Waiting,
}

impl Shown {
    fn new() -> Self {
        Self {
            begun: Instant::now(),
            bytes_before: None,
            bars: io::stderr().is_terminal().then(Bars::new),
            last_line: None,
            waiting: Waiting::default(),
        }
    }

    fn show(&mut self, topic: &TopicName, partitions: &[Partition], is_over: bool) {
        match &mut self.bars {
            Some(bars) if is_over => bars.clear(),
            // Nothing is known of the source yet.
            Some(_) if bytes(partitions).1 == 0 => {}
            Some(bars) => bars.show(&total(partitions), &parts(partitions)),
            None => self.line(topic, partitions, is_over),
        }
        match &self.bars {
            Some(bars) => {
                let lines = self.waiting.tell(topic, partitions, why_it_waits);
                lines.iter().for_each(|line| bars.say(line));
            }
            // Its own line tells the error of one that waits.
            None => {
                let lines = self.waiting.tell(topic, partitions, what_is_lacking);
                lines.iter().for_each(|line| say(line));
            }
        }
    }

    /// Writes a line if something changed and it is time for one, and in any case at the end.
    fn line(&mut self, topic: &TopicName, partitions: &[Partition], is_over: bool) {
        let now = Instant::now();
        let states: Vec<Value> = partitions.iter().map(super::in_json).collect();
        let facts = Value::from(states);
        if let Some((at, last)) = &self.last_line
            && !is_over
            && (now < *at + SAY_EVERY || *last == facts)
        {
            return;
        }
        let (done, total) = bytes(partitions);
        let before = *self.bytes_before.get_or_insert(done);
        let rate = rate(done.saturating_sub(before), now - self.begun);
        let eta = rate
            .filter(|rate| *rate > 0)
            .map(|rate| total.saturating_sub(done) / rate);
        let line = json!({
            "topic": topic.as_str(),
            "bytes_done": done,
            "bytes_total": total,
            "bytes_per_second": rate,
            "eta_seconds": eta,
            "partitions": facts,
        });
        say(&line.to_string());
        self.last_line = Some((now, facts));
    }
}

/// What was said of partitions that wait, and why: the words of one reason may change each time that they are asked for.
#[derive(Debug, Default)]
struct Waiting {
    told: Vec<(PartitionId, Kind)>,
}

/// What a partition waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// Its source, by the code of the error.
    Error(u16),
    /// A source that has more.
    More,
}

impl Waiting {
    /// A line for each partition that waits, once for each kind of reason, until it goes on.
    fn tell(
        &mut self,
        topic: &TopicName,
        partitions: &[Partition],
        why: fn(&Partition) -> Option<(Kind, String)>,
    ) -> Vec<String> {
        let mut lines = Vec::new();
        for partition in partitions {
            let id = partition.id;
            let Some((kind, why)) = why(partition) else {
                if goes_on(partition) {
                    self.told.retain(|(waiting, _)| *waiting != id);
                }
                continue;
            };
            if !self.told.contains(&(id, kind)) {
                self.told.push((id, kind));
                lines.push(format!("{topic}/{id} waits: {why}"));
            }
        }
        lines
    }
}

/// Why a partition does not go on just now. Of one that waits without an error nothing has begun yet.
fn why_it_waits(partition: &Partition) -> Option<(Kind, String)> {
    match partition.state {
        State::Waiting => {
            let error = partition.error.as_ref()?;
            Some((Kind::Error(error.code), error.to_string()))
        }
        _ => what_is_lacking(partition),
    }
}

/// That its source has less than was asked for, as one may that stands in for another, and it has all of that.
fn what_is_lacking(partition: &Partition) -> Option<(Kind, String)> {
    let (until, source_end) = (partition.until?, partition.source_end?);
    let has_all = source_end <= partition.end && partition.end < until;
    let source = partition.source.as_deref().unwrap_or("its source");
    let why = || format!("{source} ends at {source_end}, and what was asked for at {until}");
    (partition.state == State::Following && has_all).then(|| (Kind::More, why()))
}

/// If there is nothing that it would wait for again: where its source has less than was asked for, and gets more, slowly, it
/// does.
fn goes_on(partition: &Partition) -> bool {
    let ends = partition.source_end.zip(partition.until);
    let has_less = ends.is_some_and(|(source_end, until)| source_end < until);
    partition.state != State::Waiting && !has_less
}

fn bytes(partitions: &[Partition]) -> (u64, u64) {
    let sum = |of: fn(&Partition) -> u64| partitions.iter().map(of).sum();
    (sum(|p| p.bytes_done), sum(|p| p.bytes_total))
}

/// Bytes in a second, once there is some time to tell it from.
fn rate(bytes: u64, elapsed: Duration) -> Option<u64> {
    let millis = elapsed.as_millis();
    let rate = (u128::from(bytes) * 1_000).checked_div(millis)?;
    u64::try_from(rate).ok()
}

fn total(partitions: &[Partition]) -> Part {
    let (bytes_done, bytes_total) = bytes(partitions);
    let sum = |of: fn(&Partition) -> u32| partitions.iter().map(|p| u64::from(of(p))).sum::<u64>();
    let (done, of) = (sum(|p| p.segments_done), sum(|p| p.segments_total));
    let mut name = format!("{done} of {of} segments");
    let is_over = |p: &&Partition| matches!(p.state, State::Done | State::Stopped);
    let under_way = partitions.iter().filter(|p| !is_over(p));
    let behind: Option<u64> = under_way.map(|p| p.lag_records).sum();
    if let Some(behind) = behind {
        name += &format!(", {behind} records behind");
    }
    Part {
        name,
        bytes_done,
        bytes_total,
    }
}

/// The segments on their way, by partition and base offset.
fn parts(partitions: &[Partition]) -> Vec<Part> {
    let segments = partitions.iter().flat_map(|partition| {
        partition.receiving.iter().map(|segment| {
            let name = format!("{}/{}", partition.id, segment.segment);
            Part {
                name: match segment.from.as_str() {
                    "" => name,
                    from => format!("{name} from {from}"),
                },
                bytes_done: segment.bytes_done,
                bytes_total: segment.bytes_total,
            }
        })
    });
    segments.collect()
}

#[cfg(test)]
mod tests {
    use corelog_protocol::error::{ErrorBody, ErrorCode};

    use super::*;

    fn replica(state: State, end: u64, source_end: Option<u64>) -> Partition {
        Partition {
            role: Role::Follower,
            state,
            source_end: source_end.and_then(Offset::new),
            ..Partition::owned(PartitionId::new(0), Offset::new(end).unwrap())
        }
    }

    #[test]
    fn following_is_over_where_the_source_ended_first_however_it_goes_on() {
        let (mut watch, now) = (Watch::default(), Instant::now());
        assert!(!watch.is_over(&[replica(State::Copying, 0, Some(10))], now));
        assert!(!watch.is_over(&[replica(State::Following, 9, Some(100))], now));
        assert!(watch.is_over(&[replica(State::Following, 10, Some(200))], now));
    }

    /// It was told as one that follows, or, where another source stood in that had less, ended with 0 without all of it.
    #[test]
    fn a_copy_with_an_end_is_over_once_it_is_done_and_not_where_its_source_ends() {
        let to_end = |state| Partition {
            until: Offset::new(10),
            ..replica(state, 10, Some(10))
        };
        let (mut watch, now) = (Watch::default(), Instant::now());
        assert!(!watch.is_over(&[to_end(State::Following)], now));
        assert!(watch.is_over(&[to_end(State::Done)], now));
        // Somebody has it follow, which is never done.
        assert!(watch.is_over(&[replica(State::Following, 10, Some(10))], now));
    }

    #[test]
    fn a_follower_that_has_not_begun_or_waits_is_not_over_and_one_that_stopped_is() {
        let is_over = |replica| Watch::default().is_over(&[replica], Instant::now());
        assert!(!is_over(replica(State::Idle, 0, None)));
        assert!(!is_over(replica(State::Waiting, 5, Some(5))));
        assert!(!is_over(replica(State::Following, 5, None)));
        assert!(is_over(replica(State::Stopped, 0, None)));
        assert!(is_over(replica(State::Done, 0, None)));
    }

    /// It waited for ever, and a script with it.
    #[test]
    fn what_is_damaged_at_its_source_is_waited_for_as_long_as_it_may_pass_by_itself() {
        let error = ErrorBody::new(ErrorCode::Damaged, "log1:7400: offsets 5 to 7".to_owned());
        let damaged = |end| Partition {
            error: Some(error.clone()),
            ..replica(State::Waiting, end, Some(10))
        };
        let done = || Partition {
            id: PartitionId::new(1),
            ..replica(State::Done, 10, Some(10))
        };
        let (mut watch, begun) = (Watch::default(), Instant::now());
        let second = Duration::from_secs(1);
        let mut is_over = |one, after| watch.is_over(&[one, done()], begun + after);
        assert!(!is_over(damaged(4), Duration::ZERO));
        assert!(!is_over(damaged(5), second), "it got further");
        assert!(!is_over(damaged(5), DAMAGE_PATIENCE));
        let fetching = replica(State::Waiting, 5, Some(10));
        assert!(!is_over(fetching, DAMAGE_PATIENCE + second), "it tries");
        let copying = replica(State::Copying, 5, Some(10));
        assert!(!is_over(copying, DAMAGE_PATIENCE + second), "it tries");
        assert!(is_over(damaged(5), DAMAGE_PATIENCE + second));
        let error = ErrorBody::new(ErrorCode::SourceUnavailable, "log1:7400 is away".to_owned());
        let away = Partition {
            error: Some(error),
            ..replica(State::Waiting, 5, Some(10))
        };
        assert!(
            !is_over(away, 2 * DAMAGE_PATIENCE),
            "it waits for something else"
        );
        assert!(
            !is_over(damaged(5), 2 * DAMAGE_PATIENCE + second),
            "and for that anew"
        );
    }

    /// Nobody was told why a clone did not end whose source was gone, and of which another one had less.
    #[test]
    fn what_waits_is_told_once_until_it_goes_on() {
        let of = |end, source_end| Partition {
            until: Offset::new(10),
            source: Some("log2:7400".to_owned()),
            ..replica(State::Following, end, Some(source_end))
        };
        let topic = TopicName::new("t").unwrap();
        let mut waiting = Waiting::default();
        let mut tell = |partition| waiting.tell(&topic, &[partition], why_it_waits);
        let lacking = "t/0 waits: log2:7400 ends at 5, and what was asked for at 10";
        assert!(tell(of(3, 5)).is_empty(), "there is more to come");
        assert_eq!(tell(of(5, 5)), [lacking]);
        assert!(tell(of(5, 5)).is_empty());
        // The one before it is asked again, in vain.
        let error = ErrorBody::new(ErrorCode::SourceUnavailable, "log1:7400 is away".to_owned());
        let away = Partition {
            error: Some(error),
            ..replica(State::Waiting, 5, None)
        };
        let said = tell(away.clone());
        assert!(said[0].contains("log1:7400 is away"), "{said:?}");
        assert!(tell(of(5, 5)).is_empty());
        assert!(tell(away).is_empty());
        // It has more now and then, and never all.
        for end in 6..10 {
            assert!(tell(of(end - 1, end)).is_empty());
            assert!(tell(of(end, end)).is_empty(), "it was told");
        }
        assert!(tell(of(6, 10)).is_empty());
        assert_eq!(tell(of(5, 5)), [lacking]);
        assert!(tell(of(10, 10)).is_empty(), "it is done");
        assert!(tell(replica(State::Following, 5, Some(5))).is_empty());
    }

    /// Nothing was behind while nothing was known.
    #[test]
    fn how_far_all_are_behind_is_told_where_it_is_known_of_all_that_are_under_way() {
        let behind = |state, lag_records| Partition {
            lag_records,
            ..replica(state, 5, Some(10))
        };
        let known = behind(State::Following, Some(5));
        let told = |other| total(&[known.clone(), other]).name;
        assert!(told(behind(State::Done, None)).ends_with(", 5 records behind"));
        assert!(told(behind(State::Waiting, None)).ends_with(" segments"));
    }

    #[test]
    fn a_rate_needs_time_to_tell_it_from() {
        assert_eq!(rate(100, Duration::ZERO), None);
        assert_eq!(rate(100, Duration::from_millis(500)), Some(200));
    }
}
