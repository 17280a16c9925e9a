//! The peers that the configuration of a nats-server names, and which of them it has no route to.
//!
//! A nats-server has no list of members. Its `/varz` has the addresses of the configured routes,
//! in which its own may be; its `/routez` the routes, of which those that a peer opened have any
//! port of it. So an address is looked for among the routes by host and port, by host, and by
//! name; what the broker itself takes for a configured peer counts as one in any case.

#[cfg(test)]
mod tests;

use std::{
    collections::BTreeMap,
    net::{IpAddr, ToSocketAddrs},
    time::Instant,
};

use monitor_client::{Routez, Varz};
use serde::Deserialize;

use super::{super::seconds_between, Check, Failure};
use crate::{brokers::parallel, deadline::Step, target::Address, text::quoted};

/// Hosts that are looked up: each takes a thread.
const LOOKUPS_MAX: usize = 64;

/// Seconds after which a broker knows which of its configured peers has dialled it.
const NOTICED_AFTER: f64 = 5.0;

/// What the configuration says of the cluster, compared with the routes.
#[derive(Debug, Default, Eq, PartialEq)]
pub(super) struct Configured {
    /// Whether there is a cluster.
    pub(super) is_clustered: bool,
    /// Whether another member is named at all.
    pub(super) names_others: bool,
    /// How many of the named ones have no route.
    pub(super) missing: usize,
    /// Which ones these are, or may be.
    pub(super) candidates: Vec<String>,
    /// The missing one may be the broker itself: its name has no address here.
    pub(super) is_doubtful: bool,
    /// Connected peers that it does not name.
    pub(super) discovered: Vec<String>,
}

/// The block `cluster` of `/varz`.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Block {
    addr: String,
    cluster_port: i64,
    urls: Vec<String>,
}

/// A configured address.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
struct Url {
    host: String,
    port: u16,
    /// The addresses of the host; empty if they are not known.
    ips: Vec<IpAddr>,
}

/// A peer with a route or several.
#[derive(Clone, Debug, Default)]
struct Peer {
    id: String,
    name: String,
    /// Whether the broker takes it for one that is configured.
    is_configured: bool,
    /// Whether the route is so new that the broker may not have noticed that yet: it dials again
    /// after a second.
    is_new: bool,
    /// Its side of the routes.
    ends: Vec<(IpAddr, u16)>,
}

/// Whether an address may be that of a peer.
type Fits<'a> = &'a dyn Fn(&Url, &Peer) -> bool;

/// What is known of the address of the broker itself.
#[derive(Debug, Default)]
struct Own {
    port: u16,
    /// The hosts that are the broker's.
    hosts: Vec<Url>,
    /// It listens at all addresses of this host.
    is_this_host: bool,
    /// Addresses that it gives to clients: its own, and those of connected peers.
    advertised: Vec<IpAddr>,
}

/// Compares the configuration with the routes.
///
/// # Errors
/// `/varz` cannot be understood.
pub(super) fn compare(
    check: &mut Check,
    varz: &Varz,
    routez: &Routez,
) -> Result<Configured, Failure> {
    let block = match varz.cluster.as_object() {
        Some(block) => serde_json::from_value(block.clone().into()).map_err(|error| {
            let place = check.place("/varz");
            Failure::unknown(format!("{place}: \"cluster\" not understood: {error}"))
        })?,
        None => Block::default(),
    };
    let peers = peers(routez);
    let mut urls: Vec<Url> = block
        .urls
        .iter()
        .filter_map(|url| Url::parse(url))
        .collect();
    urls.sort_by(|a, b| (&a.host, a.port).cmp(&(&b.host, b.port)));
    urls.dedup();
    let mut own = Own::new(check, &block, varz);
    let named = urls.iter().filter(|url| !own.is(url)).count();
    let configured = peers.iter().filter(|peer| peer.is_configured).count();
    if configured < named {
        look_up(check, urls.iter_mut().chain(&mut own.hosts))?;
    }
    Ok(Configured {
        is_clustered: block.cluster_port != 0 || !urls.is_empty(),
        ..judge(urls, &peers, &own)
    })
}

