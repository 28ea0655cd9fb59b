//! What an operator looks at, and what each key makes of it. No terminal is needed to know that.

use ratatui::crossterm::event::{KeyCode, KeyEvent, KeyModifiers};

use super::view::{Scope, View};

/// What is looked at.
#[derive(Clone, Debug)]
pub(super) struct State {
    pub(super) view: View,
    /// What the rows are narrowed to, and where one came from.
    pub(super) scope: Option<(Scope, View)>,
    pub(super) mode: Mode,
    pub(super) is_paused: bool,
    sheets: Vec<Sheet>,
}

/// What keys are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mode {
    /// Moving among rows.
    List,
    /// Typing a filter.
    Filter,
    /// Reading the details of the chosen row, from this line on.
    Details(usize),
    /// Reading what the keys do.
    Help,
}

/// How the rows of one view are shown.
#[derive(Clone, Debug)]
pub(super) struct Sheet {
    /// The column it is sorted by.
    pub(super) sort: usize,
    pub(super) is_reversed: bool,
    pub(super) filter: String,
    /// The key of the chosen row; none: the first, whichever it is.
    pub(super) chosen: Option<String>,
    /// The first row that is shown.
    pub(super) top: usize,
}

/// The rows as they are shown now.
#[derive(Clone, Debug, Default)]
pub(super) struct Rows {
    /// The key of each, in order.
    pub(super) keys: Vec<String>,
    /// What the chosen one leads to, if not to its details.
    pub(super) leads_to: Option<Scope>,
    /// How many fit.
    pub(super) page: usize,
}

/// What a key asks for beyond the state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked {
    Nothing,
    Quit,
}

impl State {
    /// What is looked at first, sorted by the column of this name where a view has it.
    pub(super) fn new(view: View, sort: Option<&str>, filter: &str) -> Self {
        Self {
            view,
            scope: None,
            mode: Mode::List,
            is_paused: false,
            sheets: View::ALL.map(|view| Sheet::new(view, sort, filter)).into(),
        }
    }

    /// How the rows of the view are shown.
    pub(super) fn sheet(&self) -> &Sheet {
        &self.sheets[self.view.index()]
    }

    /// The same, to be changed.
    pub(super) fn sheet_mut(&mut self) -> &mut Sheet {
        &mut self.sheets[self.view.index()]
    }

    /// Does what a key stands for.
    pub(super) fn press(&mut self, key: KeyEvent, rows: &Rows) -> Asked {
        let is_control = key.modifiers.contains(KeyModifiers::CONTROL);
        if is_control && key.code == KeyCode::Char('c') {
            return Asked::Quit;
        }
        match self.mode {
            Mode::Filter => self.press_in_filter(key.code, is_control),
            Mode::Help => match key.code {
                KeyCode::Char('q') => return Asked::Quit,
                _ => self.mode = Mode::List,
            },
            Mode::Details(line) => return self.press_in_details(key.code, line, rows),
            Mode::List => return self.press_in_list(key.code, rows),
        }
        Asked::Nothing
    }

    fn press_in_filter(&mut self, key: KeyCode, is_control: bool) {
        let filter = &mut self.sheet_mut().filter;
        match key {
            KeyCode::Char('u') if is_control => filter.clear(),
            KeyCode::Char(typed) if !is_control => filter.push(typed),
            KeyCode::Backspace => drop(filter.pop()),
            KeyCode::Enter => self.mode = Mode::List,
            KeyCode::Esc => {
                filter.clear();
                self.mode = Mode::List;
            }
            _ => {}
        }
    }

    fn press_in_details(&mut self, key: KeyCode, line: usize, rows: &Rows) -> Asked {
        match key {
            KeyCode::Esc | KeyCode::Enter | KeyCode::Char('d') | KeyCode::Left => {
                self.mode = Mode::List;
            }
            KeyCode::Down | KeyCode::Char('j') => self.mode = Mode::Details(line + 1),
            KeyCode::Up | KeyCode::Char('k') => {
                self.mode = Mode::Details(line.saturating_sub(1));
            }
            KeyCode::PageDown | KeyCode::Char(' ') => {
                self.mode = Mode::Details(line + rows.page.max(1));
            }
            KeyCode::PageUp => self.mode = Mode::Details(line.saturating_sub(rows.page.max(1))),
            KeyCode::Home | KeyCode::Char('g') => self.mode = Mode::Details(0),
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('?') => self.mode = Mode::Help,
            KeyCode::Char('q') => return Asked::Quit,
            _ => {}
        }
        Asked::Nothing
    }

