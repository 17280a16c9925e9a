//! Which upstream brokers are tried, and in which order: those that are configured, those that an
//! SRV record lists, by its priorities and weights, and those that an upstream broker has named.

use std::{collections::BTreeMap, fmt, time::Duration};

use srv_records::{Listed, in_order};

use super::Federation;
use crate::{
    config::options::{cluster::RouteUrl, federation::Upstream, srv::SrvUrl},
    security::secret::Secret,
};

/// Brokers that others have named and that are remembered.
const NAMED_MAX: usize = 64;

/// Brokers of one SRV record that are tried in one round.
const LISTED_MAX: usize = 64;

/// The first pause after all were tried, how it grows, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_GROWS: f64 = 1.5;
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// One broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Secret,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl From<&RouteUrl> for Address {
    fn from(url: &RouteUrl) -> Self {
        Self {
            host: url.host.clone(),
            port: url.port,
            user: url.user.clone(),
            password: url.password.clone(),
        }
    }
}

/// The brokers that were named by others, and found.
#[derive(Default)]
pub(super) struct Pool {
    /// The hosts that each record listed last, by its number.
    found: BTreeMap<usize, Vec<String>>,
    named: Vec<Address>,
    /// The one that was lost last.
    last: Option<Lost>,
}

struct Lost {
    address: Address,
    /// It served for no time worth speaking of.
    was_short: bool,
}

/// Where a broker comes in a round: the lowest is tried first.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
enum Rank {
    Configured,
    /// The number of its record, and its priority there.
    Listed(usize, u16),
    Named,
    /// The one that was just lost and hardly served.
    Last,
}

impl Pool {
    /// An upstream broker has said which brokers its cluster has. The login is the one that it
    /// accepted.
    pub(super) fn learn(&mut self, from: &Address, urls: &[String]) {
        let named = urls.iter().filter_map(|url| RouteUrl::parse(url).ok());
        let named = named.map(|url| Address {
            user: from.user.clone(),
            password: from.password.clone(),
            ..Address::from(&url)
        });
        self.named = named.take(NAMED_MAX).collect();
    }

    /// The connection to this one has ended: others of its rank are tried before it, or all others
    /// if it hardly served.
    pub(super) fn lost(&mut self, address: Address, was_short: bool) {
        self.last = Some(Lost { address, was_short });
    }

    /// The brokers to try, each once. SRV records are looked up anew.
    pub(super) async fn round(&mut self, federation: &Federation) -> Vec<Address> {
        let mut all = Vec::new();
        for (number, upstream) in federation.options.upstream.iter().enumerate() {
            match upstream {
                Upstream::Broker(url) => all.push((Rank::Configured, Address::from(url))),
                Upstream::Srv(url) => {
                    if let Some(listed) = federation.look_up(url).await {
                        let listed = listed_by(url, number, &listed);
                        self.found(number, &listed);
                        all.extend(listed);
                    }
                }
            }
        }
        federation.know_found_hosts(self.found_hosts());
        self.ranked(all)
    }

    /// A record lists these. One that cannot be had keeps those of before.
    fn found(&mut self, number: usize, listed: &[(Rank, Address)]) {
        let hosts = listed.iter().map(|(_, address)| address.host.clone());
        self.found.insert(number, hosts.collect());
    }

    /// The hosts that all records list.
    fn found_hosts(&self) -> impl Iterator<Item = &str> {
        self.found.values().flatten().map(|host| &**host)
    }

    /// The brokers in the order of their ranks, with those that others have named. Those of a record
    /// are in the order of their weights already.
    fn ranked(&self, mut all: Vec<(Rank, Address)>) -> Vec<Address> {
        all.sort_by_key(|(rank, _)| *rank);
        let configured = all.partition_point(|(rank, _)| *rank == Rank::Configured);
        fastrand::shuffle(&mut all[..configured]);
        let mut named = self.named.clone();
        fastrand::shuffle(&mut named);
        all.extend(named.into_iter().map(|address| (Rank::Named, address)));
        if let Some(lost) = &self.last {
            let is_lost = |address: &Address| *address == lost.address;
            let hardly_served = all
                .iter_mut()
                .filter(|(_, it)| lost.was_short && is_lost(it));
            hardly_served.for_each(|(rank, _)| *rank = Rank::Last);
            all.sort_by_key(|(rank, address)| (*rank, is_lost(address)));
        }
        let mut round: Vec<Address> = Vec::with_capacity(all.len());
        for (_, address) in all {
            let is_known = |it: &Address| (&it.host, it.port) == (&address.host, address.port);
            if !round.iter().any(is_known) {
                round.push(address);
            }
        }
        round
    }
}

/// The brokers that a record lists, in the order of its priorities and weights.
fn listed_by(url: &SrvUrl, number: usize, listed: &[Listed]) -> Vec<(Rank, Address)> {
    let ordered = in_order(listed, |most| fastrand::u64(0..=most));
    let ordered = ordered.into_iter().take(LISTED_MAX);
    ordered
        .map(|listed| {
            let address = Address {
                host: listed.host,
                port: listed.port,
                // For all that the record lists.
                user: url.user.clone(),
                password: url.password.clone(),
            };
            (Rank::Listed(number, listed.priority), address)
        })
        .collect()
}

