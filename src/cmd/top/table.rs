//! Rows under headings: which columns fit, and no more rows formatted than are seen.

use ratatui::layout::Rect;
use ratatui::style::Modifier;

use super::canvas::Canvas;
use super::column::{Column, Growth, Kind, Value};
use super::theme::Tone;
use super::view::Row;

/// Between two columns.
const GAP: u16 = 2;

/// No name needs more, however long it is; all of it stands in the details.
const NAME_WIDTH_MAX: u16 = 64;

/// What is shown of rows.
pub(super) struct Table<'a, R> {
    pub(super) rows: &'a [&'a R],
    /// The first row that is seen.
    pub(super) top: usize,
    /// The row that is chosen, if one is.
    pub(super) chosen: Option<usize>,
    /// The column it is sorted by.
    pub(super) sort: usize,
}

impl<R: Row> Table<'_, R> {
    /// Draws the headings and as many rows as fit below them.
    pub(super) fn draw(&self, canvas: &mut Canvas<'_>, area: Rect) {
        let columns = fit(R::COLUMNS, area.width, self.rows);
        let mut x = area.x;
        for (index, width) in columns {
            let column = &R::COLUMNS[index];
            let place = Rect { x, width, ..area };
            self.draw_head(canvas, place, (index, column));
            let seen = self.rows.iter().skip(self.top);
            for (row, y) in seen.zip(area.y + 1..area.bottom()) {
                let place = Rect { y, ..place };
                draw_cell(canvas, place, column, *row);
            }
            x += width + GAP;
        }
        let line = self.chosen.and_then(|chosen| chosen.checked_sub(self.top));
        let line = line.and_then(|line| u16::try_from(line).ok());
        if let Some(line) = line.filter(|line| line + 1 < area.height && !self.rows.is_empty()) {
            let y = area.y + 1 + line;
            canvas.choose(Rect {
                y,
                height: 1,
                ..area
            });
        }
    }

    fn draw_head(
        &self,
        canvas: &mut Canvas<'_>,
        place: Rect,
        (index, column): (usize, &Column<R>),
    ) {
        put(canvas, place, (column.kind, column.head), Tone::Dim);
        if index == self.sort {
            let head = Rect { height: 1, ..place };
            canvas
                .buffer
                .set_style(head, Modifier::BOLD | Modifier::UNDERLINED);
        }
    }
}

fn draw_cell<R>(canvas: &mut Canvas<'_>, place: Rect, column: &Column<R>, row: &R) {
    let text = (column.value)(row).text(place.width);
    put(canvas, place, (column.kind, &text), (column.tone)(row));
}

fn put(canvas: &mut Canvas<'_>, place: Rect, (kind, text): (Kind, &str), tone: Tone) {
    match kind {
        Kind::Figure => canvas.put_right(place, text, tone),
        Kind::Name | Kind::Drawing => {
            canvas.put((place.x, place.y), place.width, text, tone);
        }
    }
}

/// The columns that fit into `width`, each with what it gets: those of rank 0 always, the others by
/// their rank; what is left goes to names and drawings.
fn fit<R>(columns: &[Column<R>], width: u16, rows: &[&R]) -> Vec<(usize, u16)> {
    let mut by_rank: Vec<usize> = (0..columns.len()).collect();
    by_rank.sort_by_key(|index| columns[*index].rank);
    // One gap less than columns.
    let mut left = width + GAP;
    let mut taken = Vec::new();
    for index in by_rank {
        let column = &columns[index];
        let wanted = column.width + GAP;
        if wanted <= left || column.rank == 0 {
            left = left.saturating_sub(wanted);
            taken.push((index, column.width));
        }
    }
    taken.sort_unstable();
    for growth in [Growth::Text, Growth::All] {
        for (index, width) in &mut taken {
            let column = &columns[*index];
            if column.growth == growth {
                let more = match growth {
                    Growth::Text => longest(column, rows).saturating_sub(*width).min(left),
                    Growth::All | Growth::None => left,
                };
                *width += more;
                left -= more;
            }
        }
    }
    taken
}

fn longest<R>(column: &Column<R>, rows: &[&R]) -> u16 {
    let widths = rows.iter().map(|row| match (column.value)(row) {
        Value::Text(text) => text.chars().count(),
        Value::Words(words) => words.chars().count(),
        _ => 0,
    });
    let longest = widths.max().unwrap_or_default();
    u16::try_from(longest)
        .unwrap_or(u16::MAX)
        .min(NAME_WIDTH_MAX)
}
