//! A topic's settings and changes to them.

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::ack::Level;
use crate::error::{Detail, ErrorBody, ErrorCode};

/// The settings of a topic, all of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct TopicSettings {
    /// The level of a Produce that names none; default durable.
    pub ack: Level,
    /// Sealed segments older than this go, in milliseconds; default nil, kept for ever.
    pub retention_age_ms: Option<u64>,
    /// The oldest sealed segments go while a partition is larger, in bytes; default nil, no bound.
    pub retention_bytes: Option<u64>,
    /// A segment's greatest size, in bytes, 1 MiB to 1 GiB; default 128 MiB.
    pub segment_bytes: u64,
    /// A segment's greatest age before it is sealed, in milliseconds; default nil, no bound.
    pub segment_age_ms: Option<u64>,
    /// What retention waits for before it removes a sealed segment; default none.
    #[serde(skip_serializing_if = "RetentionHold::is_none")]
    pub retention_hold: RetentionHold,
    /// What is held back goes all the same while a partition is larger, in bytes; default nil, no
    /// bound.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_hold_bytes: Option<u64>,
}

/// What retention waits for. On the wire a lower-case word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RetentionHold {
    /// Nothing: age and size decide alone.
    #[default]
    None,
    /// A snapshot that holds the segment's records.
    Snapshotted,
    /// A follower that holds them.
    Replicated,
    /// A word that this version does not know.
    #[serde(other)]
    Unknown,
}

impl RetentionHold {
    /// True if nothing is waited for.
    #[must_use]
    pub const fn is_none(&self) -> bool {
        matches!(self, Self::None)
    }

    /// The word on the wire.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Snapshotted => "snapshotted",
            Self::Replicated => "replicated",
            Self::Unknown => "unknown",
        }
    }
}

impl TopicSettings {
    /// The least value of [`Self::segment_bytes`].
    pub const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
    /// The greatest value of [`Self::segment_bytes`].
    pub const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;

    /// Checks each setting against its range, as a node does before it takes them; none depends on another.
    ///
    /// # Errors
    /// `InvalidSettings`, naming the field: what the node answers.
    pub fn check(&self) -> Result<(), Box<ErrorBody>> {
        check_segment_bytes(self.segment_bytes)?;
        check_age("retention_age_ms", self.retention_age_ms)?;
        check_age("segment_age_ms", self.segment_age_ms)?;
        if self.retention_hold == RetentionHold::Unknown {
            let rule = "retention_hold is none, snapshotted or replicated";
            return Err(refused("retention_hold", None, rule));
        }
        if self.ack == Level::Unknown {
            return Err(refused("ack", None, "ack is durable or accepted"));
        }
        Ok(())
    }
}

fn check_segment_bytes(bytes: u64) -> Result<(), Box<ErrorBody>> {
    let (least, most) = (
        TopicSettings::SEGMENT_BYTES_MIN,
        TopicSettings::SEGMENT_BYTES_MAX,
    );
    if (least..=most).contains(&bytes) {
        return Ok(());
    }
    let rule = format!("segment_bytes is {bytes}: it lies between {least} and {most} bytes");
    Err(refused("segment_bytes", Some(bytes), rule))
}

fn check_age(field: &str, age_ms: Option<u64>) -> Result<(), Box<ErrorBody>> {
    let rule = match age_ms {
        Some(0) => "an age is 1 or more, or never",
        Some(age) if i64::try_from(age).is_err() => "it is beyond any clock",
        Some(_) | None => return Ok(()),
    };
    let found = age_ms.unwrap_or_default();
    Err(refused(
        field,
        age_ms,
        format!("{field} is {found}: {rule}"),
    ))
}

fn refused(field: &str, found: Option<u64>, message: impl Into<String>) -> Box<ErrorBody> {
    let detail = Detail {
        field: Some(field.to_owned()),
        found,
        ..Detail::default()
    };
    Box::new(ErrorBody::new(ErrorCode::InvalidSettings, message).with_detail(detail))
}

