//! Colours: the terminal's own sixteen, on its own background, so that dark and light both do.
//! Nothing is told by colour alone.

use ratatui::style::{Color, Modifier, Style};

/// How much of an eye a text wants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// As anything else.
    #[default]
    Plain,
    /// Less than that.
    Dim,
    /// A heading, a name.
    Strong,
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Worth getting up for.
    Bad,
    /// A drawing.
    Drawn,
}

/// Which styles there are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Theme {
    is_coloured: bool,
}

impl Theme {
    /// With colours, or by weight alone.
    pub(super) fn new(is_coloured: bool) -> Self {
        Self { is_coloured }
    }

    /// The style of a tone.
    pub(super) fn style(self, tone: Tone) -> Style {
        let style = Style::new();
        if !self.is_coloured {
            return match tone {
                Tone::Plain | Tone::Good | Tone::Drawn => style,
                Tone::Dim => style.add_modifier(Modifier::DIM),
                Tone::Strong | Tone::Warn => style.add_modifier(Modifier::BOLD),
                Tone::Bad => style.add_modifier(Modifier::BOLD | Modifier::UNDERLINED),
            };
        }
        match tone {
            Tone::Plain => style,
            Tone::Dim => style.add_modifier(Modifier::DIM),
            Tone::Strong => style.add_modifier(Modifier::BOLD),
            Tone::Good => style.fg(Color::Green),
            // Yellow cannot be read on white.
            Tone::Warn => style.fg(Color::Magenta),
            Tone::Bad => style.fg(Color::Red).add_modifier(Modifier::BOLD),
            Tone::Drawn => style.fg(Color::Cyan),
        }
    }

    /// What is chosen: fore and back change places, whatever they are.
    pub(super) fn chosen() -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
