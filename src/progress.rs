//! How far something is that takes long: bars on a terminal, else nothing.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use indicatif::{MultiProgress, ProgressBar, ProgressStyle};

/// A bar over so many bytes with rate and time left, on a terminal only, and only if it is known
/// how many they are.
pub(crate) fn bytes(total: Option<u64>) -> ProgressBar {
    let Some(total) = total.filter(|_| io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    styled(
        total,
        "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}",
    )
}

/// Some of the bytes of a whole.
#[derive(Clone, Debug)]
pub(crate) struct Part {
    /// What they are, for people; bars of one name are one bar.
    pub(crate) name: String,
    pub(crate) bytes_done: u64,
    pub(crate) bytes_total: u64,
}

/// A bar for the whole, and above it one for each part that is on its way.
#[derive(Debug)]
pub(crate) struct Bars {
    all: MultiProgress,
    total: ProgressBar,
    parts: BTreeMap<String, ProgressBar>,
}

impl Bars {
    pub(crate) fn new() -> Self {
        let all = MultiProgress::new();
        let total = all.add(styled(
            0,
            "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}  {msg}",
        ));
        let parts = BTreeMap::new();
        Self { all, total, parts }
    }

    /// Shows how far the whole and its parts are; the bar of a part that is no longer told of goes.
    pub(crate) fn show(&mut self, total: &Part, parts: &[Part]) {
        self.parts.retain(|name, bar| {
            let is_told = parts.iter().any(|part| part.name == *name);
            if !is_told {
                bar.finish_and_clear();
            }
            is_told
        });
        for part in parts {
            let bar = self.parts.entry(part.name.clone()).or_insert_with(|| {
                let bar = styled(part.bytes_total, "{bar:20} {bytes}/{total_bytes}  {msg}");
                self.all.insert_before(&self.total, bar)
            });
            move_to(bar, part);
        }
        move_to(&self.total, total);
    }

    /// Writes a line above the bars.
    pub(crate) fn say(&self, line: &str) {
        // A closed stderr is no reason to fail.
        let _ = self.all.println(line);
    }

    /// Takes all bars away.
    pub(crate) fn clear(&mut self) {
        self.parts.values().for_each(ProgressBar::finish_and_clear);
        self.parts.clear();
        self.total.finish_and_clear();
    }
}

fn move_to(bar: &ProgressBar, part: &Part) {
    bar.set_length(part.bytes_total);
    bar.set_position(part.bytes_done);
    bar.set_message(part.name.clone());
}

fn styled(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
