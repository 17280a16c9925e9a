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
use crate::account::Account;

/// The answer.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    Answer::pretty_json(&build(monitor, query)?)
}

/// The accounts, or the one that `acc` names in detail.
///
/// # Errors
///
/// There is none of this name.
pub(super) fn build(monitor: &Monitor, query: &Query) -> Result<Accountz, Refusal> {
    let name = query.text("acc");
    let accounts = &monitor.server.clients.accounts;
    let mut accountz = Accountz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        system_account: accounts.system_name(),
        ..Accountz::default()
    };
    if name.is_empty() {
        let names = accounts.all().into_iter();
        accountz.accounts = names.map(|account| account.name.clone()).collect();
    } else {
        let account = accounts
            .find(&name)
            .ok_or_else(|| Refusal::bad_request(format!("Account {name} does not exist")))?;
        accountz.account_detail = Some(detail(monitor, &account));
    }
    Ok(accountz)
}

fn detail(monitor: &Monitor, account: &Account) -> AccountDetail {
    let stats = subsz::stats(account);
    AccountDetail {
        account_name: account.name.clone(),
        update_time: rfc3339(monitor.server.start),
        is_system: account.is_system,
        complete: true,
        client_connections: signed(account.connections()),
        subscriptions: stats.num_subscriptions,
        name_tag: account.name.clone(),
        sublist_stats: Some(stats),
        ..AccountDetail::default()
    }
}
