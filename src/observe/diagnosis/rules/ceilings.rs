//! Limits that are close to being reached.

use std::io;

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    connection::budget::LimitedBy,
    observe::diagnosis::{
        ceiling::{Ceiling, CeilingKind},
        humanize::{bytes, percent, plural, seconds},
    },
};

/// When a ceiling becomes a finding, for the manual.
const LEVELS: &str = "warning from `ceiling_warning` percent on, or if it will be reached within \
                      `exhausted_within` at the present growth; critical from `ceiling_critical` \
                      percent on";

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "ceiling-fds",
        levels: LEVELS,
        meaning: "File descriptors are running out. Each connection takes one; when none is left, \
                  no client can connect.",
        cause: "There are more connections than the process may open files.",
        remedy: "Raise LimitNOFILE of the service (`systemctl edit midge`; or `ulimit -n`) above \
                 max_connections and restart, or close connections.",
        pace: Pace::Lasting,
        find: files,
    },
    Rule {
        code: "descriptors-exhausted",
        levels: "critical",
        meaning: "The named port refused connections because no file descriptor was left for it. \
                  The last ones are reserved: clients leave some to routes, monitoring and files; \
                  routes leave some to monitoring and files. The finding stays for the time \
                  `incident_window`; `ready` of /healthz shows the present state.",
        cause: "There are more connections than the process may open files.",
        remedy: "Raise LimitNOFILE of the service (`systemctl edit midge`; or `ulimit -n`) above \
                 max_connections and restart, or close connections.",
        pace: Pace::Sudden,
        find: files_gone,
    },
    Rule {
        code: "accept-failing",
        levels: "critical",
        meaning: "The system refused to accept connections at the named port, for lack of file \
                  descriptors or memory. The peers wait; it is tried again each second at least. \
                  The finding stays for the time `incident_window` after the last failure.",
        cause: "The text has the system's error. \"Too many open files\" is the limit of this \
                process, \"in system\" that of the machine, the others are its memory.",
        remedy: "For this process: raise LimitNOFILE of the service (`systemctl edit midge`) and \
                 restart. For the machine: `sysctl fs.file-nr` shows the use and the limit \
                 fs.file-max; look for what uses them (`lsof`).",
        pace: Pace::Sudden,
        find: accept_failing,
    },
    Rule {
        code: "max-connections-unreachable",
        levels: "warning",
        meaning: "`max_connections` is set to more clients than the process may have file \
                  descriptors for: further ones are refused before that limit is reached. Not \
                  reported for the default.",
        cause: "The service may open fewer files than that. midge raises its limit to the highest \
                that it is allowed by itself.",
        remedy: "Raise LimitNOFILE of the service (`systemctl edit midge`) above max_connections \
                 and restart, or lower max_connections.",
        pace: Pace::AtOnce,
        find: connections_unreachable,
    },
    Rule {
        code: "ceiling-connections",
        levels: LEVELS,
        meaning: "The number of clients comes close to `max_connections`. Further ones are \
                  refused.",
        cause: "There are more clients than before, or clients open connections and do not close \
                them.",
        remedy: "Raise max_connections (and LimitNOFILE), or find out which client holds many: \
                 /connz?sort=idle lists idle connections first.",
        pace: Pace::Lasting,
        find: connections,
    },
    Rule {
        code: "ceiling-subscriptions",
        levels: LEVELS,
        meaning: "A connection comes close to `max_subscriptions`. Further subscriptions are \
                  refused.",
        cause: "The client subscribes again and again without unsubscribing, or it needs that \
                many.",
        remedy: "Look at its subscriptions (/connz?cid=ID&subs=1). Fix the client, or raise \
                 max_subscriptions.",
        pace: Pace::Lasting,
        find: subscriptions,
    },
    Rule {
        code: "ceiling-queues",
        levels: LEVELS,
        meaning: "The messages that wait for all readers together come close to `max_memory`, or \
                  to the memory that the process has left, if that is less. At the limit, the \
                  connection that holds most is closed.",
        cause: "Many readers are behind at the same time, or a few are very far behind.",
        remedy: "Open /connz?sort=pending to see who is behind. If max_memory is the limit, raise \
                 it as far as the machine allows. If the memory of the process is the limit, give \
                 the service more, or see /memz for what else holds it.",
        pace: Pace::Lasting,
        find: queues,
    },
    Rule {
        code: "ceiling-memory",
        levels: LEVELS,
        meaning: "The process comes close to the memory that it may use. At the limit, the system \
                  kills it.",
        cause: "Usually the queues of slow readers, or very many subscriptions or connections. \
                /memz shows which.",
        remedy: "Open /memz to see what holds the memory. Lower max_memory or max_pending, or give \
                 the service more memory.",
        pace: Pace::Lasting,
        find: memory,
    },
];

