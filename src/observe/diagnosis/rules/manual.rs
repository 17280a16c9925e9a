//! The manual of the findings, made from the table.

use super::RULES;

/// The text of `docs/findings.md`.
pub fn manual() -> String {
    let mut text = String::from(BEGINNING);
    for rule in RULES {
        text += &format!("- [{0}](#{0})\n", rule.code);
    }
    for rule in RULES {
        text += &format!(
            "\n## {}\n\nSeverity: {}.\n\n{}\n\n**Likely cause.** {}\n\n**What to do.** {}\n",
            rule.code,
            rule.levels,
            one_line(rule.meaning),
            one_line(rule.cause),
            one_line(rule.remedy)
        );
    }
    text
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

const BEGINNING: &str = "\
# Findings

midge looks at itself about once per second and tells what is wrong: at `/explainz` on the
monitoring port (JSON, or text with `format=text`), with `check_nats --mode explain`, as
events of the type `finding` (`/eventsz`), and in the log. A finding has a stable code, a
severity, a subject (who or what), since when, a sentence with numbers, the likely cause and
what to do.

What lasts for `appear_after` becomes a finding, and a finding clears once its symptom is gone
for `clear_after`. Incidents that have no duration, such as a refused login, are held against
the broker for the time `incident_window`. All thresholds stand in the block `diagnosis` of the
configuration.

## /healthz

The answer and its status codes are those of nats-server: 200 with `ok`, or 503 with
`unavailable` when the broker stops or is not `live`. Asked with `probe=state` midge adds:

| field | true when |
|---|---|
| `live` | the broker's threads do their work: none, that of the diagnosis included, is late by 30 s. Depends on nothing outside of the process: not on other brokers, clients or files. |
| `ready` | it is live, does not stop, and there is room for another client: no critical finding `ceiling-connections`, `ceiling-fds` or `descriptors-exhausted` |
| `degraded` | there is a finding of severity warning or critical, a missing member of the cluster included |
| `reasons` | (a list) the codes of these findings, and `stopping` |
| `age` | (a number) seconds since the diagnosis looked at the broker: all of this is as old |

`/healthz?probe=live` and `/healthz?probe=ready` add them as well and answer 503 when that
field is false, else 200.

## Codes

";

#[cfg(test)]
mod tests {
    use std::{fs, path::Path};

    use super::*;

    #[test]
    fn the_manual_in_the_tree_is_the_one_of_the_table() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/findings.md");
        let in_tree = fs::read_to_string(&file).unwrap_or_default();
        if in_tree == manual() {
            return;
        }
        let made = std::env::temp_dir().join("findings.md");
        fs::write(&made, manual()).unwrap();
        panic!(
            "docs/findings.md is not what the table of rules says; take over {}",
            made.display()
        );
    }
}
