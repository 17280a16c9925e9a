//! `/subsz`, `/subscriptionsz`: the subscription index.
//!
//! The index keeps no results of look-ups (publishers remember their own), so
//! the figures of a cache are nought: size, hit rate, and the fan-outs, which
//! nats-server takes from the cached results. `num_matches` are the look-ups
//! that the publishers' memories did not answer.

use std::sync::Arc;

use monitor_client::{SublistStats, Subsz};

use super::{
    Monitor,
    answer::{Answer, Refusal},
    connz::detail,
    page::Page,
    query::Query,
};
use crate::{account::Account, connection::Subscription, subject};

/// The answer.
pub(super) fn answer(monitor: &Monitor, query: &Query) -> Result<Answer, Refusal> {
    Answer::pretty_json(&build(monitor, query)?)
}

/// What the parameters ask for.
///
/// # Errors
///
/// A parameter is wrong.
pub(super) fn build(monitor: &Monitor, query: &Query) -> Result<Subsz, Refusal> {
    let list = query.boolean("subs")?;
    let page = Page::parse(query)?;
    let test = query.bytes("test");
    if !test.is_empty() && !subject::is_valid_literal(test) {
        return Err(Refusal::bad_request(format!(
            "invalid test subject, must be valid publish subject: {}",
            query.text("test")
        )));
    }
    let account = find_account(monitor, &query.text("acc"));
    let stats = account.map(stats).unwrap_or_default();
    let mut subsz = Subsz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        num_subscriptions: stats.num_subscriptions,
        num_cache: stats.num_cache,
        num_inserts: stats.num_inserts,
        num_removes: stats.num_removes,
        num_matches: stats.num_matches,
        cache_hit_rate: stats.cache_hit_rate,
        max_fanout: stats.max_fanout,
        avg_fanout: stats.avg_fanout,
        offset: page.offset,
        limit: page.limit,
        ..Subsz::default()
    };
    if let Some(account) = account.filter(|_| list) {
        let (total, found) = find(account, test, page);
        subsz.total = total;
        subsz.subscriptions_list = found
            .iter()
            .map(|subscription| detail(subscription.view(), &account.name))
            .collect();
    }
    Ok(subsz)
}

/// The account of this name; an empty name stands for all, which is the one
/// there is.
pub(super) fn find_account<'a>(monitor: &'a Monitor, name: &str) -> Option<&'a Account> {
    let account = &**monitor.server.clients.accounts.global();
    (name.is_empty() || name == account.name).then_some(account)
}

/// The figures of an account's index.
pub(super) fn stats(account: &Account) -> SublistStats {
    let stats = account.sublist.stats();
    SublistStats {
        num_subscriptions: stats.subscriptions,
        num_inserts: stats.inserts,
        num_removes: stats.removes,
        num_matches: stats.lookups,
        ..SublistStats::default()
    }
}

/// How many subscriptions there are that take `test` (any, if it is empty), and
/// those on the page.
fn find(account: &Account, test: &[u8], page: Page) -> (usize, Vec<Arc<Subscription>>) {
    if !test.is_empty() {
        let matches = account.sublist.lookup(test);
        let found = matches.plain.iter().chain(matches.queues.iter().flatten());
        let total = found.clone().count();
        return (total, page.cut(found).cloned().collect());
    }
    let mut total = 0;
    let mut found = Vec::new();
    account.sublist.for_each(|subscription| {
        if total >= page.offset && found.len() < page.limit {
            found.push(subscription.clone());
        }
        total += 1;
    });
    (total, found)
}