/// Finds a peer for each address.
fn judge(mut urls: Vec<Url>, peers: &[Peer], own: &Own) -> Configured {
    let before = urls.len();
    urls.retain(|url| !own.is(url));
    let mut is_own_known = urls.len() < before;
    merge(&mut urls);
    let names_others = !urls.is_empty();
    let mut free: Vec<&Peer> = peers.iter().collect();
    let mut left = urls;
    let mut loose = Vec::new();
    let all = left.clone();
    // A broker marks each peer that it has reached at a configured address. One without a mark
    // may be another broker of that host.
    let is_alone = |url: &Url| all.iter().filter(|other| other.shares_host(url)).count() == 1;
    let configured_host = |url: &Url, peer: &Peer| peer.is_configured && url.is_host_of(peer);
    let only_host = |url: &Url, peer: &Peer| url.is_host_of(peer) && is_alone(url);
    let stages: [(Fits<'_>, bool); 4] = [
        (&Url::is_end_of, true),
        (&configured_host, false),
        (&only_host, false),
        (&Url::is_named_as, true),
    ];
    for (fits, is_certain) in stages {
        left.retain(|url| {
            let Some(found) = free.iter().position(|peer| fits(url, peer)) else {
                return true;
            };
            free.remove(found);
            if !is_certain {
                loose.push(url.clone());
            }
            false
        });
    }
    let is_advertised = |url: &Url| {
        let mut ips = url.ips.iter();
        url.port == own.port && ips.any(|ip| own.advertised.contains(ip))
    };
    if let Some(found) = left
        .iter()
        .position(is_advertised)
        .filter(|_| !is_own_known)
    {
        left.remove(found);
        is_own_known = true;
    }
    // Those that are reached at another address than it has here.
    let mut elsewhere = left.len();
    free.retain(|peer| {
        let is_one = (peer.is_configured || peer.is_new) && elsewhere > 0;
        elsewhere -= usize::from(is_one);
        !is_one && !peer.is_configured
    });
    let missing = elsewhere;
    let may_be_own = |url: &Url| url.ips.is_empty() && url.port == own.port;
    let is_doubtful = missing == 1 && !is_own_known && left.iter().any(may_be_own);
    // Which of several brokers at one host has the route is not known.
    let same_host = |url: &&Url| left.iter().any(|other| url.shares_host(other));
    let candidates = left.iter().chain(loose.iter().filter(same_host));
    Configured {
        is_clustered: true,
        names_others,
        missing,
        candidates: candidates.map(ToString::to_string).collect(),
        is_doubtful,
        discovered: free.iter().map(|peer| peer.shown()).collect(),
    }
}

/// Makes one of those that are the same port of one host.
fn merge(urls: &mut Vec<Url>) {
    let mut distinct: Vec<Url> = Vec::new();
    for url in urls.drain(..) {
        let is_same = |known: &Url| known.port == url.port && known.shares_host(&url);
        if !distinct.iter().any(is_same) {
            distinct.push(url);
        }
    }
    *urls = distinct;
}

fn peers(routez: &Routez) -> Vec<Peer> {
    let mut peers: BTreeMap<&str, Peer> = BTreeMap::new();
    for route in &routez.routes {
        let peer = peers.entry(&route.remote_id).or_insert_with(|| Peer {
            id: route.remote_id.clone(),
            name: route.remote_name.clone(),
            ..Peer::default()
        });
        peer.is_configured |= route.is_configured;
        let age = seconds_between(&route.start, &routez.now);
        peer.is_new |= age.is_some_and(|age| age < NOTICED_AFTER);
        if let Ok(ip) = route.ip.parse::<IpAddr>() {
            peer.ends.push((ip.to_canonical(), route.port));
        }
    }
    peers.into_values().collect()
}

/// Fills in the addresses of the hosts, in a part of the time left. A host that is not known
/// here may be known to the broker.
fn look_up<'a>(check: &Check, urls: impl Iterator<Item = &'a mut Url>) -> Result<(), Failure> {
    let time = check.deadline().begin(Step::Resolve)? / 2;
    let urls: Vec<&mut Url> = urls
        .filter(|url| url.ips.is_empty())
        .take(LOOKUPS_MAX)
        .collect();
    let lookups = urls.iter().map(|url| {
        let host = url.host.clone();
        move || match (host.as_str(), 0).to_socket_addrs() {
            Ok(found) => found.map(|at| at.ip().to_canonical()).collect(),
            Err(_) => Vec::new(),
        }
    });
    let found = parallel::run(lookups.collect(), Instant::now() + time);
    for (url, ips) in urls.into_iter().zip(found) {
        url.ips = ips.unwrap_or_default();
    }
    Ok(())
}

