//! The addresses that members of the cluster connect from: those of the configured routes, and
//! those of past and present members. Accepting connections gives them preference.

use std::{collections::HashMap, net::IpAddr};

use parking_lot::Mutex;

use crate::telemetry::MonotonicMillis;

/// Limit of addresses; the one that was seen longest ago is dropped.
const ADDRESSES_MAX: usize = 256;

/// The addresses, and when each was last seen.
#[derive(Default)]
pub(super) struct MemberAddresses(Mutex<HashMap<IpAddr, MonotonicMillis>>);

impl MemberAddresses {
    /// Adds the address of a member or a configured route.
    pub(super) fn add(&self, address: IpAddr) {
        let mut known = self.0.lock();
        let address = address.to_canonical();
        if known.len() >= ADDRESSES_MAX && !known.contains_key(&address) {
            let oldest = known.iter().min_by_key(|(_, seen)| seen.0);
            if let Some(oldest) = oldest.map(|(address, _)| *address) {
                known.remove(&oldest);
            }
        }
        known.insert(address, MonotonicMillis::now());
    }

    /// Whether it is the address of a member.
    pub(super) fn contains(&self, address: IpAddr) -> bool {
        self.0.lock().contains_key(&address.to_canonical())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_members_are_known_and_limited() {
        let known = MemberAddresses::default();
        let address = |n: u32| IpAddr::from(n.to_be_bytes());
        for n in 0..1000 {
            known.add(address(n));
            assert!(known.contains(address(n)));
        }
        assert_eq!(known.0.lock().len(), ADDRESSES_MAX);
        assert!(!known.contains(address(1000)));
    }
}
