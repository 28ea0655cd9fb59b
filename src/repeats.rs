//! Lines of the log that repeat: the first few are logged, the others counted, and the count is told.
//!
//! Two lines are the same if they come from the same place of the program and say the same words;
//! their numbers may differ. What two partitions say is told apart: each may have lost something else. What is said
//! of a client is not: where it comes from and what it did wrong are its own words, and it may have as many as it likes.

use std::collections::HashMap;
use std::fmt::{self, Write as _};
use std::hash::{Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use xxhash_rust::xxh3::Xxh3;

use crate::telemetry::MISSING;

/// Of the same line, so many are logged within [`WINDOW`].
const LINES_MAX: u64 = 10;
/// What is the same is counted together for so long.
const WINDOW: Duration = Duration::from_secs(10);
/// More lines than this are not kept in mind: then all are logged.
const KEYS_MAX: usize = 1_024;
/// In a full table it is looked this often whose window is over.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// The longest part of a line that is told again.
const TEXT_BYTES_MAX: usize = 200;
/// The part of the program that tells the way of each frame.
const WAY: &str = "corelog_node::frame_id";
/// What a client may say anew in each line.
const CLIENT_WORDS: &[&str] = &["peer", "request", "client", "error"];

/// A layer that keeps lines that repeat from the log. Its clones count together.
#[derive(Clone, Debug, Default)]
pub(crate) struct Repeats {
    table: Arc<Mutex<Table>>,
}

impl Repeats {
    /// Tells what was left out until now; for the end of a log.
    pub(crate) fn tell_all(&self) {
        let told = self.table().take(|_| true);
        tell(told);
    }

    /// Tells for ever what was left out, also where nothing else is logged that would have it told.
    pub(crate) async fn keep_telling(self) {
        let mut turns = tokio::time::interval(WINDOW);
        loop {
            turns.tick().await;
            self.tell_over(Instant::now());
        }
    }

    fn tell_over(&self, now: Instant) {
        let told = self.table().take_over(now);
        tell(told);
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        let metadata = event.metadata();
        // Whoever asks for the way of each frame wants each.
        let is_way = metadata.target() == WAY && *metadata.level() > Level::INFO;
        let tells = [TARGET, MISSING].contains(&metadata.target());
        if tells || is_way {
            return true;
        }
        let is_client = metadata.fields().field("peer").is_some();
        let mut words = Words {
            left_out: if is_client { CLIENT_WORDS } else { &[] },
            ..Words::default()
        };
        event.metadata().callsite().hash(&mut words.hash);
        event.record(&mut words);
        let now = Instant::now();
        let (told, is_logged) = {
            let mut table = self.table();
            let told = table.take_over(now);
            (told, table.admit(words.hash.digest(), &words.text, now))
        };
        // What is told comes through here again.
        tell(told);
        is_logged
    }
}

fn tell(told: Vec<Told>) {
    for Told { text, count } in told {
        tracing::warn!(target: TARGET, count, line = text, "repeated, and not logged each time");
    }
}

#[derive(Debug, Default)]
struct Table {
    /// By the hash of their place and their words.
    seen: HashMap<u64, Seen>,
    /// When the oldest window of a line that was left out ends.
    due: Option<Instant>,
    /// When it was looked for room and there was none.
    full_at: Option<Instant>,
}

#[derive(Debug)]
struct Seen {
    since: Instant,
    count: u64,
    text: String,
}

/// A line that was left out so many times.
#[derive(Debug, PartialEq, Eq)]
struct Told {
    text: String,
    count: u64,
}

impl Table {
    /// Whether a line is logged.
    fn admit(&mut self, key: u64, text: &str, now: Instant) -> bool {
        if self.seen.len() >= KEYS_MAX && !self.seen.contains_key(&key) {
            if self.full_at.is_some_and(|at| now < at + LOOK_EVERY) {
                return true;
            }
            self.seen
                .retain(|_, seen| !seen.is_over(now) || seen.is_owed());
            self.full_at = (self.seen.len() >= KEYS_MAX).then_some(now);
            if self.full_at.is_some() {
                return true;
            }
        }
        let fresh = || Seen {
            since: now,
            count: 0,
            text: text.to_owned(),
        };
        let seen = self.seen.entry(key).or_insert_with(fresh);
        if seen.is_over(now) {
            *seen = fresh();
        }
        seen.count += 1;
        if seen.is_owed() {
            let end = seen.since + WINDOW;
            self.due = Some(self.due.map_or(end, |due| due.min(end)));
        }
        !seen.is_owed()
    }

    /// What was left out in windows that are over.
    fn take_over(&mut self, now: Instant) -> Vec<Told> {
        if self.due.is_none_or(|due| now < due) {
            return Vec::new();
        }
        self.due = None;
        let told = self.take(|seen| seen.is_over(now));
        let owed = self.seen.values().filter(|seen| seen.is_owed());
        self.due = owed.map(|seen| seen.since + WINDOW).min();
        told
    }

    /// What was left out of the lines that are `meant`; they begin anew.
    fn take(&mut self, meant: impl Fn(&Seen) -> bool) -> Vec<Told> {
        let taken = self
            .seen
            .extract_if(|_, seen| seen.is_owed() && meant(seen));
        let told = taken.map(|(_, seen)| Told {
            count: seen.count - LINES_MAX,
            text: seen.text,
        });
        let mut told: Vec<Told> = told.collect();
        // No order from a hasher.
        told.sort_by(|a, b| a.text.cmp(&b.text));
        told
    }
}

impl Seen {
    fn is_over(&self, now: Instant) -> bool {
        self.since + WINDOW <= now
    }

    /// Whether some were left out that nobody was told of.
    fn is_owed(&self) -> bool {
        self.count > LINES_MAX
    }
}

/// The words of a line: everything but its numbers. That of a partition is its name.
#[derive(Default)]
struct Words {
    /// Fields that are no words of this line.
    left_out: &'static [&'static str],
    hash: Xxh3,
    text: String,
}

