//! Names of topics.

use std::borrow::Borrow;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize, Serializer};

/// A topic's name: 1 to 249 characters of `A-Z a-z 0-9 . _ -`, and neither `.` nor `..`.
///
/// A name is also the name of a directory, so what this type admits can never leave its parent.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct TopicName(Box<str>);

impl Serialize for TopicName {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0)
    }
}

/// Why a text is no topic name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum TopicNameError {
    /// No characters, or more than 249 bytes.
    #[error("a topic name has 1 to {max} characters, found {found}", max = TopicName::BYTES_MAX)]
    Length {
        /// Bytes found.
        found: usize,
    },
    /// A character outside the alphabet.
    #[error("a topic name has only letters, digits, `.`, `_` and `-`, found {found:?}")]
    Character {
        /// The first such character.
        found: char,
    },
    /// `.` or `..`, which name directories.
    #[error("a topic cannot be named `.` or `..`")]
    Dots,
}

impl TopicName {
    /// The longest name, in bytes: a directory entry of 255, less room for `-` and a suffix.
    pub const BYTES_MAX: usize = 249;

    /// The name, checked.
    ///
    /// # Errors
    /// What of the text no topic name has.
    pub fn new(name: &str) -> Result<Self, TopicNameError> {
        Self::check(name)?;
        Ok(Self(name.into()))
    }

    fn check(name: &str) -> Result<(), TopicNameError> {
        if name.is_empty() || name.len() > Self::BYTES_MAX {
            return Err(TopicNameError::Length { found: name.len() });
        }
        let admits = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if let Some(found) = name.chars().find(|c| !admits(c)) {
            return Err(TopicNameError::Character { found });
        }
        if name == "." || name == ".." {
            return Err(TopicNameError::Dots);
        }
        Ok(())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TopicName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl FromStr for TopicName {
    type Err = TopicNameError;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        Self::new(name)
    }
}

impl TryFrom<String> for TopicName {
    type Error = TopicNameError;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::check(&name)?;
        // A request's name is decoded at its length: nothing is copied.
        Ok(Self(name.into_boxed_str()))
    }
}

impl From<TopicName> for String {
    fn from(name: TopicName) -> String {
        name.0.into()
    }
}

impl AsRef<str> for TopicName {
    fn as_ref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for TopicName {
    fn borrow(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::{TopicName, TopicNameError};

    #[test]
    fn a_plain_name_is_kept_as_it_is() {
        for name in ["a", "...", "Orders_v2.eu-west", &"x".repeat(249)] {
            assert_eq!(TopicName::new(name).unwrap().as_str(), name);
        }
    }

    #[test]
    fn a_name_that_could_leave_its_directory_is_refused() {
        use TopicNameError::{Character, Dots, Length};
        assert_eq!(TopicName::new("."), Err(Dots));
        assert_eq!(TopicName::new(".."), Err(Dots));
        assert_eq!(TopicName::new("../x"), Err(Character { found: '/' }));
        assert_eq!(TopicName::new("a\0"), Err(Character { found: '\0' }));
        assert_eq!(TopicName::new("é"), Err(Character { found: 'é' }));
        assert_eq!(TopicName::new(""), Err(Length { found: 0 }));
        assert_eq!(TopicName::new(&"x".repeat(250)), Err(Length { found: 250 }));
    }
}
