//! `/metrics`: the metrics for Prometheus, as text 0.0.4 or OpenMetrics 1.0,
//! whichever the scraper asks for.
//!
//! One scrape is one [`Snapshot`]: the answers of the other endpoints are made once, and
//! every metric is read from them. All metrics are in one table ([`table::PARTS`]); in
//! addition the names of prometheus-nats-exporter ([`exporter`]) or of Choria's broker
//! ([`choria`]) are served, and those of Choria's federation broker ([`choria_federation`]), so that
//! dashboards made for them work.
//!
//! The number of series is bounded. Whatever can grow has a limit by name:
//! connections ([`CONNECTIONS_MAX`]), accounts and routes ([`snapshot`]); all
//! else is a fixed list of labels.

mod choria;
mod choria_federation;
mod exporter;
mod render;
mod sample;
mod snapshot;
mod table;

use super::{
    Monitor,
    endpoints::{query::Query, refusal::Refusal},
};
pub(in crate::monitor) use render::Format;
use sample::Samples;
use snapshot::Snapshot;

/// Default number of connections with series of their own.
const CONNECTIONS_DEFAULT: usize = 20;

/// Most connections with series of their own.
const CONNECTIONS_MAX: usize = 200;

/// Bytes of the longest prefix of the exporter's names.
const PREFIX_LEN_MAX: usize = 32;

/// The media type of the second form.
pub(super) const OPEN_METRICS: &str = "application/openmetrics-text";

/// The metrics in one of the forms. `connections=N` is how many connections have series of their
/// own, those with the most bytes waiting first, with `detailed=1` under the
/// exporter's names too; `prefix=nats` is for
/// dashboards that know the exporter's names with another prefix than
/// `gnatsd`, `prefix=choria` has the names of Choria's broker in place of them,
/// and `exporter=0` leaves all of them out.
pub(super) fn render(monitor: &Monitor, query: &Query, format: Format) -> Result<String, Refusal> {
    let connections = match query.bytes("connections") {
        b"" => CONNECTIONS_DEFAULT,
        _ => usize::try_from(query.unsigned("connections")?)
            .unwrap_or(CONNECTIONS_MAX)
            .min(CONNECTIONS_MAX),
    };
    let prefix = prefix(query)?;
    let is_detailed = query.boolean("detailed")?;
    let snapshot = Snapshot::take(monitor, connections)?;
    let mut text = String::new();
    for metric in table::PARTS.iter().flat_map(|(_, metrics)| *metrics) {
        let mut samples = Samples::default();
        (metric.read)(&snapshot, &mut samples);
        render::family(&mut text, format, metric, &samples);
    }
    if let Some(prefix) = prefix {
        let identity = &monitor.server.called;
        match &*prefix {
            choria::PREFIX => choria::render(&mut text, &snapshot, identity),
            prefix => exporter::render(&mut text, format, &snapshot, prefix, is_detailed),
        }
        choria_federation::render(&mut text, format, &snapshot, identity);
    }
    if format == Format::OpenMetrics {
        text += "# EOF\n";
    }
    Ok(text)
}

/// The prefix of the exporter's names; `None` if they are not wanted.
fn prefix(query: &Query) -> Result<Option<String>, Refusal> {
    if !query.bytes("exporter").is_empty() && !query.boolean("exporter")? {
        return Ok(None);
    }
    let prefix = match &*query.text("prefix") {
        "" => exporter::DEFAULT_PREFIX.to_owned(),
        given => given.to_owned(),
    };
    let is_name = prefix.len() <= PREFIX_LEN_MAX
        && prefix.starts_with(|first: char| first.is_ascii_alphabetic())
        && prefix
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
    match is_name && prefix != "midge" && prefix != "process" {
        true => Ok(Some(prefix)),
        false => Err(Refusal::bad_request(format!(
            "Error decoding prefix {prefix:?}: it must be a letter and at most {} letters, digits \
             or underscores, and neither midge nor process",
            PREFIX_LEN_MAX - 1
        ))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_prefix_is_a_name_or_refused() {
        let parse = |text: &str| prefix(&Query::parse(text)).map_err(|refusal| refusal.message);
        assert_eq!(parse("").unwrap().as_deref(), Some("gnatsd"));
        assert_eq!(parse("prefix=nats").unwrap().as_deref(), Some("nats"));
        assert_eq!(
            parse("prefix=choria").unwrap().as_deref(),
            Some(choria::PREFIX)
        );
        assert_eq!(parse("exporter=1").unwrap().as_deref(), Some("gnatsd"));
        assert_eq!(parse("exporter=0&prefix=nats").unwrap(), None);
        for wrong in ["1a", "_a", "a-b", "a%0Ab", "midge", "process", "%C3%A9"] {
            assert!(parse(&format!("prefix={wrong}")).is_err(), "{wrong}");
        }
        assert!(parse(&format!("prefix={}", "a".repeat(33))).is_err());
        assert!(parse("exporter=x").is_err());
    }
}
