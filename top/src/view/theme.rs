//! Colours. Each has a word or a position with the same meaning, so that nothing is lost without
//! colours.

use ratatui::style::{Color, Modifier, Style};

/// The styles.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    /// Whether colours are used.
    pub(crate) colours: bool,
}

impl Theme {
    /// According to `NO_COLOR` (<https://no-color.org>) and the type of terminal.
    pub(crate) fn from_environment() -> Self {
        let set = |name: &str| std::env::var_os(name).is_some_and(|value| !value.is_empty());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        Self {
            colours: !set("NO_COLOR") && !dumb,
        }
    }

    fn tone(self, colour: Color) -> Style {
        match self.colours {
            true => Style::new().fg(colour),
            false => Style::new(),
        }
    }

    /// The style of `critical`, `warning`, `info` or `ok`.
    pub(crate) fn severity(self, name: &str) -> Style {
        match name {
            "critical" => self.tone(Color::Red).add_modifier(Modifier::BOLD),
            "warning" => self.tone(Color::Yellow).add_modifier(Modifier::BOLD),
            "ok" => self.tone(Color::Green),
            _ => self.tone(Color::Cyan),
        }
    }

    /// The first series of a plot: incoming.
    pub(crate) fn first(self) -> Style {
        self.tone(Color::Cyan)
    }

    /// The second series of a plot: outgoing.
    pub(crate) fn second(self) -> Style {
        self.tone(Color::Magenta)
    }

    /// Less important.
    pub(crate) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings and important numbers.
    pub(crate) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The row of the cursor, the current tab.
    pub(crate) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
