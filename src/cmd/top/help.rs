//! What the keys do.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::theme::Tone;
use crate::output::fit;

const KEYS: [(&str, &str); 11] = [
    ("1 to 6, tab", "another view"),
    (
        "up, down, k, j",
        "another row; page up, page down, home, end too",
    ),
    ("enter", "partitions of a core or a topic; else details"),
    ("d", "details of any row"),
    ("esc", "back; without anything to go back from: no filter"),
    ("s, S", "sort by the next column, by the one before"),
    ("r", "sort the other way round"),
    ("/", "show rows with this text only"),
    ("p", "hold the picture, and go on"),
    ("?", "this"),
    ("q, ctrl-c", "quit"),
];

const NOTES: &str = "Rates are what was added between two polls. FSYNC P99 is of the groups that were \
    written and synced meanwhile; QUEUE: requests that wait, but for parked fetches; LAG: records \
    that a copy lacks.";

/// Draws it.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect) {
    for ((key, does), y) in KEYS.iter().zip(area.y + 1..area.bottom()) {
        canvas.put((area.x + 2, y), 16, key, Tone::Strong);
        canvas.put(
            (area.x + 20, y),
            area.width.saturating_sub(20),
            does,
            Tone::Plain,
        );
    }
    let width = area.width.saturating_sub(4);
    let first = area.y + 2 + u16::try_from(KEYS.len()).unwrap_or(u16::MAX);
    let notes = fit::lines(NOTES, width.into());
    for (note, y) in notes.iter().zip(first..area.bottom()) {
        canvas.put((area.x + 2, y), width, note, Tone::Dim);
    }
}
