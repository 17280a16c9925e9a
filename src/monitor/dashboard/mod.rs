//! `/`: the dashboard, for people who open the port in a browser.
//!
//! The page contains the most important numbers and the links to all endpoints, so that it
//! is useful without JavaScript. Its script then shows the other endpoints' answers live;
//! it requests only those that are linked. Nothing is fetched from elsewhere. All addresses
//! are relative, so that the page works behind a base path and behind a proxy that adds
//! one.

use std::fmt::Write;

use super::{
    Monitor,
    endpoints::{explainz::printable, time_text, varz},
    http::table::ENDPOINTS,
};
use crate::{COMPATIBLE_VERSION, observe::diagnosis::Finding, telemetry::event::EventKind};

const PAGE: &str = include_str!("page.html");

/// The style sheet of the page.
pub(super) const STYLE: &str = include_str!("style.css");

/// The script of the page. One script from several files: names are shared, the order counts.
pub(super) const SCRIPT: &str = concat!(
    include_str!("app/base.js"),
    include_str!("app/plot.js"),
    include_str!("app/findings.js"),
    include_str!("app/traffic.js"),
    include_str!("app/incidents.js"),
    include_str!("app/connections.js"),
    include_str!("app/load.js"),
    include_str!("app/path.js"),
    include_str!("app/cluster.js"),
    include_str!("app/access.js"),
    include_str!("app/leafnodes.js"),
    include_str!("app/federation.js"),
    include_str!("app/events.js"),
    include_str!("app/main.js"),
);

/// The page.
pub(super) fn page(monitor: &Monitor) -> String {
    let varz = varz::build(monitor);
    let base = relative_base(&monitor.settings.base_path);
    let metrics = [
        ("Uptime", varz.uptime),
        ("Connections", varz.connections.to_string()),
        ("Subscriptions", varz.subscriptions.to_string()),
        ("Messages in", varz.in_msgs.to_string()),
        ("Messages out", varz.out_msgs.to_string()),
        ("Bytes in", varz.in_bytes.to_string()),
        ("Bytes out", varz.out_bytes.to_string()),
        ("Slow consumers", varz.slow_consumers.to_string()),
        (
            "Memory",
            format!("{:.1} MiB", varz.mem as f64 / 1_048_576.0),
        ),
        ("Processor", format!("{:.1} % of one core", varz.cpu)),
    ];
    fill(
        PAGE,
        &[
            ("name", &escape(&varz.server_name)),
            ("version", &escape(varz.midge.as_deref().unwrap_or("midge"))),
            ("compatible", COMPATIBLE_VERSION),
            ("base", &escape(&base)),
            ("kinds", &EventKind::ALL.map(EventKind::name).join(" ")),
            ("findings", &findings(&monitor.diagnosis.report().findings)),
            ("figures", &table_rows(&metrics)),
            ("links", &links(&base)),
        ],
    )
}

/// The path from the page to the endpoints: the page of the base path `/a/b`
/// is at `/a/b`, its endpoints are at `/a/b/…`.
fn relative_base(base_path: &str) -> String {
    match base_path.rsplit('/').next().unwrap_or_default() {
        "" => "./".into(),
        last => format!("./{last}/"),
    }
}

/// The template with each `{{name}}` replaced. A value is not looked at again,
/// so that one cannot bring another's name.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut filled = String::with_capacity(template.len() + 4096);
    let mut rest = template;
    while let Some((before, after)) = rest.split_once("{{") {
        filled += before;
        let (name, after) = after.split_once("}}").unwrap_or((after, ""));
        let value = values.iter().find(|(known, _)| *known == name);
        filled += value.map_or("", |(_, value)| value);
        rest = after;
    }
    filled += rest;
    filled
}

fn table_rows(metrics: &[(&str, String)]) -> String {
    let mut rows = String::new();
    for (label, value) in metrics {
        let value = escape(value);
        // Writing to a string does not fail.
        let _ = writeln!(
            rows,
            "<tr><th scope=\"row\">{label}</th><td>{value}</td></tr>"
        );
    }
    rows
}

/// The findings, for the page without JavaScript.
fn findings(found: &[Finding]) -> String {
    if found.is_empty() {
        return "<p class=\"all-well\">Nothing is wrong.</p>\n".into();
    }
    let mut items = String::from("<ol class=\"cards\">\n");
    for finding in found {
        let name = finding.severity.name();
        let _ = writeln!(
            items,
            "<li class=\"card {name}\"><p class=\"line\"><span class=\"badge\">{name}</span> \
             <b class=\"subject\">{subject}</b> <code>{code}</code> <time>since {since}</time></p>\
             <p class=\"what\">{text}</p><dl class=\"because\"><div><dt>Why</dt><dd>{cause}</dd></div>\
             <div><dt>What to do</dt><dd>{remedy}</dd></div></dl></li>",
            subject = escape(&printable(&finding.subject)),
            code = finding.code,
            since = time_text::rfc3339(finding.since.time_of_day()),
            text = escape(&printable(&finding.text)),
            cause = escape(&printable(&finding.cause)),
            remedy = escape(finding.remedy),
        );
    }
    items + "</ol>\n"
}

fn links(base: &str) -> String {
    let base = escape(base);
    let mut items = String::new();
    for endpoint in ENDPOINTS.iter().filter(|known| !known.about.is_empty()) {
        let _ = writeln!(
            items,
            "<li><a href=\"{base}{name}\">{path}</a> {about}</li>",
            name = endpoint.path.trim_start_matches('/'),
            path = endpoint.path,
            about = endpoint.about,
        );
    }
    items
}

/// Text that stays text in HTML, inside of quotes too.
fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for symbol in text.chars() {
        match symbol {
            '&' => escaped += "&amp;",
            '<' => escaped += "&lt;",
            '>' => escaped += "&gt;",
            '"' => escaped += "&quot;",
            '\'' => escaped += "&#39;",
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that a browser loads on a slow line.
    const LEN_MAX: usize = 100 * 1024;

    #[test]
    fn the_page_stays_small() {
        let len = PAGE.len() + STYLE.len() + SCRIPT.len();
        assert!(len < LEN_MAX, "{len} bytes");
    }

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<script a=\"b\" c='d'>&"),
            "&lt;script a=&quot;b&quot; c=&#39;d&#39;&gt;&amp;"
        );
    }

    #[test]
    fn the_script_knows_every_unsafe_character() {
        let ranges = monitor_client::text::UNSAFE.map(|(first, last)| {
            format!("\\u{{{:x}}}-\\u{{{:x}}}", u32::from(first), u32::from(last))
        });
        let wanted = format!("/[{}]/gu", ranges.concat());
        assert!(SCRIPT.contains(&wanted), "renew UNSEEN: {wanted}");
    }

    #[test]
    fn values_are_put_in_once() {
        let values = [("a", "{{b}}"), ("b", "two")];
        assert_eq!(fill("<{{a}}{{b}}{{unknown}}>", &values), "<{{b}}two>");
        assert_eq!(fill("torn {{a", &values), "torn {{b}}");
    }

    #[test]
    fn addresses_are_relative_to_the_page() {
        assert_eq!(relative_base(""), "./");
        assert_eq!(relative_base("/foo"), "./foo/");
        assert_eq!(relative_base("/foo/bar"), "./bar/");
    }
}