impl Words {
    fn add(&mut self, field: &Field, word: &str) {
        if self.left_out.contains(&field.name()) {
            return;
        }
        self.hash.write(field.name().as_bytes());
        self.hash.write(&[0]);
        self.hash.write(word.as_bytes());
        self.hash.write(&[0]);
        let is_message = field.name() == "message";
        let left = TEXT_BYTES_MAX.saturating_sub(self.text.len());
        let separator = if self.text.is_empty() { "" } else { " " };
        let word = &word[..word.floor_char_boundary(left)];
        // Writing to a string does not fail.
        let _ = match is_message {
            true => write!(self.text, "{separator}{word}"),
            false => write!(self.text, "{separator}{}={word}", field.name()),
        };
    }
}

impl Visit for Words {
    fn record_i64(&mut self, _: &Field, _: i64) {}

    fn record_u64(&mut self, field: &Field, value: u64) {
        if field.name() == "partition" {
            self.add(field, &value.to_string());
        }
    }

    fn record_i128(&mut self, _: &Field, _: i128) {}

    fn record_u128(&mut self, _: &Field, _: u128) {}

    fn record_f64(&mut self, _: &Field, _: f64) {}

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, &format!("{value:?}"));
    }
}

/// What tells of repeats; it does not count among them.
const TARGET: &str = "corelog::repeats";

#[cfg(test)]
mod tests {
    use std::io;

    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    #[test]
    fn the_first_of_a_window_are_logged_and_the_others_told_when_it_is_over() {
        let (mut table, start) = (Table::default(), Instant::now());
        let logged = (0..30).filter(|_| table.admit(1, "again", start));
        assert_eq!(logged.count() as u64, LINES_MAX);
        assert!(table.admit(2, "something else", start));
        assert!(table.take_over(start + WINDOW / 2).is_empty());
        let over = start + WINDOW;
        let text = "again".to_owned();
        assert_eq!(table.take_over(over), [Told { text, count: 20 }]);
        assert!(table.admit(1, "again", over), "it begins anew");
        assert!(table.take_over(over + WINDOW).is_empty());
    }

