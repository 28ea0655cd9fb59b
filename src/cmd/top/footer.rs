//! The last line: what is shown of how many, and which keys there are.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::state::{Mode, State};
use super::theme::Tone;

/// How much is shown, of how much.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown {
    /// So many rows, wherever they are scrolled to.
    Rows { shown: usize, all: usize },
    /// The lines of details from one to before another.
    Lines { from: usize, to: usize, all: usize },
}

/// Draws it.
pub(super) fn draw(canvas: &mut Canvas<'_>, line: Rect, (state, shown): (&State, Shown)) {
    if state.mode == Mode::Filter {
        let x = canvas.put((line.x, line.y), line.width, "filter /", Tone::Strong);
        let filter = format!("{}_", state.sheet().filter);
        let rest = line.right().saturating_sub(x);
        let x = canvas.put((x, line.y), rest, &filter, Tone::Strong);
        let rest = line.right().saturating_sub(x + 3);
        let hint = format!("{}   enter keeps, esc clears", of(shown));
        canvas.put((x + 3, line.y), rest, &hint, Tone::Dim);
        return;
    }
    let keys = match state.mode {
        Mode::Help => "any key goes back  q quit",
        Mode::Details(_) => "esc back  ? help  q quit",
        _ => "enter opens  / filter  s sort  ? help  q quit",
    };
    canvas.put_right(line, keys, Tone::Dim);
    let room = line
        .width
        .saturating_sub(u16::try_from(keys.len()).unwrap_or(u16::MAX) + 2);
    canvas.put((line.x, line.y), room, &told(state, shown), Tone::Strong);
}

fn told(state: &State, shown: Shown) -> String {
    let mut told = of(shown);
    if let Shown::Lines { .. } = shown {
        return told;
    }
    if let Some((scope, _)) = &state.scope {
        told += &format!(", {scope}");
    }
    let sheet = state.sheet();
    if !sheet.filter.is_empty() {
        told += &format!(", filter /{}", sheet.filter);
    }
    if sheet.is_reversed {
        told += ", reversed";
    }
    told
}

fn of(shown: Shown) -> String {
    match shown {
        Shown::Rows { shown: 1, all: 1 } => "1 row".to_owned(),
        Shown::Rows { shown, all } if shown == all => format!("{all} rows"),
        Shown::Rows { shown, all } => format!("{shown} of {all} rows"),
        Shown::Lines { from: 0, to, all } if to == all => String::new(),
        Shown::Lines { from, to, all } => format!("lines {} to {to} of {all}", from + 1),
    }
}
