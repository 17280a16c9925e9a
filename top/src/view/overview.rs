//! The first view: findings, then traffic and latency.

use monitor_client::{Finding, HubsVarz, text::plural};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Sparkline, Wrap},
};

use super::{connections, fit, since};
use crate::{
    app::App,
    history::Series,
    text::{bytes, duration, exact, short},
};

/// Lines of the numbers, and of the plots with their headings.
const NUMBERS: u16 = 3;
const PLOTS: u16 = 8;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let plots = match area.height {
        0..=12 => 0,
        13..=30 => PLOTS,
        height => PLOTS + (height - 30) / 3,
    };
    let [findings, numbers, below] = Layout::vertical([
        Constraint::Min(1),
        Constraint::Length(NUMBERS),
        Constraint::Length(plots),
    ])
    .areas(area);
    let known = app
        .answers
        .as_ref()
        .and_then(|answers| answers.explainz.as_ref());
    match known.map(|explainz| explainz.findings.clone()) {
        Some(list) => draw_findings(frame, findings, app, &list),
        None => connections::draw_list(frame, findings, app),
    }
    draw_numbers(frame, numbers, app);
    draw_plots(frame, below, app);
}

/// One line per finding, the one at the cursor in full; all of them in full if there is space.
fn draw_findings(frame: &mut Frame<'_>, area: Rect, app: &mut App, findings: &[Finding]) {
    let theme = app.theme;
    if findings.is_empty() {
        let text = Line::styled("✓ Nothing is wrong.", theme.severity("ok"));
        return frame.render_widget(text, area);
    }
    app.clamp_cursor(findings.len());
    let cursor = app.cursor(findings.len());
    let height = usize::from(area.height);
    let whole: Vec<Vec<Line<'_>>> = findings
        .iter()
        .map(|finding| explanation(app, finding, area.width))
        .collect();
    let fits = whole.iter().map(|lines| lines.len() + 1).sum::<usize>() <= height;
    let mut lines = Vec::new();
    let mut marked = 0..0;
    for (index, (finding, whole)) in findings.iter().zip(whole).enumerate() {
        let start = lines.len();
        lines.push(heading(app, finding, index == cursor, area.width));
        if fits || index == cursor {
            lines.extend(whole);
        }
        if index == cursor {
            marked = start..lines.len();
        }
    }
    // The marked one is visible completely, or from its beginning if it is too long.
    let first = marked.end.saturating_sub(height).min(marked.start);
    let hidden = lines.len().saturating_sub(first + height);
    let mut seen: Vec<Line<'_>> = lines.into_iter().skip(first).take(height).collect();
    if hidden > 0
        && height > 1
        && let Some(last) = seen.last_mut()
    {
        *last = Line::styled(
            format!("  … ↓ {}", plural(hidden, "more line")),
            theme.dim(),
        );
    }
    frame.render_widget(Paragraph::new(seen), area);
}

/// The full text of a finding, below its heading.
fn explanation<'a>(app: &App, finding: &Finding, width: u16) -> Vec<Line<'a>> {
    let mut lines = Vec::new();
    for (name, text) in [
        ("", &finding.text),
        ("why ", &finding.cause),
        ("do  ", &finding.remedy),
        ("see ", &finding.link),
    ] {
        let wrapped = wrap(text, usize::from(width.saturating_sub(6)));
        for (number, text) in wrapped.into_iter().enumerate() {
            let label = if number == 0 { name } else { "" };
            lines.push(Line::from(vec![
                Span::styled(format!("  {label:4}"), app.theme.dim()),
                Span::raw(text),
            ]));
        }
    }
    lines
}

fn heading<'a>(app: &App, finding: &Finding, marked: bool, width: u16) -> Line<'a> {
    let theme = app.theme;
    let mark = if marked { "▸ " } else { "  " };
    let severity = finding.severity.to_uppercase();
    let age = since(app, &finding.since);
    let subject = match finding.subject.as_str() {
        "" => String::new(),
        subject => format!(" {subject}"),
    };
    let used = 2 + severity.len() + 1 + finding.code.len() + 5 + age.chars().count();
    let subject_width = width.saturating_sub(used as u16);
    Line::from(vec![
        Span::raw(mark),
        Span::styled(severity, theme.severity(&finding.severity)),
        Span::styled(format!(" {}", finding.code), theme.strong()),
        Span::raw(fit(&subject, subject_width.max(1))),
        Span::styled(format!(" for {age}"), theme.dim()),
    ])
}

/// Wraps words into lines of at most `width`.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if Span::raw(&*line).width() + 1 + Span::raw(word).width() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// The name of the hubs' state among the numbers.
const HUBS: &str = "hubs";

/// How many of the hubs are connected.
pub(crate) fn hubs_state(hubs: &HubsVarz) -> String {
    format!("{} of {}", hubs.connected, hubs.configured)
}

/// The name of its state among the numbers.
const FEDERATION: &str = "federation";

/// The state of a site's federation in a word.
pub(crate) fn federation_state(connected: bool) -> &'static str {
    match connected {
        true => "up",
        false => "down",
    }
}

