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

midge checks itself about once per second and reports what is wrong. To read its findings, type

```
curl -s 'http://127.0.0.1:8222/explainz?format=text'
```

They are also in `midge top`, on the web page of the monitoring port, in the output of
`check_nats --mode explain`, in notifications of collectd (`docs/collectd.md`), in the log, and
among the events (`/eventsz?type=finding`). A finding has a stable code, a severity, a subject (who
or what), the time since when, a sentence with numbers, the likely cause and what to do. A path such
as `/slowz` below is on the same port.

A symptom that lasts for `appear_after` becomes a finding. The finding clears once the symptom has
been gone for `clear_after`. Incidents without a duration, such as a refused login, count for the
time `incident_window`. All thresholds are in the block `diagnosis` of the configuration.

## /healthz

The answer and its status codes are those of nats-server: 200 with `ok`, or 503 with
`unavailable` when the broker stops or is not `live`. With `probe=state` midge adds:

| field | true when |
|---|---|
| `live` | the broker's threads work: none, including that of the diagnosis, is late by 30 s. Nothing outside the process matters: no other broker, client or file. |
| `ready` | the broker is live, is not stopping, and can take another client: no critical finding `ceiling-connections`, `ceiling-fds` or `descriptors-exhausted` |
| `degraded` | there is a finding of severity warning or critical, for example a missing member of the cluster |
| `reasons` | (a list) the codes of these findings, and `stopping` |
| `age` | (a number) seconds since the diagnosis checked the broker: the other fields are as old |

`/healthz?probe=live` and `/healthz?probe=ready` add the same fields, and answer 503 when the named
one is false, else 200.

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
