//! Rows under headings: which columns fit, and no more rows formatted than are seen.

use std::ops::RangeInclusive;

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

/// Names that are shorter are told apart by their ends too: these are worth more than the columns of
/// higher ranks than the one below.
const NAME_WIDTH_WANTED: u16 = 32;
const RANK_BEFORE_NAMES: u8 = 1;

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
        let columns = fit(area.width, self.rows);
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
            let width = u16::try_from(column.head.len()).unwrap_or(u16::MAX);
            let width = width.min(place.width);
            let x = match column.kind {
                Kind::Figure => place.right() - width,
                Kind::Name | Kind::Drawing => place.x,
            };
            let head = Rect {
                x,
                width,
                height: 1,
                ..place
            };
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
fn fit<R: Row>(width: u16, rows: &[&R]) -> Vec<(usize, u16)> {
    // One gap less than columns.
    let left = width + GAP;
    let mut fit = Fit {
        rows,
        left,
        taken: Vec::new(),
    };
    fit.take(0..=RANK_BEFORE_NAMES);
    fit.grow(Growth::Text, NAME_WIDTH_WANTED);
    fit.take(RANK_BEFORE_NAMES + 1..=u8::MAX);
    fit.grow(Growth::Text, NAME_WIDTH_MAX);
    fit.grow(Growth::All, u16::MAX);
    fit.taken
}

/// Columns that are being fitted.
struct Fit<'a, R> {
    rows: &'a [&'a R],
    /// How much room there is.
    left: u16,
    /// The places of the columns that have some, and how wide each is.
    taken: Vec<(usize, u16)>,
}

impl<R: Row> Fit<'_, R> {
    /// Takes the columns of these ranks that fit.
    fn take(&mut self, ranks: RangeInclusive<u8>) {
        let columns = R::COLUMNS.iter().enumerate();
        let mut ranked: Vec<_> = columns
            .filter(|(_, column)| ranks.contains(&column.rank))
            .collect();
        ranked.sort_by_key(|(_, column)| column.rank);
        for (index, column) in ranked {
            let wanted = column.width + GAP;
            if wanted <= self.left || column.rank == 0 {
                self.left = self.left.saturating_sub(wanted);
                self.taken.push((index, column.width));
            }
        }
        self.taken.sort_unstable();
    }

    /// Makes columns wider, as far as they want it and to `width_max` at most.
    fn grow(&mut self, growth: Growth, width_max: u16) {
        for (index, width) in &mut self.taken {
            let column = &R::COLUMNS[*index];
            if column.growth == growth {
                let wanted = match growth {
                    Growth::Text => longest(column, self.rows).min(width_max),
                    Growth::All | Growth::None => width_max,
                };
                let more = wanted.saturating_sub(*width).min(self.left);
                *width += more;
                self.left -= more;
            }
        }
    }
}

fn longest<R>(column: &Column<R>, rows: &[&R]) -> u16 {
    let widths = rows.iter().map(|row| match (column.value)(row) {
        Value::Text(text) => text.chars().count(),
        Value::Words(words) => words.chars().count(),
        _ => 0,
    });
    let longest = widths.max().unwrap_or_default();
    u16::try_from(longest).unwrap_or(u16::MAX)
}
