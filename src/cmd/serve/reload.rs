//! What a running server takes over from a configuration that changed.

use corelog_node::Handle;

use super::fit;
use crate::config::{Change, Config, Key, Settings, Sources};
use crate::exit::sentence;
use crate::telemetry::Log;

/// What is needed to look at the configuration again.
pub(super) struct Reload {
    pub(super) sources: Sources,
    /// What holds now.
    pub(super) settings: Settings,
    pub(super) log: Log,
    pub(super) node: Handle,
}

impl Reload {
    /// Reads the file again: what can be changed is, what cannot is told, and a file that is wrong
    /// changes nothing. Says whether it was right, if it was read.
    pub(super) fn run(&mut self) -> Option<bool> {
        let path = self.sources.file()?;
        let file = path.display().to_string();
        // A pipe has said what it had to say, or keeps who reads it, and with that a stop, waiting.
        if path.metadata().is_ok_and(|found| !found.is_file()) {
            tracing::error!(%file, "the configuration is no file, and is read once: all stays as it was");
            return None;
        }
        let (later, config) = match self.read() {
            Ok(read) => read,
            Err(error) => {
                let error = sentence(&error);
                tracing::error!(%error, "the configuration is wrong: all stays as it was");
                return Some(false);
            }
        };
        let changes = self.settings.changes(&later);
        tracing::info!(%file, changed = changes.len(), "read the configuration again");
        for change in changes {
            self.take(&change, &later, &config);
        }
        Some(true)
    }

    fn read(&self) -> anyhow::Result<(Settings, Config)> {
        let settings = self.sources.decide(fit::faults)?;
        let config = settings.config()?;
        Ok((settings, config))
    }

    fn take(&mut self, change: &Change, later: &Settings, config: &Config) {
        let key = change.key.name();
        let from = change.from.as_deref().unwrap_or_default();
        let to = change.to.as_deref().unwrap_or_default();
        match change.key {
            Key::ScrubRate => self.node.set_scrub_rate(config.scrub_rate.bytes()),
            Key::TransferRate => self.node.set_transfer_rate(config.transfer_rate.bytes()),
            Key::Log => {
                if let Err(error) = self.log.set_filter(&config.log) {
                    tracing::error!(%error, "what is logged stays as it was");
                    return;
                }
            }
            _ => {
                tracing::warn!(
                    %key,
                    from,
                    to,
                    "changed in the configuration: takes effect with a restart"
                );
                return;
            }
        }
        self.settings.take(change.key, later);
        tracing::info!(%key, from, to, "changed a setting");
    }
}
