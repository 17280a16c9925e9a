//! Readers that are behind, and publishers that are paused for them.

use std::{fmt, time::Duration};

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    connection::{Kind, outbound::Backlog},
    observe::{
        diagnosis::{
            humanize::{bytes, plural, seconds, time},
            trend::Trend,
        },
        sample::Holder,
    },
    telemetry::MonotonicMillis,
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
        meaning: "A client will be closed within the time `queue_full_within`, whichever comes \
                  first: its queue grows steadily and will be full, or it reads nothing and \
                  `write_deadline` will have passed.",
        cause: "Messages arrive faster than the client reads them, or it does not read at all, \
                and this does not change.",
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
        plural(recent.total(), "slow consumer"),
        time(evidence.thresholds.incident_window),
        named.join(", ")
    );
    vec![warning("", 0, text)]
}

fn slow_soon(evidence: &Evidence) -> Vec<Symptom> {
    let now = evidence.sample.at;
    let soon = evidence.thresholds.queue_full_within.as_secs_f64();
    let deadline = evidence.server.broker.limits.current().write_deadline;
    let symptoms = evidence.sample.by_pending.iter().filter_map(|holder| {
        let Holder {
            connection,
            backlog,
            ..
        } = holder;
        let trend = evidence.history.queues.get(&connection.cid);
        let end = End::of(backlog, trend, deadline, now)?;
        (end.within() <= soon).then(|| {
            let waiting = bytes(backlog.pending as u64);
            let text = format!("{waiting} wait in its queue, {end}");
            warning(&connection.who(), connection.cid, text)
        })
    });
    symptoms.collect()
}

/// What will close a client that goes on as it does.
#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// Its queue is full after these seconds, at this growth per second.
    Full { within: f64, growth: f64 },
    /// The write deadline passes after these seconds, as it has read nothing for that long.
    Deadline { within: f64, stuck: Duration },
}

impl End {
    /// The one that comes first.
    fn of(
        backlog: &Backlog,
        trend: Option<&Trend>,
        deadline: Duration,
        now: MonotonicMillis,
    ) -> Option<Self> {
        let stuck = backlog.stuck_for(now);
        let deadline = backlog.is_stuck(now).then(|| Self::Deadline {
            within: deadline.saturating_sub(stuck).as_secs_f64(),
            stuck,
        });
        let limit = backlog.max_pending as f64;
        let growing = trend.filter(|trend| trend.rise() >= limit * RISE_MIN);
        let growth = growing.and_then(Trend::slope).filter(|slope| *slope > 0.0);
        let full = growth.map(|growth| Self::Full {
            within: (limit - backlog.pending as f64).max(0.0) / growth,
            growth,
        });
        let ends = [deadline, full].into_iter().flatten();
        ends.min_by(|a, b| a.within().total_cmp(&b.within()))
    }

    fn within(self) -> f64 {
        match self {
            Self::Full { within, .. } | Self::Deadline { within, .. } => within,
        }
    }
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Full { within, growth } => write!(
                f,
                "which grows by {} per second and is full in {}",
                // Above zero and far below the largest number.
                bytes(*growth as u64),
                seconds(*within)
            ),
            Self::Deadline { within, stuck } => write!(
                f,
                "and it has read nothing for {}: write_deadline closes it in {}",
                time(*stuck),
                seconds(*within)
            ),
        }
    }
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
                Kind::Leafnode => "leafnode",
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

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: usize = 1024 * 1024;
    const DEADLINE: Duration = Duration::from_secs(10);

    /// Of a reader with a queue of 16 MiB that has grown by this per second for 10 seconds, and has
    /// read nothing for `stuck` seconds.
    fn end(per_second: usize, stuck: u64) -> Option<End> {
        let now = MonotonicMillis(100_000);
        let mut trend = Trend::new(Duration::from_secs(30), Duration::from_secs(1));
        for second in 0..=10 {
            let at = MonotonicMillis(90_000 + second * 1000);
            trend.add(at, (second as usize * per_second) as f64);
        }
        let backlog = Backlog {
            pending: 10 * per_second,
            max_pending: 16 * MIB,
            last_progress: MonotonicMillis(100_000 - stuck * 1000),
            behind_since: Some(MonotonicMillis(90_000)),
            shared: 0,
            held: 0,
            closed: false,
        };
        End::of(&backlog, Some(&trend), DEADLINE, now)
    }

    #[test]
    fn a_client_is_closed_by_what_comes_first() {
        assert_eq!(end(0, 0), None);
        // It reads, but too slowly: full after 60 and after 6 seconds.
        let slow = end(16 * MIB / 70, 0).map(End::within);
        assert!(
            slow.is_some_and(|within| (within - 60.0).abs() < 0.1),
            "{slow:?}"
        );
        let fast = end(MIB, 0).expect("it grows");
        assert_eq!(
            fast.to_string(),
            "which grows by 1 MiB per second and is full in 6.0 s"
        );
        // It reads nothing: its queue grows as well, but is full later, or earlier.
        for per_second in [0, 16 * MIB / 70] {
            assert_eq!(
                end(per_second, 6).expect("it is stuck").to_string(),
                "and it has read nothing for 6.0 s: write_deadline closes it in 4.0 s"
            );
        }
        assert_eq!(end(MIB, 3), Some(fast));
    }
}
