//! `/`: a page for a browser, with a few figures and links to the endpoints.
//!
//! Everything is in the page; it fetches nothing from anywhere.

use std::fmt::Write;

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
    service::ENDPOINTS,
    varz,
};
use crate::COMPATIBLE_VERSION;

const STYLE: &str = "body{font:16px/1.5 system-ui,sans-serif;max-width:40rem;margin:2rem auto;\
    padding:0 1rem;color:#222;background:#fff}h1{margin-bottom:0}.about{color:#666;margin-top:0}\
    td{padding:.1rem 1.5rem .1rem 0}a{color:#0b57d0}\
    @media(prefers-color-scheme:dark){body{color:#ddd;background:#181818}.about{color:#999}\
    a{color:#8ab4f8}}";

/// The page. Takes no parameters.
pub(super) fn answer(monitor: &Monitor, _query: &Query) -> Result<Answer, Refusal> {
    let varz = varz::build(monitor);
    let mut page = String::from("<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n");
    let name = escape(&varz.server_name);
    // Writing to a string does not fail.
    let _ = write!(
        page,
        "<meta charset=\"utf-8\">\n\
         <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
         <title>midge {name}</title>\n<link rel=\"icon\" href=\"data:,\">\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>midge</h1>\n\
         <p class=\"about\">{} (serves clients of nats-server {COMPATIBLE_VERSION}) · {name}</p>\n\
         <table>\n",
        escape(varz.midge.as_deref().unwrap_or_default()),
    );
    let figures = [
        ("Uptime", varz.uptime),
        ("Connections", varz.connections.to_string()),
        ("Subscriptions", varz.subscriptions.to_string()),
        ("Messages in", varz.in_msgs.to_string()),
        ("Messages out", varz.out_msgs.to_string()),
        ("Slow consumers", varz.slow_consumers.to_string()),
        (
            "Memory",
            format!("{:.1} MiB", varz.mem as f64 / 1_048_576.0),
        ),
        ("Processor", format!("{:.1} % of one core", varz.cpu)),
    ];
    for (label, figure) in figures {
        let _ = writeln!(
            page,
            "<tr><td>{label}</td><td>{}</td></tr>",
            escape(&figure)
        );
    }
    page += "</table>\n<ul>\n";
    let prefix = escape(&monitor.settings.base_path);
    for endpoint in ENDPOINTS.iter().filter(|known| !known.about.is_empty()) {
        let _ = writeln!(
            page,
            "<li><a href=\"{prefix}{path}\">{path}</a> {}</li>",
            endpoint.about,
            path = endpoint.path,
        );
    }
    page += "</ul>\n</body>\n</html>\n";
    Ok(Answer::html(page))
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

    #[test]
    fn text_cannot_become_markup() {
        assert_eq!(
            escape("<script a=\"b\" c='d'>&"),
            "&lt;script a=&quot;b&quot; c=&#39;d&#39;&gt;&amp;"
        );
    }
}
