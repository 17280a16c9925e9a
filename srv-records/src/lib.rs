//! The brokers that a DNS SRV record lists, such as `_nats-server._tcp.example.net`.
//!
//! The system's own resolver has no look-up of SRV records, so a library asks the name servers
//! of /etc/resolv.conf, or one that the caller names, one after the other. The check looks for the
//! brokers that it checks, and the broker for the upstream brokers of its federation.

mod order;

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, SocketAddr},
    path::Path,
    time::{Duration, Instant},
};

use monitor_client::{files, text::quoted};
pub use order::in_order;
use rsdns::{
    Error,
    clients::{ClientConfig, std::Client},
    message::RCode,
    records::{Class, RecordSet, data::Srv as Record},
};

/// Where the system's name servers are listed.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// Most bytes of that file.
const RESOLV_CONF_BYTES_MAX: u64 = 64 * 1024;

/// Name servers that are asked: more, the system's resolver does not ask either.
const NAMESERVERS_MAX: usize = 3;

/// Port of name servers.
const DNS_PORT: u16 = 53;

/// A packet that has got no answer for this long is sent again.
const RETRY: Duration = Duration::from_secs(1);

/// Longest name in bytes that the DNS allows, with all its dots.
const NAME_BYTES_MAX: usize = 254;

/// A record to look up.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Srv {
    name: String,
    /// In place of those of /etc/resolv.conf.
    nameserver: Option<SocketAddr>,
}

/// What a record says.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Answer {
    /// The brokers, one at least and each once. Name servers change the order from answer to
    /// answer, so that is by host and port; [`in_order`] is the one to try them in.
    pub listed: Vec<Listed>,
    /// How long that may be kept.
    pub ttl: Duration,
}

/// A broker of the record.
#[derive(Clone, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub struct Listed {
    /// Its host, without a dot at its end.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The lowest is tried first.
    pub priority: u16,
    /// Its share among those of the same priority.
    pub weight: u16,
}

impl Srv {
    /// The record with this full name, asked of `nameserver` instead of the system's.
    ///
    /// # Errors
    /// What is wrong with the name, and what to write.
    pub fn new(name: &str, nameserver: Option<SocketAddr>) -> Result<Self, String> {
        let is_label = |label: &str| {
            let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
            (1..=63).contains(&label.len()) && label.chars().all(fits)
        };
        let full = name.strip_suffix('.').unwrap_or(name);
        if name.len() > NAME_BYTES_MAX || !full.split('.').all(is_label) {
            return Err(format!(
                "{}: no name of a record: write it like _nats-server._tcp.example.net",
                quoted(name.as_bytes())
            ));
        }
        Ok(Self {
            name: full.to_owned(),
            nameserver,
        })
    }

    /// The same record, asked of this name server instead of the one of before.
    #[must_use]
    pub fn at(self, nameserver: Option<SocketAddr>) -> Self {
        Self { nameserver, ..self }
    }

    /// Its full name, without a dot at its end.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Looks it up, within this time.
    ///
    /// # Errors
    /// Why there is none, and who was asked.
    pub fn look_up(&self, time: Duration) -> Result<Answer, String> {
        let end = Instant::now() + time;
        let nameservers = match self.nameserver {
            Some(nameserver) => vec![nameserver],
            None => system_nameservers()?,
        };
        let mut failures = Vec::new();
        for (tried, nameserver) in nameservers.iter().enumerate() {
            let left = end.saturating_duration_since(Instant::now());
            let share = left / u32::try_from(nameservers.len() - tried).unwrap_or(u32::MAX);
            match self.ask(*nameserver, share) {
                Ok(records) => return self.listed(records),
                Err(Failure { text, is_final }) => {
                    failures.push(format!("{nameserver}: {text}"));
                    if is_final {
                        break;
                    }
                }
            }
        }
        Err(format!("{self} at name server {}", failures.join(", at ")))
    }

    fn ask(&self, nameserver: SocketAddr, time: Duration) -> Result<RecordSet<Record>, Failure> {
        // Zero would be no limit.
        let time = time.max(Duration::from_millis(1));
        let config = ClientConfig::with_nameserver(nameserver)
            .set_query_lifetime(time)
            .set_query_timeout(Some(RETRY.min(time)));
        let answer =
            Client::new(config).and_then(|mut client| client.query_rrset(&self.name, Class::IN));
        answer.map_err(|error| Failure::of(&error, time))
    }

    fn listed(&self, records: RecordSet<Record>) -> Result<Answer, String> {
        let hosts = records.rdata.iter().map(|record| Listed {
            // Names of the DNS are the same in upper and lower case.
            host: record
                .target
                .as_str()
                .trim_end_matches('.')
                .to_ascii_lowercase(),
            port: record.port,
            priority: record.priority,
            weight: record.weight,
        });
        // The root in place of a host: the domain says that it does not have the service.
        let mut listed: Vec<Listed> = hosts.filter(|listed| !listed.host.is_empty()).collect();
        listed.sort();
        listed.dedup_by(|again, first| (&again.host, again.port) == (&first.host, first.port));
        match listed.is_empty() {
            true => Err(format!("{self} names no host")),
            false => Ok(Answer {
                listed,
                ttl: Duration::from_secs(records.ttl.into()),
            }),
        }
    }
}

impl fmt::Display for Srv {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SRV record {}", quoted(self.name.as_bytes()))
    }
}

/// Why a name server gave no record.
struct Failure {
    text: String,
    /// The others would say the same.
    is_final: bool,
}

impl Failure {
    fn of(error: &Error, time: Duration) -> Self {
        let is_final = matches!(
            error,
            Error::NoAnswer | Error::BadResponseCode(RCode::NXDOMAIN)
        );
        let text = match error {
            _ if is_final => "there is none".to_owned(),
            Error::Timeout => format!("no answer within {time:.1?}"),
            Error::IoError(error) => error.to_string(),
            Error::BadResponseCode(code) => format!("answers {code}"),
            error => error.to_string(),
        };
        Self { text, is_final }
    }
}

/// Those of /etc/resolv.conf; without any the one of this host, as the system's resolver does.
fn system_nameservers() -> Result<Vec<SocketAddr>, String> {
    let content = files::read(Path::new(RESOLV_CONF), RESOLV_CONF_BYTES_MAX)
        .map_err(|error| error.to_string())?;
    // A line that is not understood does not matter to the others.
    let (config, _) = resolv_conf::Config::parse_with_errors(&content.bytes);
    let listed = config.nameservers.into_iter().take(NAMESERVERS_MAX);
    let nameservers: Vec<SocketAddr> = listed
        .map(|ip| SocketAddr::new(ip.into(), DNS_PORT))
        .collect();
    Ok(match nameservers.is_empty() {
        true => vec![SocketAddr::new(Ipv4Addr::LOCALHOST.into(), DNS_PORT)],
        false => nameservers,
    })
}

/// Reads the address of a name server: `127.0.0.1`, `127.0.0.1:5353`, `::1` or `[::1]:5353`.
///
/// # Errors
/// What to write instead.
pub fn parse_nameserver(text: &str) -> Result<SocketAddr, String> {
    let address = text.parse::<IpAddr>();
    address
        .map(|ip| SocketAddr::new(ip, DNS_PORT))
        .or_else(|_| text.parse())
        .map_err(|_| {
            format!(
                "{}: write it as ADDRESS or ADDRESS:PORT",
                quoted(text.as_bytes())
            )
        })
}
