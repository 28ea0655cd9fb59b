//! The top of the screen: which node it is, what it does, and what is wrong with it.

use ratatui::layout::Rect;

use super::canvas::{Canvas, Told, told};
use super::column::Value;
use super::picture::Picture;
use super::rates::number;
use super::state::State;
use super::theme::Tone;
use super::view::View;
use super::watched::{Away, Watched};
use super::{clock, figure};
use crate::output;

/// How many lines it has.
pub(super) const HEIGHT: u16 = 4;

/// Draws it on the first lines of `area`.
pub(super) fn draw(canvas: &mut Canvas<'_>, area: Rect, (watched, state): (&Watched, &State)) {
    let line = |index: u16| Rect {
        y: area.y + index,
        height: 1,
        ..area
    };
    let picture = &watched.picture;
    draw_title(canvas, line(0), (picture, state));
    canvas.put_told(line(1), &doings(picture));
    match &watched.away {
        Some(away) => draw_away(canvas, line(2), away),
        None => canvas.put_told(line(2), &holdings(picture)),
    }
    draw_tabs(canvas, line(3), state);
}

fn draw_title(canvas: &mut Canvas<'_>, line: Rect, (picture, state): (&Picture, &State)) {
    let time = clock::time_of_day(picture.time);
    let (right, tone) = match state.is_paused {
        true => (format!("paused at {time}"), Tone::Warn),
        false => (time, Tone::Plain),
    };
    canvas.put_right(line, &right, tone);
    let room = line
        .width
        .saturating_sub(u16::try_from(right.len()).unwrap_or(u16::MAX) + 2);
    let x = canvas.put((line.x, line.y), room, "corelog top", Tone::Strong) + 2;
    let room = room.saturating_sub(x - line.x);
    let x = canvas.put((x, line.y), room, &picture.admin, Tone::Plain) + 2;
    let width = (line.x + line.width).saturating_sub(x);
    let width = width.saturating_sub(u16::try_from(right.len()).unwrap_or(u16::MAX) + 2);
    canvas.put_told(Rect { x, width, ..line }, &names(picture));
}

fn names(picture: &Picture) -> Vec<Told> {
    let node = &picture.node;
    let up = clock::seconds_since(&node.started, picture.time);
    let plain = |figure: Told| Told {
        tone: Tone::Plain,
        ..figure
    };
    vec![
        plain(told("up", Value::Seconds(up).text(0))),
        plain(told("version", &*node.version)),
        plain(told("node", &*node.node)),
        plain(told("data", &*node.data_dir)),
    ]
}

/// What the node does, the most telling first.
pub(super) fn doings(picture: &Picture) -> Vec<Told> {
    let totals = &picture.totals;
    let value = |value: Value<'_>| value.text(0);
    let each = |value: Value<'_>| format!("{}/s", value.text(0));
    let busy = totals.busy_cores.map_or_else(
        || figure::NOTHING.to_owned(),
        |busy| format!("{busy:.1} of {}", picture.cores.len()),
    );
    let mut doings = vec![
        told("busy", busy),
        told("records", each(Value::Count(totals.records_per_s))),
        told("fsync p99", value(Value::Micros(totals.sync_p99_us))),
        told("in", each(Value::Bytes(totals.in_bytes_per_s))),
        told("out", each(Value::Bytes(totals.out_bytes_per_s))),
    ];
    if totals.errors_per_s.is_some_and(|errors| errors > 0.0) {
        doings.push(Told {
            tone: Tone::Warn,
            ..told("errors", each(Value::Count(totals.errors_per_s)))
        });
    }
    doings.push(told("fsync p50", value(Value::Micros(totals.sync_p50_us))));
    doings.push(told("connections", picture.connections.len().to_string()));
    doings
}

/// What the node has, what is wrong first.
pub(super) fn holdings(picture: &Picture) -> Vec<Told> {
    let states = &picture.totals.states;
    let counts: Vec<_> = states
        .iter()
        .map(|(state, count)| format!("{count} {state}"))
        .collect();
    let is_well = states.keys().all(|state| state == "ok");
    let partitions = match counts.is_empty() {
        true => "none".to_owned(),
        false => counts.join(", "),
    };
    let mut holdings = vec![Told {
        tone: if is_well { Tone::Good } else { Tone::Bad },
        ..told("partitions", partitions)
    }];
    if let Some(disk) = picture.node.disk {
        let share = number(disk.free_bytes) / number(disk.total_bytes.max(1));
        let free = figure::bytes(number(disk.free_bytes));
        holdings.push(Told {
            tone: if share < 0.05 {
                Tone::Bad
            } else {
                Tone::Strong
            },
            ..told("disk", format!("{free} free, {}", figure::share(share)))
        });
    }
    if let Some(bytes) = picture.node.resident_bytes {
        holdings.push(told("memory", figure::bytes(number(bytes))));
    }
    let shares = picture.node.quarantine.iter().flatten();
    let files: u64 = shares.map(|share| share.files).sum();
    if files > 0 {
        holdings.push(told("quarantined files", files.to_string()));
    }
    holdings
}

fn draw_away(canvas: &mut Canvas<'_>, line: Rect, away: &Away) {
    let since = clock::time_of_day(away.since);
    let text = format!(
        "unreachable since {since} ({}s): {}",
        away.for_s, away.cause
    );
    canvas.put(
        (line.x, line.y),
        line.width,
        &output::printable(&text),
        Tone::Bad,
    );
}

fn draw_tabs(canvas: &mut Canvas<'_>, line: Rect, state: &State) {
    let mut x = line.x;
    for (view, digit) in View::ALL.into_iter().zip(1..) {
        let label = format!(" {digit} {} ", view.title());
        let end = canvas.put(
            (x, line.y),
            line.right().saturating_sub(x),
            &label,
            Tone::Plain,
        );
        if view == state.view {
            let width = end - x;
            canvas.choose(Rect { x, width, ..line });
        }
        x = end;
    }
}
