//! How servers were started: their command lines and configuration files, as they were.

use std::fs;
use std::path::Path;

use serde::Serialize;

use crate::contender::Contender;

/// A command line, and the configuration files that belong to it, by their names. The folder that a server had is called
/// `FOLDER`; ports are those of the first turn.
#[derive(Serialize)]
pub struct Served {
    pub contender: &'static str,
    pub command: String,
    pub config_files: Vec<(&'static str, String)>,
}

impl Served {
    /// What `contender` is served by in `folder` just now, if it is.
    pub fn read(contender: &dyn Contender, folder: &Path) -> Option<Self> {
        let nameless = |text: &str| text.replace(&*folder.to_string_lossy(), "FOLDER");
        let read = |name: &'static str| {
            let text = fs::read_to_string(folder.join(name)).unwrap_or_default();
            (name, nameless(&text))
        };
        Some(Self {
            contender: contender.name(),
            command: nameless(&contender.process()?.line),
            config_files: contender.config_files().iter().copied().map(read).collect(),
        })
    }

    /// Whether `other` says the same but for ports.
    pub fn is_like(&self, other: &Self) -> bool {
        self.contender == other.contender && self.without_numbers() == other.without_numbers()
    }

    fn without_numbers(&self) -> Vec<String> {
        let files = self.config_files.iter().map(|(_, text)| text);
        let texts = [&self.command].into_iter().chain(files);
        let texts = texts.map(|text| text.replace(|c: char| c.is_ascii_digit(), ""));
        texts.collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_at_another_port_is_not_told_again() {
        let of = |command: &str, config: &str| Served {
            contender: "NATS JetStream",
            command: command.to_owned(),
            config_files: vec![("nats.conf", config.to_owned())],
        };
        let first = of(
            "nats-server",
            "listen: 127.0.0.1:4222\nsync_interval: always",
        );
        assert!(first.is_like(&of(
            "nats-server",
            "listen: 127.0.0.1:35001\nsync_interval: always"
        )));
        assert!(!first.is_like(&of("nats-server", "listen: 127.0.0.1:4222")));
    }
}
