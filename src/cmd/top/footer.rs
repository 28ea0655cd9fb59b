//! The last line: what is shown of how many, and which keys there are.

use ratatui::layout::Rect;

use super::canvas::Canvas;
use super::state::{Mode, State};
use super::theme::Tone;
use super::view::Scope;

/// How many rows are shown, of how many.
#[derive(Clone, Copy, Debug)]
pub(super) struct Counts {
    pub(super) shown: usize,
    pub(super) all: usize,
}

/// Draws it.
pub(super) fn draw(canvas: &mut Canvas<'_>, line: Rect, (state, counts): (&State, Counts)) {
    if state.mode == Mode::Filter {
        let x = canvas.put((line.x, line.y), line.width, "filter /", Tone::Strong);
        let filter = format!("{}_", state.sheet().filter);
        let rest = line.right().saturating_sub(x);
        let x = canvas.put((x, line.y), rest, &filter, Tone::Strong);
        let rest = line.right().saturating_sub(x + 3);
        let hint = format!("{}   enter keeps, esc clears", of(counts));
        canvas.put((x + 3, line.y), rest, &hint, Tone::Dim);
        return;
    }
    let keys = match state.mode {
        Mode::Details(_) => "esc back  ? help  q quit",
        _ => "enter opens  / filter  s sort  ? help  q quit",
    };
    canvas.put_right(line, keys, Tone::Dim);
    let room = line
        .width
        .saturating_sub(u16::try_from(keys.len()).unwrap_or(u16::MAX) + 2);
    canvas.put((line.x, line.y), room, &shown(state, counts), Tone::Strong);
}

fn shown(state: &State, counts: Counts) -> String {
    let mut shown = of(counts);
    if let Some((scope, _)) = &state.scope {
        shown += &match scope {
            Scope::Core(core) => format!(", core {core}"),
            Scope::Topic(topic) => format!(", topic {topic}"),
        };
    }
    let sheet = state.sheet();
    if !sheet.filter.is_empty() {
        shown += &format!(", filter /{}", sheet.filter);
    }
    if sheet.is_reversed {
        shown += ", reversed";
    }
    shown
}

fn of(counts: Counts) -> String {
    match counts.shown == counts.all {
        true => format!("{} rows", counts.all),
        false => format!("{} of {} rows", counts.shown, counts.all),
    }
}
