//! What is seen: whole screens as text, compared with those in `pictures/`, and what keys make of
//! them. `CORELOG_DRAW=1` draws the pictures anew; then look at them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{KeyCode, KeyEvent};
use ratatui::layout::Rect;
use ratatui::style::{Color, Modifier};
use serde_json::{Value, json};

use super::poll::Poll;
use super::screen;
use super::state::{Asked, Mode, Rows, State};
use super::theme::Theme;
use super::told::Told;
use super::view::connection::Connection;
use super::view::copy::Copy;
use super::view::core::Core;
use super::view::partition::Partition;
use super::view::slow::Slow;
use super::view::topic::Topic;
use super::view::{Row, Scope, View};
use super::watched::Watch;

const LONG: &str =
    "a-topic-whose-name-is-so-long-that-no-terminal-of-eighty-columns-shows-all-of-it";

fn core(core: u64, second: u64) -> Value {
    // What it does goes up and down, so that the charts have a shape.
    let done: u64 = (0..=second).map(|s| (s * 37 + core * 11) % 50 + 10).sum();
    json!({
        "core": core,
        "address": format!("127.0.0.1:{}", 7401 + core),
        "partitions": 3 - core,
        "connections": 2,
        "in_flight_requests": 7,
        "parked_fetches": 4,
        "busy_ms": done * 15,
        "stalls": core,
        "unflushed_bytes": 70_000 * core,
        "appended_records": done * 1_000,
        "appended_bytes": done * 123_456,
        "fetched_bytes": done * 65_432,
        "flushes": done * 10,
        "requests": done * 200,
        "errors": if core == 1 { second * 3 } else { 0 },
        "sync_us": { "buckets": [[100, 0], [200, done * 9], [400, done], [null, 0]], "sum": 0 },
        "late_us": { "buckets": [[100, second * 90], [200, second * 10], [null, 0]], "sum": 0 },
    })
}

fn partition(topic: &str, partition: u64, grown: u64) -> Value {
    json!({
        "topic": topic,
        "partition": partition,
        "core": partition % 2,
        "state": "ok",
        "read_only": false,
        "damaged_ranges": 0,
        "role": "owner",
        "log_start": 0,
        "epoch": 0,
        "log_end": grown * 10,
        "durable": grown * 10,
        "high_watermark": grown * 10,
        "segments": 1 + grown / 1_000,
        "bytes": grown * 1_000,
    })
}

/// A node of two cores as it tells of itself in this second.
fn node(second: u64) -> Told {
    let mut late = partition("orders", 1, second * 4_000);
    late["role"] = json!("follower");
    late["source"] = json!("log2:7400");
    (late["lag_records"], late["lag_ms"]) = (json!(12_345), json!(4_200));
    let mut fenced = partition("orders", 2, 500);
    fenced["state"] = json!("fenced");
    let partitions = [
        partition("events", 0, second * 9_000),
        partition("events", 1, second * 100),
        partition("orders", 0, second * 7_000),
        late,
        fenced,
        partition(LONG, 0, second * 3),
    ];
    let topic = |name: &str, partitions: u64| {
        json!({
            "name": name, "id": "3f".repeat(16), "created": "2026-01-01T00:00:00.000Z",
            "policy": { "ack": "durable", "retention_age_ms": 604_800_000_u64, "segment_bytes": 134_217_728,
                "retention_hold": "replicated" },
            "partitions": partitions, "segments": 9, "bytes": second * 9_100_000,
        })
    };
    let connection = |id: u64, client: &str| {
        json!({
            "core": id % 2, "id": id, "peer": format!("10.0.0.{id}:50123"), "client": client,
            "since": "2026-01-01T11:58:00.000Z", "received_bytes": second * id * 300_000,
            "sent_bytes": second * 1_000, "in_flight_requests": id,
        })
    };
    let clone = json!({
        "topic": "orders", "partition": 1, "core": 1, "role": "follower", "state": "copying",
        "source": "log2:7400", "end": second * 4_000, "lag_records": 12_345, "lag_bytes": 1_234_567,
        "lag_ms": 4_200, "source_heard_ms": 150, "bytes_done": 300, "bytes_total": 400,
        "error": { "code": "SourceUnavailable", "message": "log3:7400 does not answer" },
    });
    let follower = json!({
        "topic": "events", "partition": 0, "node": "77".repeat(16), "address": "log3:7400",
        "copy": "a", "end": second * 89_000, "heard_ms": 80, "is_silent": false,
    });
    let slow = |offset: u64, sync_us: u64| {
        json!({
            "topic": "events", "partition": 0, "offset": offset, "records": 200,
            "answered_ms": 1_767_268_700_000_u64, "queue_us": 1_500, "group_us": 900,
            "sync_us": sync_us, "reply_us": 40,
        })
    };
    Told {
        node: read_node(second),
        topics: [topic("events", 2), topic("orders", 3), topic(LONG, 1)]
            .map(|one| serde_json::from_value(one).unwrap())
            .into(),
        partitions: partitions
            .map(|one| serde_json::from_value(one).unwrap())
            .into(),
        connections: [
            connection(1, "corelog 0.1.0"),
            connection(2, "a client\u{1b}[2J that writes escapes"),
            connection(3, ""),
        ]
        .map(|one| serde_json::from_value(one).unwrap())
        .into(),
        clones: vec![serde_json::from_value(clone).unwrap()],
        followers: vec![serde_json::from_value(follower).unwrap()],
        slowest: [slow(100, 40_000), slow(2_000, 90_000), slow(30_000, 9_000)]
            .map(|one| serde_json::from_value(one).unwrap())
            .into(),
    }
}

