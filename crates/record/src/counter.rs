//! The pattern behind [`Offset`](crate::Offset), [`Ordinal`](crate::Ordinal) and
//! [`Position`](crate::Position): an unsigned count that fits an `i64`.
//!
//! Three kinds of number that must never be mixed share one arithmetic; the macro keeps it equal.

/// A number beyond `i64::MAX`, which no offset, ordinal or position can be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} {found} is beyond {max}", max = i64::MAX)]
pub struct CounterRangeError {
    /// What the number was to be: `offset`, `ordinal` or `position`.
    pub kind: &'static str,
    /// The number found.
    pub found: u64,
}

macro_rules! counter {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(
            Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash,
            serde::Serialize, serde::Deserialize,
        )]
        #[serde(try_from = "u64", into = "u64")]
        pub struct $name(u64);

        impl $name {
            /// The first one.
            pub const ZERO: Self = Self(0);
            /// The last one: `i64::MAX`.
            pub const MAX: Self = Self(i64::MAX.unsigned_abs());

            /// The value as its type, or `None` beyond `i64::MAX`.
            pub const fn new(value: u64) -> Option<Self> {
                if value <= Self::MAX.0 { Some(Self(value)) } else { None }
            }

            /// The value as a number.
            pub const fn get(self) -> u64 {
                self.0
            }

            /// The value moved up by `count`, or `None` beyond `i64::MAX`.
            pub const fn checked_add(self, count: u64) -> Option<Self> {
                match self.0.checked_add(count) {
                    Some(value) => Self::new(value),
                    None => None,
                }
            }

            /// The value moved up by `count`.
            ///
            /// # Panics
            /// Beyond `i64::MAX`, which no log reaches: use [`checked_add`](Self::checked_add) or
            /// [`saturating_add`](Self::saturating_add) for numbers that came from outside.
            #[must_use]
            pub const fn plus(self, count: u64) -> Self {
                match self.checked_add(count) {
                    Some(moved) => moved,
                    None => panic!(concat!($kind, " overflows")),
                }
            }

            /// The value moved up by `count`, at most to the last one.
            #[must_use]
            pub const fn saturating_add(self, count: u64) -> Self {
                match self.checked_add(count) {
                    Some(moved) => moved,
                    None => Self::MAX,
                }
            }

            /// How far this lies above `earlier`, or `None` if it lies below.
            pub const fn checked_since(self, earlier: Self) -> Option<u64> {
                self.0.checked_sub(earlier.0)
            }

            /// How far this lies above `earlier`.
            ///
            /// # Panics
            /// If `earlier` is the later one: use [`checked_since`](Self::checked_since) for
            /// numbers that came from outside.
            pub const fn since(self, earlier: Self) -> u64 {
                match self.checked_since(earlier) {
                    Some(distance) => distance,
                    None => panic!(concat!($kind, " lies below the one it is measured from")),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                self.0.fmt(f)
            }
        }

        impl TryFrom<u64> for $name {
            type Error = $crate::counter::CounterRangeError;

            fn try_from(value: u64) -> Result<Self, Self::Error> {
                Self::new(value)
                    .ok_or($crate::counter::CounterRangeError { kind: $kind, found: value })
            }
        }

        impl From<$name> for u64 {
            fn from(value: $name) -> u64 {
                value.0
            }
        }
    };
}

pub(crate) use counter;

#[cfg(test)]
mod tests {
    use crate::{CounterRangeError, Offset};

    #[test]
    fn a_counter_never_leaves_its_range() {
        assert_eq!(Offset::new(u64::MAX), None);
        assert_eq!(Offset::MAX.checked_add(1), None);
        assert_eq!(Offset::MAX.checked_add(u64::MAX), None);
        assert_eq!(Offset::ZERO.checked_add(i64::MAX as u64), Some(Offset::MAX));
        assert_eq!(Offset::MAX.saturating_add(1), Offset::MAX);
        assert_eq!(Offset::ZERO.saturating_add(7), Offset::ZERO.plus(7));
        assert_eq!(
            Offset::try_from(1 << 63),
            Err(CounterRangeError {
                kind: "offset",
                found: 1 << 63
            })
        );
    }

    #[test]
    fn distance_is_measured_upwards_only() {
        let five = Offset::ZERO.plus(5);
        assert_eq!(five.since(Offset::ZERO), 5);
        assert_eq!(Offset::ZERO.checked_since(five), None);
    }

    #[test]
    #[should_panic(expected = "offset overflows")]
    fn moving_past_the_last_offset_panics() {
        let _ = Offset::MAX.plus(1);
    }
}
