//! How people write amounts and places on the command line: durations (`7d`), sizes (`128MiB`),
//! instants (RFC 3339), and places in a log (`earliest`, `-100`, `@-2h`).

use std::fmt;
use std::ops::RangeInclusive;
use std::str::FromStr;
use std::time::{Duration, SystemTime};

use corelog_record::{ByteSize, ByteSizeError, Offset, Timestamp, TopicName};
use jiff::SignedDuration;
use jiff::civil::{DateTime, datetime};

/// A place in a partition's log, as `--from` and `--until` take it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// The oldest record that can be read.
    Earliest,
    /// The end of what can be read now.
    Latest,
    /// This offset.
    Offset(Offset),
    /// So many records before the end of what can be read now.
    Last(u64),
    /// The first record with this time or a later one.
    Time(Timestamp),
}

/// An optional limit: an amount, or `never`/`none` for no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit<T> {
    /// No limit.
    None,
    /// This much.
    Some(T),
}

/// Why an amount or a place could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ParseError {
    #[error("`{text}` is no place in a log: say earliest, latest, an offset, -N, @TIME or @-2h")]
    Place { text: String },
    #[error("`{text}` is no time: say it like 2026-01-31T12:00:00Z, or -2h for two hours ago")]
    Time { text: String },
    #[error("`{text}` is no duration: say it like 500ms, 30s, 2h or 7d")]
    Duration { text: String },
    #[error("`{text}` is not between {min} and {max}")]
    Span { text: String, min: Span, max: Span },
    #[error("`{text}` is no offset: say a number from 0 to {max}", max = i64::MAX)]
    Offset { text: String },
    #[error("`{text}` is no partition: they count from 0, say a number up to {max}", max = u32::MAX)]
    Partition { text: String },
    #[error("`{text}` holds an escape that is unknown: use \\n, \\r, \\t, \\0, \\\\ or \\xHH")]
    Escape { text: String },
    #[error("{source}")]
    Size {
        #[source]
        source: ByteSizeError,
    },
    #[error("`{text}` is {bytes} bytes in a second: was {text}MiB meant? Say 64KiB or more")]
    BareRate { text: String, bytes: u64 },
    #[error("`{text}` in a second is too little to come to an end: say 64KiB or more")]
    LowRate { text: String },
    #[error("{text} must not be empty")]
    Empty { text: &'static str },
}

impl Place {
    fn parse(text: &str, now: Timestamp) -> Result<Self, ParseError> {
        let wrong = || ParseError::Place {
            text: text.to_owned(),
        };
        match text {
            "earliest" => return Ok(Self::Earliest),
            "latest" => return Ok(Self::Latest),
            _ => {}
        }
        if let Some(time) = text.strip_prefix('@') {
            return instant(time, now).map(Self::Time);
        }
        if let Some(count) = text.strip_prefix('-') {
            return count.parse().map(Self::Last).map_err(|_source| wrong());
        }
        let offset = text.parse().ok().and_then(Offset::new);
        offset.map(Self::Offset).ok_or_else(wrong)
    }
}

impl FromStr for Place {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        Self::parse(text, corelog_client::now())
    }
}

impl<T: FromStr> FromStr for Limit<T> {
    type Err = T::Err;

    fn from_str(text: &str) -> Result<Self, T::Err> {
        match text {
            "never" | "none" => Ok(Self::None),
            amount => amount.parse().map(Self::Some),
        }
    }
}

/// A length of time, shown and read as `7d`, `1h 30m` or `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span(pub(crate) Duration);

impl Span {
    /// The span in whole milliseconds; a longer one than `u64` can say becomes the longest.
    pub(crate) fn millis(self) -> u64 {
        u64::try_from(self.0.as_millis()).unwrap_or(u64::MAX)
    }

    /// Reads a span that has its bounds.
    pub(crate) fn within(range: RangeInclusive<Duration>, text: &str) -> Result<Self, ParseError> {
        let span: Self = text.parse()?;
        match range.contains(&span.0) {
            true => Ok(span),
            false => Err(ParseError::Span {
                text: text.to_owned(),
                min: Self(*range.start()),
                max: Self(*range.end()),
            }),
        }
    }

    /// A span of so many milliseconds.
    pub(crate) fn from_millis(millis: u64) -> Self {
        Self(Duration::from_millis(millis))
    }
}

impl FromStr for Span {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        humantime::parse_duration(text)
            .map(Self)
            .map_err(|_source| ParseError::Duration {
                text: text.to_owned(),
            })
    }
}