    #[test]
    fn the_end_tells_what_is_owed_before_its_time() {
        let (mut table, now) = (Table::default(), Instant::now());
        for _ in 0..12 {
            table.admit(1, "again", now);
        }
        let text = "again".to_owned();
        assert_eq!(table.take(|_| true), [Told { text, count: 2 }]);
        assert!(table.take(|_| true).is_empty());
    }

    #[test]
    fn a_full_table_lets_everything_through_until_windows_are_over() {
        let (mut table, start) = (Table::default(), Instant::now());
        (0..KEYS_MAX as u64).for_each(|key| assert!(table.admit(key, "many", start)));
        let logged = (0..30).filter(|_| table.admit(u64::MAX, "one more", start));
        assert_eq!(logged.count(), 30);
        assert!(table.admit(u64::MAX, "one more", start + WINDOW));
        assert_eq!(table.seen.len(), 1);
    }

    /// Keeps what is logged.
    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// What is logged of what `say` says.
    fn logged(say: impl FnOnce(&Repeats)) -> (String, Repeats) {
        let (lines, repeats) = (Lines::default(), Repeats::default());
        let writer = lines.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(Level::TRACE)
            .with_writer(move || writer.clone())
            .finish()
            .with(repeats.clone());
        tracing::subscriber::with_default(subscriber, || say(&repeats));
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        (text, repeats)
    }

    #[test]
    fn lines_of_the_same_words_are_the_same_and_their_numbers_are_no_words() {
        let (text, repeats) = logged(|_| {
            for number in 0..30 {
                tracing::warn!(number, partition = %"t/0", "cannot write");
            }
            tracing::warn!(number = 30, partition = %"t/1", "cannot write");
        });
        assert_eq!(text.matches("t/0").count() as u64, LINES_MAX, "{text}");
        assert_eq!(text.matches("t/1").count(), 1);
        let count = 20;
        let text = "cannot write partition=t/0".to_owned();
        assert_eq!(repeats.table().take(|_| true), [Told { text, count }]);
    }

    /// All of a topic shared ten lines: at a stop on a full disk nothing told what the eleventh partition had lost.
    #[test]
    fn what_two_partitions_say_is_told_apart_by_their_numbers() {
        let say = |partition: u32| tracing::error!(topic = %"t", partition, lost = 7, "are lost");
        let (text, repeats) = logged(|_| {
            (0..30).for_each(say);
            (0..30).for_each(|_| say(30));
        });
        let logged = text.matches("are lost").count() as u64;
        assert_eq!(logged, 30 + LINES_MAX, "{text}");
        let count = 20;
        let text = "are lost topic=t partition=30".to_owned();
        assert_eq!(repeats.table().take(|_| true), [Told { text, count }]);
    }

    /// It was told when the next line came, which may be days later.
    #[test]
    fn what_was_left_out_is_told_also_where_nothing_else_is_logged() {
        let (text, _) = logged(|repeats| {
            for _ in 0..12 {
                tracing::warn!("cannot write");
            }
            repeats.tell_over(Instant::now() + WINDOW);
        });
        assert!(text.contains("not logged each time"), "{text}");
    }

    /// Each connection of a bad client came with a port and a number of its own, so that nothing was
    /// counted, and a thousand of them left no room for what others repeat.
    #[test]
    fn a_client_fills_nothing_however_often_it_comes_and_whatever_it_says() {
        let (text, repeats) = logged(|_| {
            for number in 0..3_000 {
                let (peer, request) = (format!("127.0.0.1:{number}"), format!("#{number}"));
                let (kind, error) = (Some("Produce"), format!("no topic t{number}"));
                tracing::warn!(target: WAY, %peer, %request, kind, %error, "refused");
                tracing::trace!(target: WAY, %peer, %request, "is answered");
            }
            tracing::warn!(target: WAY, peer = "p", kind = "Fetch", "refused");
        });
        assert_eq!(text.matches("Produce").count() as u64, LINES_MAX);
        assert_eq!(text.matches("Fetch").count(), 1);
        assert_eq!(text.matches("is answered").count(), 3_000);
        assert!(repeats.table().seen.len() < 10);
        let count = 2_990;
        let text = "refused kind=Produce".to_owned();
        assert_eq!(repeats.table().take(|_| true), [Told { text, count }]);
    }
}
