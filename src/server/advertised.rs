//! The addresses of this broker for clients and leafnodes, as announced in INFO to clients and other
//! brokers.

use std::net::{IpAddr, SocketAddr};

use super::listener;
use crate::config::{Options, options::advertise};

/// The host and port for INFO: those of `client_advertise`; otherwise the host as configured, since
/// certificates are issued for names, and the listener's port.
pub(super) fn host(options: &Options, address: SocketAddr) -> (String, u16) {
    announced(options.client_advertise.as_deref(), &options.host, address)
}

fn announced(advertised: Option<&str>, host: &str, address: SocketAddr) -> (String, u16) {
    // The value was validated when the configuration was read.
    match advertised.map(advertise::split) {
        Some(Ok((host, port))) => (host.to_owned(), port.unwrap_or(address.port())),
        _ => (host.to_owned(), address.port()),
    }
}

/// All `host:port` of this broker: the advertised one, otherwise the listener's; for a wildcard
/// address, all addresses of this machine that others can reach. Empty if there are none.
pub(super) fn urls(options: &Options, address: SocketAddr) -> Vec<String> {
    let advertised = options.client_advertise.as_deref();
    urls_of(advertised, &options.host, address)
}

/// The same of another listener, which listens on `host` and is announced as `advertised`.
pub(super) fn urls_of(advertised: Option<&str>, host: &str, address: SocketAddr) -> Vec<String> {
    let (host, port) = announced(advertised, host, address);
    let is_wildcard = host.parse().is_ok_and(|ip: IpAddr| ip.is_unspecified());
    if !is_wildcard {
        return vec![listener::join(&host, port)];
    }
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(is_reachable)
        .map(|ip| SocketAddr::new(ip, port).to_string())
        .collect()
}

/// Link-local addresses need a zone id that is only valid on this machine.
fn is_reachable(ip: &IpAddr) -> bool {
    match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        IpAddr::V6(ip) => {
            listener::is_dual_stack() && !ip.is_loopback() && !ip.is_unicast_link_local()
        }
    }
}
