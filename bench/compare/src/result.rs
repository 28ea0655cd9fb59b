//! What was measured: all of it, as it is kept in `compare.json`.

use std::fmt;

use anyhow::{Result, bail};
use serde::Serialize;
use serde_json::Value;

use crate::contender::{Contender, Figures, Level};
use crate::progress::Progress;
use crate::raw::Limits;
use crate::served::Served;
use crate::workload::{Metric, Workload};

#[derive(Default, Serialize)]
pub struct Results {
    pub machine: Value,
    pub command: String,
    #[serde(flatten)]
    pub progress: Progress,
    pub is_quick: bool,
    pub contenders: Vec<Who>,
    /// How they were started, where that differs by more than ports.
    pub served: Vec<Served>,
    /// Those that are not installed, and what was missing.
    pub absent: Vec<(&'static str, String)>,
    pub workloads: Vec<Workload>,
    pub raw_commands: Vec<String>,
    /// For each round.
    pub raw: Vec<Limits>,
    pub noise: Vec<Value>,
    pub measured: Vec<Measured>,
    pub notes: Vec<Note>,
}

/// A contender, and what it was told.
#[derive(Serialize)]
pub struct Who {
    pub name: &'static str,
    pub version: String,
    pub accepted: String,
    pub durable: String,
    pub settings_accepted: String,
    pub settings_durable: String,
    /// What it is asked for when it is consumed from.
    pub asked: &'static str,
}

impl Who {
    pub fn of(contender: &dyn Contender, version: String) -> Self {
        let promise = |level| match contender.promise(level) {
            Ok(promise) => promise.to_owned(),
            Err(reason) => format!("none: {reason}"),
        };
        Self {
            name: contender.name(),
            version,
            accepted: promise(Level::Accepted),
            durable: promise(Level::Durable),
            settings_accepted: contender.settings(Level::Accepted),
            settings_durable: match contender.promise(Level::Durable) {
                Ok(_) => contender.settings(Level::Durable),
                Err(_) => contender.settings(Level::Accepted),
            },
            asked: contender.asked(),
        }
    }
}

/// Why a contender has no figure for a workload, or not in each round.
#[derive(PartialEq, Serialize)]
pub struct Note {
    pub contender: &'static str,
    pub workload: &'static str,
    pub reason: String,
    /// Whether it failed, and not only cannot do it.
    pub is_failure: bool,
}

/// A workload of one contender in one round.
#[derive(Serialize)]
pub struct Measured {
    pub round: usize,
    pub workload: &'static str,
    pub contender: &'static str,
    pub mib_per_s: f64,
    pub records_per_s: f64,
    pub server_cpu_s_per_gib: f64,
    pub resident_mib: f64,
    pub figures: Figures,
}

impl Measured {
    /// The round trip over the loopback without anything done to what is sent.
    pub fn of_echo(round: usize, workload: &'static str, figures: Figures) -> Self {
        Self {
            round,
            workload,
            contender: ECHO,
            mib_per_s: figures.mib_per_s(),
            records_per_s: figures.records_per_s(),
            server_cpu_s_per_gib: f64::NAN,
            resident_mib: f64::NAN,
            figures,
        }
    }

    pub fn value(&self, metric: Metric) -> f64 {
        match metric {
            Metric::MibPerS => self.mib_per_s,
            Metric::RecordsPerS => self.records_per_s,
            Metric::P50Us => self.figures.p50_us.unwrap_or(f64::NAN),
            Metric::ResidentMib => self.resident_mib,
        }
    }
}

impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let us = |us: Option<f64>| us.map_or("-".into(), |us| format!("{us:.0}"));
        write!(
            f,
            "{:16} {:18} {:8.0} MiB/s {:10.0} records/s, p50 {} p99 {} µs, {:.2} s/GiB, {:.0} MiB",
            self.workload,
            self.contender,
            self.mib_per_s,
            self.records_per_s,
            us(self.figures.p50_us),
            us(self.figures.p99_us),
            self.server_cpu_s_per_gib,
            self.resident_mib,
        )
    }
}

