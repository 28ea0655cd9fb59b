//! Who said what a setting is.

use std::path::Path;

use super::key::Key;

/// Who said what a setting is; who stands further down wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Nobody.
    Default,
    /// The file, in this line.
    File { line: usize },
    /// The environment.
    Environment,
    /// The command line.
    Flag,
}

impl Origin {
    /// The word for it.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::File { .. } => "file",
            Self::Environment => "environment",
            Self::Flag => "flag",
        }
    }

    /// Where exactly `key` was said: a line of `file`, a variable, an option.
    pub(crate) fn place(self, key: Key, file: Option<&Path>) -> Option<String> {
        match self {
            Self::Default => None,
            Self::File { line } => file.map(|file| format!("{}:{line}", file.display())),
            Self::Environment => Some(key.variable()),
            Self::Flag => Some(format!("--{}", key.name())),
        }
    }
}
