//! The accounts of a broker.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, RwLock};

use super::{
    Account, AccountLimits, GLOBAL_ACCOUNT,
    imports::{Imports, ServiceImport},
    latency::LatencyLog,
};
use crate::{
    config::{Options, accounts::AccountConfig},
    connection::{
        Subscription,
        buffers::{ThreadBuffers, with_buffers},
    },
    delivery::trace_out::trace_expired,
};

/// All accounts by name, including the global account, which always exists.
pub struct Accounts {
    global: Arc<Account>,
    system: Option<Arc<Account>>,
    by_name: RwLock<BTreeMap<String, Arc<Account>>>,
    /// What was measured of services, until it is published.
    pub latencies: Arc<LatencyLog>,
    /// Accounts that were removed from the configuration and still have changes of interest to
    /// announce to the peers.
    removed: Mutex<Vec<Arc<Account>>>,
}

impl Default for Accounts {
    fn default() -> Self {
        Self::new(&Options::default(), "")
    }
}

impl Accounts {
    /// The accounts that the options define, with their imports. `cluster` is the name of the
    /// broker's cluster; empty for none.
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
            latencies: Arc::default(),
            removed: Mutex::default(),
        };
        accounts.redefine(options, cluster);
        accounts
    }

    /// Applies other definitions. Accounts that remain keep their subscriptions. Removed accounts
    /// cannot be found any more, and nothing is imported from or into them.
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
        // Everything is built before anything changes; look-ups only wait for the final swap.
        // Reloads do not run concurrently.
        let before = self.all();
        let (by_name, imports) = self.defined(&configs, cluster);
        if let Some(system) = &self.system {
            let streams = Arc::new(ServiceImport::of_streams(system));
            for account in by_name.values().filter(|account| !account.is_system) {
                account.jetstream_api.get_or_init(|| streams.clone());
            }
        }
        let dropped = before.iter().filter(|it| !by_name.contains_key(&it.name));
        let dropped: Vec<_> = dropped.cloned().collect();
        {
            let mut current = self.by_name.write();
            let mut removed = self.removed.lock();
            removed.retain(|account| {
                !by_name.contains_key(&account.name) && has_pending_interest(account)
            });
            removed.extend(dropped.iter().cloned());
            for (config, imports) in configs.iter().zip(imports) {
                let account = &by_name[&config.name];
                account.redefine(config.limits, imports);
                account.set_tracing(config.tracing.as_ref());
                let mut exports = config.exports.iter();
                let is_measured = exports.any(|export| export.latency().is_some());
                account.latency.set_measured(is_measured);
                account.interest.come_back();
            }
            for account in &dropped {
                account.redefine(AccountLimits::default(), None);
                account.set_tracing(None);
                account.latency.set_measured(false);
            }
            current.clone_from(&by_name);
        }
        with_buffers(|buffers| {
            for account in by_name.values().chain(&dropped) {
                account.update_shadows(buffers);
            }
            dropped
                .iter()
                .for_each(|account| account.interest.leave(buffers));
            buffers.flush_touched();
        });
        for account in &dropped {
            account.replies.clear();
        }
        self.removed.lock().retain(has_pending_interest);
    }

    /// The accounts of these definitions, reusing existing ones, and the imports of each.
    fn defined(
        &self,
        configs: &[&AccountConfig],
        cluster: &str,
    ) -> (BTreeMap<String, Arc<Account>>, Vec<Option<Imports>>) {
        let (before, removed) = (self.by_name.read(), self.removed.lock());
        let mut by_name = BTreeMap::new();
        for config in configs {
            let fixed = [Some(&self.global), self.system.as_ref()];
            let known = fixed.into_iter().flatten().chain(before.values());
            // An account that is defined again announces its interest after what is still pending.
            let known = known.chain(&*removed);
            let account = known
                .into_iter()
                .find(|account| account.name == config.name)
                .cloned()
                .unwrap_or_else(|| Arc::new(Account::new(&config.name)));
            account.latency.use_log(&self.latencies);
            by_name.insert(config.name.clone(), account);
        }
        drop((before, removed));
        let imports = configs
            .iter()
            .map(|config| Imports::new(config, configs, &by_name, cluster, &self.latencies));
        let imports = imports.collect();
        (by_name, imports)
    }

    /// The account of clients without another one.
    pub fn global(&self) -> &Arc<Account> {
        &self.global
    }

    /// The system account, if there is one.
    pub fn system(&self) -> Option<&Arc<Account>> {
        self.system.as_ref()
    }

    /// The name of the system account; empty without one.
    pub fn system_name(&self) -> String {
        let system = self.system.as_ref();
        system.map_or_else(String::new, |account| account.name.clone())
    }

    /// The account of this name.
    pub fn find(&self, name: &str) -> Option<Arc<Account>> {
        self.by_name.read().get(name).cloned()
    }

    /// Removes subscriptions that have received their last message. With imports they may be in
    /// other accounts than the publisher's.
    pub fn drop_expired(&self, buffers: &mut ThreadBuffers) {
        let expired = std::mem::take(&mut buffers.expired);
        // Many may expire at once: those of one connection are removed together, and those of one
        // account.
        let (mut account, mut begin, mut end) = (None::<Arc<Account>>, 0, 0);
        let is_same_connection = |one: &Arc<Subscription>, other: &Arc<Subscription>| {
            Arc::ptr_eq(&one.connection, &other.connection)
        };
        for of_one in expired.chunk_by(is_same_connection) {
            let connection = &of_one[0].connection;
            let mut table = connection.subscriptions.lock();
            for subscription in of_one {
                table.remove(subscription);
                trace_expired(subscription);
            }
            drop(table);
            let name = connection.identity.lock().account.clone();
            if account.as_ref().is_none_or(|known| known.name != name) {
                if let Some(account) = account {
                    account.unsubscribe(buffers, &expired[begin..end]);
                }
                (account, begin) = (self.find(&name), end);
            }
            end += of_one.len();
        }
        if let Some(account) = account {
            account.unsubscribe(buffers, &expired[begin..end]);
        }
    }

    /// All accounts with interest to announce to the peers, including removed ones as long as they
    /// have changes pending.
    pub fn all_announced(&self) -> Vec<Arc<Account>> {
        let mut all = self.all();
        let mut removed = self.removed.lock();
        removed.retain(has_pending_interest);
        all.extend(removed.iter().cloned());
        all
    }

    /// All accounts, by name.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.by_name.read().values().cloned().collect()
    }
}