fn connections(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Connections)
}

fn files(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Files)
}

fn files_gone(evidence: &Evidence) -> Vec<Symptom> {
    let refused = evidence.history.places.iter().filter(|it| it.refused > 0);
    refused
        .map(|it| Symptom {
            severity: Severity::Critical,
            subject: it.now.name.to_owned(),
            cid: 0,
            text: format!(
                "{} refused so far because no file descriptor was left",
                plural(it.now.refused, "connection")
            ),
            cause: None,
        })
        .collect()
}

fn accept_failing(evidence: &Evidence) -> Vec<Symptom> {
    let failing = evidence.history.places.iter().filter(|it| it.failed > 0);
    failing
        .map(|it| Symptom {
            severity: Severity::Critical,
            subject: it.now.name.to_owned(),
            cid: 0,
            text: format!(
                "accepting connections failed {} so far: {}",
                plural(it.now.failed, "time"),
                io::Error::from_raw_os_error(it.now.last_failure)
            ),
            cause: None,
        })
        .collect()
}

fn connections_unreachable(evidence: &Evidence) -> Vec<Symptom> {
    let text = evidence.server.unreachable_connections();
    text.map(|text| warning("", 0, text)).into_iter().collect()
}

fn memory(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Memory)
}

fn queues(evidence: &Evidence) -> Vec<Symptom> {
    let mut symptoms = near(evidence, CeilingKind::Queues);
    let budget = &evidence.server.broker.registry.budget;
    if let LimitedBy::Process { max_memory } = budget.limited_by() {
        for symptom in &mut symptoms {
            symptom.text += &format!(
                "; max_memory is {}, but the process has only this much memory left",
                bytes(max_memory as u64)
            );
            symptom.cause = Some(
                "Something other than queues holds most of the memory of the process; see /memz."
                    .into(),
            );
        }
    }
    symptoms
}

fn subscriptions(evidence: &Evidence) -> Vec<Symptom> {
    near(evidence, CeilingKind::Subscriptions)
}

fn near(evidence: &Evidence, kind: CeilingKind) -> Vec<Symptom> {
    let found = evidence.ceilings.iter().find(|known| known.kind == kind);
    found
        .and_then(|ceiling| judge(evidence, ceiling))
        .into_iter()
        .collect()
}

fn judge(evidence: &Evidence, ceiling: &Ceiling) -> Option<Symptom> {
    let thresholds = evidence.thresholds;
    let fill = percent(ceiling.used, ceiling.limit);
    let is_soon = ceiling
        .exhausted_in
        .is_some_and(|left| left <= thresholds.exhausted_within.as_secs_f64());
    let severity = if fill >= thresholds.ceiling_critical as f64 {
        Severity::Critical
    } else if fill >= thresholds.ceiling_warning as f64 || is_soon {
        Severity::Warning
    } else {
        return None;
    };
    let amount = |number: f64| match ceiling.kind.unit() {
        // Whole numbers above zero.
        "bytes" => bytes(number as u64),
        _ => format!("{number:.0}"),
    };
    let mut text = format!(
        "{} of {} used ({fill:.0} %)",
        amount(ceiling.used),
        amount(ceiling.limit)
    );
    if let Some(left) = ceiling.exhausted_in {
        text += &format!(
            "; at the present growth of {} per second the limit is reached in {}",
            amount(ceiling.growth),
            seconds(left)
        );
    }
    Some(Symptom {
        severity,
        subject: ceiling.holder.clone(),
        cid: ceiling.cid,
        text,
        cause: None,
    })
}