fn read_node(second: u64) -> super::told::Node {
    let told = json!({
        "node": "5f".repeat(16), "version": "0.1.0", "started": "2026-01-01T08:00:00.000Z",
        "data_dir": "/var/lib/corelog", "listen": "127.0.0.1:7400",
        "resident_bytes": 123_456_789,
        "disk": { "free_bytes": 45_000_000_000_u64, "total_bytes": 100_000_000_000_u64 },
        "quarantine": [{ "reason": "torn", "files": 2, "bytes": 4_096 }],
        "cores": [core(0, second), core(1, second)],
        // What this command does not know is no reason to fail.
        "colour": "blue",
    });
    serde_json::from_value(told).unwrap()
}

/// What it tells in this second.
fn poll(second: u64, at: Instant) -> Poll {
    let noon: Timestamp = "2026-01-01T12:00:00Z".parse().unwrap();
    Poll {
        told: node(second),
        at,
        time: noon + Duration::from_secs(second),
    }
}

/// A node that was watched for so many seconds.
pub(super) fn watched(seconds: u64) -> Watch {
    let begun = Instant::now();
    let at = |second: u64| poll(second, begun + Duration::from_secs(second));
    let mut watch = Watch::begin("log1:7399", at(0));
    (1..=seconds).for_each(|second| watch.see(Ok(at(second)), Timestamp::UNIX_EPOCH));
    watch
}

fn state(view: View) -> State {
    State::new(view, None, "")
}

/// A screen and the rows that keys move among.
fn drawn(watch: &Watch, state: &mut State, (width, height): (u16, u16)) -> (Buffer, Rows) {
    let mut buffer = Buffer::empty(Rect::new(0, 0, width, height));
    let rows = screen::draw(&mut buffer, Theme::new(true), (&watch.watched, state));
    (buffer, rows)
}

fn text(buffer: &Buffer) -> String {
    let width = usize::from(buffer.area.width);
    let lines = buffer.content().chunks(width).map(|line| {
        let line: String = line.iter().map(ratatui::buffer::Cell::symbol).collect();
        line.trim_end().to_owned() + "\n"
    });
    lines.collect()
}

fn check(name: &str, buffer: &Buffer) {
    let path = format!(
        "{}/src/cmd/top/pictures/{name}.txt",
        env!("CARGO_MANIFEST_DIR")
    );
    let seen = text(buffer);
    if std::env::var_os("CORELOG_DRAW").is_some() {
        std::fs::write(&path, &seen).unwrap();
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == seen, "{path} is not what is drawn:\n{seen}");
}

