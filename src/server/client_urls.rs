//! Where clients of this broker connect to, as the other brokers and their
//! clients are told.

use std::net::{IpAddr, SocketAddr};

use crate::config::Options;

/// `host:port` of every way to this broker: what is advertised, else where it
/// listens; if that is everywhere, the addresses of this machine.
pub(super) fn own(options: &Options, address: SocketAddr) -> Vec<String> {
    if let Some(advertise) = &options.client_advertise {
        let has_port = advertise
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok());
        return vec![match has_port && !advertise.ends_with(']') {
            true => advertise.clone(),
            false => format!("{advertise}:{}", address.port()),
        }];
    }
    let with_port = |ip| SocketAddr::new(ip, address.port()).to_string();
    if !address.ip().is_unspecified() {
        return vec![with_port(address.ip())];
    }
    let takes = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_loopback() && !ip.is_link_local(),
        // A listener on 0.0.0.0 serves no version 6; link-local addresses need
        // a zone that means nothing elsewhere.
        IpAddr::V6(ip) => address.is_ipv6() && !ip.is_loopback() && !ip.is_unicast_link_local(),
    };
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let mut urls: Vec<String> = interfaces
        .iter()
        .map(if_addrs::Interface::ip)
        .filter(takes)
        .map(with_port)
        .collect();
    if urls.is_empty() {
        urls.push(with_port(address.ip()));
    }
    urls
}
