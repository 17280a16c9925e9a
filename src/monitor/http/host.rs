//! Access by Host and Sec-Fetch-Site headers.
//!
//! The monitoring port asks for no password by default, so a page on the web must not
//! read it through the browser of a person near the broker. Such a page can
//! make the browser send requests here; with a name of its own that it points
//! at this address (DNS rebinding) it could even read the answers. So:
//!
//! * A request must be addressed to this machine. Its host is `localhost`, an
//!   address in 127.0.0.0/8, `[::1]`, or the very address the connection came
//!   in on.
//! * If the operator opened the port on another address than loopback, the
//!   machine's own names are fine too: its host name, that name in the
//!   resolver's search domains, and the host that the configuration names.
//! * Anything else is refused with 421; so is a host in the request line that
//!   is not local, whatever the Host header says. HTTP/1.0 may leave the
//!   header out, HTTP/1.1 may not (400), and it may not occur twice (400).
//! * What a browser marks as sent by another site (`Sec-Fetch-Site:
//!   cross-site`) is refused with 403, unless it is a person following a link
//!   (`Sec-Fetch-Mode: navigate`): the other site cannot read the answer. So is
//!   a request whose `Origin` is not this machine.
//! * Names that the operator lists in `monitor { hosts }` are this machine's.
//!
//! The port of the host does not matter: tunnels and containers change it.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddr},
};

use hyper::{HeaderMap, StatusCode, Uri, Version, header};

use monitor_client::text::{cut, quoted};

use crate::monitor::endpoints::refusal::Refusal;

/// Bytes of a refused host that the answer repeats: what to do must not move out of sight.
const HOST_SHOWN: usize = 80;

const HOSTNAME_FILE: &str = "/proc/sys/kernel/hostname";
const RESOLVER_FILE: &str = "/etc/resolv.conf";

/// The rule for one listener.
pub(in crate::monitor) struct HostRule {
    /// Names beside `localhost`, in lower case.
    names: Vec<String>,
}

impl HostRule {
    /// The rule for a listener at `address`, which the configuration calls
    /// `configured_host`; `hosts` are names that the operator added.
    pub(in crate::monitor) fn new(
        address: Option<IpAddr>,
        configured_host: &str,
        hosts: &[String],
    ) -> Self {
        let mut names = hosts.to_vec();
        if address.is_none_or(|address| address.to_canonical().is_loopback()) {
            return Self { names };
        }
        // A machine without these files has no names: then addresses remain.
        let read = |path| fs::read_to_string(path).unwrap_or_default();
        names.extend(own_names(
            &read(HOSTNAME_FILE),
            &read(RESOLVER_FILE),
            configured_host,
        ));
        Self { names }
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

    /// A page that names itself as the sender must be of this machine.
    fn check_origin(&self, headers: &HeaderMap, local: SocketAddr) -> Result<(), Refusal> {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return Ok(());
        };
        let text = String::from_utf8_lossy(origin.as_bytes());
        let host = text.split_once("://").and_then(|(_, host)| host_name(host));
        match host.is_some_and(|name| self.is_local(name, local.ip())) {
            true => Ok(()),
            false => Err(foreign_site()),
        }
    }

    fn check_host(&self, host: &[u8], local: SocketAddr) -> Result<(), Refusal> {
        let text = String::from_utf8_lossy(host);
        if host_name(&text).is_some_and(|name| self.is_local(name, local.ip())) {
            return Ok(());
        }
        Err(Refusal {
            status: StatusCode::MISDIRECTED_REQUEST,
            message: format!(
                "The host {} is not this machine: list it in the option \"hosts\" of the block \
                 \"monitor\", or use http://{}/ instead. The monitoring port answers requests for \
                 localhost, for the address they arrive at, for listed names and, when it is open \
                 to the network, for the machine's own name.",
                quoted(cut(&text, HOST_SHOWN).as_bytes()),
                SocketAddr::new(local.ip().to_canonical(), local.port()),
            ),
        })
    }

