//! Figures in few columns, and drawings made of text.

use std::time::Duration;

/// What is not known.
pub(super) const NOTHING: &str = "-";

/// A count in at most five columns: `999`, `12.3k`, `456M`.
pub(super) fn count(count: f64) -> String {
    scaled(count, 1_000.0, &["", "k", "M", "G", "T", "P", "E"])
}

/// Bytes in at most eight columns: `12 B`, `1.5 KiB`, `12.8 MiB`.
pub(super) fn bytes(bytes: f64) -> String {
    scaled(
        bytes,
        1_024.0,
        &[" B", " KiB", " MiB", " GiB", " TiB", " PiB", " EiB"],
    )
}

/// Three digits at most, one of them behind the point below a hundred, and the unit.
fn scaled(amount: f64, step: f64, units: &[&str]) -> String {
    let mut rest = amount.max(0.0);
    let mut units = units.iter().copied();
    let mut unit = units.next().unwrap_or_default();
    let mut is_whole = true;
    for next in units {
        // As it would be shown: 999.96 thousand are a million.
        if rest.round() < step.min(1_000.0) {
            break;
        }
        (rest, unit, is_whole) = (rest / step, next, false);
    }
    let has_tenths = rest < 99.95 && !(is_whole && (rest.fract() < 0.05 || rest >= 9.95));
    match has_tenths {
        true => format!("{rest:.1}{unit}"),
        false => format!("{rest:.0}{unit}"),
    }
}

/// Microseconds in at most six columns: `812us`, `12.3ms`, `1.6s`.
pub(super) fn micros(us: f64) -> String {
    match us {
        us if us < 999.5 => format!("{us:.0}us"),
        us if us < 99_950.0 => format!("{:.1}ms", us / 1e3),
        us if us < 999_500.0 => format!("{:.0}ms", us / 1e3),
        us if us < 99_950_000.0 => format!("{:.1}s", us / 1e6),
        us => age(Duration::from_secs_f64(us / 1e6)),
    }
}

/// A share of one as a percentage.
pub(super) fn share(share: f64) -> String {
    format!("{:.0}%", share * 100.0)
}

/// A time in its two greatest units: `42s`, `3m 4s`, `3h 12m`, `4d 3h`.
pub(super) fn age(age: Duration) -> String {
    let seconds = age.as_secs();
    let (minutes, hours, days) = (seconds / 60, seconds / 3_600, seconds / 86_400);
    match (days, hours, minutes) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, _) => format!("{minutes}m {}s", seconds % 60),
        (0, ..) => format!("{hours}h {}m", minutes % 60),
        _ => format!("{days}d {}h", hours % 24),
    }
}

/// A bar of so many columns, filled to this share of one.
pub(super) fn bar(share: f64, width: u16) -> String {
    const PARTS: [char; 8] = ['▏', '▎', '▍', '▌', '▋', '▊', '▉', '█'];
    let filled = share.clamp(0.0, 1.0) * f64::from(width);
    let cell = |column: u16| {
        let part = eighths(filled - f64::from(column));
        part.checked_sub(1).map_or(' ', |part| PARTS[part])
    };
    (0..width).map(cell).collect()
}

/// The last of `series` as columns of one line, each a share of `most`; what is not known is empty.
pub(super) fn spark(series: &[Option<f64>], most: f64, width: u16) -> String {
    const PARTS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let shown = &series[series.len().saturating_sub(usize::from(width))..];
    let cell = |point: &Option<f64>| {
        // What is there at all is seen.
        point.map_or(' ', |point| PARTS[eighths(point / most).max(1) - 1])
    };
    let drawn: String = shown.iter().map(cell).collect();
    format!("{drawn:>width$}", width = usize::from(width))
}

/// How many eighths a share of one is, 0 to 8.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "0 to 8"
)]
fn eighths(share: f64) -> usize {
    // Nothing of nothing is no number, and no eighth.
    (share.clamp(0.0, 1.0) * 8.0).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_and_bytes_keep_to_their_columns() {
        let counts = [
            0.0, 0.4, 7.25, 12.0, 999.4, 999.6, 1_234.0, 99_960.0, 999_700.0, 4.56e7,
        ];
        let shown = counts.map(count);
        let wanted = [
            "0", "0.4", "7.2", "12", "999", "1.0k", "1.2k", "100k", "1.0M", "45.6M",
        ];
        assert_eq!(shown, wanted);
        let amounts = [
            0.0,
            12.0,
            1_023.0,
            1_024.0,
            1_048_000.0,
            1.5 * 1_073_741_824.0,
        ];
        let wanted = ["0 B", "12 B", "1.0 KiB", "1.0 KiB", "1.0 MiB", "1.5 GiB"];
        assert_eq!(amounts.map(bytes), wanted);
        for exponent in 0..64 {
            let amount = 2_f64.powi(exponent);
            assert!(count(amount * 0.999_9).len() <= 5, "{amount}");
            assert!(bytes(amount * 0.999_9).len() <= 8, "{amount}");
        }
    }

    #[test]
    fn times_are_shown_in_the_units_that_matter() {
        let times = [50.0, 999.9, 1_500.0, 99_960.0, 1_638_400.0, 3.6e9];
        let wanted = ["50us", "1.0ms", "1.5ms", "100ms", "1.6s", "1h 0m"];
        assert_eq!(times.map(micros), wanted);
        let ages = [0, 59, 61, 3_661, 90_061].map(|s| age(Duration::from_secs(s)));
        assert_eq!(ages, ["0s", "59s", "1m 1s", "1h 1m", "1d 1h"]);
    }

    #[test]
    fn drawings_are_as_wide_as_they_are_asked_to_be() {
        assert_eq!(bar(0.5, 4), "██  ");
        assert_eq!(bar(0.55, 4), "██▎ ");
        assert_eq!(bar(7.0, 3), "███");
        assert_eq!(bar(f64::NAN, 2), "  ");
        let series = [Some(1.0), Some(0.0), None, Some(0.5)];
        assert_eq!(spark(&series, 1.0, 3), "▁ ▄");
        assert_eq!(spark(&series, 1.0, 6), "  █▁ ▄");
    }
}
