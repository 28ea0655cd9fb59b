//! The names of files in `quarantine/`: what they hold, and why they are there.
//!
//! ```text
//! <time>-<reason>-<topic id>-<partition>-<position>-<file>
//! 0001763628300123-torn-00112233445566778899aabbccddeeff-0000000007-00000000000000004096-00000000000000000000.log
//! ```
//!
//! Time first, so that a sorted listing has the oldest first.

use std::fmt;
use std::str::FromStr;

use corelog_record::{PartitionId, Position, Timestamp, TopicId};

/// The name of a file in quarantine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name {
    /// When it got there, by the node's clock: milliseconds in 16 digits; times before 1970 as 0.
    pub time: Timestamp,
    /// Why it is there.
    pub reason: Reason,
    /// The topic it comes from: 32 hex digits.
    pub topic: TopicId,
    /// The partition it comes from: 10 digits.
    pub partition: PartitionId,
    /// Where in the file its bytes began: 20 digits.
    pub position: Position,
    /// The name of the file they were in.
    pub file: String,
}

/// Why bytes are in quarantine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Reason {
    /// They were written, but never promised: the remains of an interrupted write. The oldest go
    /// when there are too many.
    Torn,
    /// They were promised and cannot be trusted. The node never removes them.
    Damaged,
    /// The manifest does not name the file.
    Unnamed,
    /// The log was cut before them.
    Cut,
    /// A rejoining replica had them and its new source has not. The node never removes them.
    Rejoined,
}

/// A text that is not the name of a file in quarantine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{name}` is not the name of a file in quarantine")]
pub struct NameError {
    /// The text.
    pub name: String,
}

impl Reason {
    /// All there are.
    pub const ALL: [Self; 5] = [
        Self::Torn,
        Self::Damaged,
        Self::Unnamed,
        Self::Cut,
        Self::Rejoined,
    ];

    /// The word for it in file names.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Torn => "torn",
            Self::Damaged => "damaged",
            Self::Unnamed => "unnamed",
            Self::Cut => "cut",
            Self::Rejoined => "rejoined",
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            time,
            reason,
            topic,
            partition,
            position,
            file,
        } = self;
        let (time, reason) = (time.millis().max(0), reason.as_str());
        let (partition, position) = (partition.get(), position.get());
        write!(
            f,
            "{time:016}-{reason}-{topic}-{partition:010}-{position:020}-{file}"
        )
    }
}

impl FromStr for Name {
    type Err = NameError;

    fn from_str(name: &str) -> Result<Self, NameError> {
        parse(name).ok_or_else(|| NameError {
            name: name.to_owned(),
        })
    }
}

fn parse(name: &str) -> Option<Name> {
    let mut parts = name.splitn(6, '-');
    let mut next = || parts.next();
    let parsed = Name {
        time: Timestamp::from_millis(next()?.parse().ok()?),
        reason: next().and_then(|word| Reason::ALL.into_iter().find(|r| r.as_str() == word))?,
        topic: next()?.parse().ok()?,
        partition: PartitionId::new(next()?.parse().ok()?),
        position: Position::new(next()?.parse().ok()?)?,
        file: next().filter(|file| !file.is_empty())?.to_owned(),
    };
    // Only the one way of writing a name is a name.
    (parsed.to_string() == name).then_some(parsed)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME: &str = "0001763628300123-torn-00112233445566778899aabbccddeeff-0000000007-\
                        00000000000000004096-00000000000000000000.log";

    #[test]
    fn a_name_reads_back_as_it_was_written() {
        let name: Name = NAME.parse().unwrap();
        assert_eq!(name.reason, Reason::Torn);
        assert_eq!(name.position.get(), 4096);
        assert_eq!(name.file, "00000000000000000000.log");
        assert_eq!(name.to_string(), NAME);
        for reason in Reason::ALL {
            let name = Name {
                reason,
                file: "a-b.c".to_owned(),
                ..name.clone()
            };
            assert_eq!(name.to_string().parse(), Ok(name));
        }
    }

    #[test]
    fn other_names_are_not_taken_for_one() {
        for name in [
            "",
            "notes",
            &NAME[1..],
            &NAME.replace("torn", "worn"),
            &NAME[..86],
        ] {
            assert!(name.parse::<Name>().is_err(), "{name}");
        }
    }
}
