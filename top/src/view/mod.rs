//! The views and the layout of the screen. Everything is drawn from the [`App`] alone.

pub(crate) mod ceilings;
pub(crate) mod connections;
mod events;
mod help;
pub(crate) mod incidents;
pub(crate) mod load;
pub(crate) mod overview;
pub(crate) mod routes;
pub(crate) mod table;
pub(crate) mod theme;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::{Line, Span},
    widgets::Paragraph,
};

use crate::{
    app::{App, Input},
    text::{age, duration, parse_time},
};
use monitor_client::Finding;
pub(crate) use table::fit;

/// The views, in the order of their keys.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum View {
    Overview,
    Connections,
    Incidents,
    Load,
    Routes,
    Events,
    Ceilings,
}

impl View {
    /// All views.
    pub(crate) const ALL: [Self; 7] = [
        Self::Overview,
        Self::Connections,
        Self::Incidents,
        Self::Load,
        Self::Routes,
        Self::Events,
        Self::Ceilings,
    ];

    /// The name on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Connections => "connections",
            Self::Incidents => "incidents",
            Self::Load => "load",
            Self::Routes => "routes",
            Self::Events => "events",
            Self::Ceilings => "ceilings",
        }
    }

    /// The view `by` positions further, wrapping around.
    pub(crate) fn neighbour(self, by: usize) -> Self {
        Self::ALL[(self as usize + by) % Self::ALL.len()]
    }

    fn keys(self) -> &'static str {
        match self {
            Self::Overview => "↑↓ finding",
            Self::Connections => "/ filter  o order  <> next  r reverse  c closed  Enter all of it",
            Self::Incidents => "↑↓ incident",
            Self::Load => "←→ list  w window  <> order",
            Self::Routes => "↑↓ route",
            Self::Events => "/ filter  ↑↓ older, newer",
            Self::Ceilings => "",
        }
    }
}

/// Draws the whole screen.
pub(crate) fn draw(frame: &mut Frame<'_>, app: &mut App) {
    let [head, tabs, content, foot] = Layout::vertical([
        Constraint::Length(1),
        Constraint::Length(1),
        Constraint::Min(0),
        Constraint::Length(1),
    ])
    .areas(frame.area());
    draw_head(frame, head, app);
    draw_tabs(frame, tabs, app);
    draw_foot(frame, foot, app);
    if app.help {
        return help::draw(frame, content, app);
    }
    if app.answers.is_none() {
        let text = match &app.failure {
            Some((text, _)) => format!("No answer yet. Trying again.\n\n{text}"),
            None => format!("Asking {} …", app.place),
        };
        let text = Paragraph::new(text).wrap(ratatui::widgets::Wrap { trim: true });
        return frame.render_widget(text, content);
    }
    match app.view {
        View::Overview => overview::draw(frame, content, app),
        View::Connections => connections::draw(frame, content, app),
        View::Incidents => incidents::draw(frame, content, app),
        View::Load => load::draw(frame, content, app),
        View::Routes => routes::draw(frame, content, app),
        View::Events => events::draw(frame, content, app),
        View::Ceilings => ceilings::draw(frame, content, app),
    }
}

/// The broker, and its status on the right.
fn draw_head(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let theme = app.theme;
    let (status, style) = status(app);
    let width = Span::raw(&status).width() as u16;
    let [left, right] = Layout::horizontal([
        Constraint::Min(0),
        Constraint::Length(width.min(area.width)),
    ])
    .areas(area);
    frame.render_widget(Span::styled(status, style), right);
    let Some(answers) = &app.answers else {
        return frame.render_widget(Span::styled("midge top", theme.strong()), left);
    };
    let varz = &answers.varz;
    let product = match &varz.midge {
        Some(version) => format!("midge {version}"),
        None => format!("nats-server {}", varz.version),
    };
    let up = parse_time(&varz.now)
        .zip(parse_time(&varz.start))
        .map_or_else(
            || varz.uptime.clone(),
            |(now, start)| duration((now - start).num_milliseconds() as f64 / 1000.0),
        );
    let about = format!(" {product}, up {up}");
    // The name is shortened first: the beginning of an id is enough.
    let name_width = left
        .width
        .saturating_sub(Span::raw(&about).width() as u16 + 1);
    let line = Line::from(vec![
        Span::styled(fit(&varz.server_name, name_width.max(8)), theme.strong()),
        Span::raw(about),
    ]);
    frame.render_widget(line, left);
}

