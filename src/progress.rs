//! How far something is that takes long: a bar on a terminal, else nothing.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressStyle};

/// A bar over so many bytes with rate and time left, on a terminal only, and only if it is known
/// how many they are.
pub(crate) fn bytes(total: Option<u64>) -> ProgressBar {
    let Some(total) = total.filter(|_| io::stderr().is_terminal()) else {
        return ProgressBar::hidden();
    };
    let template = "{wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(total).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
