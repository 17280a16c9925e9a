//! `/accountz`: the accounts, or one in detail.

use monitor_client::{AccountDetail, Accountz};

use super::{
    Monitor,
    answer::{Answer, Refusal},
    query::Query,
    subsz,
    time_text::rfc3339,
    varz::signed,
};

/// The answer.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    let name = query.text("acc");
    let mut accountz = Accountz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        ..Accountz::default()
    };
    let account = subsz::find_account(monitor, &name)
        .ok_or_else(|| Refusal::bad_request(format!("Account {name} does not exist")))?;
    if name.is_empty() {
        accountz.accounts = vec![account.name.clone()];
    } else {
        let stats = subsz::stats(account);
        accountz.account_detail = Some(AccountDetail {
            account_name: account.name.clone(),
            update_time: rfc3339(monitor.server.start),
            complete: true,
            client_connections: signed(monitor.server.clients.registry.totals().connections),
            subscriptions: stats.num_subscriptions,
            name_tag: account.name.clone(),
            sublist_stats: Some(stats),
            ..AccountDetail::default()
        });
    }
    Answer::pretty_json(&accountz)
}
