//! The broker that a run checks, and how it is reached: monitoring port, client port, TLS, logins.
//!
//! [`Target::new`] makes it from the command line ([`arguments`]) and opens and reads nothing:
//! files are read and hosts looked up within the time of the run. [`Check`](super::run::Check)
//! asks the monitoring port, a [`Session`](super::client_port::Session) uses the client port.

mod address;
pub mod arguments;
mod login;
#[cfg(test)]
mod tests;
mod tls;

use std::env;

use clap::ArgMatches;
use monitor_client::{Access, Client, DEFAULT_URL, OptionNames, Tls, Varz, url_of};

pub use self::{
    address::Address,
    login::{LoginSource, SecretSource},
    tls::{ClientTls, TlsFiles},
};
use self::{address::Written, arguments::path};
use super::{options::TIMEOUT_MAX, status::Failure};

/// The client port where nothing says another one.
const CLIENT_PORT: u16 = 4222;

/// Nothing says where the client port is.
const NOT_KNOWN: &str = "the client port is not known: give it with -H or -p";

/// Where brokers listen for monitoring.
const MONITOR_PORT: u16 = 8222;

/// The options for the monitoring port, as messages name them.
pub static OPTION_NAMES: OptionNames = OptionNames {
    url: "--url",
    socket: "--socket",
    user: "--monitor-user",
    password: "$MONITOR_PASSWORD",
    password_file: "--monitor-password-file",
    token: "$MONITOR_TOKEN",
    token_file: "--monitor-token-file",
    ca: "--cacert",
    certificate: "--cert",
    key: "--key",
    insecure: "--insecure",
};

/// Everything that is needed to reach one broker.
#[derive(Clone, Debug)]
pub struct Target {
    /// The client port, if it was given. Else `/varz` says where it is.
    pub client: Option<Address>,
    /// The monitoring port, or why there is none to be asked.
    pub monitor: Result<Access, String>,
    /// TLS, on the client port and on a monitoring port with https.
    pub tls: ClientTls,
    /// The login at the client port.
    pub login: LoginSource,
    /// Where brokers at other hosts listen for monitoring.
    monitor_port: u16,
    /// Whether the client port may be guessed if `/varz` is not there: nothing was given.
    is_default: bool,
}

/// Where the client port of a broker is, and what is known of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientPort {
    /// Its address.
    pub address: Address,
    /// Whether it has TLS, or must have it.
    pub tls: bool,
    /// The host that its certificate must name.
    pub name: String,
    /// Whether clients use that name too, so that a certificate without it is a fault of the
    /// broker. An address may just be what the check was given.
    pub name_is_certain: bool,
    /// Whether the broker runs on this host.
    pub is_local: bool,
    /// Whether the host is the one that was asked for, or this one. A password goes nowhere else
    /// without TLS: `/varz` could name any host.
    pub is_asked: bool,
}

impl Target {
    /// The broker of one `-H` and one `-u`; `None` if none was given. All other options are the
    /// same for each of several brokers.
    ///
    /// # Errors
    /// A sentence that names the option and what to write.
    pub fn new(
        matches: &ArgMatches,
        hostname: Option<&str>,
        url: Option<&str>,
    ) -> Result<Self, String> {
        let written = hostname
            .map(|text| Written::parse(text).map_err(|why| format!("--hostname {why}")))
            .transpose()?;
        let mut tls = ClientTls::new(matches)?;
        tls.required |= written.as_ref().is_some_and(|written| written.tls);
        let port = matches.get_one::<u16>("port").copied();
        let monitor_port = matches.get_one::<u16>("monitor-port").copied();
        let client = client(written, port, url)?;
        let named = client.as_ref().filter(|_| hostname.is_some());
        Ok(Self {
            monitor: monitor(matches, url, named, monitor_port, &tls)?,
            login: LoginSource::new(matches)?,
            monitor_port: monitor_port.unwrap_or(MONITOR_PORT),
            is_default: ["hostname", "port", "monitor-port", "url", "socket"]
                .iter()
                .all(|name| !matches.contains_id(name)),
            client,
            tls,
        })
    }