impl Results {
    /// Keeps how a contender was started, once.
    pub fn keep_served(&mut self, served: Served) {
        if !self.served.iter().any(|other| other.is_like(&served)) {
            self.served.push(served);
        }
    }

    /// Keeps a note of what a contender cannot do, once.
    pub fn note(&mut self, contender: &'static str, workload: &'static str, reason: String) {
        self.keep(Note {
            contender,
            workload,
            reason,
            is_failure: false,
        });
    }

    /// Keeps a note of what a contender failed in.
    pub fn fail(&mut self, contender: &'static str, workload: &'static str, reason: String) {
        self.keep(Note {
            contender,
            workload,
            reason,
            is_failure: true,
        });
    }

    fn keep(&mut self, note: Note) {
        if !self.notes.contains(&note) {
            self.notes.push(note);
        }
    }

    /// Checks that the node failed in nothing.
    ///
    /// # Errors
    /// What it failed in first: a run of it with that is none, whatever the figures say.
    pub fn check_ours(&self) -> Result<()> {
        let mut failed = self.notes.iter().filter(|note| note.is_failure);
        match failed.find(|note| note.contender.starts_with(OURS)) {
            Some(Note {
                contender,
                workload,
                reason,
                ..
            }) => bail!("{contender} failed in {workload}: {reason}"),
            None => Ok(()),
        }
    }

    /// The values of a contender in a workload, each with its round.
    pub fn values(
        &self,
        workload: &str,
        contender: &str,
        of: impl Fn(&Measured) -> f64,
    ) -> Vec<(usize, f64)> {
        let measured = self.measured.iter();
        let measured =
            measured.filter(|one| one.workload == workload && one.contender == contender);
        let values = measured.map(|one| (one.round, of(one)));
        values.filter(|(_, value)| value.is_finite()).collect()
    }

    /// The values of the first of what is ours that has any.
    pub fn ours(&self, workload: &str, of: impl Fn(&Measured) -> f64) -> Vec<(usize, f64)> {
        let names = self.contenders.iter().map(|who| who.name);
        let ours = names.filter(|name| name.starts_with(OURS));
        let mut ours = ours.map(|name| self.values(workload, name, &of));
        ours.find(|values| !values.is_empty()).unwrap_or_default()
    }
}

/// How what is ours is called, whoever its client is.
pub const OURS: &str = "Corelog";

/// What the bare round trip is called.
pub const ECHO: &str = "bare echo";

#[cfg(test)]
impl Who {
    /// One of whom nothing is known but how it is called.
    pub fn named(name: &'static str) -> Self {
        Self {
            name,
            version: String::new(),
            accepted: String::new(),
            durable: String::new(),
            settings_accepted: String::new(),
            settings_durable: String::new(),
            asked: "",
        }
    }
}

#[cfg(test)]
impl Measured {
    /// What nothing was measured of.
    pub fn nothing(workload: &'static str, contender: &'static str, round: usize) -> Self {
        Self {
            round,
            workload,
            contender,
            mib_per_s: f64::NAN,
            records_per_s: f64::NAN,
            server_cpu_s_per_gib: f64::NAN,
            resident_mib: f64::NAN,
            figures: Figures::default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_in_which_the_node_failed_is_none() {
        let mut results = Results::default();
        results.note("Corelog", "durable-one", "it cannot do that".to_owned());
        results.fail("Redis", "consume-cold", "it read nothing".to_owned());
        results.check_ours().unwrap();
        results.fail(
            "Corelog, its own client",
            "consume-cold",
            "a wrong number".to_owned(),
        );
        let error = results.check_ours().unwrap_err().to_string();
        assert!(error.contains("consume-cold: a wrong number"), "{error}");
    }
}
