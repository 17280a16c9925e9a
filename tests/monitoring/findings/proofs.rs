//! Lists for each rule the test that proves it: the test causes the condition for real
//! and checks that the finding appears, clears, and does not appear otherwise.
//!
//! `cargo test --test monitoring -- --ignored --nocapture proofs::table` prints the table
//! with times; with `MIDGE_FINDINGS_PACE=default` they are those of the default
//! thresholds (except `incident_window`, which is then 20 s).

use std::{cell::RefCell, collections::BTreeSet, env, panic::catch_unwind, time::Instant};

use midge::observe::diagnosis::rules::RULES;

use super::{broker, ceilings, certificates, clients, readers, routes, system, tables};
use test_support::{PATIENCE, wait_within};

/// The test that proves a rule.
struct Proof {
    code: &'static str,
    /// How the condition is caused.
    how: &'static str,
    test: fn(),
}

const fn proof(code: &'static str, how: &'static str, test: fn()) -> Proof {
    Proof { code, how, test }
}

/// One for each rule.
const PROOFS: &[Proof] = &[
    proof(
        "slow-consumer",
        "a subscriber stops reading, 5 MB and more of 16 MB wait for it",
        readers::a_stuck_subscriber_is_reported_until_it_reads,
    ),
    proof(
        "slow-consumer-recent",
        "the subscriber is cut at max_pending",
        readers::a_growing_queue_is_predicted_and_a_disconnect_is_reported_for_a_while,
    ),
    proof(
        "slow-consumer-predicted",
        "the queue of a subscriber that does not read grows steadily",
        readers::a_growing_queue_is_predicted_and_a_disconnect_is_reported_for_a_while,
    ),
    proof(
        "publisher-stalled",
        "a subscriber reads more slowly than one publisher sends",
        readers::a_subscriber_that_stalls_publishers_is_named,
    ),
    proof(
        "connect-storm",
        "clients connect and leave as fast as they can",
        clients::a_connect_storm_is_reported_while_it_lasts,
    ),
    proof(
        "unauthenticated-flood",
        "silent connections to the monitoring port, more than it has places",
        clients::unauthenticated_connections_that_fill_a_port_are_reported,
    ),
    proof(
        "ceiling-fds",
        "the limit of open files is lowered to what is in use",
        ceilings::open_files_near_their_limit_are_reported,
    ),
    proof(
        "descriptors-exhausted",
        "clients connect until three quarters of the descriptors are used",
        ceilings::clients_are_refused_before_the_descriptors_are_gone,
    ),
    proof(
        "ceiling-connections",
        "9 of 10 connections are open",
        ceilings::connections_near_their_limit_are_reported,
    ),
    proof(
        "ceiling-subscriptions",
        "a client subscribes steadily, max_subscriptions is 20 000",
        ceilings::subscription_exhaustion_is_predicted,
    ),
    proof(
        "ceiling-queues",
        "two stuck subscribers hold 6.8 MB of max_memory 8 MB",
        ceilings::queue_memory_near_its_limit_is_reported_by_cause,
    ),
    proof(
        "ceiling-memory",
        "a process that may use 400 MB holds 200 MB for a stuck subscriber, 40 % warn",
        ceilings::memory_near_the_process_limit_is_reported,
    ),
    proof(
        "route-missing",
        "a member (midge, nats-server 2.15) is killed",
        routes::a_killed_member_is_reported_missing_until_it_returns,
    ),
    proof(
        "route-flapping",
        "a member is killed and started three times",
        routes::a_flapping_route_is_reported,
    ),
    proof(
        "route-failing",
        "a peer says twice what nobody understands, then behaves",
        routes::a_repeatedly_failing_route_is_reported,
    ),
    proof(
        "route-slow",
        "a member (midge, nats-server 2.15) is stopped by SIGSTOP, route_silence is 0.5 s",
        routes::a_hanging_member_is_reported_until_it_continues,
    ),
    proof(
        "route-asymmetric",
        "two members cannot reach each other, a third one reaches both",
        routes::members_without_a_route_between_them_are_named,
    ),
    proof(
        "members-differ",
        "a nats-server with another max_payload joins",
        routes::members_with_different_limits_are_reported,
    ),
    proof(
        "login-failures",
        "20 logins with a wrong password",
        clients::refused_logins_are_reported_by_address,
    ),
    proof(
        "permission-violations",
        "20 publishes to a denied subject",
        clients::permission_violations_are_reported_by_client,
    ),
    proof(
        "no-responders",
        "10 requests to a subject without a service",
        clients::unanswered_requests_are_reported_by_subject,
    ),
    proof(
        "no-interest-subjects",
        "600 messages to a misspelt subject",
        clients::subjects_without_subscribers_are_reported,
    ),
    proof(
        "subscription-leak",
        "a client subscribes again and again; another holds 300 idle inboxes",
        clients::growing_subscriptions_are_reported_as_a_leak,
    ),
    proof(
        "config-differs",
        "the configuration file is changed and not reloaded",
        broker::a_pending_configuration_is_reported_until_it_is_active,
    ),
    proof(
        "reload-failed",
        "SIGHUP with an error in the file",
        broker::a_failed_reload_is_reported_until_one_succeeds,
    ),
    proof(
        "worker-stall",
        "the worker threads are held by ptrace, worker_delay is 0.5 s",
        broker::stalled_worker_threads_are_reported,
    ),
    proof(
        "stale-peers",
        "clients that answer no ping",
        clients::peers_that_do_not_answer_pings_are_counted,
    ),
    proof(
        "restart-loop",
        "the broker is started three times",
        broker::repeated_restarts_are_reported,
    ),
    proof(
        "large-payloads",
        "messages of 90 % of max_payload, and above it",
        clients::large_messages_are_reported_before_and_at_the_limit,
    ),
    proof(
        "unsafe-clients",
        "the client port listens on 0.0.0.0 without a login",
        broker::open_ports_are_reported,
    ),
    proof(
        "unsafe-monitoring",
        "the monitoring port listens on 0.0.0.0 without a login",
        broker::open_ports_are_reported,
    ),
    proof(
        "no-monitoring",
        "another program has port 8222, and no port is named",
        broker::a_missing_default_monitoring_port_is_reported,
    ),
    proof(
        "certificate-expiry",
        "the broker's certificate nears its end and passes it",
        certificates::the_server_certificate_is_reported_before_and_after_expiry,
    ),
    proof(
        "ca-expiry",
        "a CA near its end",
        certificates::an_expiring_ca_is_reported,
    ),
    proof(
        "crl-expiry",
        "a CRL passes its next update",
        certificates::an_overdue_crl_is_reported,
    ),
    proof(
        "tls-files",
        "a key or CRL file is broken on disk",
        certificates::unusable_tls_files_are_reported_until_they_load,
    ),
    proof(
        "tls-gaps",
        "the CRL of one CA of the chain goes missing",
        certificates::mismatched_tls_files_are_reported_until_they_match,
    ),
    proof(
        "handshake-failures",
        "clients fail their TLS handshakes",
        certificates::failed_handshakes_are_reported_by_cause_and_probes_are_not,
    ),
    proof(
        "revoked-clients",
        "a client's certificate is revoked while it is connected",
        certificates::revoked_clients_that_were_cut_are_named_for_a_while,
    ),
    proof(
        "log-lost",
        "the log file leads to /dev/full",
        system::an_unwritable_log_is_reported_until_it_recovers,
    ),
    proof(
        "blocked-call",
        "the configuration file becomes a pipe that nobody writes",
        system::a_hanging_file_read_is_reported_and_blocks_nothing,
    ),
    proof(
        "diagnosis-hangs",
        "the thread of the diagnosis is held by ptrace",
        system::a_hanging_diagnosis_shows_in_the_age_of_its_report,
    ),
    proof(
        "replies-full",
        "an account asks a service of another one that never answers",
        tables::an_account_with_too_many_pending_replies_is_named,
    ),
    proof(
        "imports-cut",
        "two accounts import from each other by a function in a mapping",
        tables::an_import_cycle_is_reported,
    ),
    proof(
        "table-full",
        "readers that may respond are asked without end and never do",
        tables::a_full_table_is_reported,
    ),
];

