//! `remote_syslog`: where a log server is.

use std::{fmt, path::PathBuf};

use super::reading::parse_address;

/// Port of log servers.
const DEFAULT_PORT: u16 = 514;

/// Where log lines go to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum RemoteSyslog {
    /// A datagram for each line.
    Udp(String, u16),
    /// A stream of lines.
    Tcp(String, u16),
    /// A socket of this machine.
    Unix(PathBuf),
}

impl RemoteSyslog {
    /// Reads `udp://HOST:PORT`, `tcp://HOST:PORT` or `unix:///PATH`; a bare
    /// `HOST:PORT` is UDP.
    ///
    /// # Errors
    ///
    /// It is none of these.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (scheme, place) = text.split_once("://").unwrap_or(("udp", text));
        if scheme == "unix" && !place.is_empty() {
            return Ok(Self::Unix(place.into()));
        }
        let wrong = || format!("{text:?} is not udp://HOST:PORT, tcp://HOST:PORT or unix:///PATH");
        let place = place.trim_end_matches('/');
        let has_port = place
            .rsplit_once(':')
            .is_some_and(|(_, port)| !port.ends_with(']'));
        let (host, port) = match has_port {
            true => parse_address(place).map_err(|_| wrong())?,
            false => parse_address(&format!("{place}:{DEFAULT_PORT}")).map_err(|_| wrong())?,
        };
        let port = u16::try_from(port).ok().filter(|port| *port > 0);
        let port = port.ok_or_else(wrong)?;
        match scheme {
            _ if host.is_empty() => Err(wrong()),
            "udp" => Ok(Self::Udp(host, port)),
            "tcp" => Ok(Self::Tcp(host, port)),
            _ => Err(wrong()),
        }
    }
}

/// As it is written in a file.
impl fmt::Display for RemoteSyslog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (scheme, host, port) = match self {
            Self::Udp(host, port) => ("udp", host, port),
            Self::Tcp(host, port) => ("tcp", host, port),
            Self::Unix(path) => return write!(f, "unix://{}", path.display()),
        };
        match host.contains(':') {
            true => write!(f, "{scheme}://[{host}]:{port}"),
            false => write!(f, "{scheme}://{host}:{port}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::RemoteSyslog::{self, Tcp, Udp, Unix};

    #[test]
    fn log_servers_as_people_write_them() {
        for (text, expected) in [
            ("udp://localhost:514", Udp("localhost".into(), 514)),
            ("udp://log.example", Udp("log.example".into(), 514)),
            ("log.example:1514", Udp("log.example".into(), 1514)),
            ("tcp://[::1]:601", Tcp("::1".into(), 601)),
            ("udp://[::1]", Udp("::1".into(), 514)),
            ("unix:///dev/log", Unix("/dev/log".into())),
        ] {
            assert_eq!(RemoteSyslog::parse(text), Ok(expected.clone()), "{text}");
            assert_eq!(RemoteSyslog::parse(&expected.to_string()), Ok(expected));
        }
        for wrong in [
            "",
            "udp://",
            "http://a:1",
            "udp://a:x",
            "udp://a:0",
            "unix://",
        ] {
            assert!(RemoteSyslog::parse(wrong).is_err(), "{wrong}");
        }
    }
}
