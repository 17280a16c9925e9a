//! The manual of the metrics, made from the table.

use super::{Kind, Metric, PARTS};

/// The text of `docs/metrics.md`.
fn manual() -> String {
    let mut text = String::from(BEGINNING);
    for (part, metrics) in PARTS {
        text += &format!("\n## {part}\n\n| metric | type | what it says |\n|---|---|---|\n");
        for Metric {
            name, kind, help, ..
        } in *metrics
        {
            let suffix = kind.suffix();
            let kind = match kind {
                Kind::Info => Kind::Gauge.name(),
                kind => kind.name(),
            };
            text += &format!("| `{name}{suffix}` | {kind} | {help} |\n");
        }
    }
    text
}

const BEGINNING: &str = "\
# Metrics

midge's own metrics at `/metrics`; the names of prometheus-nats-exporter are there as well (`prefix=nats` for
dashboards whose names begin with `nats_`), with its types and values: `gnatsd_connz_in_msgs` and its like are sums
over the open connections, and fall when one leaves. `prefix=choria` has the names of Choria's broker instead,
`choria_network_*` with the label `identity`; `exporter=0` leaves both out. To see them
all, type `curl -s http://127.0.0.1:8222/metrics`. Totals count from the start of the broker. Units are
seconds and bytes. One scrape shows one moment: the parts of a total add up to it.

The number of series is bounded. Only the connections with the most waiting bytes have series of their
own (parameter `connections`, 20 by default, at most 200), and only the 100 accounts and the 100 routes
with the most messages.

`conf/prometheus/midge-alerts.yml` has alerts for Prometheus, among them one for each critical finding and
one for each warning: copy it to `/etc/prometheus/` and name it in `rule_files`. `conf/grafana/midge.json` is
a dashboard for Grafana.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_metrics_in_the_docs_are_up_to_date() {
        test_support::generated::assert_up_to_date("docs/metrics.md", &manual());
    }
}
