//! Colours, and what stands in for them: every meaning is also told by a word or
//! a place, so that nothing is lost without colours.

use ratatui::style::{Color, Modifier, Style};

/// How things look.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Theme {
    /// Whether colours are used.
    pub(crate) colours: bool,
}

impl Theme {
    /// By `NO_COLOR` (<https://no-color.org>) and the kind of terminal.
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

    /// By `critical`, `warning`, `info` or `ok`.
    pub(crate) fn severity(self, name: &str) -> Style {
        match name {
            "critical" => self.tone(Color::Red).add_modifier(Modifier::BOLD),
            "warning" => self.tone(Color::Yellow).add_modifier(Modifier::BOLD),
            "ok" => self.tone(Color::Green),
            _ => self.tone(Color::Cyan),
        }
    }

    /// First series of a plot: what comes in.
    pub(crate) fn first(self) -> Style {
        self.tone(Color::Cyan)
    }

    /// Second series of a plot: what goes out.
    pub(crate) fn second(self) -> Style {
        self.tone(Color::Magenta)
    }

    /// Less important.
    pub(crate) fn dim(self) -> Style {
        Style::new().add_modifier(Modifier::DIM)
    }

    /// Headings and figures that matter.
    pub(crate) fn strong(self) -> Style {
        Style::new().add_modifier(Modifier::BOLD)
    }

    /// The line of the cursor, the shown tab.
    pub(crate) fn chosen(self) -> Style {
        Style::new().add_modifier(Modifier::REVERSED)
    }
}
