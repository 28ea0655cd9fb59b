//! How far something is that takes long: bars on a terminal, else nothing.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use indicatif::{MultiProgress, ProgressBar, ProgressFinish, ProgressStyle};

/// A bar over so many bytes with rate and time left, on a terminal only, and only if it is known
/// how many they are.
pub(crate) fn bytes(total: Option<u64>) -> ProgressBar {
    let Some(total) = total.filter(|_| io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    styled(total, WHOLE)
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
        Self::of(MultiProgress::new())
    }

    fn of(all: MultiProgress) -> Self {
        // What is said of the whole has a line of its own: beside the bar it would be wrapped.
        let total = all.add(styled(0, &format!("{WHOLE}\n{{wide_msg}}")));
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
                let bar = styled(
                    part.bytes_total,
                    "{bar:20} {bytes}/{total_bytes}  {wide_msg}",
                );
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

/// How far, how fast, and how long still.
const WHOLE: &str = "{wide_bar} {bytes}/{total_bytes}  {bytes_per_sec}  {eta} left";

fn move_to(bar: &ProgressBar, part: &Part) {
    bar.set_length(part.bytes_total);
    bar.set_position(part.bytes_done);
    bar.set_message(part.name.clone());
}

fn styled(total: u64, template: &str) -> ProgressBar {
    let style = ProgressStyle::with_template(template);
    // One that an error leaves behind would claim to be at its end.
    ProgressBar::new(total)
        .with_finish(ProgressFinish::AndClear)
        .with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use indicatif::{ProgressDrawTarget, TermLike};

    use super::*;

    /// A terminal that remembers each line that was written to it.
    #[derive(Clone, Debug)]
    struct Screen {
        columns: u16,
        lines: Arc<Mutex<Vec<String>>>,
    }

    impl TermLike for Screen {
        fn width(&self) -> u16 {
            self.columns
        }

        fn move_cursor_up(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_down(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_right(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn move_cursor_left(&self, _: usize) -> io::Result<()> {
            Ok(())
        }

        fn write_line(&self, line: &str) -> io::Result<()> {
            self.write_str(line)
        }

        fn write_str(&self, line: &str) -> io::Result<()> {
            self.lines.lock().unwrap().push(line.to_owned());
            Ok(())
        }

        fn clear_line(&self) -> io::Result<()> {
            Ok(())
        }

        fn flush(&self) -> io::Result<()> {
            Ok(())
        }
    }

    /// The line of the whole was wrapped at 80 columns, each time that it was drawn.
    #[test]
    fn no_line_is_wider_than_the_terminal() {
        let part = |name: &str, bytes_done| Part {
            name: name.to_owned(),
            bytes_done,
            bytes_total: 1_400_000_000,
        };
        for columns in [80, 200] {
            let lines = Arc::default();
            let screen = Screen { columns, lines };
            let target = ProgressDrawTarget::term_like(Box::new(screen.clone()));
            let mut bars = Bars::of(MultiProgress::with_draw_target(target));
            let segment = part("7/14631294 from log-1.of-a.site-with-long.names:7400", 999);
            let whole = "0 of 16 segments, 14631294 records behind";
            bars.show(&part(whole, 400_000_000), &[segment]);
            bars.clear();
            let lines = screen.lines.lock().unwrap();
            for line in &*lines {
                assert!(line.chars().count() <= usize::from(columns), "{line}");
            }
            for said in [" left", whole, "7/14631294 from"] {
                assert!(lines.iter().any(|line| line.contains(said)), "{lines:?}");
            }
        }
    }
}
