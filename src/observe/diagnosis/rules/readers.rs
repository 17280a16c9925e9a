//! Readers that are behind, and publishers that are paused for them.

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    connection::Kind,
    observe::{
        diagnosis::humanize::{bytes, count, seconds, time},
        sample::Holder,
    },
};

/// Share of its limit by which a queue must have grown before a time is predicted.
const RISE_MIN: f64 = 0.05;

/// Names in one sentence.
const NAMED_MAX: usize = 3;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "slow-consumer",
        levels: "warning; critical from 75 % of `max_pending` on",
        meaning: "A client reads more slowly than messages arrive for it, so they wait in its \
                  queue. When the queue reaches `max_pending`, midge closes the connection and \
                  what waits is lost.",
        cause: "The client does not read its socket as fast as messages arrive.",
        remedy: "Look at the named client: is it busy, stopped, swapping, or on a slow link? Give \
                 it fewer messages (narrower subjects, more members in its queue group) or more \
                 CPU. A larger max_pending helps only against short peaks.",
        pace: Pace::Lasting,
        find: slow_now,
    },
    Rule {
        code: "slow-consumer-recent",
        levels: "warning",
        meaning: "midge closed clients because they were too far behind. The messages that waited \
                  for them are lost. The finding stays for the time `incident_window`.",
        cause: "These clients did not read as fast as messages arrived.",
        remedy: "Open /slowz: it shows each incident with its cause, the subjects that waited and \
                 who published them. Then look at the named clients. They reconnect by themselves, \
                 but the lost messages do not come back.",
        pace: Pace::AtOnce,
        find: slow_recently,
    },
    Rule {
        code: "slow-consumer-predicted",
        levels: "warning",
        meaning: "A client's queue grows steadily and will be full within the time \
                  `queue_full_within`.",
        cause: "Messages arrive faster than the client reads them, and this does not change.",
        remedy: "Act before midge closes the connection: slow the publishers down, or give the \
                 client fewer messages or more CPU. /slowz names the publishers.",
        pace: Pace::Lasting,
        find: slow_soon,
    },
    Rule {
        code: "publisher-stalled",
        levels: "warning",
        meaning: "midge pauses publishers again and again because a reader (a client or another \
                  broker of the cluster) reads, but is behind. One slow reader slows the \
                  publishers down.",
        cause: "The named reader takes its messages more slowly than they are published. To \
                another broker, each message carries the names of all queue groups there that it \
                is for.",
        remedy: "Make the named reader faster, or unsubscribe it from the subjects that it cannot \
                 keep up with. If it is a broker, check its load and the network to it, and look \
                 there for clients with very many or very long queue group names on wide subjects. \
                 A broker that stays behind is disconnected when its queue is full.",
        pace: Pace::Lasting,
        find: stalling,
    },
];

fn slow_now(evidence: &Evidence) -> Vec<Symptom> {
    let (now, percent) = (evidence.sample.at, evidence.thresholds.slow_percent);
    let holders = evidence.sample.by_pending.iter();
    holders
        .filter(|holder| holder.backlog.is_slow(now, percent))
        .map(|holder| slow(evidence, holder))
        .collect()
}

fn slow(evidence: &Evidence, holder: &Holder) -> Symptom {
    let backlog = &holder.backlog;
    let now = evidence.sample.at;
    let cause = match backlog.is_stuck(now) {
        true => format!(
            "The client has read nothing for {}: it is busy, blocked or stopped, or its host is \
             gone.",
            time(backlog.stuck_for(now))
        ),
        false => "The client reads, but more slowly than messages arrive.".to_owned(),
    };
    Symptom {
        severity: match backlog.is_nearly_full() {
            true => Severity::Critical,
            false => Severity::Warning,
        },
        subject: holder.connection.who(),
        cid: holder.connection.cid,
        text: format!(
            "{} wait in its queue, {:.0} % of max_pending; it has been behind for {}",
            bytes(backlog.pending as u64),
            backlog.percent(),
            time(backlog.behind_for(now))
        ),
        cause: Some(cause),
    }
}

fn slow_recently(evidence: &Evidence) -> Vec<Symptom> {
    let recent = &evidence.history.slow_consumers;
    let sums = recent.by_subject();
    if sums.is_empty() {
        return Vec::new();
    }
    let named: Vec<String> = sums
        .iter()
        .take(NAMED_MAX)
        .map(|sum| match sum.count.times {
            1 => format!("{:?}", sum.subject),
            times => format!("{:?} ({times} times)", sum.subject),
        })
        .collect();
    let more = match sums.len().saturating_sub(NAMED_MAX) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let text = format!(
        "{} closed within {}: {}{more}",
        count(recent.total(), "slow consumer"),
        time(evidence.thresholds.incident_window),
        named.join(", ")
    );
    vec![warning("", 0, text)]
}

fn slow_soon(evidence: &Evidence) -> Vec<Symptom> {
    let soon = evidence.thresholds.queue_full_within.as_secs_f64();
    let mut symptoms = Vec::new();
    for holder in &evidence.sample.by_pending {
        let Some(course) = evidence.history.queues.get(&holder.connection.cid) else {
            continue;
        };
        let backlog = &holder.backlog;
        let limit = backlog.max_pending as f64;
        let growth = course.slope().unwrap_or(0.0);
        if growth <= 0.0 || course.rise() < limit * RISE_MIN {
            continue;
        }
        let left = (limit - backlog.pending as f64).max(0.0) / growth;
        if left <= soon {
            let text = format!(
                "{} wait in its queue, which grows by {} per second and is full in {}",
                bytes(backlog.pending as u64),
                // Above zero and far below the largest number.
                bytes(growth as u64),
                seconds(left)
            );
            symptoms.push(warning(
                &holder.connection.who(),
                holder.connection.cid,
                text,
            ));
        }
    }
    symptoms
}

fn stalling(evidence: &Evidence) -> Vec<Symptom> {
    let mut waited_for: Vec<(&Holder, u64)> = evidence
        .sample
        .waited_for
        .iter()
        .filter_map(|holder| {
            let new = evidence.history.new_stalls.get(&holder.connection.cid)?;
            Some((holder, *new))
        })
        .collect();
    waited_for.sort_by_key(|(_, new)| std::cmp::Reverse(*new));
    waited_for
        .into_iter()
        .map(|(holder, new)| {
            let what = match holder.connection.kind {
                Kind::Client => "client",
                Kind::Router => "broker",
            };
            let text = format!(
                "publishers were paused {} for this {what} within a second; {} wait in its queue",
                match new {
                    1 => "once".to_owned(),
                    _ => format!("{new} times"),
                },
                bytes(holder.backlog.pending as u64)
            );
            warning(&holder.connection.who(), holder.connection.cid, text)
        })
        .collect()
}
