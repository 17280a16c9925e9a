//! Subjects, connections, users and accounts with the highest load, and subjects without interest.

use monitor_client::{Load, SubjectLoad, Topz};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::{Line, Span},
};

use super::table::{self, Column, number, stretched, words};
use crate::{
    app::{App, LOAD_LISTS, LOAD_SORTS, WINDOWS},
    text::{bytes, duration, short},
};

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let Some(answers) = &app.answers else { return };
    let Some(topz) = answers.topz.clone() else {
        return match answers.varz.midge {
            Some(_) => super::note(frame, area, app, "Asking …"),
            None => super::not_served(frame, area, app),
        };
    };
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let theme = app.theme;
    let mut spans = Vec::new();
    for (index, name) in LOAD_LISTS.iter().enumerate() {
        let style = if index == app.load_list {
            theme.chosen()
        } else {
            theme.dim()
        };
        spans.push(Span::styled(*name, style));
        spans.push(Span::raw(" "));
    }
    let (window, sort) = (WINDOWS[app.load_window], LOAD_SORTS[app.load_sort]);
    let window = if window == "start" {
        "since the start".into()
    } else {
        format!("last {window}")
    };
    spans.push(Span::styled(
        format!(" {window}, by {sort}"),
        theme.strong(),
    ));
    frame.render_widget(Line::from(spans), head);
    let per = topz.seconds;
    match app.load_list {
        0 => list(frame, body, app, &subjects(per), &topz.subjects),
        1 => list(frame, body, app, &loads(per, true), &topz.connections),
        2 => list(frame, body, app, &loads(per, false), &topz.users),
        3 => list(frame, body, app, &loads(per, false), &topz.accounts),
        _ => list(frame, body, app, &subjects(per), &topz.no_interest),
    }
}

fn list<T>(
    frame: &mut Frame<'_>,
    area: Rect,
    app: &mut App,
    columns: &[Column<'_, T>],
    entries: &[T],
) {
    if entries.is_empty() {
        return super::note(frame, area, app, "Nothing in this time.");
    }
    app.clamp_cursor(entries.len());
    let cursor = app.cursor(entries.len());
    table::draw(
        frame,
        area,
        app.theme,
        columns,
        entries,
        Some(cursor),
        |_| Style::new(),
    );
}

/// The columns of subjects, also used by the text report.
pub(crate) fn subjects<'a>(seconds: f64) -> Vec<Column<'a, SubjectLoad>> {
    vec![
        stretched("SUBJECT", 20, |one: &SubjectLoad| one.subject.clone()),
        number("MSG/S", 7, 0, move |one: &SubjectLoad| {
            rate(one.msgs, seconds, short)
        }),
        number("BYTE/S", 8, 0, move |one: &SubjectLoad| {
            rate(one.bytes, seconds, bytes)
        }),
        number("MSGS", 6, 1, |one: &SubjectLoad| short(one.msgs as f64)),
        number("±", 6, 3, |one: &SubjectLoad| short(one.error as f64)),
        words("PUBLISHER", 18, 1, |one: &SubjectLoad| {
            one.publisher.clone()
        }),
        words("ACCOUNT", 12, 2, |one: &SubjectLoad| one.account.clone()),
    ]
}

/// The columns of connections, users and accounts.
pub(crate) fn loads<'a>(seconds: f64, connections: bool) -> Vec<Column<'a, Load>> {
    let mut columns = vec![
        stretched("WHO", 14, |load: &Load| load.name.clone()),
        number("MSG IN", 7, 0, move |load: &Load| {
            rate(load.in_msgs, seconds, short)
        }),
        number("OUT/S", 7, 0, move |load: &Load| {
            rate(load.out_msgs, seconds, short)
        }),
        number("BYTE IN", 8, 1, move |load: &Load| {
            rate(load.in_bytes, seconds, bytes)
        }),
        number("OUT/S", 8, 1, move |load: &Load| {
            rate(load.out_bytes, seconds, bytes)
        }),
        number("WAITING", 8, 0, |load: &Load| {
            bytes(load.pending_bytes as f64)
        }),
        number("SUBS", 5, 2, |load: &Load| short(load.subscriptions as f64)),
        number("SLOWEST", 7, 2, |load: &Load| duration(load.latency)),
    ];
    match connections {
        true => {
            columns.insert(0, number("CID", 6, 2, |load: &Load| load.cid.to_string()));
            columns.push(words("ACCOUNT", 12, 3, |load: &Load| load.account.clone()));
        }
        false => columns.push(number("CONNECTS", 8, 1, |load: &Load| {
            short(load.connects as f64)
        })),
    }
    columns
}

/// The rate over the time that the window actually covers.
fn rate(total: u64, seconds: f64, text: fn(f64) -> String) -> String {
    text(if seconds > 0.0 {
        total as f64 / seconds
    } else {
        0.0
    })
}

/// Whether an answer contains no data.
pub(crate) fn is_empty(topz: &Topz) -> bool {
    topz.subjects.is_empty() && topz.connections.is_empty()
}
