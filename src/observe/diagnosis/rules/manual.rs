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
been gone for `clear_after`, or at once where its end is certain: the route is there. Incidents without a duration, such as a refused login, count for the
time `incident_window`. All thresholds are in the block `diagnosis` of the configuration.

The log and the events have a line when a finding appears (`warning CODE …`), gets worse
(`worsened from warning to critical CODE …`), eases (`eased from critical to warning CODE …`) and
clears (`cleared CODE …`). That it eased is written once it has been less severe for `clear_after`;
/explainz shows the new severity at once.

## Severities

| severity | what it means |
|---|---|
| critical | Act now. This broker does not do its work for its clients, or for another broker of the cluster as a whole, or is about to stop doing it; or a client is about to lose all that waits for it. What is about to happen can still be prevented. |
| warning | Act soon. The broker does its work, but some clients do not get what they should, or have lost something lately, or will; or a change was not applied, the next start would fail, or the broker is open to everybody. |
| info | Nothing to do now. Nobody is affected; it is worth knowing. |

So a client that is about to be closed is critical, and one that was closed is a warning: what it lost
does not come back, and everybody else is served.

## When a reader is slow

A reader is a client, or another broker of the cluster. One that takes messages more slowly than they
arrive passes these steps:

| step | from | where it shows |
|---|---|---|
| It is behind. | its socket is full | `pending_bytes` in /connz |
| Publishers are paused for it, if it reads. | 2 MiB wait, and most readers of the publisher are so far behind; or its queue is half full | `stalled_clients` in /varz, finding `publisher-stalled` |
| An incident begins. | it has been behind for 1 s, or 10 % of `max_pending` wait | /slowz, /eventsz?type=slow |
| It is slow. | it has taken nothing for 2 s, or `slow_percent` of `max_pending` wait; a client with less than 64 KiB does not count | finding `slow-consumer`, of a broker `route-slow` |
| It will be closed. | within `queue_full_within` its queue is full, or `write_deadline` passes | finding `slow-consumer-predicted` |
| It is nearly lost. | 75 % of `max_pending` wait | the finding `slow-consumer` is critical |
| It is closed. | `max_pending` is exceeded, it has taken nothing until `write_deadline`, or all queues exceed `max_memory` and it holds most | `slow_consumers` in /varz, `evicted` in /slowz, finding `slow-consumer-recent` |

So a finding is there before a client that stops reading is closed, unless its queue fills up within
`appear_after`; then /slowz and `slow-consumer-recent` name it.

## /healthz

The answer and its status codes are those of nats-server: 200 with `ok`, or 503 with
`unavailable` when the broker stops or is not `live`. With `probe=state` midge adds:

| field | true when |
|---|---|
| `live` | the broker's threads work: none, including that of the diagnosis, is late by 30 s. Nothing outside the process matters: no other broker, client or file. |
| `ready` | the broker is live, is not stopping, and can take another client: no critical finding `ceiling-connections`, `ceiling-fds`, `descriptors-exhausted` or `accept-failing` |
| `degraded` | there is a finding of severity warning or critical, for example a missing member of the cluster |
| `reasons` | (a list) the codes of these findings, and `stopping` |
| `age` | (a number) seconds since the diagnosis checked the broker: the other fields are as old |

`/healthz?probe=live` and `/healthz?probe=ready` add the same fields, and answer 503 when the named
one is false, else 200.

## Codes

";

#[cfg(test)]
mod tests {
    use super::{super::Rule, *};

    #[test]
    fn the_findings_in_the_docs_are_up_to_date() {
        test_support::generated::assert_up_to_date("docs/findings.md", &manual());
    }

    /// The answers that README shows are those of the table.
    #[test]
    fn the_findings_in_the_readme_are_quoted_as_they_are() {
        const README: &str = include_str!("../../../../README.md");
        let mut quoted = 0;
        for line in README.lines() {
            let (is_known, text): (fn(&Rule, &str) -> bool, _) = match line.trim().split_once(": ")
            {
                Some(("do", text)) => (|rule, text| rule.remedy == text, text),
                Some(("see", text)) => (
                    |rule, text| text.ends_with(&format!("#{}", rule.code)),
                    text,
                ),
                _ => continue,
            };
            let text = text.trim();
            assert!(RULES.iter().any(|rule| is_known(rule, text)), "{text}");
            quoted += 1;
        }
        assert!(quoted >= 4, "{quoted} lines");
    }
}
