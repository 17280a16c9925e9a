//! Slow consumer incidents, and one of them in detail: the queue over time, the cause with its
//! evidence, the subjects, the producers.

use monitor_client::{Incident, text::plural};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::{Paragraph, Sparkline, Wrap},
};

use super::table::{self, Column, number, stretched, words};
use crate::{
    app::App,
    text::{bytes, clock, duration, exact, percent},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let Some(answers) = &app.answers else { return };
    let Some(slowz) = &answers.slowz else {
        return match answers.varz.midge {
            Some(_) => super::note(frame, area, app, "Asking …"),
            None => super::not_served(frame, area, app),
        };
    };
    let (incidents, now) = (slowz.incidents.clone(), slowz.now.clone());
    let heading = format!(
        "{} since the start, {} kept",
        plural(slowz.total, "incident"),
        incidents.len()
    );
    if incidents.is_empty() {
        return super::note(
            frame,
            area,
            app,
            "No reader has fallen behind since the start.",
        );
    }
    app.clamp_cursor(incidents.len());
    let cursor = app.cursor(incidents.len());
    let list = (incidents.len() as u16 + 1).min(area.height.saturating_sub(1) / 2);
    let [head, list, detail] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(list),
        Constraint::Min(0),
    ])
    .areas(area);
    frame.render_widget(Line::styled(heading, app.theme.strong()), head);
    let theme = app.theme;
    let style = |incident: &Incident| match incident.state.as_str() {
        "ongoing" => theme.severity("critical"),
        "evicted" => theme.severity("warning"),
        _ => ratatui::style::Style::new(),
    };
    table::draw(
        frame,
        list,
        theme,
        &columns(&now),
        &incidents,
        Some(cursor),
        style,
    );
    draw_one(frame, detail, app, &incidents[cursor]);
}

/// The columns of the list, also used by the text report.
pub(crate) fn columns(now: &str) -> Vec<Column<'_, Incident>> {
    vec![
        words("STATE", 9, 0, |incident: &Incident| incident.state.clone()),
        stretched("WHO", 14, who),
        words("SINCE", 14, 1, |incident: &Incident| {
            clock(&incident.start, now)
        }),
        number("LASTED", 7, 0, |incident: &Incident| {
            duration(incident.duration)
        }),
        number("HIGHEST", 8, 0, |incident: &Incident| {
            bytes(incident.pending_max as f64)
        }),
        number("LOST", 7, 1, |incident: &Incident| {
            exact(incident.lost_msgs)
        }),
        words("CAUSE", 16, 0, |incident: &Incident| {
            incident.cause.replace('_', " ")
        }),
        words("ADDRESS", 21, 2, |incident: &Incident| {
            incident.address.clone()
        }),
        words("LIBRARY", 16, 3, |incident: &Incident| {
            incident.library.clone()
        }),
    ]
}

fn who(incident: &Incident) -> String {
    let names = [
        &incident.name,
        &incident.user,
        &incident.certificate,
        &incident.address,
    ];
    names
        .into_iter()
        .find(|name| !name.is_empty())
        .cloned()
        .unwrap_or_default()
}

fn draw_one(frame: &mut Frame<'_>, area: Rect, app: &App, incident: &Incident) {
    let theme = app.theme;
    let curve = if area.height >= 12 { 4 } else { 2 };
    let [head, plot, facts] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(curve),
        Constraint::Min(0),
    ])
    .areas(area);
    let heading = format!(
        "Bytes waiting for {} (cid {}), highest {}, {} of its limit",
        who(incident),
        incident.cid,
        bytes(incident.pending_max as f64),
        percent(incident.pending_max as f64, incident.limit as f64),
    );
    frame.render_widget(Line::styled(heading, theme.strong()), head);
    let data = resampled(incident, usize::from(plot.width));
    frame.render_widget(Sparkline::default().data(data).style(theme.second()), plot);
    let label = |name: &str| Span::styled(format!("{name:12}"), theme.dim());
    let list = |parts: Vec<String>| match parts.is_empty() {
        true => "-".to_owned(),
        false => parts.join(", "),
    };
    let subjects = incident.subjects.iter().take(5);
    let producers = incident.publishers.iter().take(5);
    let stalled = incident.stalled.iter().take(5);
    let lines = [
        ("why", incident.evidence.clone()),
        (
            "subjects",
            list(
                subjects
                    .map(|one| format!("{} {}", one.subject, bytes(one.bytes as f64)))
                    .collect(),
            ),
        ),
        (
            "fed by",
            list(
                producers
                    .map(|one| format!("{} {}", one.name, bytes(one.bytes as f64)))
                    .collect(),
            ),
        ),
        (
            "paused",
            list(
                stalled
                    .map(|one| format!("{} {}× {}", one.name, one.count, duration(one.seconds)))
                    .collect(),
            ),
        ),
        (
            "lost",
            format!(
                "{}, {}",
                plural(exact(incident.lost_msgs), "message"),
                bytes(incident.lost_bytes as f64)
            ),
        ),
        (
            "client",
            list(
                [
                    &incident.address,
                    &incident.user,
                    &incident.certificate,
                    &incident.library,
                ]
                .into_iter()
                .filter(|text| !text.is_empty())
                .cloned()
                .collect(),
            ),
        ),
    ];
    let lines = lines.map(|(name, text)| Line::from(vec![label(name), Span::raw(text)]));
    frame.render_widget(
        Paragraph::new(lines.to_vec()).wrap(Wrap { trim: true }),
        facts,
    );
}

/// The curve in `width` equal steps of time, since samples are not equidistant.
fn resampled(incident: &Incident, width: usize) -> Vec<u64> {
    let end = incident.duration.max(f64::MIN_POSITIVE);
    let mut samples = incident.curve.iter().peekable();
    let mut value = 0;
    (0..width)
        .map(|column| {
            let until = end * (column + 1) as f64 / width as f64;
            let mut highest = value;
            while let Some(sample) = samples.next_if(|sample| sample.after <= until) {
                value = sample.pending_bytes as u64;
                highest = highest.max(value);
            }
            highest
        })
        .collect()
}
