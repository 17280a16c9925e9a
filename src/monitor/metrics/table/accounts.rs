//! Accounts, and the index of subscriptions.

use monitor_client::DataStats;

use super::{Metric, add_in_out, counter, gauge};

/// The metrics of this part.
pub(super) const METRICS: &[Metric] = &[
    gauge(
        "midge_subscriptions",
        "",
        "Subscriptions of local clients, all accounts. /varz adds the interest of the cluster's \
         other brokers, as nats-server does.",
        |now, to| to.add(now.subscriptions),
    ),
    counter(
        "midge_subscription_index_operations",
        "",
        "Insertions into, removals from and lookups in the subscription index, without the lookups \
         that a publisher's cache answered.",
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
        "Subscriptions of an account's local clients.",
        |now, to| {
            for (account, count) in &now.account_subscriptions {
                to.add_for("account", account, *count);
            }
        },
    ),
    gauge(
        "midge_account_limit",
        "",
        "Limits of an account that the configuration sets: connections, subscriptions of one \
         connection, and bytes of one message (payload).",
        |now, to| {
            for (stat, settings) in now.accounts.iter().zip(&now.account_settings) {
                let limits = &settings.limits;
                for (limit, most) in [
                    ("connections", limits.max_connections),
                    ("subscriptions", limits.max_subscriptions),
                    ("payload", limits.max_payload),
                ] {
                    if let Some(most) = most {
                        let account = ("account", stat.acc.clone());
                        to.add_labelled(vec![account, ("limit", limit.to_owned())], most);
                    }
                }
            }
        },
    ),
    counter(
        "midge_account_messages",
        "",
        "Messages received from (in) and delivered to (out) the connections of an account. \
         Messages of an imported stream count as delivered by the exporting account.",
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
        "Connections of an account closed because they read too slowly.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.slow_consumers);
            }
        },
    ),
    counter(
        "midge_account_dropped_messages",
        "",
        "Messages that waited for connections of an account and were dropped.",
        |now, to| {
            for stat in &now.accounts {
                to.add_for("account", &stat.acc, stat.dropped_msgs.unwrap_or_default());
            }
        },
    ),
    counter(
        "midge_account_no_interest_messages",
        "",
        "Messages that connections of an account published to subjects without a subscriber.",
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
