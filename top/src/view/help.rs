//! The help view.

use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use crate::{app::App, sort::SORTS};

/// The keys and their effects.
const KEYS: &[(&str, &str)] = &[
    (
        "1-7 Tab",
        "views: overview, connections, incidents, load, routes, events, ceilings",
    ),
    (
        "↑↓ PgUp PgDn g G",
        "move; the finding or incident at the mark is shown in full",
    ),
    ("p", "pause the display; rates are still counted"),
    ("b", "numbers with all their digits"),
    ("q Ctrl-C", "quit"),
    ("", ""),
    ("/ Esc", "filter connections or events; remove the filter"),
    (
        "o  < >",
        "order connections by a key that you type, by the next key",
    ),
    ("r", "reverse the order"),
    ("c", "open, closed, both"),
    ("Enter Esc", "one connection in detail; back"),
    ("Space", "rates or totals"),
    ("n", "number of connections to request"),
    ("s  d", "subjects of connections; names of addresses (DNS)"),
    ("← →  w  < >", "in load: list, time, order"),
];

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let theme = app.theme;
    let mut lines: Vec<Line<'_>> = KEYS
        .iter()
        .map(|(keys, about)| {
            Line::from(vec![
                Span::styled(format!("{keys:17}"), theme.strong()),
                Span::raw(*about),
            ])
        })
        .collect();
    let orders: Vec<&str> = SORTS.iter().map(|sort| sort.name).collect();
    lines.push(Line::raw(""));
    lines.push(Line::from(vec![
        Span::styled("Orders           ", theme.strong()),
        Span::raw(orders.join(" ")),
    ]));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}