#[test]
fn every_rule_has_a_test() {
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    let proved: BTreeSet<&str> = PROOFS.iter().map(|proof| proof.code).collect();
    assert_eq!(rules, proved, "rules, then those that are proved");
}

/// Measured times of one rule in a test, in seconds.
#[derive(Clone, Copy)]
struct Times {
    code: &'static str,
    shown: f64,
    cleared: Option<f64>,
}

thread_local! {
    static BEGUN: RefCell<Instant> = RefCell::new(Instant::now());
    static MEASURED: RefCell<Vec<Times>> = const { RefCell::new(Vec::new()) };
}

/// Whether the thresholds are the default ones.
pub fn with_defaults() -> bool {
    env::var("MIDGE_FINDINGS_PACE").is_ok_and(|pace| pace == "default")
}

/// Marks the moment at which the condition begins or ends.
pub fn begin() {
    BEGUN.set(Instant::now());
}

fn since_begun() -> f64 {
    BEGUN.with_borrow(Instant::elapsed).as_secs_f64()
}

/// A finding has appeared. The first time in a test counts.
pub fn note_shown(code: &str) {
    let Some(rule) = RULES.iter().find(|rule| rule.code == code) else {
        panic!("no rule {code}");
    };
    let shown = since_begun();
    MEASURED.with_borrow_mut(|measured| {
        if !measured.iter().any(|times| times.code == code) {
            measured.push(Times {
                code: rule.code,
                shown,
                cleared: None,
            });
        }
    });
}

/// A finding has cleared. The first time in a test counts.
pub fn note_cleared(code: &str) {
    let cleared = since_begun();
    MEASURED.with_borrow_mut(|measured| {
        let times = measured.iter_mut().find(|times| times.code == code);
        if let Some(times) = times {
            times.cleared.get_or_insert(cleared);
        }
    });
    begin();
}

/// Calls `probe` until it returns a value; panics with `what` after a timeout, which is
/// longer with the default thresholds.
pub fn wait<T>(what: &str, mut probe: impl FnMut() -> Option<T>) -> T {
    let patience = match with_defaults() {
        true => 4 * PATIENCE,
        false => PATIENCE,
    };
    wait_within(patience, what, &mut probe)
}

#[test]
#[ignore = "prints the table of proofs with times; see above"]
fn table() {
    println!(
        "| finding | brought about by | seconds until shown | until cleared |\n|---|---|---|---|"
    );
    for proof in PROOFS {
        MEASURED.with_borrow_mut(Vec::clear);
        begin();
        let passed = catch_unwind(proof.test).is_ok();
        let times = MEASURED.with_borrow(|measured| {
            let own = measured.iter().find(|times| times.code == proof.code);
            own.copied()
        });
        let text = |seconds: Option<f64>| {
            seconds.map_or_else(|| "-".to_owned(), |seconds| format!("{seconds:.1}"))
        };
        println!(
            "| {} | {} | {} | {} |{}",
            proof.code,
            proof.how,
            text(times.map(|times| times.shown)),
            text(times.and_then(|times| times.cleared)),
            if passed { "" } else { " FAILED" }
        );
    }
}
