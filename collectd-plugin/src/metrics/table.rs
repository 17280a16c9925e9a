//! The table of metrics: where each value comes from, what it is called in collectd, and which option
//! enables it. The requests of a poll, the values, the manual page and docs/collectd.md are made
//! from it.
//!
//! Only types of collectd's own types.db are used. Running totals are DERIVE, because a COUNTER
//! that falls to zero when a broker restarts would show a spike.

use super::source::{
    ACCOUNTS, BYTE_CEILINGS, CAUSES, CEILINGS, COUNT_CEILINGS, Endpoint, FAILED_HANDSHAKES,
    FAILED_ROUTE_HANDSHAKES, Figure, LONGEST_QUEUES, LOST_BYTES, LOST_MESSAGES, List, MEMBERS,
    Members, Own, REFUSED_LOGINS, ROUTES, Source,
};

/// A row of the table.
#[derive(Debug)]
pub(crate) struct Metric {
    /// The option that enables it.
    pub(crate) group: Group,
    /// Where its values come from.
    pub(crate) source: Source,
    /// collectd's type.
    pub(crate) kind: &'static str,
    /// collectd's type instance; may be empty. The name of an element follows after a hyphen.
    pub(crate) type_instance: &'static str,
    /// Kind of the type's data sources.
    pub(crate) form: Form,
    /// Meaning and unit, for the manual.
    #[cfg_attr(
        not(test),
        expect(dead_code, reason = "read by the test that makes the manual")
    )]
    pub(crate) doc: &'static str,
}

/// The option that enables a metric.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum Group {
    /// None: always dispatched.
    Basic,
    /// `ReportFindings`.
    Findings,
    /// `ReportLatency`.
    Latency,
    /// `ReportRoutes`.
    Routes,
    /// `ReportCeilings`.
    Ceilings,
    /// `TopConnections`, if it is not 0.
    Connections,
    /// `ReportAccounts`.
    Accounts,
    /// `ReportMemory`.
    Memory,
    /// `ReportLimits`.
    Limits,
    /// `LegacyNames`, under the plugin name of an old configuration.
    Legacy,
}

impl Group {
    /// Those that are enabled unless an option says otherwise: useful, and few series.
    pub(crate) const DEFAULT: [Self; 6] = [
        Self::Basic,
        Self::Findings,
        Self::Latency,
        Self::Routes,
        Self::Ceilings,
        Self::Connections,
    ];
}

/// Kind of a metric's values.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Form {
    /// Running total; only for old identifiers.
    Counter,
    /// Running total.
    Derive,
    /// Current value, not negative.
    Gauge,
    /// Current value, which may be negative.
    Signed,
}

use Endpoint::{Clusterz, Explainz, Latencyz, Slowz, Varz};
use Figure::{DaysUntil, Keys, One, Percent, Sampled};
use Form::{Counter, Derive, Gauge, Signed};
use Group::{
    Accounts, Basic, Ceilings, Connections, Findings, Latency, Legacy, Limits, Memory, Routes,
};

const fn row(
    group: Group,
    source: Source,
    kind: &'static str,
    type_instance: &'static str,
    form: Form,
    doc: &'static str,
) -> Metric {
    Metric {
        group,
        source,
        kind,
        type_instance,
        form,
        doc,
    }
}

const fn own(
    own: Own,
    kind: &'static str,
    type_instance: &'static str,
    doc: &'static str,
) -> Metric {
    row(Basic, Source::Own(own), kind, type_instance, Gauge, doc)
}

const fn varz(
    group: Group,
    kind: &'static str,
    type_instance: &'static str,
    form: Form,
    keys: &'static [&'static str],
    doc: &'static str,
) -> Metric {
    let source = Source::Answer(Varz, Keys(keys));
    row(group, source, kind, type_instance, form, doc)
}

const fn days(type_instance: &'static str, end: &'static str, doc: &'static str) -> Metric {
    let source = Source::Answer(Varz, DaysUntil(end));
    row(Basic, source, "gauge", type_instance, Signed, doc)
}

const fn members(
    members: &'static Members,
    kind: &'static str,
    type_instance: &'static str,
    doc: &'static str,
) -> Metric {
    let source = Source::Members(members);
    row(Basic, source, kind, type_instance, Derive, doc)
}

