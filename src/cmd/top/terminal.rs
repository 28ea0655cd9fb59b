//! The terminal: taken while the node is watched, given back however that ends.

use std::io;
use std::panic;
use std::thread;
use std::time::Duration;

use anyhow::Context as _;
use jiff::Timestamp;
use ratatui::DefaultTerminal;
use ratatui::crossterm::cursor::Show;
use ratatui::crossterm::event::{self, Event, KeyEventKind};
use ratatui::crossterm::execute;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc::{self, Receiver};

use super::poll;
use super::screen;
use super::state::{Asked, Rows, State};
use super::theme::Theme;
use super::watched::{Watch, Watched};

/// Shows a node until somebody quits or a signal asks to stop.
///
/// # Errors
/// If the terminal cannot be used, or the node does not answer at first.
pub(super) async fn watch(
    (admin, interval): (&str, Duration),
    mut state: State,
    theme: Theme,
) -> anyhow::Result<()> {
    // A wrong address is better told before the screen is taken.
    let mut watch = Watch::begin(admin, poll::ask(admin).await?);
    let mut stops = Stops::listen()?;
    let mut polls = poll::begin(admin.to_owned(), interval);
    let mut taken = Taken::take()?;
    let mut events = events()?;
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

/// The terminal while it is ours; dropped, it is as it was.
struct Taken(DefaultTerminal);

impl Taken {
    fn take() -> anyhow::Result<Self> {
        show_cursor_after_a_panic();
        let taken = ratatui::try_init().inspect_err(|_| drop(ratatui::try_restore()));
        let terminal = taken.context("cannot use the terminal; --once does without one")?;
        Ok(Self(terminal))
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
        // A terminal that is gone needs nothing.
        let _ = ratatui::try_restore();
        let _ = execute!(io::stdout(), Show);
    }
}

/// A release ends with a panic, without dropping anything: the hook that ratatui sets gives the
/// screen back, this one the cursor.
fn show_cursor_after_a_panic() {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        let _ = execute!(io::stdout(), Show);
        hook(info);
    }));
}