const SMALL: (u16, u16) = (80, 24);
const WIDE: (u16, u16) = (200, 60);
/// The line of a view's first row, from 0.
const FIRST_ROW: usize = 5;

#[test]
fn every_view_is_drawn_as_its_picture_shows() {
    let watch = watched(30);
    for view in View::ALL {
        let name = view.title().to_lowercase();
        let (small, _) = drawn(&watch, &mut state(view), SMALL);
        check(&format!("{name}-80x24"), &small);
        let (wide, _) = drawn(&watch, &mut state(view), WIDE);
        check(&format!("{name}-200x60"), &wide);
    }
}

/// Presses keys one after the other, each on what the one before made of the screen.
fn pressed(watch: &Watch, state: &mut State, keys: &[KeyCode]) -> Asked {
    let mut asked = Asked::Nothing;
    for key in keys {
        let (_, rows) = drawn(watch, state, SMALL);
        asked = state.press(KeyEvent::from(*key), &rows);
    }
    asked
}

fn typed(text: &str) -> Vec<KeyCode> {
    text.chars().map(KeyCode::Char).collect()
}

#[test]
fn details_help_and_a_node_that_is_away_are_drawn_as_their_pictures_show() {
    let mut watch = watched(30);
    let mut details = state(View::Partitions);
    pressed(&watch, &mut details, &[KeyCode::Enter]);
    check("details-80x24", &drawn(&watch, &mut details, SMALL).0);
    let mut help = state(View::Cores);
    pressed(&watch, &mut help, &typed("?"));
    check("help-80x24", &drawn(&watch, &mut help, SMALL).0);

    let then: Timestamp = "2026-01-01T12:00:31Z".parse().unwrap();
    watch.see(Err(anyhow::anyhow!("connection refused")), then);
    watch.see(
        Err(anyhow::anyhow!("no answer").context("cannot ask http://log1:7399/v1/node")),
        then + Duration::from_secs(9),
    );
    let (away, _) = drawn(&watch, &mut state(View::Cores), SMALL);
    check("away-80x24", &away);
    assert!(text(&away).contains("unreachable since 12:00:31Z (9s): no answer"));
    let (small, rows) = drawn(&watch, &mut state(View::Cores), (30, 5));
    assert_eq!(text(&small).trim(), "too small: 70x12 is the least");
    assert!(rows.keys.is_empty());
}

fn none(view: View) -> &'static str {
    match view {
        View::Cores => <Core as Row>::NONE,
        View::Topics => <Topic as Row>::NONE,
        View::Partitions => <Partition as Row>::NONE,
        View::Connections => <Connection as Row>::NONE,
        View::Clones => <Copy as Row>::NONE,
        View::Slowest => <Slow as Row>::NONE,
    }
}

#[test]
fn rows_that_are_filtered_away_are_told_with_the_way_back() {
    let watch = watched(2);
    let seen = |state: &mut State| text(&drawn(&watch, state, SMALL).0);
    let mut filtered = State::new(View::Topics, None, "zzz");
    let screen = seen(&mut filtered);
    assert!(
        screen.contains("none has `zzz` in its names; esc shows all"),
        "{screen}"
    );
    let mut scoped = state(View::Cores);
    pressed(&watch, &mut scoped, &[KeyCode::Enter]);
    let mut there = watched(2);
    there
        .watched
        .picture
        .partitions
        .retain(|one| one.told.core != 0);
    let screen = text(&drawn(&there, &mut scoped, SMALL).0);
    assert!(
        screen.contains("core 0 has none; esc goes back"),
        "{screen}"
    );
    pressed(&watch, &mut scoped, &typed("/zzz"));
    let screen = seen(&mut scoped);
    assert!(
        screen.contains("core 0 has none with `zzz` in its names; esc"),
        "{screen}"
    );
}

#[test]
fn a_node_that_has_nothing_is_drawn_too() {
    let poll = Poll {
        told: Told::default(),
        at: Instant::now(),
        time: Timestamp::UNIX_EPOCH,
    };
    let watch = Watch::begin("log1:7399", poll);
    for view in View::ALL {
        for size in [SMALL, WIDE, (1, 1), (70, 12)] {
            let mut state = state(view);
            let (screen, _) = drawn(&watch, &mut state, size);
            let is_told = text(&screen).contains(none(view));
            assert_eq!(is_told, size != (1, 1), "{view:?}");
            pressed(
                &watch,
                &mut state,
                &[KeyCode::Down, KeyCode::Enter, KeyCode::End],
            );
            assert_eq!(state.mode, Mode::List, "there is nothing to look at");
        }
    }
}

