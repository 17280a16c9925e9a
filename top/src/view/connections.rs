//! Open and closed connections in any order, and one of them in detail.

use monitor_client::{ConnInfo, text::plural};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
    widgets::{Paragraph, Wrap},
};

use super::table::{self, Column, number, stretched, words};
use crate::{
    app::App,
    feed::FILTERED_MAX,
    sort::{Rates, Row},
    text::{NOTHING, bytes, clock, duration, exact, go_seconds, percent, short},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    match app.detail {
        Some(cid) => draw_one(frame, area, app, cid),
        None => draw_list(frame, area, app),
    }
}

/// The list, below a line that describes it.
pub(super) fn draw_list(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    frame.render_widget(Line::styled(caption(app), app.theme.strong()), head);
    app.clamp_cursor(app.rows.len());
    let cursor = app.cursor(app.rows.len());
    let limit = app
        .answers
        .as_ref()
        .map_or(0, |answers| answers.varz.max_pending);
    let theme = app.theme;
    let behind = |row: &Row| match share(&row.info, limit) {
        share if share >= 0.5 => theme.severity("critical"),
        share if share >= 0.05 => theme.severity("warning"),
        _ => Style::new(),
    };
    let columns = columns(app);
    table::draw(
        frame,
        body,
        theme,
        &columns,
        &app.rows,
        Some(cursor),
        behind,
    );
}

fn share(info: &ConnInfo, limit: i64) -> f64 {
    match limit > 0 && info.stop.is_none() {
        true => info.pending_bytes as f64 / limit as f64,
        false => 0.0,
    }
}

fn caption(app: &App) -> String {
    let connz = app
        .answers
        .as_ref()
        .and_then(|answers| answers.connz.as_ref());
    let total = connz.map_or(0, |connz| connz.total);
    let order = if app.reversed { "reversed " } else { "" };
    let kind = match app.state {
        "any" => "open and closed",
        state => state,
    };
    let shown = app.rows.len();
    let mut text = match app.filter.is_empty() {
        true if shown < total => format!("{shown} of {total} {kind} connections"),
        true => plural(shown, &format!("{kind} connection")),
        false => format!(
            "{shown} of {total} {kind} connections with \"{}\"",
            app.filter
        ),
    };
    if total > FILTERED_MAX && !app.filter.is_empty() {
        text.push_str(&format!(", the first {FILTERED_MAX} searched"));
    }
    let unit = if app.totals { "totals" } else { "rates" };
    format!("{text}, by {order}{}, {unit}", app.sort.name)
}

/// The columns of the list, also used by the text report.
pub(crate) fn columns(app: &App) -> Vec<Column<'_, Row>> {
    let closed = app.state != "open";
    let now = app.answers.as_ref().map_or("", |answers| &answers.varz.now);
    let count = move |value: u64| {
        if app.raw {
            exact(value)
        } else {
            short(value as f64)
        }
    };
    let size = move |value: u64| {
        if app.raw {
            exact(value)
        } else {
            bytes(value as f64)
        }
    };
    let rate = move |row: &Row, rate: fn(Rates) -> f64, total: u64, is_bytes: bool| {
        let total_text = if is_bytes { size(total) } else { count(total) };
        match row.rates {
            _ if app.totals || row.info.stop.is_some() => total_text,
            Some(rates) if app.raw => format!("{:.1}", rate(rates)),
            Some(rates) if is_bytes => bytes(rate(rates)),
            Some(rates) => short(rate(rates)),
            None => NOTHING.into(),
        }
    };
    let wide = if app.raw { 14 } else { 7 };
    let size_wide = wide.max(8);
    let mut columns = vec![
        number("CID", 6, 1, |row: &Row| row.info.cid.to_string()),
        stretched("WHO", 14, Row::who),
        words("USER", 12, 6, |row: &Row| row.info.authorized_user.clone()),
        words("ADDRESS", 21, 4, move |row: &Row| address(app, row)),
        number("PENDING", size_wide, 0, move |row: &Row| {
            size(row.info.pending_bytes as u64)
        }),
        number("MSG TO", wide, 0, move |row: &Row| {
            rate(row, |r| r.out_msgs, row.info.out_msgs, false)
        }),
        number("MSG FROM", wide.max(8), 1, move |row: &Row| {
            rate(row, |r| r.in_msgs, row.info.in_msgs, false)
        }),
        number("BYTE TO", size_wide, 2, move |row: &Row| {
            rate(row, |r| r.out_bytes, row.info.out_bytes, true)
        }),
        number("BYTE FROM", size_wide.max(9), 3, move |row: &Row| {
            rate(row, |r| r.in_bytes, row.info.in_bytes, true)
        }),
        number("SUBS", 5, 2, move |row: &Row| {
            count(row.info.subscriptions as u64)
        }),
    ];
    if closed {
        columns.push(words("CLOSED", 14, 1, move |row: &Row| {
            row.info
                .stop
                .as_ref()
                .map_or_else(String::new, |stop| clock(stop, now))
        }));
        columns.push(words("REASON", 24, 0, |row: &Row| row.info.reason.clone()));
        columns.push(number("LOST", 6, 3, move |row: &Row| {
            size(row.info.dropped_bytes)
        }));
    } else {
        columns.push(number("RTT", 7, 2, |row: &Row| span(&row.info.rtt)));
        columns.push(number("IDLE", 7, 1, |row: &Row| span(&row.info.idle)));
    }
    columns.push(number("UP", 7, 4, |row: &Row| span(&row.info.uptime)));
    columns.push(words("LIBRARY", 14, 5, |row: &Row| library(&row.info)));
    columns.push(words("LAST ACTIVE", 14, 6, move |row: &Row| {
        clock(&row.info.last_activity, now)
    }));
    if app.subjects {
        columns.push(words("SUBJECTS", 24, 2, |row: &Row| {
            row.info.subscriptions_list.join(" ")
        }));
    }
    columns
}

