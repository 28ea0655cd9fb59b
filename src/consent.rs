//! Asking before something is lost for good: on a terminal the person, elsewhere `--yes`.

use std::io::{self, BufRead as _, IsTerminal as _, Write as _};

use serde_json::json;

use crate::cli::Consent;
use crate::exit::{Exit, stop};
use crate::output::{Format, Out};

/// What a command that was asked to lose something does next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Go on.
    Do,
    /// `--dry-run`: what would go has been said; nothing changes.
    Leave,
}

/// Prints what a dry run would remove.
///
/// # Errors
/// If stdout cannot be written.
pub(crate) fn print_dry_run(format: Format, loss: Option<&str>) -> anyhow::Result<()> {
    let mut out = Out::new();
    match format {
        Format::Table => out.line(&format!("would remove {}", loss.unwrap_or("nothing")))?,
        Format::Json => out.json(&json!({ "dry_run": true, "would_remove": loss }))?,
    }
    out.flush()
}

/// Says what goes, and gets consent for it.
///
/// # Errors
/// Exit code 6 where the answer is no, or nobody can be asked.
pub(crate) fn ask(consent: Consent, format: Format, loss: &str) -> anyhow::Result<Decision> {
    if consent.dry_run {
        print_dry_run(format, Some(loss))?;
        return Ok(Decision::Leave);
    }
    ask_to(consent, &format!("removes {loss} for good"), "removed")
}

/// Gets consent for something that `does` says, after all of it was told; `--dry-run` is none.
///
/// # Errors
/// Exit code 6 where the answer is no, or nobody can be asked; it says that nothing was `done`.
pub(crate) fn ask_to(consent: Consent, does: &str, done: &str) -> anyhow::Result<Decision> {
    if consent.dry_run {
        return Ok(Decision::Leave);
    }
    if consent.yes {
        return Ok(Decision::Do);
    }
    if !io::stdin().is_terminal() || !io::stderr().is_terminal() {
        let message = format!("this {does}; say --yes, or --dry-run to see more");
        return Err(stop(Exit::Denied, message));
    }
    let mut stderr = io::stderr().lock();
    write!(stderr, "This {does}. Go on? [y/N] ")?;
    stderr.flush()?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer)?;
    match answer.trim() {
        "y" | "Y" | "yes" => Ok(Decision::Do),
        _ => Err(stop(Exit::Denied, format!("nothing was {done}"))),
    }
}