#[test]
fn a_node_that_was_restarted_has_no_rates_until_the_next_poll() {
    // Its counters are lower than they were, or higher already.
    for second in [1, 900] {
        let mut watch = watched(3);
        assert!(watch.watched.picture.totals.records_per_s.is_some());
        let mut again = poll(second, Instant::now() + Duration::from_secs(60));
        again.told.node.started = "2026-01-01T12:00:02.000Z".to_owned();
        watch.see(Ok(again), Timestamp::UNIX_EPOCH);
        let picture = &watch.watched.picture;
        assert!(picture.totals.records_per_s.is_none());
        assert!(picture.totals.sync_p99_us.is_none());
        assert!(picture.cores.iter().all(|core| core.busy.is_none()));
        let mut partitions = picture.partitions.iter();
        assert!(partitions.all(|one| one.records_per_s.is_none()));
    }
}

#[test]
fn counters_that_fell_have_no_rates_and_are_drawn_as_unknown() {
    let mut watch = watched(30);
    // An older node does not tell when it was started.
    watch.see(
        Ok(poll(1, Instant::now() + Duration::from_secs(60))),
        Timestamp::UNIX_EPOCH,
    );
    let totals = &watch.watched.picture.totals;
    assert_eq!((totals.records_per_s, totals.busy_cores), (None, None));
    for view in View::ALL {
        let (screen, _) = drawn(&watch, &mut state(view), WIDE);
        let screen = text(&screen);
        assert!(
            !screen.contains("NaN") && !screen.contains("inf"),
            "{screen}"
        );
        assert!(screen.contains("records -/s"), "{screen}");
    }
}

#[test]
fn a_topic_that_was_made_anew_has_no_rates_until_the_next_poll() {
    let mut watch = watched(2);
    let mut now = poll(3, Instant::now() + Duration::from_secs(60));
    now.told.topics[1].id = "anew".to_owned();
    watch.see(Ok(now), Timestamp::UNIX_EPOCH);
    let picture = &watch.watched.picture;
    let rates = |topic: &str| {
        let its = picture
            .partitions
            .iter()
            .filter(|one| one.told.topic == topic);
        its.map(|one| one.records_per_s.is_some())
            .collect::<Vec<_>>()
    };
    assert_eq!(rates("orders"), [false; 3]);
    assert_eq!(rates("events"), [true; 2]);
    let copies: Vec<_> = picture
        .copies
        .iter()
        .map(|one| (&*one.topic, one.records_per_s.is_some()))
        .collect();
    assert_eq!(copies, [("orders", false), ("events", true)]);
}

#[test]
fn what_retention_took_is_no_negative_rate() {
    let (before, mut now) = (node(1), node(2));
    now.partitions[0].log_start = Some(1_000);
    now.partitions[0].bytes = Some(1);
    let gap = super::rates::Gap::of(Duration::from_secs(1)).unwrap();
    let then = Some((&before.partitions[0], gap));
    let partition = Partition::of(&now.partitions[0], then, &[]);
    assert_eq!(partition.records_per_s, Some(90_000.0));
    assert_eq!(partition.bytes_per_s, None);
}

