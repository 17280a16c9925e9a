//! Resources with a limit: usage, time until the limit, largest holder; and memory by cause.

use monitor_client::{Ceiling, MemoryCause, MemoryHolder};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::Line,
};

use super::table::{self, Column, number, stretched, words};
use crate::{
    app::App,
    text::{NOTHING, bytes, duration, exact, percent, short},
};

/// Width of the usage bar.
const BAR: usize = 12;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let Some(answers) = &app.answers else { return };
    let Some(memz) = &answers.memz else {
        return super::not_served(frame, area, app);
    };
    let theme = app.theme;
    let style = |ceiling: &Ceiling| match urgency(ceiling) {
        Some(severity) => theme.severity(severity),
        None => Style::new(),
    };
    let [ceilings, head, below] = Layout::vertical([
        Constraint::Length(memz.ceilings.len() as u16 + 2),
        Constraint::Length(1),
        Constraint::Min(0),
    ])
    .areas(area);
    table::draw(
        frame,
        ceilings,
        theme,
        &columns(),
        &memz.ceilings,
        None,
        style,
    );
    let heading = format!(
        "Memory: {} resident, by cause and by holder",
        bytes(memz.resident as f64)
    );
    frame.render_widget(Line::styled(heading, theme.strong()), head);
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [left, right] = Layout::horizontal(halves).spacing(2).areas(below);
    let plain = |_: &MemoryCause| Style::new();
    table::draw(frame, left, theme, &causes(), &memz.causes, None, plain);
    table::draw(frame, right, theme, &holders(), &memz.holders, None, |_| {
        Style::new()
    });
}

/// Severity by usage (for validity periods, by the remaining time) and by the time until the limit
/// at the present growth.
fn urgency(ceiling: &Ceiling) -> Option<&'static str> {
    let remains = ceiling.limit - ceiling.used;
    let soon = |seconds: f64| ceiling.exhausted_in.is_some_and(|left| left < seconds);
    match ceiling.unit == "seconds" {
        true if remains < 7.0 * 86_400.0 => Some("critical"),
        true if remains < 30.0 * 86_400.0 => Some("warning"),
        true => None,
        false if ceiling.used >= 0.9 * ceiling.limit || soon(600.0) => Some("critical"),
        false if ceiling.used >= 0.75 * ceiling.limit || soon(86_400.0) => Some("warning"),
        false => None,
    }
}

/// The columns, also used by the text report.
pub(crate) fn columns<'a>() -> Vec<Column<'a, Ceiling>> {
    vec![
        words("CEILING", 14, 0, |ceiling: &Ceiling| ceiling.name.clone()),
        words("", BAR as u16, 1, bar),
        number("", 5, 0, |ceiling: &Ceiling| {
            percent(ceiling.used, ceiling.limit)
        }),
        number("USED", 9, 0, |ceiling: &Ceiling| {
            amount(ceiling, ceiling.used)
        }),
        number("LIMIT", 9, 0, |ceiling: &Ceiling| {
            amount(ceiling, ceiling.limit)
        }),
        number("REACHED IN", 10, 0, |ceiling: &Ceiling| {
            match ceiling.unit.as_str() {
                "seconds" => duration((ceiling.limit - ceiling.used).max(0.0)),
                _ => ceiling
                    .exhausted_in
                    .map_or_else(|| NOTHING.into(), duration),
            }
        }),
        number("GROWTH/S", 9, 2, |ceiling: &Ceiling| {
            amount(ceiling, ceiling.growth)
        }),
        stretched("HOLDER", 8, |ceiling: &Ceiling| ceiling.holder.clone()),
    ]
}

fn amount(ceiling: &Ceiling, value: f64) -> String {
    match ceiling.unit.as_str() {
        "bytes" => bytes(value),
        "seconds" => duration(value),
        _ => short(value),
    }
}

fn bar(ceiling: &Ceiling) -> String {
    let share = if ceiling.limit > 0.0 {
        ceiling.used / ceiling.limit
    } else {
        0.0
    };
    let filled = (share.clamp(0.0, 1.0) * BAR as f64).round() as usize;
    "█".repeat(filled) + &"░".repeat(BAR - filled)
}

fn causes<'a>() -> Vec<Column<'a, MemoryCause>> {
    vec![
        stretched("CAUSE", 10, |cause: &MemoryCause| {
            cause.cause.replace('_', " ")
        }),
        number("BYTES", 7, 0, |cause: &MemoryCause| {
            bytes(cause.bytes as f64)
        }),
        number("COUNT", 8, 1, |cause: &MemoryCause| exact(cause.count)),
    ]
}

fn holders<'a>() -> Vec<Column<'a, MemoryHolder>> {
    vec![
        number("CID", 6, 1, |holder: &MemoryHolder| holder.cid.to_string()),
        stretched("HOLDER", 10, |holder: &MemoryHolder| holder.name.clone()),
        number("WAITING", 7, 0, |holder: &MemoryHolder| {
            bytes(holder.pending_bytes as f64)
        }),
        number("SUBS", 6, 0, |holder: &MemoryHolder| {
            short(holder.subscriptions as f64)
        }),
    ]
}