/// Whether a removed account has, or will have, changes of interest to announce.
fn has_pending_interest(account: &Arc<Account>) -> bool {
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

    fn is_announced(accounts: &Accounts, name: &str) -> bool {
        accounts
            .all_announced()
            .iter()
            .any(|account| account.name == name)
    }

    /// A removed account is kept as long as it has changes to announce, and no longer; if it is
    /// defined again meanwhile, it is the same account.
    #[test]
    fn a_removed_account_is_kept_while_interest_is_pending() {
        let accounts = Accounts::new(&defining(&["A", "B"]), "");
        let [first, idle] = ["A", "B"].map(|name| accounts.find(name).expect("defined"));
        let member = first.admit();
        accounts.redefine(&defining(&[]), "");
        assert!(accounts.find("A").is_none());
        assert!(is_announced(&accounts, "A") && !is_announced(&accounts, "B"));
        assert_eq!(Arc::strong_count(&idle), 1);
        accounts.redefine(&defining(&["A"]), "");
        assert!(Arc::ptr_eq(&accounts.find("A").expect("back"), &first));
        let announced = accounts.all_announced();
        assert_eq!(announced.iter().filter(|it| it.name == "A").count(), 1);
        accounts.redefine(&defining(&[]), "");
        assert!(is_announced(&accounts, "A"));
        drop(member);
        assert!(!is_announced(&accounts, "A"));
    }

    /// The broker's own subscriptions in an account end with it and begin again when it is defined
    /// again.
    #[test]
    fn the_brokers_own_subscriptions_end_with_the_account() {
        let accounts = Accounts::new(&defining(&["A"]), "");
        let account = accounts.find("A").expect("defined");
        let member = account.admit();
        let want = || with_buffers(|buffers| account.interest.want_always(buffers, b"a"));
        want();
        assert!(!account.interest.is_at_rest());
        accounts.redefine(&defining(&[]), "");
        assert!(account.interest.is_at_rest());
        // A peer that has not received the end.
        want();
        assert!(account.interest.is_at_rest());
        accounts.redefine(&defining(&["A"]), "");
        want();
        assert!(!account.interest.is_at_rest());
        drop(member);
        accounts.redefine(&defining(&[]), "");
        assert!(!is_announced(&accounts, "A"));
    }
}