impl Default for TopicSettings {
    fn default() -> Self {
        Self {
            ack: Level::Durable,
            retention_age_ms: None,
            retention_bytes: None,
            segment_bytes: 128 * 1024 * 1024,
            segment_age_ms: None,
            retention_hold: RetentionHold::None,
            retention_hold_bytes: None,
        }
    }
}

/// What to do with one setting. On the wire: a missing key keeps it, nil clears it, a value sets it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Change<T> {
    /// It stays as it is.
    #[default]
    Keep,
    /// It goes: no bound any more.
    Clear,
    /// It becomes this.
    Set(T),
}

impl<T: Copy> Change<T> {
    /// The setting after the change.
    #[must_use]
    pub const fn apply(self, before: Option<T>) -> Option<T> {
        match self {
            Self::Keep => before,
            Self::Clear => None,
            Self::Set(value) => Some(value),
        }
    }
}

impl<T: Serialize> Serialize for Change<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Keep | Self::Clear => serializer.serialize_none(),
            Self::Set(value) => serializer.serialize_some(value),
        }
    }
}

impl<'de, T: Deserialize<'de>> Deserialize<'de> for Change<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(Self::Clear, Self::Set))
    }
}

/// Changes to a topic's settings; what is not named stays.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SettingsChange {
    /// See [`TopicSettings::ack`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ack: Option<Level>,
    /// See [`TopicSettings::retention_age_ms`].
    #[serde(skip_serializing_if = "super::is_default")]
    pub retention_age_ms: Change<u64>,
    /// See [`TopicSettings::retention_bytes`].
    #[serde(skip_serializing_if = "super::is_default")]
    pub retention_bytes: Change<u64>,
    /// See [`TopicSettings::segment_bytes`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub segment_bytes: Option<u64>,
    /// See [`TopicSettings::segment_age_ms`].
    #[serde(skip_serializing_if = "super::is_default")]
    pub segment_age_ms: Change<u64>,
    /// See [`TopicSettings::retention_hold`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retention_hold: Option<RetentionHold>,
    /// See [`TopicSettings::retention_hold_bytes`].
    #[serde(skip_serializing_if = "super::is_default")]
    pub retention_hold_bytes: Change<u64>,
}

impl SettingsChange {
    /// The settings after the change.
    #[must_use]
    pub fn apply(&self, before: &TopicSettings) -> TopicSettings {
        TopicSettings {
            ack: self.ack.unwrap_or(before.ack),
            retention_age_ms: self.retention_age_ms.apply(before.retention_age_ms),
            retention_bytes: self.retention_bytes.apply(before.retention_bytes),
            segment_bytes: self.segment_bytes.unwrap_or(before.segment_bytes),
            segment_age_ms: self.segment_age_ms.apply(before.segment_age_ms),
            retention_hold: self.retention_hold.unwrap_or(before.retention_hold),
            retention_hold_bytes: self.retention_hold_bytes.apply(before.retention_hold_bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The field that is wrong; empty if none is.
    fn wrong(change: impl FnOnce(&mut TopicSettings)) -> String {
        let mut settings = TopicSettings::default();
        change(&mut settings);
        let Err(refused) = settings.check() else {
            return String::new();
        };
        assert!(refused.is(ErrorCode::InvalidSettings));
        refused.detail.field.unwrap()
    }

    #[test]
    fn what_is_out_of_its_range_is_named() {
        assert_eq!(wrong(|_| {}), "");
        for age in [0, u64::MAX] {
            assert_eq!(
                wrong(|s| s.retention_age_ms = Some(age)),
                "retention_age_ms"
            );
            assert_eq!(wrong(|s| s.segment_age_ms = Some(age)), "segment_age_ms");
        }
        assert_eq!(wrong(|s| s.segment_bytes = (1 << 20) - 1), "segment_bytes");
        assert_eq!(wrong(|s| s.segment_bytes = (1 << 30) + 1), "segment_bytes");
        assert_eq!(wrong(|s| s.segment_bytes = 1 << 30), "");
    }

    #[test]
    fn words_of_a_later_version_are_no_settings() {
        assert_eq!(wrong(|s| s.ack = Level::Unknown), "ack");
        let hold = wrong(|s| s.retention_hold = RetentionHold::Unknown);
        assert_eq!(hold, "retention_hold");
    }
}
