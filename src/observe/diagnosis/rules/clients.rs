//! Faults of clients, and too many clients.

use std::time::Duration;

use super::{Evidence, Pace, Rule, Symptom, warning};
use crate::observe::diagnosis::{
    humanize::{plural, time},
    recent::Recent,
};

/// A login that waits longer for its password check is a symptom: most clients give up
/// after this time.
const LOGIN_WAIT_MAX: Duration = Duration::from_secs(2);

/// Growth is watched for at least this part of the window before it is a leak.
const LEAK_SPAN: u32 = 5;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "connect-storm",
        levels: "warning",
        meaning: "More clients connect and disconnect per second than `storm_rate` allows. Clients \
                  that connect and stay, as after a start of this broker or the loss of another \
                  one, are a finding only if it goes on for more than a minute.",
        cause: "A client fails right after it connects and retries without a pause; or a network \
                comes and goes, and all clients with it.",
        remedy: "If it stops by itself, do nothing. If not, look at the named address and at why \
                 connections end (/connz?state=closed), and give the clients a reconnect wait with \
                 jitter.",
        pace: Pace::Lasting,
        find: storm,
    },
    Rule {
        code: "unauthenticated-flood",
        levels: "warning",
        meaning: "Connections that do not log in use up the places that a port has for them \
                  (client, route, monitor, monitor_socket, or long_handshake: TLS handshakes with \
                  a lot of data), or logins wait long for their password check (passwords). midge \
                  closes the connections that have been silent longest, from the address that has \
                  the most, and serves everybody else. The finding stays for the time \
                  `incident_window`.",
        cause: "Somebody opens connections without using them, or guesses passwords from many \
                addresses; or many clients reconnect at once.",
        remedy: "Find the address with `ss -tn` on this host and block it in the firewall. \
                 midge_before_login_* in /metrics has the counts. Keep the route and monitoring \
                 ports off networks that do not need them.",
        pace: Pace::Sudden,
        find: crowded,
    },
    Rule {
        code: "login-failures",
        levels: "warning",
        meaning: "At least `login_failures` logins were refused within the time `incident_window`.",
        cause: "A client has wrong or old credentials and retries, or somebody guesses passwords.",
        remedy: "Correct the credentials of the named client. Block the address if you do not know \
                 it.",
        pace: Pace::AtOnce,
        find: login_failures,
    },
    Rule {
        code: "permission-violations",
        levels: "warning",
        meaning: "At least `violations` publishes or subscriptions were refused within the time \
                  `incident_window`.",
        cause: "A client uses a subject that its user may not use: the subject is wrong, or a \
                permission is missing.",
        remedy: "Find the subjects in /eventsz?type=auth.violation. Then correct the client, or \
                 the permissions of its user.",
        pace: Pace::AtOnce,
        find: violations,
    },
    Rule {
        code: "subscription-leak",
        levels: "warning",
        meaning: "A connection keeps adding subscriptions, or holds many inboxes (subjects in \
                  `reply_subjects`) that never got a message: at least `leak_subscriptions` of \
                  them.",
        cause: "The client subscribes for each request or task and does not unsubscribe.",
        remedy: "Fix the client: unsubscribe, or use one inbox for all requests as current client \
                 libraries do. Until then max_subscriptions limits the damage.",
        pace: Pace::Slow,
        find: leak,
    },
    Rule {
        code: "stale-peers",
        levels: "warning",
        meaning: "At least `stale_peers` connections were closed within the time `incident_window` \
                  because they answered no ping.",
        cause: "Hosts or a network disappeared, a firewall drops idle connections, or clients \
                hang.",
        remedy: "Find what the named clients have in common: a network, a host, a firewall. A \
                 shorter ping_interval keeps idle connections alive.",
        pace: Pace::AtOnce,
        find: stale,
    },
];

fn storm(evidence: &Evidence) -> Vec<Symptom> {
    let storm = evidence.server.broker.telemetry.churn.storm();
    let trouble = storm.filter(|storm| !storm.is_return());
    let symptom = trouble.map(|storm| warning(&storm.main_source(), 0, storm.text()));
    symptom.into_iter().collect()
}

