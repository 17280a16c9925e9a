//! Where clients of this broker connect to: as INFO says, and as the other
//! brokers and their clients are told.

use std::net::{IpAddr, SocketAddr};

use super::listener;
use crate::config::{Options, options::advertise};

/// The host and port that INFO names: those of `client_advertise`, else the
/// host as it was written, since certificates bear names, and the port.
pub(super) fn host(options: &Options, address: SocketAddr) -> (String, u16) {
    let advertised = options.client_advertise.as_deref();
    // It was looked at when it was read.
    match advertised.map(advertise::split) {
        Some(Ok((host, port))) => (host.to_owned(), port.unwrap_or(address.port())),
        _ => (options.host.clone(), address.port()),
    }
}

/// `host:port` of every way to this broker: what is advertised, else where it
/// listens; if that is everywhere, the addresses of this machine that others
/// reach. On a machine that has none there is nothing to tell.
pub(super) fn urls(options: &Options, address: SocketAddr) -> Vec<String> {
    let (host, port) = host(options, address);
    let is_wildcard = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    if !is_wildcard {
        return vec![listener::join(&host, port)];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(is_reached_by_others)
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect()
}

/// Link-local addresses need a zone that means nothing elsewhere.
fn is_reached_by_others(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => {
            listener::is_dual_stack() && !ip.is_loopback() && !ip.is_unicast_link_local()
        }
    }
}
