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

What `/metrics` answers, besides the names of prometheus-nats-exporter. Totals run since the start of
the broker. Units are seconds and bytes. One scrape shows one moment: the parts of a figure sum up
to the whole.

The number of series is bounded: connections of their own have only those with the most bytes
waiting (parameter `connections`, 20 by default, at most 200), accounts and routes the first 100 by
messages.
";

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_file_is_what_the_table_says() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/metrics.md");
        let written = fs::read_to_string(&file).unwrap_or_default();
        if written == manual() {
            return;
        }
        let made = std::env::temp_dir().join("metrics.md");
        fs::write(&made, manual()).expect("write the manual");
        panic!(
            "docs/metrics.md is not what the table of metrics says; take over {}",
            made.display()
        );
    }
}