impl Own {
    fn new(check: &Check, block: &Block, varz: &Varz) -> Self {
        let address = |host: &str| Address {
            host: host.to_owned(),
            port: 0,
        };
        let listens = address(&block.addr);
        let mut own = Self {
            port: u16::try_from(block.cluster_port).unwrap_or_default(),
            ..Self::default()
        };
        if !listens.is_unspecified() {
            own.hosts.push(Url::new(&block.addr, own.port));
            return own;
        }
        let hosts = [
            check
                .target
                .client
                .as_ref()
                .map(|client| client.host.clone()),
            check.target.monitor_host().map(|host| host.host),
            Some(varz.server_name.clone()),
        ];
        let hosts = hosts.into_iter().flatten().filter(|host| !host.is_empty());
        own.hosts = hosts.map(|host| Url::new(&host, own.port)).collect();
        own.is_this_host = !check.target.is_monitored_elsewhere();
        let advertised = varz.connect_urls.iter().filter_map(|url| Url::parse(url));
        own.advertised = advertised.flat_map(|url| url.ips).collect();
        own
    }

    /// Whether it is the broker's own address.
    fn is(&self, url: &Url) -> bool {
        let is_here = |ip: &IpAddr| {
            let address = Address {
                host: ip.to_string(),
                port: 0,
            };
            address.is_of_this_host()
        };
        url.port == self.port
            && (self.hosts.iter().any(|host| host.shares_host(url))
                || (self.is_this_host && url.ips.iter().any(is_here)))
    }
}

impl Url {
    fn new(host: &str, port: u16) -> Self {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let ip = host.parse::<IpAddr>().ok();
        Self {
            ips: ip.into_iter().map(|ip| ip.to_canonical()).collect(),
            host,
            port,
        }
    }

    /// `host:port` as `/varz` has it; what is none is no address that a broker could dial.
    fn parse(text: &str) -> Option<Self> {
        let (host, port) = text.rsplit_once(':')?;
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Some(Self::new(host, port.parse().ok()?))
    }

    /// Whether both are one host.
    fn shares_host(&self, other: &Self) -> bool {
        self.host == other.host || self.ips.iter().any(|ip| other.ips.contains(ip))
    }

    fn is_end_of(&self, peer: &Peer) -> bool {
        let mut ends = peer.ends.iter();
        ends.any(|(ip, port)| *port == self.port && self.ips.contains(ip))
    }

    fn is_host_of(&self, peer: &Peer) -> bool {
        peer.ends.iter().any(|(ip, _)| self.ips.contains(ip))
    }

    fn is_named_as(&self, peer: &Peer) -> bool {
        let is_ip = self.host.parse::<IpAddr>().is_ok();
        let first = |name: &str| name.split('.').next().unwrap_or(name).to_ascii_lowercase();
        !is_ip && !peer.name.is_empty() && first(&self.host) == first(&peer.name)
    }
}

impl std::fmt::Display for Url {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let address = Address {
            host: self.host.clone(),
            port: self.port,
        };
        f.write_str(quoted(&address.to_string()).trim_matches('"'))
    }
}

impl Peer {
    fn shown(&self) -> String {
        match self.name.is_empty() {
            true => quoted(&self.id),
            false => quoted(&self.name),
        }
    }
}
