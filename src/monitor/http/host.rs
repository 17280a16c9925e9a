//! Access by Host and Sec-Fetch-Site headers.
//!
//! The monitoring port asks for no password by default, so a page on the web must not
//! read it through the browser of a person near the broker. Such a page can
//! make the browser send requests here, but reads answers only if they come from its own
//! host: so it gives itself a name that it first points at its own server and then at this
//! one (DNS rebinding). A request is answered if its host is none that a page of a stranger
//! can have:
//!
//! * an address: a page cannot point it anywhere (0.0.0.0 and `[::]` are none);
//! * `localhost` and what ends in it, which browsers never look up;
//! * this machine's host name, and the names beside it in `/etc/hosts`;
//! * names that the operator lists in `monitor { hosts }`.
//!
//! Other names of a machine come from its network: search domains from DHCP, short names from
//! whoever answers first. If the port is open to the network, who decides about these could as
//! well ask the port itself, and they are fine: the host name in the search domains, the host that
//! the configuration names, and any name without a dot, as containers call each other
//! (`http://nats:8222`). If it is open on loopback only, such a name could let the network in.
//!
//! * Anything else is refused with 421; so is a host in the request line that
//!   is not this machine, whatever the Host header says. HTTP/1.0 may leave the
//!   header out, HTTP/1.1 may not (400), and it may not occur twice (400).
//! * What a browser marks as sent by another site (`Sec-Fetch-Site:
//!   cross-site`) is refused with 403, unless it is a person following a link
//!   (`Sec-Fetch-Mode: navigate`): the other site cannot read the answer. So is
//!   a request whose `Origin` is neither the host that it is for nor surely this machine.
//!
//! The port of the host does not matter: tunnels and containers change it.

use std::{
    fs,
    net::{IpAddr, SocketAddr},
};

use hyper::{HeaderMap, StatusCode, Uri, Version, header};

use monitor_client::text::{cut, quoted};

use crate::monitor::endpoints::refusal::Refusal;

/// Bytes of a refused host that the answer repeats: what to do must not move out of sight.
const HOST_SHOWN: usize = 80;

const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";
const RESOLVER_FILE: &str = "/etc/resolv.conf";
const HOSTS_FILE: &str = "/etc/hosts";

/// The rule for one listener.
pub(in crate::monitor) struct HostRule {
    /// Names of this machine beside `localhost`, in lower case.
    names: Vec<String>,
    /// Whether the port is open to the network, and with it to all names without a dot.
    is_open: bool,
}

impl HostRule {
    /// The rule for a listener at `address`, which the configuration calls
    /// `configured_host`; `hosts` are names that the operator added.
    pub(in crate::monitor) fn new(
        address: Option<IpAddr>,
        configured_host: &str,
        hosts: &[String],
    ) -> Self {
        // A machine without these files has no names: then addresses remain.
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        let hostname = read(HOSTNAME_FILE).trim().to_ascii_lowercase();
        let is_open = address.is_some_and(|address| !address.to_canonical().is_loopback());
        let mut names = own_names(&hostname, &read(HOSTS_FILE));
        names.extend_from_slice(hosts);
        if is_open {
            names.extend(network_names(&hostname, &read(RESOLVER_FILE)));
            names.push(configured_host.to_ascii_lowercase());
        }
        names.retain(|name| !name.is_empty());
        Self { names, is_open }
    }

    /// Whether a request received on `local` may be answered.
    ///
    /// # Errors
    ///
    /// It may not, for the reason given.
    pub(in crate::monitor) fn check(
        &self,
        uri: &Uri,
        version: Version,
        headers: &HeaderMap,
        local: SocketAddr,
    ) -> Result<(), Refusal> {
        let mut hosts = headers.get_all(header::HOST).iter();
        match (hosts.next(), hosts.next()) {
            (_, Some(_)) => {
                return Err(Refusal::bad_request(
                    "There is more than one Host header.".into(),
                ));
            }
            (Some(host), None) => self.check_host(host.as_bytes(), local)?,
            (None, None) if version <= Version::HTTP_10 => {}
            (None, None) => {
                return Err(Refusal::bad_request("The Host header is missing.".into()));
            }
        }
        if let Some(authority) = uri.authority() {
            self.check_host(authority.as_str().as_bytes(), local)?;
        }
        self.check_origin(headers, local)?;
        let says = |name, value: &[u8]| {
            headers
                .get(name)
                .is_some_and(|given| given.as_bytes().eq_ignore_ascii_case(value))
        };
        match says("sec-fetch-site", b"cross-site") && !says("sec-fetch-mode", b"navigate") {
            true => Err(foreign_site()),
            false => Ok(()),
        }
    }