    fn press_in_list(&mut self, key: KeyCode, rows: &Rows) -> Asked {
        match key {
            KeyCode::Char('q') => return Asked::Quit,
            KeyCode::Char('?') | KeyCode::Char('h') => self.mode = Mode::Help,
            KeyCode::Char('p') => self.is_paused = !self.is_paused,
            KeyCode::Char('/') => self.mode = Mode::Filter,
            KeyCode::Char('r') => {
                let sheet = self.sheet_mut();
                sheet.is_reversed = !sheet.is_reversed;
            }
            KeyCode::Char('s') | KeyCode::Right => self.sort_by_next(1),
            KeyCode::Char('S') | KeyCode::Left => self.sort_by_next(-1),
            KeyCode::Tab => self.turn(1),
            KeyCode::BackTab => self.turn(-1),
            KeyCode::Char(digit @ '1'..='9') => self.turn_to(digit),
            KeyCode::Enter => self.drill(rows),
            KeyCode::Char('d') if !rows.keys.is_empty() => self.detail(rows),
            KeyCode::Esc | KeyCode::Backspace => self.back(),
            _ => self.move_by_key(key, rows),
        }
        Asked::Nothing
    }

    fn move_by_key(&mut self, key: KeyCode, rows: &Rows) {
        let at = self.place(rows);
        let (page, last) = (rows.page.max(1), rows.keys.len().saturating_sub(1));
        let to = match key {
            KeyCode::Down | KeyCode::Char('j') => at + 1,
            KeyCode::Up | KeyCode::Char('k') => at.saturating_sub(1),
            KeyCode::PageDown | KeyCode::Char(' ') => at + page,
            KeyCode::PageUp => at.saturating_sub(page),
            KeyCode::End | KeyCode::Char('G') => last,
            KeyCode::Home | KeyCode::Char('g') => {
                // From here on the first row is chosen, whichever it is.
                self.sheet_mut().chosen = None;
                return;
            }
            _ => return,
        };
        self.sheet_mut().chosen = rows.keys.get(to.min(last)).cloned();
    }

    /// Which row is chosen: one that is gone has left its place to the first.
    pub(super) fn place(&self, rows: &Rows) -> usize {
        let chosen = self.sheet().chosen.as_ref();
        let place = chosen.and_then(|chosen| rows.keys.iter().position(|key| key == chosen));
        place.unwrap_or_default()
    }

    fn sort_by_next(&mut self, step: isize) {
        let sorts = self.view.sorts();
        let sheet = self.sheet_mut();
        let now = sorts.iter().position(|(index, _)| *index == sheet.sort);
        let next = turned(now.unwrap_or_default(), step, sorts.len());
        sheet.sort = sorts.get(next).map_or(0, |(index, _)| *index);
        sheet.is_reversed = false;
    }

    fn turn(&mut self, step: isize) {
        self.scope = None;
        self.view = View::ALL[turned(self.view.index(), step, View::ALL.len())];
    }

    fn turn_to(&mut self, digit: char) {
        let index = digit
            .to_digit(10)
            .and_then(|digit| (digit as usize).checked_sub(1));
        if let Some(view) = index.and_then(|index| View::ALL.get(index)) {
            self.scope = None;
            self.view = *view;
        }
    }

    fn drill(&mut self, rows: &Rows) {
        match &rows.leads_to {
            Some(scope) => {
                self.choose(rows);
                self.scope = Some((scope.clone(), self.view));
                self.view = View::Partitions;
                let sheet = self.sheet_mut();
                (sheet.chosen, sheet.top) = (None, 0);
            }
            None if !rows.keys.is_empty() => self.detail(rows),
            None => {}
        }
    }

    fn detail(&mut self, rows: &Rows) {
        self.choose(rows);
        self.mode = Mode::Details(0);
    }

    /// Holds on to the row that is chosen, wherever it goes.
    fn choose(&mut self, rows: &Rows) {
        let key = rows.keys.get(self.place(rows)).cloned();
        self.sheet_mut().chosen = key;
    }

    fn back(&mut self) {
        match self.scope.take() {
            Some((_, from)) => self.view = from,
            None => self.sheet_mut().filter.clear(),
        }
    }
}

impl Sheet {
    /// How the rows of a view are shown at first: sorted by the column of this name, if it has it.
    pub(super) fn new(view: View, sort: Option<&str>, filter: &str) -> Self {
        let mut sorts = view.sorts().into_iter();
        let named = sort.and_then(|sort| sorts.find(|(_, name)| name == sort));
        Self {
            sort: named.map_or_else(|| view.sort_at_first(), |(index, _)| index),
            is_reversed: false,
            filter: filter.to_owned(),
            chosen: None,
            top: 0,
        }
    }
}

/// The place that is `step` further in a circle of so many.
fn turned(place: usize, step: isize, count: usize) -> usize {
    let count = count.max(1);
    let step = step.rem_euclid(count.cast_signed()).cast_unsigned();
    (place + step) % count
}
