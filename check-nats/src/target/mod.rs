//! The broker that a run checks, and how it is reached: monitoring port, client port, TLS, logins.
//!
//! [`Target::new`] makes it from the command line ([`arguments`]) and opens and reads nothing:
//! files are read and hosts looked up within the time of the run. [`Check`](super::run::Check)
//! asks the monitoring port, a [`Session`](super::client_port::Session) uses the client port.

mod address;
pub mod arguments;
mod login;
mod tls;

use std::env;

use clap::ArgMatches;
use monitor_client::{Access, Client, DEFAULT_URL, OptionNames, Varz, url_of};

pub use self::{
    address::Address,
    login::{LoginSource, SecretSource},
    tls::{ClientTls, TlsFiles},
};
use self::{address::Written, arguments::path};
use super::{options::TIMEOUT_MAX, status::Failure};

/// The client port where nothing says another one.
const CLIENT_PORT: u16 = 4222;

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

    /// Where the client port is: as given, or as the broker says in `/varz`, or at the usual
    /// place if nothing was given and no broker answers.
    ///
    /// # Errors
    /// `varz` as it is, if `/varz` is needed; a place that cannot be reached from here: unknown.
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
                status: failure.status,
                text: format!(
                    "the client port is not known: give it with -H or -p: {}",
                    failure.text
                ),
            }),
        }
    }

    /// The client port that the broker itself reports.
    fn announced_port(&self, varz: &Varz) -> Result<ClientPort, Failure> {
        let asked = host_of(&self.monitor_place());
        let mut address = Address {
            host: varz.host.clone(),
            port: varz.port,
        };
        if address.is_unspecified() {
            address.host = asked.clone().unwrap_or_else(|| "127.0.0.1".to_owned());
        }
        let asked = asked.map(|host| Address { host, port: 0 });
        let is_elsewhere = asked.as_ref().is_some_and(|asked| !asked.is_loopback());
        let written = Written::parse(&address.to_string());
        match written {
            Ok(_) if address.is_loopback() && is_elsewhere => Err(Failure::unknown(format!(
                "{}/varz: the client port is at {address} of the broker's own host: give an \
                 address for it with -H",
                self.monitor_place()
            ))),
            Ok(_) => {
                let name = asked.filter(|_| is_elsewhere).map(|asked| asked.host);
                let port = self.port_at(address, name);
                Ok(ClientPort {
                    tls: port.tls || varz.tls_required,
                    is_local: !is_elsewhere,
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
        tls: is_https.then(|| tls.files.clone()).unwrap_or_default(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::args::{self, Asked};

    fn target(arguments: &[&str]) -> Result<Target, String> {
        let arguments = ["check_nats"].iter().chain(arguments);
        match args::read(arguments.map(Into::into), "") {
            Asked::Check(matches) => {
                let given = |name: &str| matches.get_one::<String>(name).cloned();
                Target::new(
                    &matches,
                    given("hostname").as_deref(),
                    given("url").as_deref(),
                )
            }
            Asked::Nonsense(mistake) => Err(mistake),
            _ => panic!("the arguments of the test are wrong"),
        }
    }

    fn varz(host: &str, port: u16, tls_required: bool) -> Varz {
        Varz {
            host: host.into(),
            port,
            tls_required,
            ..Varz::default()
        }
    }

    #[test]
    fn both_ports_follow_from_what_was_given() {
        for (arguments, client, monitor) in [
            (&[][..], None, "http://127.0.0.1:8222"),
            (&["-m", "8333"], None, "http://127.0.0.1:8333"),
            (&["-u", "http://b:1/x/"], None, "http://b:1/x"),
            (&["-u", "unix:/run/m.sock"], None, "unix:/run/m.sock"),
            (&["--socket", "/run/m.sock"], None, "unix:/run/m.sock"),
            (&["-p", "1"], Some("127.0.0.1:1"), "http://127.0.0.1:8222"),
            (&["-H", "b"], Some("b:4222"), "http://b:8222"),
            (&["-H", "b:1", "-m", "2"], Some("b:1"), "http://b:2"),
            (&["-H", "b:1", "-p", "1"], Some("b:1"), "http://b:8222"),
            (&["-H", "::1"], Some("[::1]:4222"), "http://[::1]:8222"),
            (&["-u", "http://b:1", "-p", "2"], Some("b:2"), "http://b:1"),
            (
                &["-u", "unix:/m", "-p", "2"],
                Some("127.0.0.1:2"),
                "unix:/m",
            ),
            (
                &["-u", "http://b:1", "-H", "c"],
                Some("c:4222"),
                "http://b:1",
            ),
        ] {
            let target = target(arguments).unwrap();
            let given = target.client.as_ref().map(ToString::to_string);
            assert_eq!(given.as_deref(), client, "{arguments:?}");
            assert_eq!(target.monitor_place(), monitor, "{arguments:?}");
        }
    }

    /// A host with a zone has a client port; only its monitoring port needs another name.
    #[test]
    fn a_zone_is_for_the_client_port_alone() {
        let zoned = target(&["-H", "fe80::1%eth0"]).unwrap();
        assert_eq!(zoned.client.unwrap().to_string(), "[fe80::1%eth0]:4222");
        assert!(zoned.monitor.unwrap_err().contains("give -u"));
        let named = target(&["-H", "fe80::1%eth0", "-u", "http://b:8222"]).unwrap();
        assert_eq!(named.monitor_place(), "http://b:8222");
    }

    #[test]
    fn mistakes_are_named() {
        for (arguments, words) in [
            (&["-H", "b:1", "-p", "2"][..], "contradicts"),
            (&["-H", "b:x"], "--hostname \"x\""),
            (&["-u", "http://me:geheim@b:1"], "remove them"),
            (&["-H", "nats://me:geheim@b"], "--password-file"),
            (&["--password", "geheim"], "--password-file FILE"),
            (&["--token=geheim"], "$CHECK_NATS_TOKEN"),
            (&["--monitor-password", "geheim"], "$MONITOR_PASSWORD"),
            (&["--user", "a"], "--password-file FILE"),
            (&["--password-file", "/x"], "--user NAME"),
            (
                &["--token-file", "/x", "--creds", "/y"],
                "only one of --token-file, --creds",
            ),
            (&["--cert", "/x"], "--key"),
            (&["--ssldir", "/x"], "--puppet"),
        ] {
            let why = target(arguments).expect_err("refused");
            assert!(why.contains(words) && !why.contains("geheim"), "{why}");
        }
    }

    #[test]
    fn the_broker_says_where_its_client_port_is() {
        for (url, host, address, name, is_local) in [
            (
                "http://127.0.0.1:8222",
                "0.0.0.0",
                "127.0.0.1:1",
                "127.0.0.1",
                true,
            ),
            ("http://[::1]:8222", "::", "[::1]:1", "::1", true),
            (
                "unix:/run/m.sock",
                "0.0.0.0",
                "127.0.0.1:1",
                "127.0.0.1",
                true,
            ),
            (
                "unix:/run/m.sock",
                "10.0.0.5",
                "10.0.0.5:1",
                "10.0.0.5",
                true,
            ),
            (
                "http://b.example.net:8222",
                "0.0.0.0",
                "b.example.net:1",
                "b.example.net",
                false,
            ),
            (
                "https://b.example.net",
                "10.0.0.5",
                "10.0.0.5:1",
                "b.example.net",
                false,
            ),
        ] {
            let port = target(&["-u", url])
                .unwrap()
                .client_port(|| Ok(varz(host, 1, true)))
                .unwrap();
            assert_eq!(port.address.to_string(), address, "{url}");
            assert_eq!((&*port.name, port.is_local), (name, is_local), "{url}");
            assert!(port.tls);
            assert_eq!(port.name_is_certain, name == "b.example.net", "{url}");
        }
    }

    #[test]
    fn a_client_port_that_cannot_be_known_is_reported() {
        let remote = target(&["-u", "http://b.example.net:8222"]).unwrap();
        for (host, port, words) in [
            (
                "127.0.0.1",
                4222,
                "of the broker's own host: give an address for it with -H",
            ),
            ("localhost", 4222, "of the broker's own host"),
            ("0.0.0.0", 0, "no client port"),
            ("a|b", 4222, "no client port"),
        ] {
            let failure = remote.client_port(|| Ok(varz(host, port, false)));
            let failure = failure.unwrap_err();
            assert!(failure.text.contains(words), "{failure:?}");
        }
        let refused = || Err(Failure::critical("refused"));
        let failure = remote.client_port(refused).unwrap_err();
        assert_eq!(failure.status, crate::status::Status::Critical);
        assert!(failure.text.contains("give it with -H or -p: refused"));
        let default = target(&[]).unwrap().client_port(refused).unwrap();
        assert_eq!(default.address.to_string(), "127.0.0.1:4222");
    }

    #[test]
    fn another_broker_is_reached_in_the_same_way() {
        let target = target(&["-u", "http://a:1", "-m", "8333", "--puppet"]).unwrap();
        let other = target.at("b.example.net.", 4333).unwrap();
        assert_eq!(other.name(), "b.example.net:4333");
        assert_eq!(other.monitor_place(), "http://b.example.net:8333");
        assert!(other.tls.puppet);
        assert!(target.at("a b", 1).is_err());
    }
}
