//! The listener of a request, and the credentials that it requires.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use data_encoding::BASE64;
use hyper::{HeaderMap, StatusCode, header};
use monitor_client::text::plural;
use parking_lot::Mutex;

use crate::{
    broker::turned_away,
    config::options::MonitorLogin,
    connection::admission::Source,
    monitor::{Monitor, endpoints::refusal::Refusal},
};

/// Refused logins become events, but not more often than this.
const LOG_INTERVAL: Duration = Duration::from_secs(1);

/// The listener of a request.
#[derive(Clone, Copy, Debug)]
pub(in crate::monitor) enum MonitorListener {
    /// The monitoring port: the addresses of both ends.
    Tcp { local: SocketAddr, peer: SocketAddr },
    /// The Unix socket, and the user id of its peer. Any user who can open it may do
    /// everything.
    Unix(u32),
}

impl MonitorListener {
    /// The source of the request, for shares between sources.
    pub(in crate::monitor) fn source(self) -> Source {
        match self {
            Self::Tcp { peer, .. } => Source::of(peer.ip()),
            Self::Unix(user) => Source::User(user),
        }
    }

    /// The fields of a log line about a peer, and the text with what they do not say.
    pub(in crate::monitor) fn line(self, text: &str) -> (Option<String>, Option<u16>, String) {
        match self {
            Self::Tcp { peer, .. } => {
                let ip = Some(peer.ip().to_string());
                (ip, Some(peer.port()), text.to_owned())
            }
            Self::Unix(_) => (None, None, format!("the monitoring socket - {text}")),
        }
    }
}

/// Refused logins so far, and when there was last an event of them.
#[derive(Default)]
pub(in crate::monitor) struct RefusedLogins(Mutex<(u64, Option<Instant>)>);

/// Whether a request may be answered, as far as its login goes.
///
/// # Errors
///
/// It brings no login, or a wrong one.
pub(in crate::monitor) fn check_login(
    monitor: &Monitor,
    headers: &HeaderMap,
    peer: SocketAddr,
) -> Result<(), Refusal> {
    let login = &monitor.server.options().monitor_login;
    if !login.is_required() {
        return Ok(());
    }
    let given = headers.get(header::AUTHORIZATION);
    match given.map(|value| is_right(login, value.as_bytes())) {
        Some(true) => Ok(()),
        // A browser asks without one first.
        None => Err(refusal("This monitoring port needs a login")),
        Some(false) => {
            record_refusal(monitor, peer);
            Err(refusal("The login is wrong"))
        }
    }
}

fn refusal(what: &str) -> Refusal {
    Refusal {
        status: StatusCode::UNAUTHORIZED,
        message: format!(
            "{what}: send the token or the user and password of the block \"monitor\" of the \
             broker's configuration."
        ),
    }
}

/// Whether the value of an Authorization header is one of the accepted ones. With
/// basic authentication the token passes as the password of any user, because
/// browsers know nothing else.
fn is_right(login: &MonitorLogin, given: &[u8]) -> bool {
    let Some(space) = given.iter().position(|byte| *byte == b' ') else {
        return false;
    };
    let (scheme, value) = (&given[..space], given[space..].trim_ascii());
    let is_token = |offered: &[u8]| login.token.as_ref().is_some_and(|token| token.is(offered));
    if scheme.eq_ignore_ascii_case(b"bearer") {
        return is_token(value);
    }
    if !scheme.eq_ignore_ascii_case(b"basic") {
        return false;
    }
    let Ok(pair) = BASE64.decode(value) else {
        return false;
    };
    let Some(colon) = pair.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let (user, password) = (&pair[..colon], &pair[colon + 1..]);
    let is_password = login
        .password
        .as_ref()
        .is_some_and(|known| known.is(password));
    let is_user = login
        .user
        .as_ref()
        .is_some_and(|known| known.as_bytes() == user);
    is_user & is_password | is_token(password)
}

/// Records refused logins, at most one event a second.
fn record_refusal(monitor: &Monitor, peer: SocketAddr) {
    let mut refused = monitor.refused_logins.0.lock();
    refused.0 += 1;
    if refused
        .1
        .is_some_and(|logged| logged.elapsed() < LOG_INTERVAL)
    {
        return;
    }
    let count = std::mem::take(&mut refused.0);
    refused.1 = Some(Instant::now());
    drop(refused);
    let requests = plural(count, "request");
    let text =
        format!("{requests} to the monitoring port with a wrong login, the last from {peer}");
    turned_away::note_login(&monitor.server.broker.telemetry, 0, peer.ip(), &text);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::security::secret::Secret;

    fn basic(pair: &str) -> Vec<u8> {
        format!("Basic {}", BASE64.encode(pair.as_bytes())).into_bytes()
    }

    #[test]
    fn a_token_or_a_pair_is_right_and_nothing_else() {
        let login = MonitorLogin {
            token: Some(Secret::plain("t0ken").expect("plain")),
            user: Some("ann".into()),
            password: Some(Secret::plain("pass:word").expect("plain")),
        };
        for right in [
            b"Bearer t0ken".to_vec(),
            b"bearer  t0ken ".to_vec(),
            basic("ann:pass:word"),
            basic("anybody:t0ken"),
        ] {
            assert!(is_right(&login, &right));
        }
        for wrong in [
            b"".to_vec(),
            b"Bearer".to_vec(),
            b"Bearer ".to_vec(),
            b"Bearer T0ken".to_vec(),
            b"Bearer pass:word".to_vec(),
            b"Basic !!!".to_vec(),
            b"Digest t0ken".to_vec(),
            basic("ann"),
            basic("ann:"),
            basic("bob:pass:word"),
            basic("ann:pass"),
        ] {
            assert!(!is_right(&login, &wrong), "{wrong:?}");
        }
        let only_token = MonitorLogin {
            token: login.token.clone(),
            ..MonitorLogin::default()
        };
        assert!(!is_right(&only_token, &basic(":")));
        assert!(!is_right(&only_token, &basic("ann:pass:word")));
    }
}
