//! All accounts of a broker.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    Account, GLOBAL_ACCOUNT,
    links::{Links, ServiceImport},
};
use crate::{
    config::{
        Options,
        accounts::{AccountConfig, DEFAULT_SYSTEM_ACCOUNT},
    },
    connection::worker::Worker,
};

/// All accounts of a broker, by name. There is always the global one.
pub struct Accounts {
    global: Arc<Account>,
    system: Option<Arc<Account>>,
    by_name: BTreeMap<String, Arc<Account>>,
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
        let global = AccountConfig {
            name: GLOBAL_ACCOUNT.to_owned(),
            mappings: options.mappings.clone(),
            ..AccountConfig::default()
        };
        let system = AccountConfig {
            name: DEFAULT_SYSTEM_ACCOUNT.to_owned(),
            ..AccountConfig::default()
        };
        let is_system = |name: &str| !options.no_system_account && name == options.system_account;
        let mut configs = vec![&global];
        if is_system(&system.name) {
            configs.push(&system);
        }
        // One of the system account's name that is defined takes its place.
        configs.extend(&options.accounts);
        let by_name: BTreeMap<String, Arc<Account>> = configs
            .iter()
            .map(|config| {
                let account = Account {
                    limits: config.limits,
                    is_system: is_system(&config.name),
                    ..Account::new(&config.name)
                };
                (config.name.clone(), Arc::new(account))
            })
            .collect();
        for config in &configs {
            // Each is set once: of two definitions of one name the later one
            // is the one with content.
            let links = Links::new(config, &configs, &by_name, cluster);
            if let (Some(account), Some(links)) = (by_name.get(&config.name), links) {
                account.links.get_or_init(|| links);
            }
        }
        let system = by_name.values().find(|account| account.is_system).cloned();
        if let Some(system) = &system {
            let streams = Arc::new(ServiceImport::of_streams(system));
            for account in by_name.values().filter(|account| !account.is_system) {
                account.streams_api.get_or_init(|| streams.clone());
            }
        }
        Self {
            global: by_name[GLOBAL_ACCOUNT].clone(),
            system,
            by_name,
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
        self.by_name.get(name).cloned()
    }

    /// Ends the subscriptions that have had their last message. Imports bring
    /// messages to subscribers of other accounts than the publisher's.
    pub fn drop_expired(&self, worker: &mut Worker) {
        for subscription in std::mem::take(&mut worker.expired) {
            let connection = &subscription.connection;
            connection.subscriptions.lock().remove(&subscription);
            let name = connection.identity.lock().account.clone();
            if let Some(account) = self.by_name.get(&name) {
                account.unsubscribe(worker, std::slice::from_ref(&subscription));
            }
        }
    }

    /// All accounts, by name.
    pub fn all(&self) -> Vec<Arc<Account>> {
        self.by_name.values().cloned().collect()
    }
}
