//! What the node did during the last polls, as charts side by side.

use ratatui::layout::Rect;
use ratatui::widgets::{RenderDirection, Sparkline, Widget as _};

use super::canvas::Canvas;
use super::figure;
use super::history::History;
use super::theme::Tone;

/// How high the charts stand with their titles.
pub(super) const HEIGHT: u16 = 8;

/// Draws the charts.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, history: &History) {
    type Show = fn(f64) -> String;
    let charts: [(&str, &[Option<f64>], Show); 4] = [
        ("records in/s", &history.records, figure::count),
        ("bytes in/s", &history.in_bytes, figure::bytes),
        ("bytes out/s", &history.out_bytes, figure::bytes),
        ("fsync p99", &history.sync_p99_us, figure::micros),
    ];
    const GAP: u16 = 3;
    let width = (area.width + GAP) / 4 - GAP;
    let mut x = area.x;
    for (title, series, show) in charts {
        let place = Rect { x, width, ..area };
        draw_chart(canvas, place, (title, show), series);
        x += width + GAP;
    }
}

fn draw_chart(
    canvas: &mut Canvas<'_>,
    area: Rect,
    (title, show): (&str, fn(f64) -> String),
    series: &[Option<f64>],
) {
    let seen = &series[series.len().saturating_sub(usize::from(area.width))..];
    let known = |point: Option<f64>| point.map_or_else(|| figure::NOTHING.to_owned(), show);
    let now = known(series.last().copied().flatten());
    let most = seen.iter().flatten().copied().reduce(f64::max);
    let end = canvas.put((area.x, area.y), area.width, title, Tone::Dim) + 1;
    let rest = area.right().saturating_sub(end);
    canvas.put((end, area.y), rest, &now, Tone::Strong);
    let most_told = format!("at most {}", known(most));
    canvas.put_right(area, &most_told, Tone::Dim);
    let bars = Rect {
        y: area.y + 1,
        height: area.height - 1,
        ..area
    };
    let newest_first = seen.iter().rev().map(|point| point.map(milli));
    Sparkline::default()
        .data(newest_first.collect::<Vec<_>>())
        .max(most.map_or(1, milli).max(1))
        .direction(RenderDirection::RightToLeft)
        .absent_value_symbol(" ")
        .style(canvas.theme.style(Tone::Drawn))
        .render(bars, canvas.buffer);
}

/// In thousandths, so that what is less than one is drawn too.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "what is not negative, and beyond the greatest is drawn as it"
)]
fn milli(point: f64) -> u64 {
    (point * 1e3) as u64
}
