//! All accounts of a broker.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, RwLock};

use super::{
    Account, AccountLimits, GLOBAL_ACCOUNT,
    links::{Links, ServiceImport},
};
use crate::{
    config::{Options, accounts::AccountConfig},
    connection::{
        trace_expired,
        worker::{Worker, with_worker},
    },
};

/// All accounts of a broker, by name. There is always the global one.
pub struct Accounts {
    global: Arc<Account>,
    system: Option<Arc<Account>>,
    by_name: RwLock<BTreeMap<String, Arc<Account>>>,
    /// Those that are defined no more, until the peers of the cluster were told all
    /// that is not wanted in them any more.
    leaving: Mutex<Vec<Arc<Account>>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new(&Options::default(), "")
    }
}

impl Accounts {
    /// The accounts that the options define, with what goes between them.
    /// `cluster` is the name of the broker's cluster; empty for none.
    pub fn new(options: &Options, cluster: &str) -> Self {
        let system = (!options.no_system_account).then(|| {
            let mut account = Account::new(&options.system_account);
            account.is_system = true;
            Arc::new(account)
        });
        let accounts = Self {
            global: Arc::new(Account::new(GLOBAL_ACCOUNT)),
            system,
            by_name: RwLock::default(),
            leaving: Mutex::default(),
        };
        accounts.redefine(options, cluster);
        accounts
    }

    /// Takes over other definitions. Accounts that go on keep their
    /// subscriptions; those that are defined no more are not found from now
    /// on, and nothing goes over their borders.
    pub fn redefine(&self, options: &Options, cluster: &str) {
        let global = AccountConfig {
            name: GLOBAL_ACCOUNT.to_owned(),
            mappings: options.mappings.clone(),
            ..AccountConfig::default()
        };
        let system = AccountConfig {
            name: self.system_name(),
            ..AccountConfig::default()
        };
        let is_defined = |name: &str| options.accounts.iter().any(|config| config.name == name);
        let mut configs = vec![&global];
        if self.system.is_some() && !is_defined(&system.name) {
            configs.push(&system);
        }
        configs.extend(&options.accounts);
        let mut by_name = self.by_name.write();
        let before = std::mem::take(&mut *by_name);
        let mut leaving = self.leaving.lock();
        for config in &configs {
            let fixed = [Some(&self.global), self.system.as_ref()];
            let known = fixed.into_iter().flatten().chain(before.values());
            // One that comes back tells what it wants behind what it owes.
            let known = known.chain(&*leaving);
            let account = known
                .into_iter()
                .find(|account| account.name == config.name)
                .cloned()
                .unwrap_or_else(|| Arc::new(Account::new(&config.name)));
            by_name.insert(config.name.clone(), account);
        }
        with_worker(|worker| {
            for config in &configs {
                let links = Links::new(config, &configs, &by_name, cluster);
                by_name[&config.name].redefine(worker, config.limits, links);
            }
            for (name, account) in before {
                if !by_name.contains_key(&name) {
                    account.redefine(worker, AccountLimits::default(), None);
                    account.replies.forget_all();
                    leaving.push(account);
                }
            }
            leaving.retain(|account| !by_name.contains_key(&account.name) && owes_news(account));
            worker.flush_touched();
        });
        if let Some(system) = &self.system {
            let streams = Arc::new(ServiceImport::of_streams(system));
            for account in by_name.values().filter(|account| !account.is_system) {
                account.streams_api.get_or_init(|| streams.clone());
            }
        }
    }

    /// The account of clients that were given no other.
    pub fn global(&self) -> &Arc<Account> {
        &self.global
    }

    /// The account of the broker's own events and services, if there is one.
    pub fn system(&self) -> Option<&Arc<Account>> {
        self.system.as_ref()
    }

    /// The name of that account; empty without one.
    pub fn system_name(&self) -> String {
        let system = self.system.as_ref();
        system.map_or_else(String::new, |account| account.name.clone())
    }

    /// The account of that name.
    pub fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.by_name.read().get(name).cloned()
    }

    /// Ends the subscriptions that have had their last message. Imports bring
    /// messages to subscribers of other accounts than the publisher's.
    pub fn drop_expired(&self, worker: &mut Worker) {
        for subscription in std::mem::take(&mut worker.expired) {
            let connection = &subscription.connection;
            connection.subscriptions.lock().remove(&subscription);
            trace_expired(&subscription);
            let name = connection.identity.lock().account.clone();
            if let Some(account) = self.find(&name) {
                account.unsubscribe(worker, std::slice::from_ref(&subscription));
            }
        }
    }

    /// All of which the peers of the cluster may have to be told: those that are
    /// defined no more, too, as long as something is.
    pub fn all_told(&self) -> Vec<Arc<Account>> {
        let mut all = self.all();
        let mut leaving = self.leaving.lock();
        leaving.retain(owes_news);
        all.extend(leaving.iter().cloned());
        all
    }

    /// All accounts, by name.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.by_name.read().values().cloned().collect()
    }
}

/// Whether there is, or will be, something to tell the peers of the cluster of an
/// account that is defined no more.
fn owes_news(account: &Arc<Account>) -> bool {
    account.connections() > 0 || !account.interest.is_at_rest()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn defining(names: &[&str]) -> Options {
        let config = |name: &&str| AccountConfig {
            name: (*name).to_owned(),
            ..AccountConfig::default()
        };
        Options {
            accounts: names.iter().map(config).collect(),
            ..Options::default()
        }
    }

    /// An account that is defined no more is kept as long as there is something to
    /// tell of it, and no longer; until then it comes back as the same.
    #[test]
    fn who_leaves_is_kept_while_there_is_something_to_tell() {
        let accounts = Accounts::new(&defining(&["A", "B"]), "");
        let [first, idle] = ["A", "B"].map(|name| accounts.find(name).expect("defined"));
        with_worker(|worker| first.interest.want_always(worker, b"a"));
        accounts.redefine(&defining(&[]), "");
        assert!(accounts.find("A").is_none());
        let names = |all: Vec<Arc<Account>>| -> Vec<String> {
            all.iter().map(|account| account.name.clone()).collect()
        };
        let told = names(accounts.all_told());
        assert!(
            told.contains(&"A".into()) && !told.contains(&"B".into()),
            "{told:?}"
        );
        assert_eq!(Arc::strong_count(&idle), 1);
        accounts.redefine(&defining(&["A"]), "");
        assert!(Arc::ptr_eq(&accounts.find("A").expect("back"), &first));
        let told = names(accounts.all_told());
        assert_eq!(
            told.iter().filter(|name| *name == "A").count(),
            1,
            "{told:?}"
        );
    }
}
