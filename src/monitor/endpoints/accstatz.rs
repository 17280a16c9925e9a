//! `/accstatz`: what each account's connections moved.

use hashbrown::HashMap;
use monitor_client::{AccountStat, Accstatz, DataStats, LinkStats};

use super::{super::Monitor, query::Query, refusal::Refusal, varz::signed};
use crate::{
    account::{Account, GLOBAL_ACCOUNT},
    broker::registry::AccountTotals,
    telemetry::{MessageTotals, loss::LossReason},
};

/// The answer. `unused=1` asks for accounts without connections too.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Accstatz, Refusal> {
    Ok(build(monitor, query.boolean("unused")?))
}

/// The values at this moment; `unused` is whether accounts without
/// connections are among them.
pub fn build(monitor: &Monitor, unused: bool) -> Accstatz {
    let totals = monitor
        .server
        .broker
        .registry
        .snapshot()
        .totals_by_account();
    build_of(monitor, unused, totals)
}

/// The values, with these totals by account.
pub(in crate::monitor) fn build_of(
    monitor: &Monitor,
    unused: bool,
    mut totals: HashMap<String, AccountTotals>,
) -> Accstatz {
    let broker = &monitor.server.broker;
    // A client that has not sent CONNECT is in no account, and is shown in the global one.
    if let Some(nobody) = totals.remove("") {
        *totals.entry(GLOBAL_ACCOUNT.into()).or_default() += nobody;
    }
    let accounts = broker.accounts.all().into_iter();
    Accstatz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        account_statz: accounts
            .map(|account| stat(&account, totals.remove(&*account.name).unwrap_or_default()))
            .filter(|stat| unused || stat.total_conns > 0)
            .collect(),
    }
}

/// The values of one account, whose connections have these totals.
pub fn stat(account: &Account, totals: AccountTotals) -> AccountStat {
    let connections = signed(totals.connections);
    // As with nats-server, messages of a stream are sent by the account that exports
    // it, and what went over routes is in both.
    let traffic = &totals.traffic;
    let exported_traffic = account.exported_traffic();
    let sent = (
        traffic.own_msgs.saturating_add(exported_traffic.0),
        traffic.own_bytes.saturating_add(exported_traffic.1),
    );
    let data = |msgs: u64, bytes: u64, over_routes: &MessageTotals, over_leafs: &MessageTotals| {
        let (routes, leafs) = (over_routes.value(), over_leafs.value());
        DataStats {
            msgs: signed(msgs.saturating_add(routes.0)),
            bytes: signed(bytes.saturating_add(routes.1)),
            routes: LinkStats {
                msgs: signed(routes.0),
                bytes: signed(routes.1),
            },
            leafs: LinkStats {
                msgs: signed(leafs.0),
                bytes: signed(leafs.1),
            },
            ..DataStats::default()
        }
    };
    let (over_routes, over_leafs) = (&account.route_totals, &account.leaf_totals);
    let leafnodes = signed(account.leafnodes_here());
    AccountStat {
        acc: account.name.clone(),
        name: account.name.clone(),
        conns: connections,
        leafnodes,
        total_conns: connections + leafnodes,
        num_subscriptions: account.subscriptions(),
        sent: data(sent.0, sent.1, &over_routes.sent, &over_leafs.sent),
        received: data(
            traffic.in_msgs,
            traffic.in_bytes,
            &over_routes.received,
            &over_leafs.received,
        ),
        slow_consumers: signed(totals.troubles.slow_consumers),
        dropped_msgs: Some(totals.traffic.loss.dropped().msgs),
        dropped_bytes: Some(totals.traffic.loss.dropped().bytes),
        no_interest_msgs: Some(totals.traffic.loss.of(LossReason::NoInterest).msgs),
    }
}
