//! A topic's policy: how it is said on the command line, sent, and shown.

use clap::ValueEnum;
use corelog_client::Error;
use corelog_protocol::message::ack::Level;
use corelog_protocol::message::settings::{Change, RetentionHold, SettingsChange, TopicSettings};
use corelog_record::ByteSize;
use serde::Serialize;
use serde_json::{Value, json};

use crate::exit::say;
use crate::quantity::{Limit, Span};

/// How a topic treats its records.
#[derive(clap::Args, Clone, Debug)]
#[command(next_help_heading = "Policy")]
pub(super) struct Policy {
    /// When a record is acknowledged, unless the producer says otherwise [new topic: durable]
    #[arg(long, value_name = "LEVEL", value_enum)]
    ack: Option<Ack>,
    /// Remove sealed segments older than this, or `never` [new topic: never]
    #[arg(long, value_name = "DURATION")]
    retention_age: Option<Limit<Span>>,
    /// Remove the oldest sealed segments of a partition beyond this, or `none`: no more is kept, and up to a segment less
    /// [new topic: none]
    #[arg(long, value_name = "SIZE")]
    retention_bytes: Option<Limit<ByteSize>>,
    /// Begin a new segment at this size, or up to an eighth before it lest all partitions do so at once; from
    /// 1MiB to 1GiB [new topic: 128MiB]
    #[arg(long, value_name = "SIZE")]
    segment_bytes: Option<ByteSize>,
    /// Begin a new segment at this age, or `never` [new topic: never]
    #[arg(long, value_name = "DURATION")]
    segment_age: Option<Limit<Span>>,
    /// Let retention wait until a snapshot, or every follower, holds what it would remove [new topic: none]
    #[arg(long, value_name = "WHAT", value_enum)]
    retention_hold: Option<Hold>,
    /// Remove it all the same while a partition is larger than this, or `none` [new topic: none]
    #[arg(long, value_name = "SIZE")]
    retention_hold_bytes: Option<Limit<ByteSize>>,
}

/// What retention waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Hold {
    /// Nothing: age and size decide alone.
    None,
    /// A snapshot that holds the records.
    Snapshotted,
    /// Every follower that is known, and at least one, holds the records.
    Replicated,
}

impl From<Hold> for RetentionHold {
    fn from(hold: Hold) -> Self {
        match hold {
            Hold::None => Self::None,
            Hold::Snapshotted => Self::Snapshotted,
            Hold::Replicated => Self::Replicated,
        }
    }
}

/// When a record is acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ack {
    /// Once it is on disk: kill -9 and power loss do not lose it.
    Durable,
    /// Once it is in the server's memory, on its way to the disk within 5 ms or at 1 MiB if no group is under way:
    /// while the disk is behind, up to 32 MiB of a partition may be lost.
    Accepted,
}

impl From<Ack> for Level {
    fn from(ack: Ack) -> Self {
        match ack {
            Ack::Durable => Self::Durable,
            Ack::Accepted => Self::Accepted,
        }
    }
}

impl Policy {
    /// True if nothing was said.
    pub(super) fn is_empty(&self) -> bool {
        self.change() == SettingsChange::default()
    }

    /// The settings of a new topic: what was said, defaults for the rest.
    pub(super) fn settings(&self) -> TopicSettings {
        self.change().apply(&TopicSettings::default())
    }

    /// Checks what was said by the rules of servers. What a topic has besides is not judged: a server may be of a later
    /// version, with words that this one does not know.
    pub(super) fn check(&self) -> Result<(), Error> {
        let checked = self.settings().check();
        checked.map_err(|body| Error::Refused { body })
    }

    /// What was said, as a change of an existing topic.
    pub(super) fn change(&self) -> SettingsChange {
        SettingsChange {
            ack: self.ack.map(Level::from),
            retention_age_ms: change(self.retention_age, Span::millis),
            retention_bytes: change(self.retention_bytes, ByteSize::bytes),
            segment_bytes: self.segment_bytes.map(ByteSize::bytes),
            segment_age_ms: change(self.segment_age, Span::millis),
            retention_hold: self.retention_hold.map(RetentionHold::from),
            retention_hold_bytes: change(self.retention_hold_bytes, ByteSize::bytes),
        }
    }
}

