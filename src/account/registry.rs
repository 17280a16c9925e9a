//! All accounts of a broker.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::{Mutex, RwLock};

use super::{
    Account, AccountLimits, GLOBAL_ACCOUNT,
    imports::{Imports, ServiceImport},
};
use crate::{
    config::{Options, accounts::AccountConfig},
    connection::{
        Subscription,
        buffers::{ThreadBuffers, with_buffers},
    },
    delivery::trace_out::trace_expired,
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
        // All is made before anything is different; whoever looks for an account waits
        // only until it is put in force. Reloads come one at a time.
        let before = self.all();
        let (by_name, imports) = self.defined(&configs, cluster);
        if let Some(system) = &self.system {
            let streams = Arc::new(ServiceImport::of_streams(system));
            for account in by_name.values().filter(|account| !account.is_system) {
                account.streams_api.get_or_init(|| streams.clone());
            }
        }
        let gone = before.iter().filter(|it| !by_name.contains_key(&it.name));
        let gone: Vec<_> = gone.cloned().collect();
        {
            let mut current = self.by_name.write();
            let mut leaving = self.leaving.lock();
            leaving.retain(|account| !by_name.contains_key(&account.name) && owes_news(account));
            leaving.extend(gone.iter().cloned());
            for (config, imports) in configs.iter().zip(imports) {
                let account = &by_name[&config.name];
                account.redefine(config.limits, imports);
                account.interest.come_back();
            }
            for account in &gone {
                account.redefine(AccountLimits::default(), None);
            }
            current.clone_from(&by_name);
        }
        with_buffers(|buffers| {
            for account in by_name.values().chain(&gone) {
                account.recast(buffers);
            }
            gone.iter()
                .for_each(|account| account.interest.leave(buffers));
            buffers.flush_touched();
        });
        for account in &gone {
            account.replies.forget_all();
        }
        self.leaving.lock().retain(owes_news);
    }

    /// The accounts of these definitions, those that go on as they are, and what goes
    /// over the borders of each.
    fn defined(
        &self,
        configs: &[&AccountConfig],
        cluster: &str,
    ) -> (BTreeMap<String, Arc<Account>>, Vec<Option<Imports>>) {
        let (before, leaving) = (self.by_name.read(), self.leaving.lock());
        let mut by_name = BTreeMap::new();
        for config in configs {
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
        drop((before, leaving));
        let imports = configs
            .iter()
            .map(|config| Imports::new(config, configs, &by_name, cluster));
        let imports = imports.collect();
        (by_name, imports)
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
    pub fn drop_expired(&self, buffers: &mut ThreadBuffers) {
        let expired = std::mem::take(&mut buffers.expired);
        // Many may end at once: those of one connection are taken out together, and
        // those of one account.
        let (mut account, mut begin, mut end) = (None::<Arc<Account>>, 0, 0);
        let is_like = |one: &Arc<Subscription>, other: &Arc<Subscription>| {
            Arc::ptr_eq(&one.connection, &other.connection)
        };
        for of_one in expired.chunk_by(is_like) {
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

    fn is_told(accounts: &Accounts, name: &str) -> bool {
        accounts.all_told().iter().any(|told| told.name == name)
    }

    /// An account that is defined no more is kept as long as there is something to
    /// tell of it, and no longer; until then it comes back as the same.
    #[test]
    fn who_leaves_is_kept_while_there_is_something_to_tell() {
        let accounts = Accounts::new(&defining(&["A", "B"]), "");
        let [first, idle] = ["A", "B"].map(|name| accounts.find(name).expect("defined"));
        let member = first.enter();
        accounts.redefine(&defining(&[]), "");
        assert!(accounts.find("A").is_none());
        assert!(is_told(&accounts, "A") && !is_told(&accounts, "B"));
        assert_eq!(Arc::strong_count(&idle), 1);
        accounts.redefine(&defining(&["A"]), "");
        assert!(Arc::ptr_eq(&accounts.find("A").expect("back"), &first));
        let told = accounts.all_told();
        assert_eq!(told.iter().filter(|it| it.name == "A").count(), 1);
        accounts.redefine(&defining(&[]), "");
        assert!(is_told(&accounts, "A"));
        drop(member);
        assert!(!is_told(&accounts, "A"));
    }

    /// What the broker itself wants in an account ends with it, and begins anew when it
    /// comes back.
    #[test]
    fn what_is_wanted_for_good_ends_with_the_account() {
        let accounts = Accounts::new(&defining(&["A"]), "");
        let account = accounts.find("A").expect("defined");
        let member = account.enter();
        let want = || with_buffers(|buffers| account.interest.want_always(buffers, b"a"));
        want();
        assert!(!account.interest.is_at_rest());
        accounts.redefine(&defining(&[]), "");
        assert!(account.interest.is_at_rest());
        // Who has not heard of its end.
        want();
        assert!(account.interest.is_at_rest());
        accounts.redefine(&defining(&["A"]), "");
        want();
        assert!(!account.interest.is_at_rest());
        drop(member);
        accounts.redefine(&defining(&[]), "");
        assert!(!is_told(&accounts, "A"));
    }
}
