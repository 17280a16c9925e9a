//! `/accstatz`: what each account's connections moved.

use monitor_client::{AccountStat, Accstatz, DataStats};

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
    varz::signed,
};

/// The answer. `unused=1` asks for accounts without connections too.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    Answer::pretty_json(&build(monitor, query.boolean("unused")?))
}

/// The figures at this moment; `unused` is whether accounts without
/// connections are among them.
pub(super) fn build(monitor: &Monitor, unused: bool) -> Accstatz {
    let stat = stat(monitor);
    let account_statz = if unused || stat.total_conns > 0 {
        vec![stat]
    } else {
        Vec::new()
    };
    Accstatz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        account_statz,
    }
}

/// The figures of the one account, to which all connections belong.
fn stat(monitor: &Monitor) -> AccountStat {
    let context = &monitor.server.clients;
    let totals = context.registry.totals();
    let connections = signed(totals.connections);
    let data = |msgs, bytes| DataStats {
        msgs: signed(msgs),
        bytes: signed(bytes),
        ..DataStats::default()
    };
    AccountStat {
        acc: context.accounts.global().name.clone(),
        name: context.accounts.global().name.clone(),
        conns: connections,
        leafnodes: 0,
        total_conns: connections,
        num_subscriptions: context.accounts.global().sublist.stats().subscriptions,
        sent: data(totals.traffic.out_msgs, totals.traffic.out_bytes),
        received: data(totals.traffic.in_msgs, totals.traffic.in_bytes),
        slow_consumers: signed(totals.troubles.slow_consumers),
    }
}