    /// A page that names itself as the sender must be the one that the request is for, or of this
    /// machine.
    fn check_origin(&self, headers: &HeaderMap, local: SocketAddr) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(origin.as_bytes());
        let sender = text.split_once("://").map(|(_, host)| host);
        let host = headers.get(header::HOST);
        let is_same = host.is_some_and(|host| Some(host.as_bytes()) == sender.map(str::as_bytes));
        let name = sender.and_then(host_name);
        match is_same || name.is_some_and(|name| self.is_own(name, local.ip())) {
            true => Ok(()),
            false => Err(foreign_site()),
        }
    }

    fn check_host(&self, host: &[u8], local: SocketAddr) -> Result<(), Refusal> {
        let text = String::from_utf8_lossy(host);
        let name = host_name(&text);
        if name.is_some_and(|name| self.is_own(name, local.ip()) || self.is_harmless(name)) {
            return Ok(());
        }
        Err(Refusal {
            status: StatusCode::MISDIRECTED_REQUEST,
            message: format!(
                "The host {} is not this machine: list it in the option \"hosts\" of the block \
                 \"monitor\", or use http://{}/ instead. The monitoring port answers requests for \
                 addresses, for localhost, for the machine's own name, for listed names and, when \
                 it is open to the network, for names without a dot.",
                quoted(cut(&text, HOST_SHOWN).as_bytes()),
                SocketAddr::new(local.ip().to_canonical(), local.port()),
            ),
        })
    }

    /// Whether this is surely this machine.
    fn is_own(&self, name: &str, local: IpAddr) -> bool {
        if let Some(address) = address(name) {
            return address.is_loopback() || address == local.to_canonical();
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost" || name.ends_with(".localhost") || self.names.contains(&name)
    }

    /// Whether no page of a stranger can have this host, whoever it is.
    fn is_harmless(&self, name: &str) -> bool {
        match address(name) {
            Some(address) => !address.is_unspecified() && !address.is_multicast(),
            None => self.is_open && is_short(name),
        }
    }
}

/// The address that a host is.
fn address(name: &str) -> Option<IpAddr> {
    let inner = name
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'));
    let address = match inner {
        Some(inner) => IpAddr::V6(inner.parse().ok()?),
        None => IpAddr::V4(name.parse().ok()?),
    };
    Some(address.to_canonical())
}

/// Whether this is a name without a dot: not one of the public DNS.
fn is_short(name: &str) -> bool {
    let is_inner = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    name.starts_with(|first: char| first.is_ascii_alphabetic()) && name.bytes().all(is_inner)
}

fn foreign_site() -> Refusal {
    Refusal {
        status: StatusCode::FORBIDDEN,
        message: "Another web site sent this request, and the monitoring port does not answer \
                  those. Type the address into the browser yourself, or list the site's host in \
                  the option \"hosts\" of the block \"monitor\"."
            .into(),
    }
}

/// `name`, `address` or `[address]` of a host with or without a port.
fn host_name(host: &str) -> Option<&str> {
    let end = match host.find(']') {
        Some(bracket) => bracket + 1,
        None => host.find(':').unwrap_or(host.len()),
    };
    let (name, port) = host.split_at(end);
    let is_port = match port.strip_prefix(':') {
        Some(digits) => digits.bytes().all(|byte| byte.is_ascii_digit()),
        None => port.is_empty(),
    };
    (is_port && !name.is_empty()).then_some(name)
}

/// The host name, and the names that `/etc/hosts` has in a line with it.
fn own_names(hostname: &str, hosts: &str) -> Vec<String> {
    let mut names = vec![hostname.to_owned()];
    for line in hosts.lines() {
        let line = line.split('#').next().unwrap_or_default();
        let line = line.to_ascii_lowercase();
        let beside: Vec<_> = line.split_ascii_whitespace().skip(1).collect();
        if beside.contains(&hostname) {
            names.extend(beside.into_iter().map(str::to_owned));
        }
    }
    names
}

/// The host name in the resolver's search domains.
fn network_names(hostname: &str, resolver: &str) -> Vec<String> {
    let domains = resolver
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            matches!(words.next(), Some("search" | "domain")).then_some(words)
        })
        .flatten();
    let domains = domains.map(|domain| domain.trim_matches('.').to_ascii_lowercase());
    let is_useful = |domain: &String| !hostname.is_empty() && !domain.is_empty();
    domains
        .filter(is_useful)
        .map(|domain| format!("{hostname}.{domain}"))
        .collect()
}

#[cfg(test)]
mod tests;
