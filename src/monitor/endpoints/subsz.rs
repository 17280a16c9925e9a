//! `/subsz`, `/subscriptionsz`: the subscription index.
//!
//! The index caches no results of look-ups (publishers have their own caches), so the
//! fields of a cache are 0: size, hit rate, and the fan-outs, which nats-server computes
//! from the cached results. `num_matches` are the look-ups that the publishers' caches did
//! not answer.

use std::sync::Arc;

use monitor_client::{SublistStats, Subsz};

use super::{super::Monitor, connz::detail, page::Page, query::Query, refusal::Refusal};
use crate::{account::Account, connection::Subscription, subject};

/// The evaluated parameters.
///
/// # Errors
///
/// A parameter is wrong.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Subsz, Refusal> {
    let list = query.boolean("subs")?;
    let page = Page::parse(query)?;
    let test = query.bytes("test");
    if !test.is_empty() && !subject::is_valid_literal(test) {
        return Err(Refusal::bad_request(format!(
            "invalid test subject, must be valid publish subject: {}",
            query.text("test")
        )));
    }
    let name = query.text("acc");
    // An empty name means all.
    let accounts = match &*name {
        "" => monitor.server.broker.accounts.all(),
        name => Vec::from_iter(monitor.server.broker.accounts.find(name)),
    };
    let mut subsz = Subsz {
        server_id: monitor.server.id.clone(),
        now: monitor.now_text(),
        offset: page.offset,
        limit: page.limit,
        ..Subsz::default()
    };
    for account in &accounts {
        let stats = stats(account);
        subsz.num_subscriptions += stats.num_subscriptions;
        subsz.num_inserts += stats.num_inserts;
        subsz.num_removes += stats.num_removes;
        subsz.num_matches += stats.num_matches;
        if list {
            // The rest of the page after the previous accounts.
            let rest = Page {
                offset: page.offset.saturating_sub(subsz.total),
                limit: page.limit - subsz.subscriptions_list.len(),
            };
            let (total, found) = find(account, test, rest);
            subsz.total += total;
            let found = found.iter().map(|found| {
                // An imported stream's subscriber is in another account.
                let own = found.connection.identity.lock().account.clone();
                let account = match own.is_empty() {
                    true => account.name.clone(),
                    false => own,
                };
                detail(found.view(), &account)
            });
            subsz.subscriptions_list.extend(found);
        }
    }
    Ok(subsz)
}

/// The statistics of an account's index, interest of peers included; of look-ups those for
/// publishers.
pub(in crate::monitor) fn stats(account: &Account) -> SublistStats {
    let (stats, remote) = (account.sublist.stats(), account.remote.stats());
    SublistStats {
        num_subscriptions: account.subscriptions(),
        num_inserts: stats.inserts + remote.inserts,
        num_removes: stats.removes + remote.removes,
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