    /// The same access to another broker, whose client port is known: its monitoring port is
    /// asked at the same host.
    ///
    /// # Errors
    /// What is wrong with the host.
    pub fn at(&self, host: &str, port: u16) -> Result<Self, String> {
        let host = host.trim_end_matches('.').to_owned();
        let address = Address { host, port };
        Written::parse(&address.to_string())?;
        let mut target = self.clone();
        let url = monitor_url(Some(&address), self.monitor_port);
        target.monitor = match (url, target.monitor) {
            (Ok(url), Ok(access)) => Ok(Access {
                url: Some(url),
                socket: None,
                ..access
            }),
            (Err(why), _) | (_, Err(why)) => Err(why),
        };
        target.client = Some(address);
        Ok(target)
    }

    /// The broker's name in lines about it: the host, or the place of its monitoring port.
    pub fn name(&self) -> String {
        match &self.client {
            Some(address) if address.port == CLIENT_PORT => address.host.clone(),
            Some(address) => address.to_string(),
            None => self.monitor_place(),
        }
    }

    /// The monitoring port, as messages and state files name it: a URL or `unix:PATH`.
    pub fn monitor_place(&self) -> String {
        match &self.monitor {
            Ok(access) => match (&access.socket, &access.url) {
                (Some(socket), _) => format!("unix:{}", socket.display()),
                (None, Some(url)) => url.trim_end_matches('/').to_owned(),
                (None, None) => DEFAULT_URL.to_owned(),
            },
            Err(why) => why.clone(),
        }
    }

    /// The host of the monitoring port; `None` for a Unix socket.
    pub fn monitor_host(&self) -> Option<Address> {
        let host = host_of(&self.monitor_place())?;
        Some(Address { host, port: 0 })
    }

    /// Whether the monitoring port is at another host.
    pub fn is_monitored_elsewhere(&self) -> bool {
        self.monitor_host().is_some_and(|host| !host.is_loopback())
    }

    /// Where the client port is: as given, or as the broker says in `/varz`, or at the usual
    /// place if nothing was given and no broker answers.
    ///
    /// # Errors
    /// That of `varz` if `/varz` is needed, without its text if that is empty; a place that cannot
    /// be reached from here: unknown.
    pub fn client_port(
        &self,
        varz: impl FnOnce() -> Result<Varz, Failure>,
    ) -> Result<ClientPort, Failure> {
        if let Some(address) = &self.client {
            return Ok(self.port_at(address.clone(), None));
        }
        match varz() {
            Ok(varz) => self.announced_port(&varz),
            Err(_) if self.is_default => {
                let host = "127.0.0.1".to_owned();
                Ok(self.port_at(
                    Address {
                        host,
                        port: CLIENT_PORT,
                    },
                    None,
                ))
            }
            Err(failure) => Err(Failure {
                text: match &*failure.text {
                    "" => NOT_KNOWN.to_owned(),
                    why => format!("{why}; so {NOT_KNOWN}"),
                },
                ..failure
            }),
        }
    }

    /// The client port that the broker itself reports.
    fn announced_port(&self, varz: &Varz) -> Result<ClientPort, Failure> {
        let asked = self.monitor_host();
        let mut address = Address {
            host: varz.host.clone(),
            port: varz.port,
        };
        if address.is_unspecified() {
            let host = asked.as_ref().map(|asked| asked.host.clone());
            address.host = host.unwrap_or_else(|| "127.0.0.1".to_owned());
        }
        let is_elsewhere = self.is_monitored_elsewhere();
        let written = Written::parse(&address.to_string());
        match written {
            Ok(_) if address.is_loopback() && is_elsewhere => Err(Failure::unknown(format!(
                "{}/varz: the client port is at {address} of the broker's own host: give an \
                 address for it with -H",
                self.monitor_place()
            ))),
            Ok(_) => {
                let is_asked = match asked.as_ref().filter(|_| is_elsewhere) {
                    Some(asked) => asked.host == address.host,
                    None => address.is_of_this_host(),
                };
                let name = asked.filter(|_| is_elsewhere).map(|asked| asked.host);
                let port = self.port_at(address, name);
                Ok(ClientPort {
                    tls: port.tls || varz.tls_required,
                    is_local: !is_elsewhere,
                    is_asked,
                    ..port
                })
            }
            Err(why) => Err(Failure::unknown(format!(
                "{}/varz: no client port: {why}: give it with -H or -p",
                self.monitor_place()
            ))),
        }
    }

