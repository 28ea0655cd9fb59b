//! Writing on a screen: text in tones, cut where its room ends.

use ratatui::buffer::Buffer;
use ratatui::layout::Rect;
use ratatui::style::{Color, Style};
use ratatui::text::Span;

use super::theme::{Theme, Tone};

/// A screen that is being drawn.
pub(super) struct Canvas<'a> {
    pub(super) buffer: &'a mut Buffer,
    pub(super) theme: Theme,
}

/// A figure with its name, which stands as a whole or not at all.
pub(super) struct Told {
    pub(super) name: &'static str,
    pub(super) told: String,
    pub(super) tone: Tone,
}

/// A figure as it should be.
pub(super) fn told(name: &'static str, told: impl Into<String>) -> Told {
    Told {
        name,
        told: told.into(),
        tone: Tone::Strong,
    }
}

impl Canvas<'_> {
    /// Writes at most `width` columns of `text`, with an ellipsis where there was more, and says
    /// where it ends.
    pub(super) fn put(&mut self, (x, y): (u16, u16), width: u16, text: &str, tone: Tone) -> u16 {
        self.put_styled((x, y), width, text, self.theme.style(tone))
    }

    fn put_styled(&mut self, (x, y): (u16, u16), width: u16, text: &str, style: Style) -> u16 {
        if width == 0 || !self.buffer.area.contains((x, y).into()) {
            return x;
        }
        if Span::raw(text).width() <= usize::from(width) {
            return self.buffer.set_stringn(x, y, text, width.into(), style).0;
        }
        let kept = usize::from(width) - 1;
        let (end, _) = self.buffer.set_stringn(x, y, text, kept, style);
        self.buffer.set_stringn(end, y, "…", 1, style).0
    }

    /// Writes text that ends where `area` does.
    pub(super) fn put_right(&mut self, area: Rect, text: &str, tone: Tone) {
        let wide = u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX);
        let wide = wide.min(area.width);
        self.put((area.right() - wide, area.y), wide, text, tone);
    }

    /// Writes figures in one line, those that fit.
    pub(super) fn put_told(&mut self, line: Rect, figures: &[Told]) {
        const GAP: u16 = 2;
        let mut x = line.x;
        for figure in figures {
            let width = Span::raw(figure.name).width() + 1 + Span::raw(&figure.told).width();
            if usize::from(line.right().saturating_sub(x)) < width {
                continue;
            }
            x = self.put((x, line.y), line.width, figure.name, Tone::Dim) + 1;
            x = self.put((x, line.y), line.width, &figure.told, figure.tone) + GAP;
        }
    }

    /// Turns fore and back of an area round.
    pub(super) fn choose(&mut self, area: Rect) {
        // Turned round, a bar's colour would fill what the bar leaves empty.
        let is_drawn = |symbol: &str| {
            symbol
                .chars()
                .all(|c| matches!(c, ' ' | '\u{2580}'..='\u{259f}'))
        };
        for place in area.positions() {
            let cell = self.buffer.cell_mut(place);
            if let Some(cell) = cell.filter(|cell| is_drawn(cell.symbol())) {
                cell.set_fg(Color::Reset);
            }
        }
        self.buffer.set_style(area, Theme::chosen());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_bar_leaves_empty_has_no_colour_in_a_chosen_row() {
        let area = Rect::new(0, 0, 6, 1);
        let mut buffer = Buffer::empty(area);
        let mut canvas = Canvas {
            buffer: &mut buffer,
            theme: Theme::new(true),
        };
        canvas.put_styled(
            (0, 0),
            6,
            "a\u{2588}\u{258f}   ",
            Style::new().fg(Color::Cyan),
        );
        canvas.choose(area);
        let colours: Vec<_> = buffer.content().iter().map(|cell| cell.fg).collect();
        assert_eq!(colours[0], Color::Cyan, "words keep theirs");
        assert_eq!(colours[1..], [Color::Reset; 5]);
    }
}
