//! Things of which there is one, and which a plan takes along.

/// A file's handle that belongs to the log or to one plan, never to both.
#[derive(Debug)]
pub(crate) enum Held<T> {
    /// There is none yet: a partition without records has no files.
    Missing,
    /// The log has it.
    Here(T),
    /// A plan has it.
    Away,
}

impl<T> Held<T> {
    /// Whether there is none yet.
    pub(crate) fn is_missing(&self) -> bool {
        matches!(self, Self::Missing)
    }

    /// Whether a plan has it.
    pub(crate) fn is_away(&self) -> bool {
        matches!(self, Self::Away)
    }

    /// Whether the log has it.
    pub(crate) fn is_here(&self) -> bool {
        matches!(self, Self::Here(_))
    }

    /// The thing, if the log has it.
    pub(crate) fn get(&self) -> Option<&T> {
        match self {
            Self::Here(thing) => Some(thing),
            Self::Missing | Self::Away => None,
        }
    }

    /// Gives the thing to a plan, if the log has it.
    pub(crate) fn take(&mut self) -> Option<T> {
        match std::mem::replace(self, Self::Missing) {
            Self::Here(thing) => {
                *self = Self::Away;
                Some(thing)
            }
            other => {
                *self = other;
                None
            }
        }
    }

    /// Takes back what a plan returns, made by it or taken along before.
    pub(crate) fn give_back(&mut self, thing: Option<T>) {
        if let Some(thing) = thing {
            assert!(!self.is_here(), "there is one of it");
            *self = Self::Here(thing);
        }
    }
}
