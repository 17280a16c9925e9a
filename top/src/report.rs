//! Plain text output for pipes, files and mail: no escape sequences, aligned columns.

use std::fmt::Write;

use monitor_client::text::plural;

use crate::{
    app::App,
    history::{Entry, Series},
    text::{age, bytes, clock, duration, exact, short},
    view::{
        self, ceilings, connections, incidents, load,
        overview::{federation_state, hubs_state},
        routes,
        table::Column,
    },
};

/// Lines of each list in the whole report; a report of only the connections has all of them.
const LINES: usize = 10;

/// The whole report.
pub(crate) fn whole(app: &App) -> String {
    let mut text = String::new();
    // Writing to a string does not fail.
    let _ = write_whole(&mut text, app);
    text
}

/// Only the connections, with all columns, for programs.
pub(crate) fn connections(app: &App, delimiter: &str) -> String {
    let columns = connections::columns(app);
    let quoted = |text: String| match text.contains(delimiter) || text.contains(['"', '\n']) {
        true => format!("\"{}\"", text.replace('"', "\"\"")),
        false => text,
    };
    let line = |cells: Vec<String>| {
        cells
            .into_iter()
            .map(quoted)
            .collect::<Vec<_>>()
            .join(delimiter)
            + "\n"
    };
    let mut text = line(
        columns
            .iter()
            .map(|column| column.title.to_owned())
            .collect(),
    );
    for row in &app.rows {
        text.push_str(&line(
            columns.iter().map(|column| (column.text)(row)).collect(),
        ));
    }
    text
}

fn write_whole(out: &mut String, app: &App) -> std::fmt::Result {
    let Some(answers) = &app.answers else {
        return Ok(());
    };
    let varz = &answers.varz;
    let now = &varz.now;
    let product = match &varz.midge {
        Some(version) => format!("midge {version}"),
        None => format!("nats-server {}", varz.version),
    };
    writeln!(
        out,
        "{} ({product}) at {}, {now}, up {}",
        varz.server_name, app.place, varz.uptime
    )?;
    if let Some(explainz) = &answers.explainz {
        writeln!(out, "\nFindings: {}", view::summary(&explainz.findings))?;
        for finding in &explainz.findings {
            let (severity, code) = (finding.severity.to_uppercase(), &finding.code);
            writeln!(
                out,
                "  {severity} {code} {} for {}",
                finding.subject,
                age(&finding.since, now)
            )?;
            writeln!(
                out,
                "    {}\n    why: {}\n    do:  {}",
                finding.text, finding.cause, finding.remedy
            )?;
        }
    }
    let rate = |series: &Series, text: fn(f64) -> String| {
        series
            .last()
            .map_or_else(|| "-".into(), |value| format!("{}/s", text(value)))
    };
    let history = &app.history;
    writeln!(out, "\nTraffic")?;
    for (name, msgs, size, total_msgs, total_bytes) in [
        (
            "in",
            &history.in_msgs,
            &history.in_bytes,
            varz.in_msgs,
            varz.in_bytes,
        ),
        (
            "out",
            &history.out_msgs,
            &history.out_bytes,
            varz.out_msgs,
            varz.out_bytes,
        ),
    ] {
        let (msgs, size) = (rate(msgs, short), rate(size, bytes));
        let total = exact(u64::try_from(total_msgs).unwrap_or(0));
        writeln!(
            out,
            "  {name:4}{msgs:>10} {size:>10}  total {}, {}",
            plural(total, "message"),
            bytes(total_bytes as f64)
        )?;
    }
    let (cpu, mem) = (varz.cpu, bytes(varz.mem as f64));
    writeln!(
        out,
        "  cpu {cpu:.1} %, memory {mem}, connections {} of {}, subscriptions {}, slow consumers {}",
        varz.connections, varz.max_connections, varz.subscriptions, varz.slow_consumers
    )?;
    if varz.leafnodes > 0 {
        let leafnodes = u64::try_from(varz.leafnodes).unwrap_or(0);
        writeln!(out, "  {}", plural(leafnodes, "leafnode connection"))?;
    }
    if let Some(hubs) = &varz.hubs {
        writeln!(out, "  hubs connected {}", hubs_state(hubs))?;
    }
    if let Some(federation) = &varz.federation {
        writeln!(
            out,
            "  federation {} is {}, {}, {}, {} refused, {} dropped",
            federation.name,
            federation_state(federation.connected),
            plural(federation.requests, "request"),
            plural(federation.replies, "reply"),
            federation.refused,
            federation.dropped
        )?;
    }
    if let Some(latencyz) = &answers.latencyz {
        let recent = latencyz.total.last_minute;
        writeln!(
            out,
            "  in the broker, last minute: half within {}, 99 % within {}, longest {}",
            duration(recent.p50),
            duration(recent.p99),
            duration(recent.max)
        )?;
    }
    if let Some(connz) = &answers.connz {
        let title = format!(
            "Connections: {} of {} {}, by {}",
            app.rows.len(),
            connz.total,
            app.state,
            app.sort.name
        );
        list(out, &title, &connections::columns(app), &app.rows)?;
    }
    if let Some(slowz) = answers
        .slowz
        .as_ref()
        .filter(|slowz| !slowz.incidents.is_empty())
    {
        list(
            out,
            &format!("Incidents: {}", slowz.total),
            &incidents::columns(now),
            &slowz.incidents,
        )?;
    }
    if let Some(topz) = answers.topz.as_ref().filter(|topz| !load::is_empty(topz)) {
        list(
            out,
            "Subjects, last minute",
            &load::subjects(topz.seconds),
            &topz.subjects,
        )?;
        if !topz.no_interest.is_empty() {
            list(
                out,
                "Without a subscriber, last minute",
                &load::subjects(topz.seconds),
                &topz.no_interest,
            )?;
        }
    }
    if let Some(routez) = answers
        .routez
        .as_ref()
        .filter(|routez| !routez.routes.is_empty())
    {
        list(
            out,
            "Routes",
            &routes::columns(&app.route_rates),
            &routez.routes,
        )?;
    }
    if let Some(memz) = &answers.memz {
        list(out, "Ceilings", &ceilings::columns(), &memz.ceilings)?;
    }
    write_events(out, app, now)
}