fn change<T>(said: Option<Limit<T>>, number: impl Fn(T) -> u64) -> Change<u64> {
    match said {
        None => Change::Keep,
        Some(Limit::None) => Change::Clear,
        Some(Limit::Some(amount)) => Change::Set(number(amount)),
    }
}

/// The policy as people read it.
pub(super) fn facts(settings: &TopicSettings) -> [(&'static str, String); 7] {
    let or = |text: Option<String>, none: &str| text.unwrap_or_else(|| none.to_owned());
    let age = |ms: Option<u64>| or(ms.map(|ms| Span::from_millis(ms).to_string()), "never");
    let size = |bytes: u64| ByteSize::from_bytes(bytes).to_string();
    let held = settings.retention_hold_bytes.map(size);
    [
        ("ack", word(&settings.ack)),
        ("retention-age", age(settings.retention_age_ms)),
        (
            "retention-bytes",
            or(settings.retention_bytes.map(size), "none"),
        ),
        ("segment-bytes", size(settings.segment_bytes)),
        ("segment-age", age(settings.segment_age_ms)),
        ("retention-hold", settings.retention_hold.name().to_owned()),
        ("retention-hold-bytes", or(held, "none")),
    ]
}

/// The policy as programs read it: every key, whatever the wire leaves out.
pub(super) fn json(settings: &TopicSettings) -> Value {
    json!({
        "ack": settings.ack,
        "retention_age_ms": settings.retention_age_ms,
        "retention_bytes": settings.retention_bytes,
        "segment_bytes": settings.segment_bytes,
        "segment_age_ms": settings.segment_age_ms,
        "retention_hold": settings.retention_hold,
        "retention_hold_bytes": settings.retention_hold_bytes,
    })
}

/// Says on stderr what of a policy is seldom meant.
pub(super) fn warn(settings: &TopicSettings) {
    if let Some(warning) = warning(settings) {
        say(&warning);
    }
}

fn warning(settings: &TopicSettings) -> Option<String> {
    let (kept, segment) = (settings.retention_bytes?, settings.segment_bytes);
    let [kept_size, segment_size] = [kept, segment].map(ByteSize::from_bytes);
    (kept < segment).then(|| {
        format!(
            "warning: retention-bytes {kept_size} is less than a segment of {segment_size}: one that has just ended goes \
             at once, and who reads a moment behind misses it; keep two segments or more, or make them smaller \
             (--segment-bytes)"
        )
    })
}

/// A value that travels as a word, as that word.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(word)) => word,
        _ => "?".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Policy = Policy {
        ack: None,
        retention_age: None,
        retention_bytes: None,
        segment_bytes: None,
        segment_age: None,
        retention_hold: None,
        retention_hold_bytes: None,
    };

    #[test]
    fn what_is_not_said_stays() {
        assert!(NOTHING.is_empty());
        let before = TopicSettings {
            retention_age_ms: Some(7),
            ..TopicSettings::default()
        };
        assert_eq!(NOTHING.change().apply(&before), before);
        let never = Policy {
            retention_age: Some(Limit::None),
            ..NOTHING
        };
        assert_eq!(never.change().apply(&before).retention_age_ms, None);
    }

    #[test]
    fn who_keeps_less_than_a_segment_is_warned() {
        let keeping = |retention_bytes| TopicSettings {
            retention_bytes,
            segment_bytes: 2 << 20,
            ..TopicSettings::default()
        };
        assert_eq!(warning(&keeping(None)), None);
        assert_eq!(warning(&keeping(Some(2 << 20))), None);
        let warned = warning(&keeping(Some((2 << 20) - 1))).unwrap();
        assert!(warned.contains("a segment of 2MiB"), "{warned}");
    }

    #[test]
    fn a_policy_is_shown_as_it_is_said() {
        let said = Policy {
            retention_age: Some("7d".parse().unwrap()),
            ..NOTHING
        };
        let facts = facts(&said.settings());
        assert!(facts.contains(&("retention-age", "7d".to_owned())));
        assert!(facts.contains(&("segment-bytes", "128MiB".to_owned())));
        assert!(facts.contains(&("ack", "durable".to_owned())));
    }
}
