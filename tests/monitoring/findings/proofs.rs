//! Lists for each rule the test that proves it: the test causes the condition for real
//! and checks that the finding appears, clears, and does not appear otherwise.

use std::collections::BTreeSet;

use midge::observe::diagnosis::rules::RULES;

use super::{
    broker, ceilings, certificates, clients, dns, federation, leafnodes, members_differ, nodes,
    readers, routes, silent_nodes, system, tables,
};

/// The code of each rule, and the test that proves it.
const PROOFS: &[(&str, fn())] = &[
    (
        "slow-consumer",
        readers::a_stuck_subscriber_is_reported_until_it_reads,
    ),
    (
        "slow-consumer-recent",
        readers::a_growing_queue_is_predicted_and_a_disconnect_is_reported_for_a_while,
    ),
    (
        "slow-consumer-predicted",
        readers::a_growing_queue_is_predicted_and_a_disconnect_is_reported_for_a_while,
    ),
    (
        "publisher-stalled",
        readers::a_subscriber_that_stalls_publishers_is_named,
    ),
    (
        "connect-storm",
        clients::a_connect_storm_is_reported_while_it_lasts,
    ),
    (
        "unauthenticated-flood",
        clients::unauthenticated_connections_that_fill_a_port_are_reported,
    ),
    (
        "ceiling-fds",
        ceilings::open_files_near_their_limit_are_reported,
    ),
    (
        "descriptors-exhausted",
        ceilings::clients_are_refused_before_the_descriptors_are_gone,
    ),
    ("accept-failing", ceilings::failing_accepts_are_reported),
    (
        "max-connections-unreachable",
        ceilings::a_limit_of_connections_beyond_the_descriptors_is_reported,
    ),
    (
        "ceiling-connections",
        ceilings::connections_near_their_limit_are_reported,
    ),
    (
        "ceiling-subscriptions",
        ceilings::subscription_exhaustion_is_predicted,
    ),
    (
        "ceiling-queues",
        ceilings::queue_memory_near_its_limit_is_reported_by_cause,
    ),
    (
        "ceiling-memory",
        ceilings::memory_near_the_process_limit_is_reported,
    ),
    (
        "route-missing",
        routes::a_killed_member_is_reported_missing_until_it_returns,
    ),
    (
        "srv-failing",
        dns::a_record_that_is_not_there_is_reported_until_it_is,
    ),
    (
        "nodes-missing",
        nodes::a_missing_node_is_reported_until_it_is_back,
    ),
    (
        "nodes-unreadable",
        nodes::a_list_that_cannot_be_read_is_reported_until_it_can,
    ),
    (
        "clients-uneven",
        nodes::clients_at_one_member_are_reported_until_they_are_spread,
    ),
    ("route-flapping", routes::a_flapping_route_is_reported),
    (
        "route-failing",
        routes::a_repeatedly_failing_route_is_reported,
    ),
    (
        "route-slow",
        routes::a_hanging_member_is_reported_until_it_continues,
    ),
    (
        "route-asymmetric",
        routes::members_without_a_route_between_them_are_named,
    ),
    (
        "members-differ",
        members_differ::members_with_different_limits_are_reported,
    ),
    (
        "leafnode-unreachable",
        leafnodes::a_hub_that_is_not_connected_is_reported_until_it_is,
    ),
    (
        "leafnode-loop",
        leafnodes::a_circle_is_reported_by_both_sides,
    ),
    (
        "leafnode-flapping",
        leafnodes::a_leafnode_that_comes_and_goes_is_reported,
    ),
    (
        "leafnode-slow",
        leafnodes::a_slow_way_to_a_hub_is_reported_by_both_sides,
    ),
    (
        "federation-unreachable",
        federation::a_lost_upstream_broker_is_reported_until_it_is_back,
    ),
    (
        "federation-refused",
        federation::refused_messages_are_reported_by_reason_for_a_while,
    ),
    (
        "federation-dropped",
        federation::dropped_replies_are_reported_for_a_while,
    ),
    (
        "federation-slow",
        federation::growing_round_trips_are_reported,
    ),
    (
        "federation-nodes-silent",
        silent_nodes::nodes_that_never_answer_are_named_until_they_do,
    ),
    (
        "federation-member-silent",
        federation::a_member_that_takes_and_says_nothing_is_named,
    ),
    (
        "login-failures",
        clients::refused_logins_are_reported_by_address,
    ),
    (
        "permission-violations",
        clients::permission_violations_are_reported_by_client,
    ),
    (
        "no-responders",
        clients::unanswered_requests_are_reported_by_subject,
    ),
    (
        "no-interest-subjects",
        clients::subjects_without_subscribers_are_reported,
    ),
    (
        "subscription-leak",
        clients::growing_subscriptions_are_reported_as_a_leak,
    ),
    (
        "config-differs",
        broker::a_pending_configuration_is_reported_until_it_is_active,
    ),
    (
        "reload-failed",
        broker::a_failed_reload_is_reported_until_one_succeeds,
    ),
    ("worker-stall", broker::stalled_worker_threads_are_reported),
    (
        "worker-stuck",
        broker::a_worker_that_hangs_alone_is_reported,
    ),
    (
        "stale-peers",
        clients::peers_that_do_not_answer_pings_are_counted,
    ),
    ("restart-loop", broker::repeated_restarts_are_reported),
    (
        "large-payloads",
        clients::large_messages_are_reported_before_and_at_the_limit,
    ),
    ("unsafe-clients", broker::open_ports_are_reported),
    ("unsafe-monitoring", broker::open_ports_are_reported),
    (
        "no-monitoring",
        broker::a_missing_default_monitoring_port_is_reported,
    ),
    (
        "certificate-expiry",
        certificates::the_server_certificate_is_reported_before_and_after_expiry,
    ),
    ("ca-expiry", certificates::an_expiring_ca_is_reported),
    ("crl-expiry", certificates::an_overdue_crl_is_reported),
    (
        "tls-files",
        certificates::unusable_tls_files_are_reported_until_they_load,
    ),
    (
        "tls-gaps",
        certificates::mismatched_tls_files_are_reported_until_they_match,
    ),
    (
        "handshake-failures",
        certificates::failed_handshakes_are_reported_by_cause_and_probes_are_not,
    ),
    (
        "revoked-clients",
        certificates::revoked_clients_that_were_cut_are_named_for_a_while,
    ),
    (
        "log-lost",
        system::an_unwritable_log_is_reported_until_it_recovers,
    ),
    (
        "blocked-call",
        system::a_hanging_file_read_is_reported_and_blocks_nothing,
    ),
    (
        "threads-exhausted",
        system::refused_threads_are_reported_for_a_while,
    ),
    (
        "diagnosis-hangs",
        system::a_hanging_diagnosis_shows_in_the_age_of_its_report,
    ),
    (
        "replies-full",
        tables::an_account_with_too_many_pending_replies_is_named,
    ),
    ("imports-cut", tables::an_import_cycle_is_reported),
    ("table-full", tables::a_full_table_is_reported),
];

#[test]
fn every_rule_has_a_test() {
    let rules: BTreeSet<&str> = RULES.iter().map(|rule| rule.code).collect();
    let proved: BTreeSet<&str> = PROOFS.iter().map(|(code, _)| *code).collect();
    assert_eq!(rules, proved, "rules, then those that are proved");
}
