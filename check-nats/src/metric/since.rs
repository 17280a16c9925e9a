//! Metrics of what happened since the last run.

use super::Metric;
use crate::range::Unit;

const LOSS_REMEDY: &str = "look at the named connections: those that read too slowly lose what \
                           waits for them; what was lost is not sent again";

pub(crate) static LOGINS_ACCEPTED: Metric = Metric {
    label: "logins_accepted",
    unit: Unit::Counter,
    help: "accepted logins since the start; midge only",
    ..Metric::PLAIN
};
pub(crate) static LOGINS_REFUSED: Metric = Metric {
    label: "logins_refused",
    unit: Unit::Counter,
    help: "refused logins since the start; midge only",
    ..Metric::PLAIN
};
pub(crate) static LOGINS_REFUSED_NEW: Metric = Metric {
    label: "logins_refused_new",
    help: "logins refused since the last run, or during the sample; of a nats-server, those among \
           its last 10000 closed connections",
    option: Some("logins"),
    warning: "0",
    remedy: "correct the credentials of the named clients, or block addresses that you do not \
             know; the broker's log has the reasons",
    ..Metric::PLAIN
};
pub(crate) static LOST_BYTES_NEW: Metric = Metric {
    label: "lost_bytes_new",
    unit: Unit::Bytes,
    help: "bytes of the messages of lost_new",
    option: Some("lost-bytes"),
    remedy: LOSS_REMEDY,
    ..Metric::PLAIN
};
pub(crate) static LOST_CLOSED: Metric = Metric {
    label: "lost_closed",
    unit: Unit::Counter,
    help: "messages lost since the start that waited for connections which ended in order",
    ..Metric::PLAIN
};
pub(crate) static LOST_CLOSED_NEW: Metric = Metric {
    label: "lost_closed_new",
    help: "messages lost since the last run that waited for connections which ended in order",
    option: Some("lost-closed"),
    remedy: LOSS_REMEDY,
    ..Metric::PLAIN
};
pub(crate) static LOST_NEW: Metric = Metric {
    label: "lost_new",
    help: "messages lost since the last run, or during the sample, but for those of \
           lost_closed_new and of mode no-interest",
    option: Some("lost"),
    warning: "0",
    remedy: LOSS_REMEDY,
    ..Metric::PLAIN
};
pub(crate) static LOST_REPLIES_FULL: Metric = Metric {
    label: "lost_replies_full",
    unit: Unit::Counter,
    help: "requests to other accounts refused since the start, because too many replies are \
           outstanding",
    ..Metric::PLAIN
};
pub(crate) static LOST_SLOW_CONSUMER: Metric = Metric {
    label: "lost_slow_consumer",
    unit: Unit::Counter,
    help: "messages lost since the start that waited for slow consumers when these were cut off",
    ..Metric::PLAIN
};
pub(crate) static LOST_TOO_LONG: Metric = Metric {
    label: "lost_too_long",
    unit: Unit::Counter,
    help: "messages lost since the start because another broker takes no lines so long",
    ..Metric::PLAIN
};
pub(crate) static LOST_WRITE_ERROR: Metric = Metric {
    label: "lost_write_error",
    unit: Unit::Counter,
    help: "messages lost since the start that waited for connections which broke",
    ..Metric::PLAIN
};
pub(crate) static NO_INTEREST: Metric = Metric {
    label: "no_interest",
    unit: Unit::Counter,
    help: "messages without a subscriber since the start",
    ..Metric::PLAIN
};
pub(crate) static NO_INTEREST_NEW: Metric = Metric {
    label: "no_interest_new",
    help: "messages without a subscriber since the last run, or during the sample",
    option: Some("no-interest"),
    remedy: "start the subscriber, or correct the subject in the publisher",
    ..Metric::PLAIN
};
pub(crate) static RESTARTS_NEW: Metric = Metric {
    label: "restarts_new",
    help: "1 if the broker was started since the last run, else 0",
    option: Some("restarts"),
    warning: "0",
    remedy: "read the end of the broker's log before the start: did it crash, or was it restarted \
             on purpose?",
    ..Metric::PLAIN
};
pub(crate) static ROUTE_TLS_FAILED: Metric = Metric {
    label: "route_tls_failed",
    unit: Unit::Counter,
    help: "TLS handshakes with other brokers that failed since the start; midge only",
    ..Metric::PLAIN
};
pub(crate) static ROUTE_TLS_NEW: Metric = Metric {
    label: "route_tls_new",
    help: "TLS handshakes with other brokers that failed since the last run, or during the sample; \
           midge only",
    option: Some("route-tls"),
    remedy: "give the named brokers a certificate that the others accept, and their CA",
    ..Metric::PLAIN
};
pub(crate) static SLOW_CLIENTS: Metric = Metric {
    label: "slow_clients",
    unit: Unit::Counter,
    help: "slow clients since the start",
    ..Metric::PLAIN
};
pub(crate) static SLOW_CONSUMERS: Metric = Metric {
    label: "slow_consumers",
    unit: Unit::Counter,
    help: "slow consumers of all kinds since the start",
    ..Metric::PLAIN
};
pub(crate) static SLOW_GATEWAYS: Metric = Metric {
    label: "slow_gateways",
    unit: Unit::Counter,
    help: "slow gateways since the start",
    ..Metric::PLAIN
};
pub(crate) static SLOW_LEAFS: Metric = Metric {
    label: "slow_leafs",
    unit: Unit::Counter,
    help: "slow leafnodes since the start",
    ..Metric::PLAIN
};
pub(crate) static SLOW_NEW: Metric = Metric {
    label: "slow_new",
    help: "slow consumers since the last run, or during the sample",
    option: Some("slow"),
    warning: "0",
    remedy: "look at the named clients: are they busy, stopped or on a slow link? Give them less \
             to read, or more CPU; they reconnect by themselves, but what waited for them is lost",
    ..Metric::PLAIN
};
pub(crate) static SLOW_ROUTES: Metric = Metric {
    label: "slow_routes",
    unit: Unit::Counter,
    help: "slow routes since the start",
    ..Metric::PLAIN
};
pub(crate) static TLS_FAILED: Metric = Metric {
    label: "tls_failed",
    unit: Unit::Counter,
    help: "TLS handshakes of clients that failed since the start; midge only",
    ..Metric::PLAIN
};
pub(crate) static TLS_FAILED_NEW: Metric = Metric {
    label: "tls_failed_new",
    help: "TLS handshakes of clients that failed since the last run, or during the sample",
    option: Some("tls-failed"),
    remedy: "give the named clients a certificate that the broker accepts, and the CA of the \
             broker's own",
    ..Metric::PLAIN
};
pub(crate) static VIOLATIONS: Metric = Metric {
    label: "violations",
    unit: Unit::Counter,
    help: "publishes and subscriptions refused since the start for lack of a permission",
    ..Metric::PLAIN
};
pub(crate) static VIOLATIONS_NEW: Metric = Metric {
    label: "violations_new",
    help: "publishes and subscriptions refused for lack of a permission since the last run, or \
           during the sample",
    option: Some("violations"),
    warning: "0",
    remedy: "correct the subjects that the named clients use, or the permissions of their users",
    ..Metric::PLAIN
};
