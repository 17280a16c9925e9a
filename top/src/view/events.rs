//! Events, the latest at the bottom, with a mark where some are missing.

use monitor_client::text::plural;
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use super::fit;
use crate::{app::App, history::Entry, text::clock};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let Some(answers) = &app.answers else { return };
    if answers.events.is_none() {
        return super::not_served(frame, area, app);
    }
    let now = answers.varz.now.clone();
    let needle = app.filter.to_lowercase();
    let matches = |entry: &&Entry| match entry {
        Entry::Gap(_) => true,
        Entry::Event(event) => {
            needle.is_empty()
                || [&event.kind, &event.subject, &event.text]
                    .iter()
                    .any(|text| text.to_lowercase().contains(&needle))
        }
    };
    let shown = app.history.events.iter().filter(matches).count();
    app.clamp_cursor(shown);
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    // The cursor counts back from the latest event: new ones appear while the list is not scrolled.
    let height = usize::from(body.height);
    let back = app.cursor(shown).min(shown.saturating_sub(height));
    let filter = if needle.is_empty() {
        String::new()
    } else {
        format!(" with \"{}\"", app.filter)
    };
    let place = if back > 0 {
        format!(", {back} newer below")
    } else {
        String::new()
    };
    let heading = Line::styled(
        format!("{}{filter}{place}", plural(shown, "event")),
        app.theme.strong(),
    );
    let entries: Vec<_> = app.history.events.iter().filter(matches).collect();
    let end = shown - back;
    let lines = entries[end.saturating_sub(height)..end]
        .iter()
        .map(|entry| line(app, entry, &now, body.width));
    let lines: Vec<_> = lines.collect();
    frame.render_widget(heading, head);
    frame.render_widget(Paragraph::new(lines), body);
}

fn line<'a>(app: &App, entry: &Entry, now: &str, width: u16) -> Line<'a> {
    let theme = app.theme;
    match entry {
        Entry::Gap(missed) => Line::styled(
            format!(
                "── {} dropped before they were read ──",
                plural(missed, "event")
            ),
            theme.severity("warning"),
        ),
        Entry::Event(event) => {
            let time = clock(&event.time, now);
            let style = match event.kind.as_str() {
                "slow" | "auth.failed" | "auth.violation" | "storm" | "worker.stall"
                | "finding" => theme.severity("warning"),
                _ => theme.severity("info"),
            };
            let about = match event.subject.is_empty() || event.text.contains(&event.subject) {
                true => event.text.clone(),
                false => format!("{}: {}", event.subject, event.text),
            };
            let used = time.len() as u16 + 19;
            Line::from(vec![
                Span::styled(format!("{time} "), theme.dim()),
                Span::styled(format!("{:17} ", fit(&event.kind, 17)), style),
                Span::raw(fit(&about, width.saturating_sub(used).max(1))),
            ])
        }
    }
}
