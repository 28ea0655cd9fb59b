//! The whole screen, drawn of what is known and what is looked at.
//!
//! ```text
//! header   which node, what it does and has, the views
//! body     the rows of a view, or the details of one, or what the keys do
//! strip    charts of the last polls, where there is room
//! footer   what is shown, the keys
//! ```

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::widgets::{Clear, Widget as _};

use super::canvas::Canvas;
use super::footer::{self, Shown};
use super::list::list;
use super::picture::Picture;
use super::state::{Mode, Rows, Sheet, State};
use super::table::Table;
use super::theme::{Theme, Tone};
use super::view::{Row, View};
use super::watched::Watched;
use super::{header, help, strip};
use crate::output;

/// Below this, figures would be cut.
const WIDTH_MIN: u16 = 70;
const HEIGHT_MIN: u16 = 12;

/// From this on there is room for charts.
const CHARTS_WIDTH_MIN: u16 = 120;
const CHARTS_HEIGHT_MIN: u16 = 36;

/// Draws all of it, and says which rows keys move among.
pub(super) fn draw(
    buffer: &mut Buffer,
    theme: Theme,
    (watched, state): (&Watched, &mut State),
) -> Rows {
    let area = buffer.area;
    let mut canvas = Canvas { buffer, theme };
    if area.width < WIDTH_MIN || area.height < HEIGHT_MIN {
        let text = format!("too small: {WIDTH_MIN}x{HEIGHT_MIN} is the least");
        canvas.put((area.x, area.y), area.width, &text, Tone::Plain);
        return Rows::default();
    }
    header::draw(&mut canvas, area, (watched, &*state));
    let mut body = Rect {
        y: area.y + header::HEIGHT,
        height: area.height - header::HEIGHT - 1,
        ..area
    };
    let has_charts = CHARTS_WIDTH_MIN <= area.width && CHARTS_HEIGHT_MIN <= area.height;
    if has_charts {
        body.height -= strip::HEIGHT + 1;
        let charts = Rect {
            y: body.bottom() + 1,
            height: strip::HEIGHT,
            ..area
        };
        strip::draw(&mut canvas, charts, &watched.history);
    }
    let picture = &watched.picture;
    let (rows, shown) = match state.view {
        View::Cores => draw_rows(&mut canvas, body, (picture, &mut *state), &picture.cores),
        View::Topics => draw_rows(&mut canvas, body, (picture, &mut *state), &picture.topics),
        View::Partitions => draw_rows(
            &mut canvas,
            body,
            (picture, &mut *state),
            &picture.partitions,
        ),
        View::Connections => draw_rows(
            &mut canvas,
            body,
            (picture, &mut *state),
            &picture.connections,
        ),
        View::Clones => draw_rows(&mut canvas, body, (picture, &mut *state), &picture.copies),
        View::Slowest => draw_rows(&mut canvas, body, (picture, &mut *state), &picture.slowest),
    };
    if state.mode == Mode::Help {
        clear(&mut canvas, body);
        help::draw(&mut canvas, body);
    }
    let line = Rect {
        y: area.bottom() - 1,
        height: 1,
        ..area
    };
    footer::draw(&mut canvas, line, (&*state, shown));
    rows
}

/// Draws the rows of a view or the details of one, and says which rows there are, and how much of
/// all is shown.
fn draw_rows<R: Row>(
    canvas: &mut Canvas<'_>,
    body: Rect,
    (picture, state): (&Picture, &mut State),
    rows: &[R],
) -> (Rows, Shown) {
    let scope = state.scope.as_ref().map(|(scope, _)| scope);
    let listed = list(rows, state.sheet(), scope);
    let mut told = Rows {
        keys: listed.iter().map(|row| row.key()).collect(),
        leads_to: None,
        page: usize::from(body.height.saturating_sub(1)),
    };
    let chosen = state.place(&told);
    told.leads_to = listed.get(chosen).and_then(|row| row.leads_to());
    if let Mode::Details(line) = state.mode {
        let row = listed_as(&listed, state);
        let (from, shown) = draw_details(canvas, body, (picture, line), row);
        state.mode = Mode::Details(from);
        return (told, shown);
    }
    let (shown, all) = (listed.len(), rows.len());
    let sheet = state.sheet_mut();
    sheet.top = scrolled(sheet.top, chosen, (told.page, listed.len()));
    let table = Table {
        rows: &listed,
        top: sheet.top,
        chosen: Some(chosen),
        sort: sheet.sort,
    };
    let wanted = u16::try_from(listed.len())
        .unwrap_or(u16::MAX)
        .saturating_add(1);
    let place = Rect {
        height: body.height.min(wanted.max(2)),
        ..body
    };
    table.draw(canvas, place);
    if listed.is_empty() {
        draw_none(canvas, body, (&*state, rows.is_empty().then_some(R::NONE)));
    }
    if state.view == View::Cores {
        draw_slowest(canvas, below(body, place), picture);
    }
    (told, Shown::Rows { shown, all })
}

