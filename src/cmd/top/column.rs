//! Columns of a view: what each shows of a row, how it sorts, and how much room it wants.

use std::cmp::Ordering;
use std::time::Duration;

use super::figure::{self, NOTHING};
use super::theme::Tone;
use crate::output;

/// What a column shows of a row; what is not known is shown as such and sorts last.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// Words.
    Text(&'a str),
    /// Words that were put together to be shown.
    Words(String),
    /// A number to the last digit.
    Exact(u64),
    /// The same of what may not be known.
    Known(Option<u64>),
    /// A number, or a rate.
    Count(Option<f64>),
    /// Bytes, or bytes a second.
    Bytes(Option<f64>),
    /// Microseconds.
    Micros(Option<f64>),
    /// Seconds.
    Seconds(Option<f64>),
    /// A share of one.
    Share(Option<f64>),
    /// The same as a drawing.
    Bar(Option<f64>),
    /// Shares of one over time as a drawing.
    Spark(&'a [Option<f64>]),
}

/// How wide a column may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Growth {
    /// Not at all.
    None,
    /// As wide as its longest text.
    Text,
    /// As wide as there is room.
    All,
}

/// What a column holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Figures, which stand on the right.
    Figure,
    /// Names, which stand on the left.
    Name,
    /// What is seen and not read, nor sorted by.
    Drawing,
}

/// One column.
pub(super) struct Column<R> {
    /// Its heading; in small letters its name for `--sort`.
    pub(super) head: &'static str,
    /// The columns of the terminal that it needs.
    pub(super) width: u16,
    pub(super) kind: Kind,
    pub(super) growth: Growth,
    /// Columns of a higher rank go first where it is narrow; rank 0 stays.
    pub(super) rank: u8,
    /// It sorts from the least figure on: a number that is a name.
    pub(super) is_ascending: bool,
    pub(super) value: fn(&R) -> Value<'_>,
    pub(super) tone: fn(&R) -> Tone,
}

impl<R> Column<R> {
    /// A column of figures.
    pub(super) const fn figure(
        head: &'static str,
        (width, rank): (u16, u8),
        value: fn(&R) -> Value<'_>,
    ) -> Self {
        Self {
            head,
            width,
            kind: Kind::Figure,
            growth: Growth::None,
            rank,
            is_ascending: false,
            value,
            tone: |_| Tone::Plain,
        }
    }

    /// A column of names, which takes more room if there is some.
    pub(super) const fn name(
        head: &'static str,
        (width, rank): (u16, u8),
        value: fn(&R) -> Value<'_>,
    ) -> Self {
        let mut column = Self::figure(head, (width, rank), value);
        (column.kind, column.growth) = (Kind::Name, Growth::Text);
        column
    }

    /// A column of drawings.
    pub(super) const fn drawing(
        head: &'static str,
        (width, rank): (u16, u8),
        value: fn(&R) -> Value<'_>,
    ) -> Self {
        let mut column = Self::figure(head, (width, rank), value);
        column.kind = Kind::Drawing;
        column
    }

    /// The same column in tones.
    pub(super) const fn toned(mut self, tone: fn(&R) -> Tone) -> Self {
        self.tone = tone;
        self
    }

    /// The same column, sorted from the least figure on.
    pub(super) const fn ascending(mut self) -> Self {
        self.is_ascending = true;
        self
    }

    /// The same column as wide as there is room.
    pub(super) const fn wide(mut self) -> Self {
        self.growth = Growth::All;
        self
    }

    /// Its name for `--sort`.
    pub(super) fn sort_name(&self) -> String {
        self.head.to_lowercase().replace(' ', "-")
    }
}

impl Value<'_> {
    /// What is shown of it in so many columns.
    pub(super) fn text(&self, width: u16) -> String {
        let told = |known: Option<f64>, show: fn(f64) -> String| {
            known.map_or_else(|| NOTHING.to_owned(), show)
        };
        match self {
            Self::Text(text) => output::printable(text),
            Self::Words(words) => output::printable(words),
            Self::Exact(number) => number.to_string(),
            Self::Known(number) => number.map_or_else(|| NOTHING.to_owned(), |it| it.to_string()),
            Self::Count(count) => told(*count, figure::count),
            Self::Bytes(bytes) => told(*bytes, figure::bytes),
            Self::Micros(us) => told(*us, figure::micros),
            Self::Seconds(seconds) => told(*seconds, |seconds| {
                figure::age(Duration::try_from_secs_f64(seconds).unwrap_or_default())
            }),
            Self::Share(share) => told(*share, figure::share),
            Self::Bar(share) => figure::bar(share.unwrap_or_default(), width),
            Self::Spark(series) => figure::spark(series, 1.0, width),
        }
    }

    /// The order of two values of one column; what is not known is last in both.
    pub(super) fn order(&self, other: &Self, is_reversed: bool) -> Ordering {
        let turned = |order: Ordering| if is_reversed { order.reverse() } else { order };
        if let (Some(a), Some(b)) = (self.words(), other.words()) {
            return turned(a.cmp(b));
        }
        match (self.number(), other.number()) {
            (Some(a), Some(b)) => turned(b.total_cmp(&a)),
            (known, other) => other.is_some().cmp(&known.is_some()),
        }
    }

    fn words(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            Self::Words(words) => Some(words),
            _ => None,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Exact(number) => Some(super::rates::number(*number)),
            Self::Known(number) => number.map(super::rates::number),
            Self::Count(known)
            | Self::Bytes(known)
            | Self::Micros(known)
            | Self::Seconds(known)
            | Self::Share(known)
            | Self::Bar(known) => *known,
            Self::Text(_) | Self::Words(_) | Self::Spark(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_sort_from_the_greatest_words_from_a_and_the_unknown_is_last() {
        let (small, great, unknown) = (
            Value::Count(Some(1.0)),
            Value::Count(Some(2.0)),
            Value::Count(None),
        );
        assert_eq!(great.order(&small, false), Ordering::Less);
        assert_eq!(great.order(&small, true), Ordering::Greater);
        for is_reversed in [false, true] {
            assert_eq!(small.order(&unknown, is_reversed), Ordering::Less);
            assert_eq!(unknown.order(&small, is_reversed), Ordering::Greater);
        }
        let (a, b) = (Value::Text("a"), Value::Words("b".to_owned()));
        assert_eq!(a.order(&b, false), Ordering::Less);
        assert_eq!(a.order(&b, true), Ordering::Greater);
        assert_eq!(unknown.text(8), NOTHING);
    }
}
