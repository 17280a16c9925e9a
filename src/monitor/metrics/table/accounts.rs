//! Accounts, and the index of subscriptions.

use monitor_client::DataStats;

use super::{Metric, add_in_out, counter, gauge};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "midge_subscriptions",
        "",
        "Subscriptions here of all accounts. /varz counts the interest of the cluster's other \
         brokers with them, as nats-server does.",
        |now, to| to.add(now.subscriptions),
    ),
    counter(
        "midge_subscription_index_operations",
        "",
        "Insertions into, removals from and look-ups in the index of subscriptions; look-ups that \
         a publisher's memory answered are not among them.",
        |now, to| {
            for (operation, count) in now.index {
                to.add_for("operation", operation, count);
            }
        },
    ),
    gauge(
        "midge_account_connections",
        "",
        "Open connections of an account.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.total_conns);
            }
        },
    ),
    gauge(
        "midge_account_subscriptions",
        "",
        "Subscriptions here of an account.",
        |now, to| {
            for (account, count) in &now.account_subscriptions {
                to.add_for("account", account, *count);
            }
        },
    ),
    counter(
        "midge_account_messages",
        "",
        "Messages received from (in) and delivered to (out) the connections of an account; those \
         of an imported stream are delivered by the account that exports it.",
        |now, to| {
            for stat in &now.accounts {
                let labels = vec![("account", stat.acc.clone())];
                let own = |data: &DataStats| data.msgs.saturating_sub(data.routes.msgs);
                add_in_out(to, &labels, own(&stat.received), own(&stat.sent));
            }
        },
    ),
    counter(
        "midge_account_message_bytes",
        "bytes",
        "Payload and header bytes of those messages.",
        |now, to| {
            for stat in &now.accounts {
                let labels = vec![("account", stat.acc.clone())];
                let own = |data: &DataStats| data.bytes.saturating_sub(data.routes.bytes);
                add_in_out(to, &labels, own(&stat.received), own(&stat.sent));
            }
        },
    ),
    counter(
        "midge_account_slow_consumers",
        "",
        "Connections of an account cut because they read too slowly.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.slow_consumers);
            }
        },
    ),
    counter(
        "midge_account_dropped_messages",
        "",
        "Messages that waited for connections of an account and were thrown away.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.dropped_msgs.unwrap_or_default());
            }
        },
    ),
    counter(
        "midge_account_no_interest_messages",
        "",
        "Messages that connections of an account published and nobody had subscribed to.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for(
                    "account",
                    &stat.acc,
                    stat.no_interest_msgs.unwrap_or_default(),
                );
            }
        },
    ),
];
