//! The terminal: taken while the node is watched, given back however that ends.

use std::io;
use std::mem::ManuallyDrop;
use std::panic;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use nix::errno::Errno;
use nix::poll::PollTimeout;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::{DefaultTerminal, Terminal};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};
use tokio::sync::oneshot;

use super::poll;
use super::screen;
use super::state::{Asked, Rows, State};
use super::theme::Theme;
use super::watched::{self, Watched};
use crate::output::is_hung_up;

/// Shows a node until somebody quits or a signal asks to stop.
///
/// # Errors
/// If the terminal cannot be used, or nobody answers at first.
pub(super) async fn watch(
    node: (&str, Duration),
    state: State,
    theme: Theme,
) -> anyhow::Result<()> {
    let shown = show(node, state, theme).await;
    // What fails for want of a terminal fails for nobody.
    match is_hung_up(io::stdout(), PollTimeout::ZERO) {
        Ok(true) => Ok(()),
        _ => shown,
    }
}

async fn show(
    (admin, interval): (&str, Duration),
    mut state: State,
    theme: Theme,
) -> anyhow::Result<()> {
    // A wrong address is better told before the screen is taken.
    let mut watch = watched::begin(admin).await?;
    let mut stops = Stops::listen()?;
    let mut polls = poll::begin(admin.to_owned(), interval);
    let mut taken = Taken::take()?;
    let mut events = events()?;
    let mut gone = gone()?;
    // While it is paused, what was shown then.
    let mut held: Option<Box<Watched>> = None;
    loop {
        let shown = held.as_deref().unwrap_or(&watch.watched);
        let rows = taken.draw(theme, (shown, &mut state))?;
        tokio::select! {
            event = events.recv() => {
                let Some(event) = event else { break };
                if press(&mut state, &event?, &rows) == Asked::Quit {
                    break;
                }
                held = match (state.is_paused, held) {
                    (true, None) => Some(Box::new(watch.watched.clone())),
                    (true, held) => held,
                    (false, _) => None,
                };
            }
            Some(polled) = polls.recv() => watch.see(polled, Timestamp::now()),
            () = stops.asked() => break,
            _ = &mut gone => break,
        }
    }
    Ok(())
}

fn press(state: &mut State, event: &Event, rows: &Rows) -> Asked {
    match event {
        Event::Key(key) if key.kind != KeyEventKind::Release => state.press(*key, rows),
        // The next drawing asks how large the terminal is.
        _ => Asked::Nothing,
    }
}

/// What is typed, read on a thread of its own: it waits for the terminal, not for us.
fn events() -> anyhow::Result<Receiver<io::Result<Event>>> {
    const WAITING_MAX: usize = 64;
    let (tell, told) = mpsc::channel(WAITING_MAX);
    thread::Builder::new()
        .name("keys".to_owned())
        .spawn(move || {
            loop {
                let event = event::read();
                let is_last = event.is_err();
                if tell.blocking_send(event).is_err() || is_last {
                    break;
                }
            }
        })?;
    Ok(told)
}

/// Tells when the terminal is gone. Who reads keys would not notice and try for ever, and SIGHUP goes
/// only to those whose terminal it is.
fn gone() -> anyhow::Result<oneshot::Receiver<()>> {
    let (tell, told) = oneshot::channel();
    thread::Builder::new()
        .name("terminal".to_owned())
        .spawn(move || {
            while is_hung_up(io::stdout(), PollTimeout::NONE) == Err(Errno::EINTR) {}
            // Whoever listened may have left meanwhile.
            let _ = tell.send(());
        })?;
    Ok(told)
}

/// The signals that ask to stop; a terminal that is closed sends the last of them.
struct Stops([Signal; 3]);

impl Stops {
    fn listen() -> io::Result<Self> {
        Ok(Self([
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
            signal(SignalKind::hangup())?,
        ]))
    }

    async fn asked(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.0;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
        }
    }
}

/// The terminal while it is ours; dropped, it is as it was. That is done here and nowhere else: what
/// ratatui does when it is dropped panics where there is no terminal any more.
struct Taken(ManuallyDrop<DefaultTerminal>);

impl Taken {
    fn take() -> anyhow::Result<Self> {
        give_back_after_a_panic();
        let taken = take().inspect_err(|_| give_back());
        let terminal = taken.context("cannot use the terminal; --once does without one")?;
        Ok(Self(ManuallyDrop::new(terminal)))
    }

    fn draw(&mut self, theme: Theme, shown: (&Watched, &mut State)) -> anyhow::Result<Rows> {
        let mut rows = Rows::default();
        let drawn = self.0.draw(|frame| {
            rows = screen::draw(frame.buffer_mut(), theme, shown);
        });
        drawn.context("cannot draw on the terminal")?;
        Ok(rows)
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        give_back();
    }
}

fn take() -> io::Result<DefaultTerminal> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    Terminal::new(CrosstermBackend::new(io::stdout()))
}

/// A terminal that is gone needs nothing.
fn give_back() {
    let _ = disable_raw_mode();
    let _ = execute!(io::stdout(), LeaveAlternateScreen, Show);
}

/// A release ends with a panic, without dropping anything.
fn give_back_after_a_panic() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        give_back();
        hook(info);
    }));
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use serde_json::Value;

    use super::super::tests::watched;
    use super::super::view::View;
    use super::*;

    const NAME: &str = "cmd::top::terminal::tests::a_panic_gives_the_terminal_back";
    const ON_TERMINAL: &str = "CORELOG_TEST_ON_TERMINAL";

    /// This test calls itself on a terminal, and panics there while the screen is taken.
    #[test]
    fn a_panic_gives_the_terminal_back() {
        if std::env::var_os(ON_TERMINAL).is_some() {
            panic_on_terminal();
        }
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/python/terminal.py");
        let mut command = Command::new("python3");
        command
            .args([script, "80", "24", ""])
            .arg(std::env::current_exe().unwrap())
            .args(["--exact", NAME, "--nocapture"])
            .env(ON_TERMINAL, "1");
        let output = command.output().unwrap();
        let told: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(told["is_restored"], true, "it is raw no more");
        let drawn = told["drawn"].as_str().unwrap();
        let (screen, after) = drawn.split_once("\u{1b}[?1049l").unwrap();
        assert!(screen.contains("Partitions"), "{drawn:?}");
        let cursor = after.find("\u{1b}[?25h").unwrap();
        let message = after.find("while the screen is drawn").unwrap();
        assert!(
            cursor < message,
            "the screen is back, and what went wrong is on it"
        );
    }

    fn panic_on_terminal() -> ! {
        let watch = watched(2);
        let mut state = State::new(View::Cores, None, "");
        // In a release a panic drops nothing either.
        let mut taken = ManuallyDrop::new(Taken::take().unwrap());
        let shown = (&watch.watched, &mut state);
        taken.draw(Theme::new(true), shown).unwrap();
        panic!("while the screen is drawn");
    }
}
