//! What a check comes to.

use serde::Serialize;

/// How fit something is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Verdict {
    /// As it should be.
    Good,
    /// It works, less well than it could.
    Fair,
    /// A server does not start, or must not be trusted, like this.
    Bad,
}

impl Verdict {
    /// The word for it.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Fair => "fair",
            Self::Bad => "bad",
        }
    }
}

/// One thing that was looked at.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(crate) struct Check {
    /// What was looked at.
    pub(super) name: &'static str,
    /// How it is.
    pub(super) verdict: Verdict,
    /// What was found.
    pub(super) found: String,
    /// What would mend it, if it is not good: a command where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) mend: Option<String>,
}

impl Check {
    /// All is well.
    pub(super) fn good(name: &'static str, found: impl Into<String>) -> Self {
        Self {
            name,
            verdict: Verdict::Good,
            found: found.into(),
            mend: None,
        }
    }

    /// It works, but `mend` would make it better.
    pub(super) fn fair(
        name: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            name,
            verdict: Verdict::Fair,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }

    /// It does not work until `mend`.
    pub(super) fn bad(
        name: &'static str,
        found: impl Into<String>,
        mend: impl Into<String>,
    ) -> Self {
        Self {
            name,
            verdict: Verdict::Bad,
            found: found.into(),
            mend: Some(mend.into()),
        }
    }
}
