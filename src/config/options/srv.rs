//! SRV records in place of addresses: `srv://RECORD` in `routes` of `cluster` and in `upstream` of
//! `federation`, and the record of a domain's brokers (`srv_domain`).

use std::{fmt, net::SocketAddr};

use monitor_client::text::without_login;
use srv_records::{Srv, parse_nameserver};

use super::cluster::percent_decoded;
use crate::security::secret::Secret;

/// What a record begins with where an address may be, too.
pub(super) const SRV_SCHEME: &str = "srv://";

/// The record of a domain that lists its brokers with the ports for routes: the one that Choria's
/// broker asks for.
const PEERS: &str = "_mcollective-broker._tcp";

/// A record, and the login at the brokers that it lists.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SrvUrl {
    /// The record.
    pub record: Srv,
    /// User to log in as; empty for none of its own.
    pub user: String,
    /// The password that goes with it.
    pub password: Secret,
}

/// Without user and password, which are secret.
impl fmt::Display for SrvUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{SRV_SCHEME}{}", self.record.name())
    }
}

impl SrvUrl {
    /// Reads `srv://[USER:PASSWORD@]RECORD`; `None` if it does not begin like that.
    ///
    /// # Errors
    ///
    /// A text that says what is wrong and contains no secret.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        let rest = text.strip_prefix(SRV_SCHEME)?;
        let (login, name) = rest.rsplit_once('@').unwrap_or(("", rest));
        let (user, password) = login.split_once(':').unwrap_or((login, ""));
        let read = || {
            if name.contains(['/', ':']) {
                return Err(format!(
                    "{SRV_SCHEME}{}: a record has its ports in itself: write it as \
                     {SRV_SCHEME}_service._tcp.example.net",
                    without_login(name)
                ));
            }
            Ok(Self {
                record: Srv::new(name, None)?,
                user: percent_decoded(user),
                password: Secret::plain(&percent_decoded(password)).map_err(|_| {
                    "the password in a URL is sent to the other broker, so it must be the plain \
                     text, not a bcrypt hash"
                        .to_owned()
                })?,
            })
        };
        Some(read())
    }

    /// The record that lists the brokers of a domain.
    ///
    /// # Errors
    ///
    /// It is no domain.
    pub(super) fn of_peers(domain: &str) -> Result<Self, String> {
        let domain = domain.trim_matches('.');
        let wrong = || {
            format!(
                "{:?} is no domain: write it like \"example.net\"",
                without_login(domain)
            )
        };
        if domain.is_empty() {
            return Err(wrong());
        }
        let record = Srv::new(&format!("{PEERS}.{domain}"), None).map_err(|_| wrong())?;
        Ok(Self {
            record,
            user: String::new(),
            password: Secret::default(),
        })
    }
}

/// Reads the name server to ask; an empty text is none of its own.
pub(super) fn read_nameserver(text: &str) -> Result<Option<SocketAddr>, String> {
    match text {
        "" => Ok(None),
        text => parse_nameserver(text).map(Some),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_with_and_without_a_login() {
        let parse = |text: &str| SrvUrl::parse(text).expect("it is a record");
        let url = parse("srv://_a._tcp.example.net.").expect("it is read");
        assert_eq!((url.record.name(), &*url.user), ("_a._tcp.example.net", ""));
        let url = parse("srv://u:p%40x@_a._tcp.example.net").expect("it is read");
        assert_eq!((&*url.user, url.password.reveal()), ("u", "p@x"));
        assert_eq!(url.to_string(), "srv://_a._tcp.example.net");
        assert_eq!(SrvUrl::parse("nats://a:1"), None);
        for wrong in [
            "srv://",
            "srv://u:geheim@",
            "srv://u:geheim@a b",
            "srv://u:geheim@_a._tcp.example.net:4223",
            "srv://u:geheim@_a._tcp.example.net/",
        ] {
            let error = parse(wrong).expect_err(wrong);
            assert!(!error.contains("geheim"), "{error}");
        }
    }

    #[test]
    fn the_record_of_a_domain() {
        let name = |domain| SrvUrl::of_peers(domain).map(|url| url.record.name().to_owned());
        let expected = Ok("_mcollective-broker._tcp.example.net".to_owned());
        assert_eq!(name("example.net"), expected);
        assert_eq!(name("example.net."), expected);
        for wrong in ["", ".", "a b", "a..b", "http://example.net"] {
            assert!(
                name(wrong).is_err_and(|error| error.contains("domain")),
                "{wrong:?}"
            );
        }
    }
}