impl fmt::Display for Span {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis();
        if rest == 0 {
            return out.write_str("0s");
        }
        let mut gap = "";
        let units = [
            ("d", 86_400_000),
            ("h", 3_600_000),
            ("m", 60_000),
            ("s", 1_000),
            ("ms", 1),
        ];
        for (unit, millis) in units {
            if rest >= millis {
                write!(out, "{gap}{}{unit}", rest / millis)?;
                rest %= millis;
                gap = " ";
            }
        }
        Ok(())
    }
}

/// Longer than any wait, and far from what an instant can hold.
pub(crate) const WAIT_MAX: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// Less in a second than this, and what is read or sent at that rate takes days: a unit was left out, mostly.
const RATE_MIN: ByteSize = ByteSize::from_kib(64);

/// A size that is done in a second, large enough to come to an end.
pub(crate) fn rate(text: &str) -> Result<ByteSize, ParseError> {
    let rate: ByteSize = text.parse().map_err(|source| ParseError::Size { source })?;
    if RATE_MIN <= rate {
        return Ok(rate);
    }
    let is_bare = text.bytes().all(|byte| byte.is_ascii_digit()) && rate != ByteSize::from_bytes(0);
    let text = text.to_owned();
    Err(match is_bare {
        true => ParseError::BareRate {
            text,
            bytes: rate.bytes(),
        },
        false => ParseError::LowRate { text },
    })
}

/// Bytes as people read them, rounded: `12.3 MiB`. What is read back is a `ByteSize`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Amount(pub(crate) u64);

impl fmt::Display for Amount {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        const UNITS: [(&str, u32); 4] = [("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)];
        let Some((unit, shift)) = UNITS.into_iter().find(|(_, shift)| self.0 >> shift > 0) else {
            return write!(out, "{} B", self.0);
        };
        let tenths = (u128::from(self.0) * 10) >> shift;
        write!(out, "{}.{} {unit}", tenths / 10, tenths % 10)
    }
}

/// A time of the system as a timestamp; one before 1970 as its beginning.
pub(crate) fn timestamp(time: SystemTime) -> Timestamp {
    let since_epoch = time.duration_since(SystemTime::UNIX_EPOCH);
    let millis = since_epoch.unwrap_or_default().as_millis();
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// A time in microseconds, as it is told.
pub(crate) fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

/// A timestamp as RFC 3339 in UTC with milliseconds; one outside the calendar as bare milliseconds.
pub(crate) fn rfc3339(time: Timestamp) -> String {
    // The last instant of jiff is a day before the end of the year 9999, which a record's time may be.
    const EPOCH: DateTime = datetime(1970, 1, 1, 0, 0, 0, 0);
    match EPOCH.checked_add(SignedDuration::from_millis(time.millis())) {
        Ok(time) => format!("{time:.3}Z"),
        Err(_) => format!("{}ms", time.millis()),
    }
}

/// Bytes written with escapes: `\n`, `\r`, `\t`, `\0`, `\\` and `\xHH`.
pub(crate) fn escaped(text: &str) -> Result<Vec<u8>, ParseError> {
    let wrong = || ParseError::Escape {
        text: text.to_owned(),
    };
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [byte, after @ ..] = rest {
        rest = after;
        if *byte != b'\\' {
            bytes.push(*byte);
            continue;
        }
        let [escape, after @ ..] = rest else {
            return Err(wrong());
        };
        rest = after;
        bytes.push(match escape {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'0' => 0,
            b'\\' => b'\\',
            b'x' => {
                let [high, low, after @ ..] = rest else {
                    return Err(wrong());
                };
                rest = after;
                let digit = |hex: &u8| char::from(*hex).to_digit(16).ok_or_else(wrong);
                u8::try_from(digit(high)? * 16 + digit(low)?).map_err(|_source| wrong())?
            }
            _ => return Err(wrong()),
        });
    }
    Ok(bytes)
}

/// As [`escaped`], for what must not be empty, such as a delimiter.
pub(crate) fn separator(text: &str) -> Result<Vec<u8>, ParseError> {
    let bytes = escaped(text)?;
    if bytes.is_empty() {
        return Err(ParseError::Empty {
            text: "a separator",
        });
    }
    Ok(bytes)
}

/// An offset.
pub(crate) fn offset(text: &str) -> Result<Offset, ParseError> {
    let offset = text.parse().ok().and_then(Offset::new);
    offset.ok_or_else(|| ParseError::Offset {
        text: text.to_owned(),
    })
}

/// A partition's number.
pub(crate) fn partition(text: &str) -> Result<u32, ParseError> {
    text.parse().map_err(|_source| ParseError::Partition {
        text: text.to_owned(),
    })
}

/// A topic's name, checked by its own law.
pub(crate) fn topic_name(text: &str) -> Result<TopicName, corelog_record::TopicNameError> {
    TopicName::new(text)
}

fn instant(text: &str, now: Timestamp) -> Result<Timestamp, ParseError> {
    let wrong = || ParseError::Time {
        text: text.to_owned(),
    };
    if let Some(ago) = text.strip_prefix('-') {
        let ago: Span = ago.parse().map_err(|_source| wrong())?;
        let ago_ms = i64::try_from(ago.millis()).unwrap_or(i64::MAX);
        return Ok(Timestamp::from_millis(now.millis().saturating_sub(ago_ms)));
    }
    let time: jiff::Timestamp = text.parse().map_err(|_source| wrong())?;
    Ok(Timestamp::from_millis(time.as_millisecond()))
}

#[cfg(test)]
mod tests {
    use corelog_record::batch::TIMESTAMP_MAX;

    use super::*;

    const NOON: Timestamp = Timestamp::from_millis(1_767_268_800_000);

    fn place(text: &str) -> Place {
        Place::parse(text, NOON).unwrap()
    }

    #[test]
    fn places_are_read_as_the_help_says() {
        assert_eq!(place("earliest"), Place::Earliest);
        assert_eq!(place("latest"), Place::Latest);
        assert_eq!(place("17"), Place::Offset(Offset::new(17).unwrap()));
        assert_eq!(place("-100"), Place::Last(100));
        assert_eq!(place("@2026-01-01T12:00:00Z"), Place::Time(NOON));
        let two_hours_ago = Timestamp::from_millis(NOON.millis() - 7_200_000);
        assert_eq!(place("@-2h"), Place::Time(two_hours_ago));
    }

    #[test]
    fn a_place_that_is_none_is_refused() {
        for text in [
            "",
            "newest",
            "--5",
            "-",
            "1.5",
            "@",
            "@noon",
            "@-",
            "9223372036854775808",
        ] {
            assert!(Place::parse(text, NOON).is_err(), "{text:?}");
        }
    }

    #[test]
    fn spans_are_shown_as_they_are_read() {
        for text in ["7d", "1h 30m", "500ms", "1d 2h 3m 4s 5ms", "0s"] {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), text);
        }
        assert!("soon".parse::<Span>().is_err());
    }

