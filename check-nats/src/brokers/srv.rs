//! The brokers that a DNS SRV record lists, such as `_nats-server._tcp.example.net`.
//!
//! The resolver library asks the name servers of /etc/resolv.conf, or the one of
//! `--nameserver`, as the system's own resolver has no look-up of SRV records. It is the only
//! asynchronous code of this program, and nothing of it leaves this file.

use std::{
    collections::BTreeSet,
    fmt,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use hickory_resolver::{
    TokioResolver,
    config::{ConnectionConfig, NameServerConfig, ResolverConfig},
    net::{NetError, runtime::TokioRuntimeProvider},
    proto::rr::{Name, RData},
};

use crate::text::{duration, quoted};

/// Longest name in bytes that the DNS allows, with all its dots.
const NAME_BYTES_MAX: usize = 254;

/// Port of name servers.
const DNS_PORT: u16 = 53;

/// A record to look up.
#[derive(Clone, Debug)]
pub struct Srv {
    name: Name,
    /// In place of those of /etc/resolv.conf.
    nameserver: Option<SocketAddr>,
}

/// A broker of the record; in the order of host and port, as name servers change the order from
/// answer to answer.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Listed {
    /// Its host, without a dot at its end.
    pub host: String,
    /// Its client port.
    pub port: u16,
}

impl Srv {
    /// The record `name`, asked of `nameserver` (an address, a port may follow).
    ///
    /// # Errors
    /// A sentence that names the option and what to write.
    pub fn new(name: &str, nameserver: Option<&str>) -> Result<Self, String> {
        let wrong = |why: &str| {
            format!(
                "--srv {}: {why}: write it like _nats-server._tcp.example.net",
                quoted(name)
            )
        };
        if name.is_empty() || name.len() > NAME_BYTES_MAX {
            return Err(wrong("no name of a record"));
        }
        Ok(Self {
            name: Name::from_ascii(name).map_err(|error| wrong(&error.to_string()))?,
            nameserver: nameserver.map(parse_nameserver).transpose()?,
        })
    }

    /// Looks it up, within this time.
    ///
    /// # Errors
    /// Why there is none, and where it was looked for.
    pub fn look_up(&self, time: Duration) -> Result<BTreeSet<Listed>, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("{self}: {error}"))?;
        let answer = runtime.block_on(async {
            let resolver = self.resolver()?;
            match tokio::time::timeout(time, resolver.srv_lookup(self.name.clone())).await {
                Ok(answer) => answer,
                Err(_) => Err(NetError::Timeout),
            }
        });
        let answer = answer.map_err(|error| format!("{self}: {}", explained(&error, time)))?;
        let records = answer
            .answers()
            .iter()
            .filter_map(|record| match &record.data {
                RData::SRV(srv) => Some(srv),
                _ => None,
            });
        // The root in place of a host: the domain says that it does not have the service.
        let listed: BTreeSet<Listed> = records
            .filter(|srv| !srv.target.is_root())
            .map(|srv| Listed {
                host: srv.target.to_ascii().trim_end_matches('.').to_owned(),
                port: srv.port,
            })
            .collect();
        match listed.is_empty() {
            true => Err(format!("{self}: the record names no host")),
            false => Ok(listed),
        }
    }

    fn resolver(&self) -> Result<TokioResolver, NetError> {
        match self.nameserver {
            None => TokioResolver::builder_tokio()?.build(),
            Some(address) => {
                let connections =
                    [ConnectionConfig::udp(), ConnectionConfig::tcp()].map(|mut connection| {
                        connection.port = address.port();
                        connection
                    });
                let server = NameServerConfig::new(address.ip(), true, connections.into());
                let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
                let provider = TokioRuntimeProvider::default();
                TokioResolver::builder_with_config(config, provider).build()
            }
        }
    }
}

impl fmt::Display for Srv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SRV record {}", quoted(&self.name.to_ascii()))?;
        match self.nameserver {
            Some(address) => write!(f, " at name server {address}"),
            None => Ok(()),
        }
    }
}

fn explained(error: &NetError, time: Duration) -> String {
    match error {
        NetError::Timeout => format!("no answer within {}", duration(time.as_secs_f64())),
        error if error.is_no_records_found() => "there is none".to_owned(),
        error => error.to_string(),
    }
}

/// `127.0.0.1`, `127.0.0.1:5353`, `::1` or `[::1]:5353`.
fn parse_nameserver(text: &str) -> Result<SocketAddr, String> {
    let address = text
        .parse::<IpAddr>()
        .map(|ip| SocketAddr::new(ip, DNS_PORT));
    address.or_else(|_| text.parse()).map_err(|_| {
        format!(
            "--nameserver {}: write it as ADDRESS or ADDRESS:PORT",
            quoted(text)
        )
    })
}