fn address(app: &App, row: &Row) -> String {
    match app
        .names
        .get(&row.info.ip)
        .filter(|name| app.lookup && !name.is_empty())
    {
        Some(name) => name.clone(),
        None => row.address(),
    }
}

fn span(text: &str) -> String {
    go_seconds(text).map_or_else(|| NOTHING.into(), duration)
}

fn library(info: &ConnInfo) -> String {
    format!("{} {}", info.lang, info.version).trim().to_owned()
}

fn draw_one(frame: &mut Frame<'_>, area: Rect, app: &App, cid: u64) {
    let theme = app.theme;
    let Some(answers) = &app.answers else { return };
    let full = answers.connection.as_ref().filter(|info| info.cid == cid);
    let row = app.rows.iter().find(|row| row.info.cid == cid);
    let Some(info) = full.or(row.map(|row| &row.info)) else {
        return super::note(
            frame,
            area,
            app,
            "This connection is closed and no longer listed. Esc goes back.",
        );
    };
    let whole = Row {
        info: info.clone(),
        rates: row.and_then(|row| row.rates),
    };
    let mut lines = vec![Line::styled(
        format!("Connection {cid}: {}", whole.who()),
        theme.strong(),
    )];
    for (name, value) in facts(&whole, answers.varz.max_pending, &answers.varz.now) {
        if !value.is_empty() && value != NOTHING {
            lines.push(Line::from(vec![
                Span::styled(format!("  {name:15}"), theme.dim()),
                Span::raw(value),
            ]));
        }
    }
    let subjects = info.subscriptions_list.join("  ");
    if !subjects.is_empty() {
        lines.push(Line::styled("  subscriptions", theme.dim()));
        lines.push(Line::raw(format!("  {subjects}")));
    }
    lines.push(Line::styled("Esc goes back", theme.dim()));
    frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), area);
}

fn facts(row: &Row, max_pending: i64, now: &str) -> Vec<(&'static str, String)> {
    let info = &row.info;
    let moved = |msgs: u64, size: u64| {
        let messages = plural(exact(msgs), "message");
        format!("{messages}, {}", bytes(size as f64))
    };
    let rate = |msgs: f64, size: f64| format!("{}/s, {}/s", short(msgs), bytes(size));
    let rates = row.rates.unwrap_or_default();
    let certificates = info
        .tls_peer_certs
        .iter()
        .map(|certificate| certificate.subject.as_str());
    let nonzero = |value: u64| {
        if value == 0 {
            String::new()
        } else {
            exact(value)
        }
    };
    vec![
        ("name", info.name.clone()),
        ("user", info.authorized_user.clone()),
        ("account", info.account.clone()),
        ("address", row.address()),
        ("certificate", certificates.collect::<Vec<_>>().join("; ")),
        (
            "TLS",
            format!("{} {}", info.tls_version, info.tls_cipher_suite)
                .trim()
                .to_owned(),
        ),
        ("library", library(info)),
        (
            "connected",
            format!("{}, for {}", clock(&info.start, now), span(&info.uptime)),
        ),
        (
            "last active",
            format!(
                "{}, {} ago",
                clock(&info.last_activity, now),
                span(&info.idle)
            ),
        ),
        (
            "closed",
            info.stop.as_ref().map_or_else(String::new, |stop| {
                format!("{}: {}", clock(stop, now), info.reason)
            }),
        ),
        ("round trip", span(&info.rtt)),
        (
            "waiting",
            format!(
                "{}, {} of the limit",
                bytes(info.pending_bytes as f64),
                percent(info.pending_bytes as f64, max_pending as f64)
            ),
        ),
        ("delivered", moved(info.out_msgs, info.out_bytes)),
        ("", rate(rates.out_msgs, rates.out_bytes)),
        (
            "written",
            info.written_msgs.map_or_else(String::new, |msgs| {
                moved(msgs, info.written_bytes.unwrap_or(0))
            }),
        ),
        ("received", moved(info.in_msgs, info.in_bytes)),
        ("", rate(rates.in_msgs, rates.in_bytes)),
        (
            "lost",
            if info.dropped_msgs == 0 {
                String::new()
            } else {
                moved(info.dropped_msgs, info.dropped_bytes)
            },
        ),
        ("no subscriber", nonzero(info.no_interest_msgs)),
        ("pauses caused", nonzero(info.stalls)),
        ("subscriptions", exact(info.subscriptions as u64)),
    ]
}