fn status(app: &App) -> (String, ratatui::style::Style) {
    let theme = app.theme;
    if let Some((_, since)) = &app.failure {
        let text = format!(
            " NO ANSWER for {} ",
            duration(since.elapsed().as_secs_f64())
        );
        return (text, theme.severity("critical").patch(theme.chosen()));
    }
    let Some(answers) = &app.answers else {
        return (String::new(), theme.dim());
    };
    let clock = parse_time(&answers.varz.now)
        .map_or_else(String::new, |now| now.format("%H:%M:%S UTC").to_string());
    let paused = if app.paused { " PAUSED" } else { "" };
    let Some(explainz) = &answers.explainz else {
        return (format!("{clock}{paused}"), theme.dim());
    };
    let summary = summary(&explainz.findings);
    (
        format!("{summary}  {clock}{paused}"),
        theme.severity(&explainz.status),
    )
}

/// The number of findings by severity.
pub(crate) fn summary(findings: &[Finding]) -> String {
    let parts: Vec<String> = ["critical", "warning", "info"]
        .iter()
        .filter_map(|severity| {
            let count = findings
                .iter()
                .filter(|finding| finding.severity == *severity)
                .count();
            (count > 0).then(|| format!("{count} {severity}"))
        })
        .collect();
    match parts.is_empty() {
        true => "all well".into(),
        false => parts.join(", "),
    }
}

fn draw_tabs(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let mut spans = Vec::new();
    // If there is no space for all names, only that of the current view.
    let narrow = area.width < 80;
    for (index, view) in View::ALL.iter().enumerate() {
        let shown = *view == app.view;
        let mut name = view.name().to_owned();
        if let Some(first) = name.get_mut(..1) {
            first.make_ascii_uppercase();
        }
        let text = match narrow && !shown {
            true => format!("{} ", index + 1),
            false => format!("{} {name} ", index + 1),
        };
        let style = if shown {
            app.theme.chosen()
        } else {
            app.theme.dim()
        };
        spans.push(Span::styled(text, style));
    }
    frame.render_widget(Line::from(spans), area);
}

fn draw_foot(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let theme = app.theme;
    let line = match (&app.input, &app.failure) {
        (Some((kind, text)), _) => {
            let prompt = match kind {
                Input::Filter => "Filter".to_owned(),
                Input::Limit => format!("Connections to request [{}]", app.limit),
                Input::Sort => "Order by (? lists them)".to_owned(),
            };
            Line::styled(format!("{prompt}: {text}_"), theme.strong())
        }
        (None, _) if !app.key_error.is_empty() => {
            Line::styled(app.key_error.clone(), theme.severity("warning"))
        }
        (None, Some((text, _))) => Line::styled(text.clone(), theme.severity("critical")),
        (None, None) => {
            let keys = app.view.keys();
            let gap = if keys.is_empty() { "" } else { "  " };
            Line::styled(format!("{keys}{gap}? help  q quit"), theme.dim())
        }
    };
    frame.render_widget(line, area);
}

/// A text shown instead of data.
fn note(frame: &mut Frame<'_>, area: Rect, app: &App, text: &str) {
    let text = Paragraph::new(text).style(app.theme.dim());
    frame.render_widget(text.wrap(ratatui::widgets::Wrap { trim: true }), area);
}

/// Shown for data that only midge provides.
fn not_served(frame: &mut Frame<'_>, area: Rect, app: &App) {
    note(frame, area, app, "A nats-server does not report this.");
}

/// The age of a time in the answers.
fn since(app: &App, time: &str) -> String {
    let now = app.answers.as_ref().map_or("", |answers| &answers.varz.now);
    age(time, now)
}