    /// A scrub at 8 bytes in a second said nothing of it, and had not come to an end after a year.
    #[test]
    fn a_rate_without_its_unit_is_refused_with_the_one_that_was_meant() {
        let said = |text| rate(text).unwrap_err().to_string();
        assert!(said("8").contains("was 8MiB meant?"), "{}", said("8"));
        for text in ["0", "0B", "63KiB", "65535B"] {
            assert!(said(text).ends_with("say 64KiB or more"), "{}", said(text));
        }
        assert_eq!(rate("64KiB").unwrap(), RATE_MIN);
        assert_eq!(rate("8MiB").unwrap(), ByteSize::from_mib(8));
        assert!(said("8MB").contains("is no size"), "{}", said("8MB"));
    }

    #[test]
    fn amounts_are_rounded_for_people() {
        let amounts = [0, 1_023, 1_024, 1_536, 128 << 20, u64::MAX].map(|b| Amount(b).to_string());
        let shown = [
            "0 B",
            "1023 B",
            "1.0 KiB",
            "1.5 KiB",
            "128.0 MiB",
            "16777215.9 TiB",
        ];
        assert_eq!(amounts, shown);
    }

    #[test]
    fn instants_are_shown_in_rfc_3339() {
        assert_eq!(rfc3339(NOON), "2026-01-01T12:00:00.000Z");
        assert_eq!(rfc3339(TIMESTAMP_MAX), "9999-12-31T23:59:59.999Z");
        let before = Timestamp::from_millis(-1);
        assert_eq!(rfc3339(before), "1969-12-31T23:59:59.999Z");
        let later = Timestamp::from_millis(TIMESTAMP_MAX.millis() + 1);
        assert_eq!(rfc3339(later), "253402300800000ms");
    }

    #[test]
    fn escapes_stand_for_the_bytes_that_cannot_be_typed() {
        assert_eq!(escaped(r"a\n\t\0\\\xff").unwrap(), b"a\n\t\0\\\xff");
        for text in [r"\", r"\q", r"\x1", r"\xzz"] {
            assert!(escaped(text).is_err(), "{text:?}");
        }
        assert!(separator("").is_err());
    }

    #[test]
    fn a_limit_may_be_none() {
        assert_eq!("never".parse::<Limit<Span>>().unwrap(), Limit::None);
        let week = Span(Duration::from_secs(7 * 86_400));
        assert_eq!("7d".parse::<Limit<Span>>().unwrap(), Limit::Some(week));
    }
}