    /// The port at an address, whose certificate must have this name, else that of the address.
    fn port_at(&self, address: Address, name: Option<String>) -> ClientPort {
        let given = self.tls.server_name.clone();
        let is_given = given.is_some();
        let name = given.or(name).unwrap_or_else(|| address.host.clone());
        let named = Address {
            host: name,
            port: 0,
        };
        ClientPort {
            tls: self.tls.required,
            name_is_certain: is_given || !(named.is_ip() || named.is_loopback()),
            name: named.host,
            is_local: address.is_loopback(),
            is_asked: true,
            address,
        }
    }
}

/// The monitoring port that was given, or that at the host of `-H`. The inner error is why it
/// cannot be asked, which matters only to modes that ask it.
fn monitor(
    matches: &ArgMatches,
    url: Option<&str>,
    client: Option<&Address>,
    port: Option<u16>,
    tls: &ClientTls,
) -> Result<Result<Access, String>, String> {
    let mut url = url.map(str::to_owned);
    let socket = path(matches, "socket");
    if url.is_none() && socket.is_none() && (client.is_some() || port.is_some()) {
        match monitor_url(client, port.unwrap_or(MONITOR_PORT)) {
            Ok(made) => url = Some(made),
            Err(why) => return Ok(Err(why)),
        }
    }
    let is_https = url.as_deref().is_some_and(|url| url.starts_with("https:"));
    let mut access = Access {
        url,
        socket,
        user: matches.get_one::<String>("monitor-user").cloned(),
        password_file: path(matches, "monitor-password-file"),
        token_file: path(matches, "monitor-token-file"),
        // Without https they are for the client port alone.
        tls: match is_https {
            true => tls.files.clone(),
            false => Tls::default(),
        },
        ..Access::default()
    };
    access.complete_login(environment);
    // Refused here and not in the middle of the check, where it would be taken for a fault of the
    // broker.
    Client::with_access(access.clone(), &OPTION_NAMES, TIMEOUT_MAX)
        .map_err(|error| error.to_string())?;
    Ok(Ok(access))
}

/// The monitoring port at a host, else at this one.
fn monitor_url(host: Option<&Address>, port: u16) -> Result<String, String> {
    match host {
        Some(address) if address.has_zone() => Err(format!(
            "no URL of a monitoring port can hold the zone of {}: give -u with a name or another \
             address",
            address.host
        )),
        Some(address) => Ok(url_of(&address.host, port, false)),
        None => Ok(url_of("127.0.0.1", port, false)),
    }
}

/// A variable of the environment; an empty one is none.
fn environment(name: &str) -> Option<String> {
    env::var(name).ok().filter(|text| !text.is_empty())
}

fn client(
    written: Option<Written>,
    port: Option<u16>,
    url: Option<&str>,
) -> Result<Option<Address>, String> {
    let Some(written) = written else {
        // At the host of the monitoring URL, or here.
        let host = url
            .and_then(host_of)
            .unwrap_or_else(|| "127.0.0.1".to_owned());
        return Ok(port.map(|port| Address { host, port }));
    };
    if let (Some(given), Some(port)) = (written.port, port)
        && given != port
    {
        return Err(format!(
            "--port {port} contradicts the port {given} of --hostname: give only one of them"
        ));
    }
    Ok(Some(Address {
        host: written.host,
        port: written.port.or(port).unwrap_or(CLIENT_PORT),
    }))
}

/// The host of a URL; `None` for that of a Unix socket.
fn host_of(url: &str) -> Option<String> {
    let (_, rest) = url.split_once("://")?;
    let authority = rest.split('/').next()?;
    Some(Written::parse(authority).ok()?.host)
}