fn draw_numbers(frame: &mut Frame<'_>, area: Rect, app: &App) {
    let Some(answers) = &app.answers else { return };
    let (varz, history, theme) = (&answers.varz, &app.history, app.theme);
    let rate = |series: &Series, text: fn(f64) -> String| {
        series
            .last()
            .map_or_else(|| "-".into(), |value| format!("{}/s", text(value)))
    };
    let count = |value: u64| {
        if app.raw {
            exact(value)
        } else {
            short(value as f64)
        }
    };
    let positive = |value: i64| u64::try_from(value).unwrap_or(0);
    let lost: u64 = varz
        .dropped_msgs
        .iter()
        .flat_map(|lost| lost.values())
        .sum();
    let mut lines = vec![vec![
        ("in", rate(&history.in_msgs, short)),
        ("", rate(&history.in_bytes, bytes)),
        ("out", rate(&history.out_msgs, short)),
        ("", rate(&history.out_bytes, bytes)),
        ("total in", count(positive(varz.in_msgs))),
        ("out", count(positive(varz.out_msgs))),
    ]];
    lines.push(vec![
        (
            "connections",
            format!(
                "{} of {}",
                count(positive(varz.connections)),
                short(varz.max_connections as f64)
            ),
        ),
        ("since start", count(varz.total_connections)),
        ("subscriptions", count(varz.subscriptions)),
        ("routes", varz.routes.to_string()),
        ("leafnodes", varz.leafnodes.to_string()),
    ]);
    let mut last = vec![
        ("cpu", format!("{:.1} %", varz.cpu)),
        ("memory", bytes(varz.mem as f64)),
        ("slow consumers", count(positive(varz.slow_consumers))),
    ];
    if let Some(stalls) = varz.stalled_clients {
        last.push(("pauses", count(positive(stalls))));
    }
    if varz.dropped_msgs.is_some() {
        last.push(("lost", count(lost)));
    }
    if let Some(hubs) = &varz.hubs {
        last.push((HUBS, hubs_state(hubs)));
    }
    if let Some(federation) = &varz.federation {
        last.push((
            FEDERATION,
            federation_state(federation.connected).to_owned(),
        ));
    }
    lines.push(last);
    let lines = lines.into_iter().map(|numbers| {
        let mut spans = Vec::new();
        for (name, value) in numbers {
            let alarming = name == "slow consumers" && varz.slow_consumers > 0
                || name == HUBS && varz.hubs.as_ref().is_some_and(|hubs| hubs.missing > 0)
                || name == FEDERATION && value == federation_state(false);
            let style = if alarming {
                theme.severity("warning")
            } else {
                theme.strong()
            };
            spans.push(Span::styled(name, theme.dim()));
            spans.push(Span::raw(if name.is_empty() { "" } else { " " }));
            spans.push(Span::styled(value, style));
            spans.push(Span::raw("  "));
        }
        Line::from(spans)
    });
    frame.render_widget(
        Paragraph::new(lines.collect::<Vec<_>>()).wrap(Wrap { trim: true }),
        area,
    );
}

fn draw_plots(frame: &mut Frame<'_>, area: Rect, app: &App) {
    if area.height < 2 {
        return;
    }
    let halves = [Constraint::Fill(1), Constraint::Fill(1)];
    let [upper, lower] = Layout::vertical(halves).areas(area);
    let [a, b] = Layout::horizontal(halves).spacing(2).areas(upper);
    let [c, d] = Layout::horizontal(halves).spacing(2).areas(lower);
    let (history, theme) = (&app.history, app.theme);
    plot(
        frame,
        a,
        app,
        "messages in/s",
        &history.in_msgs,
        short,
        theme.first(),
    );
    plot(
        frame,
        b,
        app,
        "messages out/s",
        &history.out_msgs,
        short,
        theme.second(),
    );
    // A nats-server measures neither latency nor queues.
    match app
        .answers
        .as_ref()
        .is_some_and(|answers| answers.latencyz.is_some())
    {
        true => {
            plot(
                frame,
                c,
                app,
                "99 % written within",
                &history.latency,
                duration,
                theme.first(),
            );
            plot(
                frame,
                d,
                app,
                "bytes waiting",
                &history.waiting,
                bytes,
                theme.second(),
            );
        }
        false => {
            plot(
                frame,
                c,
                app,
                "bytes in/s",
                &history.in_bytes,
                bytes,
                theme.first(),
            );
            plot(
                frame,
                d,
                app,
                "bytes out/s",
                &history.out_bytes,
                bytes,
                theme.second(),
            );
        }
    }
}

fn plot(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &App,
    title: &str,
    series: &Series,
    format: fn(f64) -> String,
    style: Style,
) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let values: Vec<f64> = series.tail(usize::from(area.width)).collect();
    let most = values.iter().copied().fold(0.0, f64::max);
    let text = |value: Option<f64>| value.map_or_else(|| "-".into(), format);
    let heading = Line::from(vec![
        Span::styled(format!("{title} "), app.theme.dim()),
        Span::styled(text(series.last()), app.theme.strong()),
        Span::styled(
            format!("  max {}", text((!values.is_empty()).then_some(most))),
            app.theme.dim(),
        ),
    ]);
    frame.render_widget(heading, head);
    // The latest value is on the right, so that all four plots move together; the values are scaled
    // to whole numbers.
    let scale = if most > 0.0 { 1e6 / most } else { 0.0 };
    let blank = usize::from(area.width).saturating_sub(values.len());
    let data = std::iter::repeat_n(0, blank)
        .chain(values.iter().map(|value| (value * scale) as u64))
        .collect::<Vec<u64>>();
    frame.render_widget(
        Sparkline::default().data(data).max(1_000_000).style(style),
        body,
    );
}