fn login_failures(evidence: &Evidence) -> Vec<Symptom> {
    offenders(
        evidence,
        &evidence.history.login_failures,
        evidence.thresholds.login_failures,
        "refused login",
    )
}

fn violations(evidence: &Evidence) -> Vec<Symptom> {
    offenders(
        evidence,
        &evidence.history.violations,
        evidence.thresholds.violations,
        "permission violation",
    )
}

fn stale(evidence: &Evidence) -> Vec<Symptom> {
    offenders(
        evidence,
        &evidence.history.stale_peers,
        evidence.thresholds.stale_peers,
        "stale connection",
    )
}

/// One symptom for each client that reached the number alone. If none did but all
/// together did, one for the broker.
fn offenders(evidence: &Evidence, recent: &Recent, least: u64, what: &str) -> Vec<Symptom> {
    let total = recent.total();
    if total < least {
        return Vec::new();
    }
    let within = time(evidence.thresholds.incident_window);
    let sums = recent.by_subject();
    let alone: Vec<Symptom> = sums
        .iter()
        .filter(|sum| sum.count.times >= least)
        .map(|sum| {
            let text = format!("{} within {within}", plural(sum.count.times, what));
            // Each time it is another connection, so there is no cid.
            warning(&sum.subject, 0, text)
        })
        .collect();
    if !alone.is_empty() {
        return alone;
    }
    let text = format!(
        "{} within {within}, from {}; most of them from {:?}",
        plural(total, what),
        plural(sums.len() as u64, "client"),
        sums.first().map_or("", |sum| &*sum.subject)
    );
    vec![warning("", 0, text)]
}

fn crowded(evidence: &Evidence) -> Vec<Symptom> {
    let crowded = evidence.history.places.iter().filter(|it| it.silent > 0);
    let mut symptoms: Vec<Symptom> = crowded
        .map(|it| {
            let text = format!(
                "{} closed so far because others needed their place; at the last one, {} of {} \
                 places for connections that have not logged in were taken",
                plural(it.now.silent, "silent connection"),
                it.now.taken,
                it.now.max
            );
            warning(it.now.name, 0, text)
        })
        .collect();
    let queue = evidence.server.password_queue_state();
    if queue.longest >= LOGIN_WAIT_MAX {
        let text = format!(
            "{} waited for the password check, the longest for {}",
            plural(queue.waiting as u64, "login"),
            time(queue.longest)
        );
        symptoms.push(warning("passwords", 0, text));
    }
    symptoms
}

fn leak(evidence: &Evidence) -> Vec<Symptom> {
    let thresholds = evidence.thresholds;
    let mut symptoms = Vec::new();
    for holder in &evidence.sample.by_subscriptions {
        let cid = holder.connection.cid;
        let idle = evidence
            .history
            .idle_inboxes
            .get(&cid)
            .copied()
            .unwrap_or(0) as u64;
        let growth = evidence
            .history
            .subscriptions
            .get(&cid)
            .map_or(0, |course| {
                let grows = course.slope().is_some_and(|slope| slope > 0.0);
                match grows && course.span() >= thresholds.growth_window / LEAK_SPAN {
                    // Whole numbers above zero.
                    true => course.rise() as u64,
                    false => 0,
                }
            });
        let mut reasons = Vec::new();
        if growth >= thresholds.leak_subscriptions {
            let within = time(thresholds.growth_window);
            reasons.push(format!("{growth} of them added within the last {within}"));
        }
        if idle >= thresholds.leak_subscriptions {
            reasons.push(format!("{idle} of them inboxes that never got a message"));
        }
        if !reasons.is_empty() {
            let text = format!(
                "it has {}, {}",
                plural(holder.subscriptions, "subscription"),
                reasons.join(", ")
            );
            symptoms.push(warning(&holder.connection.who(), cid, text));
        }
    }
    symptoms
}