const fn findings(
    severities: &'static [&'static str],
    type_instance: &'static str,
    doc: &'static str,
) -> Metric {
    let source = Source::Findings(severities);
    row(Findings, source, "gauge", type_instance, Gauge, doc)
}

/// A latency of the last minute, which is absent if nothing was measured.
const fn latency(
    type_instance: &'static str,
    key: &'static str,
    count: &'static str,
    doc: &'static str,
) -> Metric {
    let source = Source::Answer(Latencyz, Sampled(key, count));
    row(Latency, source, "latency", type_instance, Gauge, doc)
}

const fn each(
    group: Group,
    list: &'static List,
    kind: &'static str,
    type_instance: &'static str,
    form: Form,
    figure: Figure,
    doc: &'static str,
) -> Metric {
    let source = Source::Each(list, figure);
    row(group, source, kind, type_instance, form, doc)
}

/// All metrics that the plugin can dispatch. Of two rows with the same identifier the first one that
/// has a value counts.
#[rustfmt::skip]
pub(crate) const METRICS: &[Metric] = &[
    own(Own::Up, "bool", "up", "1 when the broker answered, 0 when it did not; always dispatched"),
    own(Own::Healthy, "bool", "healthy", "1 when the broker answers, /healthz says ok and no finding is critical; 0 otherwise, also when it is down; absent while the findings cannot be read and nothing else is wrong, and from brokers without /healthz"),
    own(Own::ResponseTime, "response_time", "varz", "seconds until the whole answer of /varz was read"),
    own(Own::PollTime, "duration", "poll", "seconds that all requests of the poll took; always dispatched"),
    own(Own::Uptime, "uptime", "", "seconds since the broker started"),
    varz(Basic, "current_connections", "clients", Gauge, &["connections"], "open client connections"),
    varz(Basic, "current_connections", "routes", Gauge, &["routes"], "route connections; nats-server pools several for each peer"),
    varz(Basic, "current_connections", "remotes", Gauge, &["remotes"], "distinct brokers behind the routes"),
    varz(Basic, "current_connections", "leafnodes", Gauge, &["leafnodes"], "leafnode connections"),
    varz(Basic, "gauge", "hubs_configured", Gauge, &["hubs.configured"], "hubs whose leafnode the broker is to be; only from midge as a leafnode, like the next two"),
    varz(Basic, "gauge", "hubs_connected", Gauge, &["hubs.connected"], "of these, hubs that are connected"),
    varz(Basic, "gauge", "hubs_missing", Gauge, &["hubs.missing"], "of these, hubs that are not connected"),
    varz(Basic, "total_connections", "", Derive, &["total_connections"], "client connections accepted, refused ones included"),
    varz(Basic, "if_packets", "total", Derive, &["in_msgs", "out_msgs"], "messages received and delivered"),
    varz(Basic, "if_octets", "total", Derive, &["in_bytes", "out_bytes"], "payload and header bytes received and delivered"),
    varz(Basic, "if_packets", "clients", Derive, &["in_client_msgs", "out_client_msgs"], "messages received from and delivered to clients"),
    varz(Basic, "if_octets", "clients", Derive, &["in_client_bytes", "out_client_bytes"], "bytes received from and delivered to clients"),
    varz(Basic, "total_events", "slow_consumers", Derive, &["slow_consumers"], "slow consumers"),
    varz(Basic, "total_events", "slow_consumers_clients", Derive, &["slow_consumer_stats.clients"], "of these, clients"),
    varz(Basic, "total_events", "slow_consumers_routes", Derive, &["slow_consumer_stats.routes"], "of these, routes"),
    varz(Basic, "total_events", "slow_consumers_gateways", Derive, &["slow_consumer_stats.gateways"], "of these, gateways"),
    varz(Basic, "total_events", "slow_consumers_leafs", Derive, &["slow_consumer_stats.leafs"], "of these, leafnodes"),
    varz(Basic, "total_events", "stale_connections", Derive, &["stale_connections"], "connections cut because they answered no ping"),
    varz(Basic, "total_events", "stalled_clients", Derive, &["stalled_clients"], "times a publisher waited for a slow reader"),
    members(&LOST_MESSAGES, "total_events", "lost", "messages that were not written to a socket; no_interest: nobody subscribed; only midge"),
    members(&LOST_BYTES, "total_bytes", "lost", "their bytes; only midge"),
    varz(Basic, "total_events", "logins_accepted", Derive, &["logins.accepted"], "logins that succeeded where one is required; only midge"),
    members(&REFUSED_LOGINS, "total_events", "logins_refused", "logins that were refused; only midge"),
    varz(Basic, "total_events", "logins_delayed", Derive, &["logins.delayed"], "refusals that were delayed because their source had many; only midge"),
    varz(Basic, "total_events", "logins_held", Derive, &["logins.held"], "logins that waited before they were checked, because their source had many refusals; only midge"),
    days("tls_certificate_days", "tls_cert_not_after", "days until the broker's certificate expires, negative afterwards; midge and nats-server since 2.14, with TLS"),
    days("tls_ca_days", "tls.ca_not_after", "days until its CA expires; only midge, like the next one"),
    days("tls_crl_days", "tls.crl_next_update", "days until its CRL must be renewed"),
    days("routes_tls_certificate_days", "cluster.tls_cert_not_after", "days until the certificate of the route port expires; midge and nats-server since 2.14, with TLS there"),
    days("routes_tls_ca_days", "cluster.tls.ca_not_after", "days until its CA expires; only midge, like the next one"),
    days("routes_tls_crl_days", "cluster.tls.crl_next_update", "days until its CRL must be renewed"),
    days("federation_tls_certificate_days", "federation.tls_cert_not_after", "days until the certificate expires that the federation shows to upstream brokers; only from midge as a federation broker with TLS, like the next two"),
    days("federation_tls_ca_days", "federation.tls.ca_not_after", "days until the CA of the upstream brokers expires"),
    days("federation_tls_crl_days", "federation.tls.crl_next_update", "days until its CRL must be renewed"),
    varz(Basic, "total_events", "tls_handshakes", Derive, &["tls.handshakes"], "TLS handshakes completed; only midge, like the next five"),
    varz(Basic, "total_events", "tls_failures", Derive, &["tls.failures"], "TLS handshakes that failed, and probes of the port"),
    members(&FAILED_HANDSHAKES, "total_events", "tls_failed", "of these, by cause"),
    varz(Basic, "total_events", "routes_tls_handshakes", Derive, &["cluster.tls.handshakes"], "TLS handshakes of routes completed"),
    varz(Basic, "total_events", "routes_tls_failures", Derive, &["cluster.tls.failures"], "TLS handshakes of routes that failed, and probes of the port"),
    members(&FAILED_ROUTE_HANDSHAKES, "total_events", "routes_tls_failed", "of these, by cause"),
    varz(Basic, "total_events", "tls_revoked_closed", Derive, &["tls.revoked_closed"], "clients closed because their certificate was revoked while they were connected; only midge"),
    varz(Basic, "total_events", "routes_revoked_closed", Derive, &["cluster.revoked_closed"], "routes closed because their certificate was revoked while they were connected; only midge"),
    varz(Basic, "bool", "federation_up", Gauge, &["federation.connected"], "1 while an upstream broker of the federation is connected; only from midge as a federation broker, like the next seven"),
    varz(Basic, "total_events", "federation_requests", Derive, &["federation.requests"], "requests from upstream"),
    varz(Basic, "total_events", "federation_replies", Derive, &["federation.replies"], "replies of the site"),
    varz(Basic, "total_events", "federation_refused", Derive, &["federation.refused"], "messages that were not passed on"),
    varz(Basic, "total_events", "federation_dropped", Derive, &["federation.dropped"], "replies that were dropped because too much waited for the upstream broker"),
    varz(Basic, "bytes", "federation_pending", Gauge, &["federation.pending"], "bytes that wait for the upstream broker"),
    varz(Basic, "latency", "federation_round_trip", Gauge, &["federation.round_trip"], "seconds from a request to its first reply, the shortest of the last sixteen to the agent discovery"),
    varz(Basic, "gauge", "federation_nodes_silent", Gauge, &["federation.nodes_silent"], "nodes connected to this broker that have not answered requests to all nodes while others did"),
    varz(Basic, "gauge", "nodes_expected", Gauge, &["nodes.expected"], "nodes that should be connected to some member of the cluster; only midge with the block nodes, like the next two"),
    varz(Basic, "gauge", "nodes_present", Gauge, &["nodes.present"], "of these, nodes that are connected"),
    varz(Basic, "gauge", "nodes_missing", Gauge, &["nodes.missing"], "of these, nodes that have been connected nowhere for longer than missing_after"),
    varz(Basic, "pubsub", "subscriptions", Gauge, &["subscriptions"], "subscriptions of all accounts, and the interest of the cluster's other brokers"),
    varz(Basic, "memory", "rss", Gauge, &["mem"], "resident memory in bytes"),
    varz(Basic, "gauge", "cpu_percent", Gauge, &["cpu"], "CPU use in percent of one core; may exceed 100"),

    findings(&["critical", "warning"], "findings", "findings of severity critical or warning; 0: nothing is wrong"),
    findings(&["critical"], "findings_critical", "of these, critical: act now"),
    findings(&["warning"], "findings_warning", "of these, warnings: act soon"),
    findings(&["info"], "findings_info", "findings that are only worth knowing"),
    row(Findings, Source::Answer(Explainz, Keys(&["age"])), "duration", "diagnosis_age", Gauge, "seconds since the broker checked itself"),

    latency("messages_p50", "total.last_minute.p50", "total.last_minute.count", "seconds from reading a message to writing it to a socket, in the last minute: the median; absent without messages"),
    latency("messages_p99", "total.last_minute.p99", "total.last_minute.count", "the same, 99th percentile"),
    latency("messages_max", "total.last_minute.max", "total.last_minute.count", "the same, the longest"),
    latency("scheduling_p99", "scheduling_delay.last_minute.p99", "scheduling_delay.last_minute.count", "seconds by which the broker's own threads were late in the last minute, 99th percentile"),
    latency("scheduling_max", "scheduling_delay.last_minute.max", "scheduling_delay.last_minute.count", "the same, the longest"),
    latency("client_rtt_p50", "client_rtt.last_minute.p50", "client_rtt.last_minute.count", "seconds of a round trip to a client, the last one of each: the median; absent without clients"),
    latency("client_rtt_p99", "client_rtt.last_minute.p99", "client_rtt.last_minute.count", "the same, 99th percentile"),
    latency("client_rtt_max", "client_rtt.last_minute.max", "client_rtt.last_minute.count", "the same, the longest"),

    row(Routes, Source::Answer(Clusterz, Keys(&["expected"])), "count", "members_expected", Gauge, "brokers that the cluster should have, this one included; only midge, like the next one"),
    row(Routes, Source::Answer(Clusterz, Keys(&["present"])), "count", "members_present", Gauge, "brokers that it has"),
    each(Routes, &MEMBERS, "bool", "route_up", Gauge, Keys(&["connected"]), "1 for a member with a route to it, 0 for one that is missing; nats-server reports the first only"),
    each(Routes, &ROUTES, "bool", "route_up", Gauge, One, "the same from nats-server"),
    each(Routes, &ROUTES, "if_packets", "route", Derive, Keys(&["in_msgs", "out_msgs"]), "messages received from and sent to a member over its present routes"),
    each(Routes, &ROUTES, "if_octets", "route", Derive, Keys(&["in_bytes", "out_bytes"]), "their payload and header bytes"),
    each(Routes, &ROUTES, "bytes", "route_pending", Gauge, Keys(&["pending_size"]), "bytes that wait for the member"),
    each(Routes, &ROUTES, "latency", "route_rtt", Gauge, Keys(&["rtt"]), "seconds of the last round trip to it, of several routes the longest"),

    each(Ceilings, &COUNT_CEILINGS, "count", "ceiling_used", Gauge, Keys(&["used"]), "used part of what has a limit: fds (open files), connections, subscriptions (most of one client)"),
    each(Ceilings, &COUNT_CEILINGS, "count", "ceiling_limit", Gauge, Keys(&["limit"]), "its limit"),
    each(Ceilings, &BYTE_CEILINGS, "bytes", "ceiling_used", Gauge, Keys(&["used"]), "the same in bytes: memory (resident), queues (all that wait), pending (the longest queue)"),
    each(Ceilings, &BYTE_CEILINGS, "bytes", "ceiling_limit", Gauge, Keys(&["limit"]), "its limit"),
    each(Ceilings, &CEILINGS, "percent", "ceiling", Gauge, Percent("used", "limit"), "the used part in percent of the limit, at most 100"),
    each(Ceilings, &CEILINGS, "timeleft", "ceiling", Gauge, Keys(&["exhausted_in"]), "seconds until the limit is reached at the present growth; absent for what does not grow"),

    row(Connections, Source::Ranked(&LONGEST_QUEUES), "bytes", "pending_top", Gauge, "bytes in the longest queues of clients, by rank: 1 is the longest; 0 if there are fewer clients"),
    row(Connections, Source::Answer(Slowz, Keys(&["total"])), "total_events", "slow_incidents", Derive, "times that a reader fell behind, including those that caught up; only midge"),

    each(Accounts, &ACCOUNTS, "current_connections", "account", Gauge, Keys(&["conns"]), "open connections of an account"),
    each(Accounts, &ACCOUNTS, "pubsub", "account", Gauge, Keys(&["num_subscriptions"]), "its subscriptions"),
    each(Accounts, &ACCOUNTS, "if_packets", "account", Derive, Keys(&["received.msgs", "sent.msgs"]), "messages received from and delivered to its connections, routes included"),
    each(Accounts, &ACCOUNTS, "if_octets", "account", Derive, Keys(&["received.bytes", "sent.bytes"]), "their payload and header bytes"),
    each(Accounts, &ACCOUNTS, "total_events", "account_slow_consumers", Derive, Keys(&["slow_consumers"]), "its slow consumers"),
    each(Accounts, &ACCOUNTS, "total_events", "account_dropped", Derive, Keys(&["dropped_msgs"]), "messages that waited for its connections and were dropped; only midge, like the next one"),
    each(Accounts, &ACCOUNTS, "total_events", "account_no_interest", Derive, Keys(&["no_interest_msgs"]), "messages of its connections that nobody subscribed to"),

    each(Memory, &CAUSES, "memory", "cause", Gauge, Keys(&["bytes"]), "bytes of memory by what holds them, such as outbound_queues, subscriptions, connections, program"),

    varz(Limits, "count", "max_connections", Gauge, &["max_connections"], "limit of client connections"),
    varz(Limits, "count", "max_subscriptions", Gauge, &["max_subscriptions"], "limit of subscriptions of a client; absent without one"),
    varz(Limits, "bytes", "max_payload", Gauge, &["max_payload"], "bytes of the largest message"),
    varz(Limits, "bytes", "max_pending", Gauge, &["max_pending"], "bytes that may wait for one connection"),
    varz(Limits, "bytes", "max_control_line", Gauge, &["max_control_line"], "bytes of the longest protocol line"),

    varz(Legacy, "gauge", "connections", Gauge, &["connections"], "as current_connections-clients"),
    varz(Legacy, "counter", "total_connections", Counter, &["total_connections"], "as total_connections"),
    varz(Legacy, "counter", "in_msgs", Counter, &["in_msgs"], "as if_packets-total, rx"),
    varz(Legacy, "counter", "out_msgs", Counter, &["out_msgs"], "as if_packets-total, tx"),
    varz(Legacy, "bytes", "in_bytes", Gauge, &["in_bytes"], "as if_octets-total, rx"),
    varz(Legacy, "bytes", "out_bytes", Gauge, &["out_bytes"], "as if_octets-total, tx"),
    varz(Legacy, "gauge", "slow_consumers", Gauge, &["slow_consumers"], "as total_events-slow_consumers"),
    varz(Legacy, "gauge", "subscriptions", Gauge, &["subscriptions"], "as pubsub-subscriptions"),
    varz(Legacy, "gauge", "routes", Gauge, &["routes"], "as current_connections-routes"),
    varz(Legacy, "gauge", "remotes", Gauge, &["remotes"], "as current_connections-remotes"),
    varz(Legacy, "bytes", "mem", Gauge, &["mem"], "as memory-rss"),
    varz(Legacy, "bytes", "max_payload", Gauge, &["max_payload"], "as bytes-max_payload"),
    varz(Legacy, "gauge", "max_control_line", Gauge, &["max_control_line"], "bytes of the longest protocol line"),
    varz(Legacy, "bytes", "max_pending_size", Gauge, &["max_pending"], "as bytes-max_pending; the key was renamed"),
];