/// Why no row is shown, below the headings; `none` says it if there is none at all.
fn draw_none(canvas: &mut Canvas<'_>, place: Rect, (state, none): (&State, Option<&str>)) {
    let filter = &state.sheet().filter;
    let text = match (none, &state.scope) {
        (Some(none), _) => none.to_owned(),
        (None, Some((scope, _))) if filter.is_empty() => format!("{scope} has none; esc goes back"),
        (None, Some((scope, _))) => {
            format!("{scope} has none with `{filter}` in its names; esc goes back")
        }
        (None, None) => format!("none has `{filter}` in its names; esc shows all"),
    };
    let text = output::printable(&text);
    canvas.put((place.x, place.y + 1), place.width, &text, Tone::Plain);
}

/// The row that was chosen for its details, if it is still there.
fn listed_as<'a, R: Row>(listed: &[&'a R], state: &State) -> Option<&'a R> {
    let chosen = state.sheet().chosen.as_ref()?;
    listed.iter().find(|row| row.key() == *chosen).copied()
}

/// Draws the details of a row from a line on, the last at most, and says which that is and how much
/// that shows.
fn draw_details<R: Row>(
    canvas: &mut Canvas<'_>,
    body: Rect,
    (picture, from): (&Picture, usize),
    row: Option<&R>,
) -> (usize, Shown) {
    const NAME_WIDTH: u16 = 24;
    let Some(row) = row else {
        canvas.put((body.x, body.y + 1), body.width, "it is gone", Tone::Warn);
        let (from, to, all) = (0, 1, 1);
        return (from, Shown::Lines { from, to, all });
    };
    let width = body.width.saturating_sub(NAME_WIDTH + 2);
    let facts = row.facts(picture);
    let lines = facts.iter().flat_map(|fact| fact.lines(width.into()));
    let lines: Vec<_> = lines.collect();
    // A line is left free below the tabs.
    let page = usize::from(body.height - 1);
    let from = from.min(lines.len().saturating_sub(page));
    for (line, y) in lines.iter().skip(from).zip(body.y + 1..body.bottom()) {
        canvas.put((body.x + 1, y), NAME_WIDTH, &line.name, Tone::Dim);
        canvas.put((body.x + 1 + NAME_WIDTH, y), width, &line.told, line.tone);
    }
    let (to, all) = (lines.len().min(from + page), lines.len());
    (from, Shown::Lines { from, to, all })
}

/// The slowest acknowledgements below the cores, where there is room for some.
fn draw_slowest(canvas: &mut Canvas<'_>, area: Rect, picture: &Picture) {
    const LINES_MIN: u16 = 5;
    if area.height < LINES_MIN || picture.slowest.is_empty() {
        return;
    }
    let title = "slowest acknowledgements of the last hour";
    canvas.put((area.x, area.y + 1), area.width, title, Tone::Strong);
    let sheet = Sheet::new(View::Slowest, None, "");
    let table = Table {
        rows: &list(&picture.slowest, &sheet, None),
        top: 0,
        chosen: None,
        sort: sheet.sort,
    };
    let table_area = Rect {
        y: area.y + 2,
        height: area.height - 2,
        ..area
    };
    table.draw(canvas, table_area);
}

/// What of `body` lies below `place`.
fn below(body: Rect, place: Rect) -> Rect {
    Rect {
        y: place.bottom(),
        height: body.height - place.height,
        ..body
    }
}

/// The first row to show, so that the chosen one is seen and no line is left empty for nothing.
fn scrolled(top: usize, chosen: usize, (page, count): (usize, usize)) -> usize {
    let page = page.max(1);
    let least = (chosen + 1).saturating_sub(page);
    let most = chosen.min(count.saturating_sub(page));
    top.clamp(least, most.max(least))
}

fn clear(canvas: &mut Canvas<'_>, area: Rect) {
    Clear.render(area, canvas.buffer);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_row_is_always_seen() {
        assert_eq!(scrolled(0, 0, (10, 100)), 0);
        assert_eq!(scrolled(0, 10, (10, 100)), 1);
        assert_eq!(scrolled(50, 20, (10, 100)), 20);
        assert_eq!(scrolled(50, 55, (10, 100)), 50);
        assert_eq!(scrolled(95, 99, (10, 100)), 90);
        assert_eq!(scrolled(5, 3, (10, 4)), 0);
        assert_eq!(scrolled(7, 0, (0, 0)), 0);
    }
}
