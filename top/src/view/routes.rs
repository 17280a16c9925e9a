//! The other brokers of the cluster, from this broker's view.

use std::collections::HashMap;

use monitor_client::{RouteInfo, text::plural};
use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    style::Style,
    text::Line,
};

use super::table::{self, Column, number, stretched, words};
use crate::{
    app::App,
    text::{NOTHING, bytes, duration, exact, go_seconds, short},
};

/// Queued bytes from which a route is marked as busy.
const BUSY: i64 = 64 * 1024;

pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, app: &mut App) {
    let Some(answers) = &app.answers else { return };
    let Some(routez) = answers.routez.clone() else {
        return super::note(frame, area, app, "Asking …");
    };
    if routez.routes.is_empty() {
        return super::note(frame, area, app, "This broker has no routes.");
    }
    let mut routes = routez.routes;
    routes.sort_by_cached_key(|route| (name(route), route.rid));
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Min(0)]).areas(area);
    let peers: std::collections::HashSet<_> = routes.iter().map(|route| &route.remote_id).collect();
    let heading = format!(
        "{} beside this one, {}",
        plural(peers.len(), "broker"),
        plural(routes.len(), "route")
    );
    frame.render_widget(Line::styled(heading, app.theme.strong()), head);
    app.clamp_cursor(routes.len());
    let (cursor, theme) = (app.cursor(routes.len()), app.theme);
    let style = |route: &RouteInfo| match route.pending_size > BUSY {
        true => theme.severity("warning"),
        false => Style::new(),
    };
    let columns = columns(&app.route_rates);
    table::draw(frame, body, theme, &columns, &routes, Some(cursor), style);
}

/// The columns of the list, also used by the text report.
pub(crate) fn columns(rates: &HashMap<u64, (f64, f64)>) -> Vec<Column<'_, RouteInfo>> {
    let rate = |route: &RouteInfo, pick: fn(&(f64, f64)) -> f64| {
        rates
            .get(&route.rid)
            .map_or_else(|| NOTHING.into(), |pair| short(pick(pair)))
    };
    vec![
        words("LINK", 15, 1, link),
        stretched("BROKER", 12, name),
        words("ADDRESS", 21, 2, |route: &RouteInfo| {
            format!("{}:{}", route.ip, route.port)
        }),
        number("WAITING", 8, 0, |route: &RouteInfo| {
            bytes(route.pending_size as f64)
        }),
        number("MSG IN", 7, 0, move |route: &RouteInfo| {
            rate(route, |pair| pair.0)
        }),
        number("OUT/S", 7, 0, move |route: &RouteInfo| {
            rate(route, |pair| pair.1)
        }),
        number("SUBS", 6, 0, |route: &RouteInfo| {
            short(f64::from(route.subscriptions))
        }),
        number("TOTAL IN", 12, 3, |route: &RouteInfo| total(route.in_msgs)),
        number("TOTAL OUT", 12, 3, |route: &RouteInfo| {
            total(route.out_msgs)
        }),
        number("UP", 7, 0, |route: &RouteInfo| span(&route.uptime)),
        words("ACCOUNT", 10, 3, |route: &RouteInfo| route.account.clone()),
    ]
}

/// The direction of the connection, with the round trip time.
fn link(route: &RouteInfo) -> String {
    let rtt = match span(&route.rtt) {
        unknown if unknown == NOTHING => "?".to_owned(),
        known => known,
    };
    match route.did_solicit {
        true => format!("●── {rtt} ─▶"),
        false => format!("●◀─ {rtt} ──"),
    }
}

fn name(route: &RouteInfo) -> String {
    match route.remote_name.is_empty() {
        true => route.remote_id.clone(),
        false => route.remote_name.clone(),
    }
}

fn total(count: i64) -> String {
    exact(u64::try_from(count).unwrap_or(0))
}

fn span(text: &str) -> String {
    go_seconds(text).map_or_else(|| NOTHING.into(), duration)
}