    fn is_local(&self, name: &str, local: IpAddr) -> bool {
        let address = match name
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'))
        {
            Some(inner) => inner.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
            None => name.parse().ok(),
        };
        if let Some(address) = address.map(|address| address.to_canonical()) {
            return address.is_loopback() || address == local.to_canonical();
        }
        let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
        name == "localhost" || self.names.contains(&name)
    }
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

/// The machine's names, from its host name and the resolver's settings.
fn own_names(hostname: &str, resolver: &str, configured_host: &str) -> Vec<String> {
    let hostname = hostname.trim().to_ascii_lowercase();
    let domains = resolver
        .lines()
        .filter_map(|line| {
            let mut words = line.split_ascii_whitespace();
            matches!(words.next(), Some("search" | "domain")).then_some(words)
        })
        .flatten();
    let mut names: Vec<String> = domains
        .map(|domain| {
            format!(
                "{hostname}.{}",
                domain.trim_matches('.').to_ascii_lowercase()
            )
        })
        .collect();
    names.push(hostname);
    names.push(configured_host.to_ascii_lowercase());
    names.retain(|name| !name.is_empty() && !name.starts_with('.'));
    names
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use hyper::header::HeaderValue;

    use super::*;

    const LOOPBACK: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8222);
    const OUTSIDE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(192, 0, 2, 7)), 8222);

    fn status(rule: &HostRule, local: SocketAddr, host: &str) -> Option<StatusCode> {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_str(host).unwrap());
        let uri = Uri::from_static("/varz");
        rule.check(&uri, Version::HTTP_11, &headers, local)
            .err()
            .map(|refusal| refusal.status)
    }

    fn opened() -> HostRule {
        HostRule {
            names: own_names(
                "Broker1\n",
                "nameserver 192.0.2.1\nsearch example.org lan.",
                "mon.example.net",
            ),
        }
    }

    #[test]
    fn on_loopback_only_local_hosts_are_answered() {
        let rule = HostRule::new(Some(LOOPBACK.ip()), "broker1", &[]);
        for host in [
            "localhost",
            "LocalHost:8222",
            "localhost.",
            "127.0.0.1",
            "127.0.0.1:8222",
            "127.8.9.10:1",
            "[::1]",
            "[::1]:8222",
            "[::ffff:127.0.0.1]:8222",
        ] {
            assert_eq!(status(&rule, LOOPBACK, host), None, "{host}");
        }
        for host in [
            "evil.example",
            "evil.example:8222",
            "127.0.0.1.evil.example",
            "localhost.evil.example",
            "localhost@evil.example",
            "evil.example@localhost",
            "broker1",
            "192.0.2.7",
            "0.0.0.0",
            "[::]",
            "::1",
            "",
            ":8222",
            "localhost:x",
            "[::1]x",
            "127.0.0.1:1:2",
        ] {
            assert_eq!(
                status(&rule, LOOPBACK, host),
                Some(StatusCode::MISDIRECTED_REQUEST),
                "{host}"
            );
        }
    }

    #[test]
    fn an_opened_port_answers_to_its_address_and_names() {
        let rule = opened();
        for host in [
            "localhost:8222",
            "127.0.0.1",
            "192.0.2.7:8222",
            "broker1",
            "BROKER1:8222",
            "broker1.example.org",
            "broker1.lan",
            "mon.example.net",
        ] {
            assert_eq!(status(&rule, OUTSIDE, host), None, "{host}");
        }
        for host in [
            "evil.example",
            "192.0.2.8",
            "broker1.evil.example",
            "broker2",
            ".example.org",
        ] {
            assert_eq!(
                status(&rule, OUTSIDE, host),
                Some(StatusCode::MISDIRECTED_REQUEST),
                "{host}"
            );
        }
    }

    #[test]
    fn listed_names_and_their_pages_may_ask() {
        let hosts = ["mon.example".to_owned()];
        let rule = HostRule::new(Some(LOOPBACK.ip()), "", &hosts);
        assert_eq!(status(&rule, LOOPBACK, "MON.example:443"), None);
        assert!(status(&rule, LOOPBACK, "x.mon.example").is_some());
        let origin = |origin: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            rule.check_origin(&headers, LOOPBACK).is_ok()
        };
        for own in [
            "http://mon.example",
            "http://localhost:8222",
            "https://[::1]",
        ] {
            assert!(origin(own), "{own}");
        }
        for foreign in ["http://evil.example", "null", "", "http://", "localhost"] {
            assert!(!origin(foreign), "{foreign}");
        }
    }

    #[test]
    fn a_machine_without_a_name_has_none() {
        assert!(own_names("", "search example.org", "").is_empty());
    }

    #[test]
    fn the_host_may_be_missing_before_http_1_1_only() {
        let rule = opened();
        let uri = Uri::from_static("/");
        let check = |version| {
            rule.check(&uri, version, &HeaderMap::new(), LOOPBACK)
                .err()
                .map(|refusal| refusal.status)
        };
        assert_eq!(check(Version::HTTP_10), None);
        assert_eq!(check(Version::HTTP_11), Some(StatusCode::BAD_REQUEST));
    }

    #[test]
    fn two_hosts_foreign_request_lines_and_other_sites_are_refused() {
        let rule = opened();
        let local = HeaderValue::from_static("localhost");
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, local.clone());
        let check = |uri: &'static str, headers: &HeaderMap| {
            rule.check(&Uri::from_static(uri), Version::HTTP_11, headers, LOOPBACK)
                .err()
                .map(|refusal| refusal.status)
        };
        assert_eq!(check("http://localhost/varz", &headers), None);
        assert_eq!(
            check("http://evil.example/varz", &headers),
            Some(StatusCode::MISDIRECTED_REQUEST)
        );
        for (site, expected) in [
            ("none", None),
            ("same-origin", None),
            ("cross-site", Some(StatusCode::FORBIDDEN)),
        ] {
            headers.insert("sec-fetch-site", HeaderValue::from_static(site));
            assert_eq!(check("/", &headers), expected, "{site}");
        }
        headers.remove("sec-fetch-site");
        headers.append(header::HOST, local);
        assert_eq!(check("/", &headers), Some(StatusCode::BAD_REQUEST));
    }
}