/// The pause after all brokers were tried so many times, with a random part: many sites that lost
/// the same broker do not come back at the same moment.
pub(super) fn pause(rounds: u32) -> Duration {
    let grown = PAUSE_GROWS.powi(i32::try_from(rounds.saturating_sub(1).min(64)).unwrap_or(64));
    let pause = PAUSE_MAX.as_secs_f64().min(PAUSE.as_secs_f64() * grown);
    Duration::from_secs_f64(pause * (0.5 + fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use srv_records::Srv;

    use super::*;

    #[test]
    fn pauses_grow_and_have_a_random_part() {
        for (rounds, least, most) in [(0, 250, 750), (1, 250, 750), (4, 843, 2532)] {
            for _ in 0..100 {
                let pause = pause(rounds).as_millis();
                assert!((least..=most).contains(&pause), "{pause}");
            }
        }
        for rounds in [12, 1000, u32::MAX] {
            let pause = pause(rounds).as_secs_f64();
            assert!((10.0..=30.0).contains(&pause), "{pause}");
        }
    }

    /// The hosts of a round.
    fn tried(pool: &Pool, all: &[(Rank, &str)]) -> String {
        let address = |host: &str| Address::from(&RouteUrl::parse(&format!("{host}:1")).unwrap());
        let all = all.iter().map(|(rank, host)| (*rank, address(host)));
        let round = pool.ranked(all.collect());
        round.into_iter().map(|address| address.host).collect()
    }

    #[test]
    fn ranks_come_in_order_and_the_lost_one_last_in_its_own() {
        let all = [
            (Rank::Configured, "a"),
            (Rank::Listed(1, 10), "b"),
            (Rank::Listed(1, 10), "c"),
            (Rank::Listed(1, 20), "d"),
            (Rank::Listed(2, 5), "e"),
        ];
        let mut pool = Pool::default();
        let from = Address::from(&RouteUrl::parse("b:1").expect("an address"));
        pool.learn(&from, &["n:1".to_owned(), "c:1".to_owned()]);
        assert_eq!(tried(&pool, &all), "abcden");
        pool.lost(from.clone(), false);
        assert_eq!(tried(&pool, &all), "acbden");
        // One that accepts connections and drops them keeps no other from being tried.
        pool.lost(from, true);
        assert_eq!(tried(&pool, &all), "acdenb");
    }

    #[test]
    fn a_record_is_bounded_and_has_the_login() {
        let listed: Vec<Listed> = (0..200)
            .map(|n| Listed {
                host: format!("n{n}"),
                port: 4222,
                priority: 200 - n,
                weight: 0,
            })
            .collect();
        let url = SrvUrl {
            record: Srv::new("_a._tcp.example.net", None).expect("a record"),
            user: "u".to_owned(),
            password: Secret::default(),
        };
        let all = listed_by(&url, 0, &listed);
        assert_eq!(all.len(), LISTED_MAX);
        let (rank, first) = &all[0];
        assert_eq!((*rank, &*first.host), (Rank::Listed(0, 1), "n199"));
        assert_eq!((first.port, &*first.user), (4222, "u"));
    }

    #[test]
    fn the_hosts_of_all_records_are_known() {
        let address = |host: &str| {
            let url = RouteUrl::parse(&format!("{host}:1")).expect("an address");
            vec![(Rank::Listed(0, 0), Address::from(&url))]
        };
        let mut pool = Pool::default();
        pool.found(0, &address("a"));
        pool.found(2, &address("b"));
        assert_eq!(pool.found_hosts().collect::<Vec<_>>(), ["a", "b"]);
        pool.found(0, &address("c"));
        assert_eq!(pool.found_hosts().collect::<Vec<_>>(), ["c", "b"]);
    }

    #[test]
    fn configured_brokers_are_tried_in_any_order() {
        let all = [(Rank::Configured, "a"), (Rank::Configured, "b")];
        let rounds: std::collections::BTreeSet<String> =
            (0..200).map(|_| tried(&Pool::default(), &all)).collect();
        assert_eq!(rounds.len(), 2);
    }

    #[test]
    fn brokers_that_others_name_are_bounded_and_have_the_login() {
        let mut pool = Pool::default();
        let from = Address::from(&RouteUrl::parse("tls://u:p@central:4222").expect("a URL"));
        let urls: Vec<String> = (1..200).map(|n| format!("10.0.0.{n}:4222")).collect();
        pool.learn(&from, &urls);
        assert_eq!(pool.named.len(), NAMED_MAX);
        let first = &pool.named[0];
        assert_eq!(
            (&*first.host, first.port, &*first.user),
            ("10.0.0.1", 4222, "u")
        );
        pool.learn(&from, &["odd".to_owned()]);
        assert!(pool.named.is_empty());
    }
}