/// Where most comes in, retention takes something in each poll: the busiest partition was the last of its view, and its
/// topic had the bytes of the others as its own.
#[test]
fn a_partition_that_retention_takes_from_keeps_its_place_and_its_topic_has_no_part_of_a_sum() {
    let begun = Instant::now();
    let mut watch = Watch::begin("log1:7399", poll(2, begun));
    let mut now = poll(3, begun + Duration::from_secs(1));
    now.told.partitions[0].log_start = Some(1_000);
    watch.see(Ok(now), Timestamp::UNIX_EPOCH);
    let topic = |name: &str| {
        let mut topics = watch.watched.picture.topics.iter();
        let found = topics.find(|one| one.told.name == name).unwrap();
        (found.records_per_s.is_some(), found.bytes_per_s.is_some())
    };
    assert_eq!(topic("events"), (true, false));
    assert_eq!(topic("orders"), (true, true));
    let row = |view: View, number: usize| {
        let (screen, _) = drawn(&watch, &mut state(view), SMALL);
        let screen = text(&screen);
        let words = screen.lines().nth(FIRST_ROW + number).unwrap();
        words
            .split_whitespace()
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    assert_eq!(
        row(View::Partitions, 0)[..5],
        ["events", "0", "ok", "90.0k", "-"]
    );
    assert_eq!(
        row(View::Topics, 1)[..5],
        ["events", "2", "ok", "91.0k", "-"]
    );
}

#[test]
fn rows_are_sorted_filtered_and_turned_round() {
    let watch = watched(2);
    let keys = |state: &mut State| drawn(&watch, state, SMALL).1.keys;
    let mut state = state(View::Partitions);
    let by_rate = keys(&mut state);
    assert_eq!(by_rate[..3], ["events/0", "orders/0", "orders/1"]);
    pressed(&watch, &mut state, &typed("r"));
    assert_eq!(keys(&mut state)[0], "orders/2");
    pressed(&watch, &mut state, &typed("/ORDers"));
    assert_eq!(state.mode, Mode::Filter);
    pressed(
        &watch,
        &mut state,
        &[KeyCode::Backspace, KeyCode::Char('s'), KeyCode::Enter],
    );
    assert_eq!(keys(&mut state), ["orders/2", "orders/1", "orders/0"]);
    pressed(&watch, &mut state, &[KeyCode::Esc]);
    assert_eq!(keys(&mut state).len(), 6);

    let mut by_lag = State::new(View::Partitions, Some("lag"), "");
    assert_eq!(keys(&mut by_lag)[..2], ["orders/1", "events/0"]);
    let mut by_topic = State::new(View::Partitions, Some("topic"), "");
    assert!(keys(&mut by_topic)[0].starts_with(LONG));
    // From the last column on it begins again.
    let sorts = View::Partitions.sorts().len();
    let before = by_topic.sheet().sort;
    pressed(&watch, &mut by_topic, &vec![KeyCode::Char('s'); sorts]);
    assert_eq!(by_topic.sheet().sort, before);
    pressed(&watch, &mut by_topic, &typed("Ss"));
    assert_eq!(by_topic.sheet().sort, before);
}

#[test]
fn one_drills_down_and_comes_back() {
    let watch = watched(2);
    let mut state = state(View::Cores);
    pressed(&watch, &mut state, &[KeyCode::Down, KeyCode::Enter]);
    assert_eq!(state.view, View::Partitions);
    assert_eq!(state.scope, Some((Scope::Core(1), View::Cores)));
    let (_, rows) = drawn(&watch, &mut state, SMALL);
    assert_eq!(rows.keys, ["orders/1", "events/1"]);
    pressed(&watch, &mut state, &[KeyCode::Char('j'), KeyCode::Enter]);
    assert_eq!(state.mode, Mode::Details(0));
    let (screen, _) = drawn(&watch, &mut state, SMALL);
    assert!(text(&screen).contains("events/1"));
    pressed(&watch, &mut state, &[KeyCode::Esc, KeyCode::Esc]);
    assert_eq!((state.view, state.scope.as_ref()), (View::Cores, None));
    // One comes back to the row that one left.
    let (_, rows) = drawn(&watch, &mut state, SMALL);
    assert_eq!(state.place(&rows), 1);
    pressed(&watch, &mut state, &typed("2"));
    pressed(&watch, &mut state, &[KeyCode::Enter]);
    let scope = Scope::Topic("orders".to_owned());
    assert_eq!(state.scope, Some((scope, View::Topics)));
    pressed(
        &watch,
        &mut state,
        &[KeyCode::Tab, KeyCode::Tab, KeyCode::BackTab],
    );
    assert_eq!(
        (state.view, state.scope.as_ref()),
        (View::Connections, None)
    );
}

#[test]
fn the_chosen_row_is_followed_and_the_first_is_whichever_is_first() {
    let mut watch = watched(2);
    let mut state = state(View::Partitions);
    pressed(&watch, &mut state, &[KeyCode::Down]);
    assert_eq!(state.sheet().chosen.as_deref(), Some("orders/0"));
    watch.watched.picture.partitions[2].records_per_s = Some(1e12);
    let (_, rows) = drawn(&watch, &mut state, SMALL);
    assert_eq!(state.place(&rows), 0);
    // Its details say that it is gone, and not what another is.
    pressed(&watch, &mut state, &[KeyCode::Enter]);
    watch.watched.picture.partitions.remove(2);
    let (screen, _) = drawn(&watch, &mut state, SMALL);
    assert!(text(&screen).contains("it is gone"));
    pressed(
        &watch,
        &mut state,
        &[KeyCode::Esc, KeyCode::End, KeyCode::Home],
    );
    assert_eq!(state.sheet().chosen, None);
}

#[test]
fn keys_pause_help_and_quit() {
    let watch = watched(2);
    let mut state = state(View::Cores);
    pressed(&watch, &mut state, &typed("p"));
    assert!(state.is_paused);
    let (screen, _) = drawn(&watch, &mut state, SMALL);
    assert!(text(&screen).contains("paused at 12:00:02Z"));
    pressed(&watch, &mut state, &typed("p?"));
    assert_eq!((state.is_paused, state.mode), (false, Mode::Help));
    pressed(&watch, &mut state, &typed("x"));
    assert_eq!(state.mode, Mode::List);
    assert_eq!(pressed(&watch, &mut state, &typed("d")), Asked::Nothing);
    assert_eq!(state.mode, Mode::Details(0));
    // It goes down as far as there are lines.
    pressed(
        &watch,
        &mut state,
        &[KeyCode::PageDown, KeyCode::PageDown, KeyCode::Down],
    );
    let (screen, _) = drawn(&watch, &mut state, SMALL);
    assert_eq!(state.mode, Mode::Details(10));
    assert!(text(&screen).contains("lines 11 to 28 of 28"));
    assert_eq!(pressed(&watch, &mut state, &typed("q")), Asked::Quit);
    // While one types, q is a letter.
    pressed(&watch, &mut state, &[KeyCode::Esc]);
    assert_eq!(pressed(&watch, &mut state, &typed("/q")), Asked::Nothing);
    assert_eq!(state.sheet().filter, "q");
}

#[test]
fn of_thousands_of_partitions_those_that_are_seen_are_drawn() {
    let mut watch = watched(2);
    let one = watch.watched.picture.partitions[0].clone();
    let many = (0..10_000).map(|number| {
        let mut one = one.clone();
        one.told.partition = number;
        one
    });
    watch.watched.picture.partitions = many.collect();
    let mut state = state(View::Partitions);
    pressed(&watch, &mut state, &[KeyCode::End]);
    let (screen, rows) = drawn(&watch, &mut state, SMALL);
    assert_eq!((rows.keys.len(), rows.page), (10_000, 18));
    assert_eq!(state.sheet().top, 10_000 - 18);
    assert!(text(&screen).contains("10000 rows"));
    pressed(&watch, &mut state, &[KeyCode::PageUp]);
    assert_eq!(state.sheet().chosen.as_deref(), Some("events/9981"));
}

#[test]
fn without_colour_nothing_has_one() {
    let watch = watched(30);
    let colours = |theme: Theme| {
        let mut buffer = Buffer::empty(Rect::new(0, 0, 200, 60));
        screen::draw(
            &mut buffer,
            theme,
            (&watch.watched, &mut state(View::Partitions)),
        );
        let cells = buffer.content().iter();
        let has_background = cells.clone().any(|cell| cell.bg != Color::Reset);
        let is_bold = cells
            .clone()
            .any(|cell| cell.modifier.contains(Modifier::BOLD));
        assert!(!has_background && is_bold);
        cells.filter(|cell| cell.fg != Color::Reset).count()
    };
    assert!(colours(Theme::new(true)) > 0);
    assert_eq!(colours(Theme::new(false)), 0);
}
