//! Values of rounds as they are shown: the median, and from the least to the most.

use crate::median;

/// The median of values of rounds.
pub fn median(values: &[(usize, f64)]) -> Option<f64> {
    median::median(values.iter().map(|(_, value)| *value))
}

/// The median, with the least and the most.
pub fn shown(values: &[(usize, f64)]) -> String {
    median(values).map_or(String::new(), |median| {
        let digits = digits(median);
        format!("{}{}", grouped(median, digits), range(values, digits))
    })
}

/// The least and the most, if there are several.
fn range(values: &[(usize, f64)], digits: usize) -> String {
    let all = || values.iter().map(|(_, value)| *value);
    match (all().reduce(f64::min), all().reduce(f64::max)) {
        (Some(least), Some(most)) if values.len() > 1 => {
            format!(" ({} to {})", grouped(least, digits), grouped(most, digits))
        }
        _ => String::new(),
    }
}

fn digits(value: f64) -> usize {
    if value < 10.0 { 1 } else { 0 }
}

/// How many acknowledgements took longer than a quantile, where that are so few that it is a matter of one or two of them:
/// of `acks` in each round.
pub fn beyond(acks: &[(usize, f64)], quantile: f64) -> String {
    let beyond = acks.iter().map(|(_, acks)| acks * (1.0 - quantile));
    match beyond.reduce(f64::min) {
        Some(least) if least < BEYOND_MIN => format!(" ({:.0} beyond)", least.floor()),
        _ => String::new(),
    }
}

/// A quantile is one from so many beyond it on.
const BEYOND_MIN: f64 = 10.0;

/// With a comma between thousands.
fn grouped(value: f64, digits: usize) -> String {
    let text = format!("{value:.digits$}");
    let (whole, rest) = text
        .split_once('.')
        .map_or((text.as_str(), ""), |(whole, rest)| (whole, rest));
    let mut out = String::new();
    for (at, digit) in whole.chars().enumerate() {
        if at > 0 && (whole.len() - at).is_multiple_of(3) && digit != '-' {
            out.push(',');
        }
        out.push(digit);
    }
    match rest {
        "" => out,
        rest => format!("{out}.{rest}"),
    }
}

/// Ratios within the rounds that have both.
pub fn ratios(above: &[(usize, f64)], below: &[(usize, f64)]) -> Vec<(usize, f64)> {
    let in_round = |round| below.iter().find(|(other, _)| *other == round);
    let ratios = above
        .iter()
        .filter_map(|(round, above)| Some((*round, above / in_round(*round)?.1)));
    ratios.collect()
}

/// A ratio: two digits, whatever it is.
pub fn ratio(ratios: &[(usize, f64)]) -> String {
    median(ratios).map_or(String::new(), |median| {
        let spread = range(ratios, 2);
        format!("{median:.2}{spread}")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of 135 acknowledgements the one but last was told as the 99th percentile, and nothing said so.
    #[test]
    fn a_quantile_of_few_says_how_many_lie_beyond_it() {
        assert_eq!(beyond(&[(0, 236.0), (1, 135.0)], 0.99), " (1 beyond)");
        assert_eq!(beyond(&[(0, 9_600.0)], 0.999), " (9 beyond)");
        assert_eq!(beyond(&[(0, 9_000.0)], 0.99), "");
        assert_eq!(beyond(&[(0, 1_000.0)], 0.99), "");
        assert_eq!(beyond(&[], 0.99), "");
    }
}
