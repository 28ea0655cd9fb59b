//! How far a run has come: what is kept of it after each round says so.

use std::fmt;

use anyhow::Result;
use serde::Serialize;

#[derive(Default, Serialize)]
pub struct Progress {
    /// Rounds that are there whole.
    pub rounds: usize,
    pub rounds_planned: usize,
    /// What went wrong in the one behind them, of which there may be a part.
    pub ended_early: Option<String>,
}

impl Progress {
    pub fn of_rounds(rounds_planned: usize) -> Self {
        Self {
            rounds_planned,
            ..Self::default()
        }
    }

    /// Notes how another round ended.
    pub fn note(&mut self, ended: &Result<()>) {
        match ended {
            Ok(()) => self.rounds += 1,
            Err(error) => self.ended_early = Some(format!("{error:#}")),
        }
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.rounds == self.rounds_planned {
            true => write!(f, "{} rounds", self.rounds)?,
            false => write!(f, "{} of {} rounds", self.rounds, self.rounds_planned)?,
        }
        match &self.ended_early {
            Some(error) => write!(f, " (**ended early**, in the next: {error})"),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_there_of_a_run_is_said() {
        let mut progress = Progress::of_rounds(2);
        progress.note(&Ok(()));
        assert_eq!(progress.to_string(), "1 of 2 rounds");
        progress.note(&Err(anyhow::anyhow!("no disk")));
        let said = "1 of 2 rounds (**ended early**, in the next: no disk)";
        assert_eq!(progress.to_string(), said);
        let mut whole = Progress::of_rounds(1);
        whole.note(&Ok(()));
        assert_eq!(whole.to_string(), "1 rounds");
    }
}