fn write_events(out: &mut String, app: &App, now: &str) -> std::fmt::Result {
    let events = &app.history.events;
    if events.is_empty() {
        return Ok(());
    }
    writeln!(out, "\nEvents")?;
    for entry in events.iter().skip(events.len().saturating_sub(LINES)) {
        match entry {
            Entry::Event(event) => {
                let (time, kind) = (clock(&event.time, now), &event.kind);
                writeln!(out, "  {time} {kind:17} {}", event.text)?;
            }
            Entry::Gap(missed) => writeln!(out, "  {} missed", plural(missed, "event"))?,
        }
    }
    Ok(())
}

/// A table whose columns are as wide as their content.
fn list<T>(
    out: &mut String,
    title: &str,
    columns: &[Column<'_, T>],
    entries: &[T],
) -> std::fmt::Result {
    writeln!(out, "\n{title}")?;
    let shown = &entries[..entries.len().min(LINES)];
    let cells: Vec<Vec<String>> = shown
        .iter()
        .map(|entry| columns.iter().map(|column| (column.text)(entry)).collect())
        .collect();
    let width_of = |index: usize, column: &Column<'_, T>| {
        let widths = cells.iter().map(|row| row[index].chars().count());
        widths
            .chain([column.title.chars().count()])
            .max()
            .unwrap_or(0)
    };
    let widths: Vec<usize> = columns
        .iter()
        .enumerate()
        .map(|(index, column)| width_of(index, column))
        .collect();
    let titles = columns
        .iter()
        .map(|column| column.title.to_owned())
        .collect();
    for row in std::iter::once(&titles).chain(&cells) {
        let mut line = String::new();
        for ((column, width), cell) in columns.iter().zip(&widths).zip(row) {
            match column.number {
                true => write!(line, "  {cell:>width$}")?,
                false => write!(line, "  {cell:width$}")?,
            }
        }
        writeln!(out, "{}", line.trim_end())?;
    }
    match entries.len() - shown.len() {
        0 => Ok(()),
        more => writeln!(out, "  … {more} more"),
    }
}
