//! Which upstream brokers are tried, and in which order: those that are configured or that an SRV
//! record lists, and those that an upstream broker has named.

use std::{fmt, time::Duration};

use super::Federation;
use crate::{
    config::options::{cluster::RouteUrl, federation::Upstream},
    security::secret::Secret,
};

/// Brokers that others have named and that are remembered.
const NAMED_MAX: usize = 64;

/// The first pause after all were tried, how it grows, and the longest.
const PAUSE: Duration = Duration::from_millis(500);
const PAUSE_GROWS: f64 = 1.5;
const PAUSE_MAX: Duration = Duration::from_secs(20);

/// One broker.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Address {
    pub(super) host: String,
    pub(super) port: u16,
    pub(super) user: String,
    pub(super) password: Secret,
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.host.contains(':') {
            true => write!(f, "[{}]:{}", self.host, self.port),
            false => write!(f, "{}:{}", self.host, self.port),
        }
    }
}

impl From<&RouteUrl> for Address {
    fn from(url: &RouteUrl) -> Self {
        Self {
            host: url.host.clone(),
            port: url.port,
            user: url.user.clone(),
            password: url.password.clone(),
        }
    }
}

/// The brokers that were named by others.
#[derive(Default)]
pub(super) struct Pool {
    named: Vec<Address>,
    /// The one that was lost last.
    last: Option<Address>,
}

impl Pool {
    /// An upstream broker has said which brokers its cluster has. The login is the one that it
    /// accepted.
    pub(super) fn learn(&mut self, from: &Address, urls: &[String]) {
        let named = urls.iter().filter_map(|url| RouteUrl::parse(url).ok());
        let named = named.map(|url| Address {
            user: from.user.clone(),
            password: from.password.clone(),
            ..Address::from(&url)
        });
        self.named = named.take(NAMED_MAX).collect();
    }

    /// The connection to this one has ended: the others are tried before it.
    pub(super) fn lost(&mut self, address: Address) {
        self.last = Some(address);
    }

    /// The brokers to try, each once: the configured ones first, in any order.
    pub(super) async fn round(&self, federation: &Federation) -> Vec<Address> {
        let mut all = Vec::new();
        for upstream in &federation.options.upstream {
            match upstream {
                Upstream::Broker(url) => all.push(Address::from(url)),
                Upstream::Srv(srv) => all.extend(federation.look_up(srv).await),
            }
        }
        fastrand::shuffle(&mut all);
        let mut named = self.named.clone();
        fastrand::shuffle(&mut named);
        for address in named {
            let is_known = |it: &Address| (&it.host, it.port) == (&address.host, address.port);
            if !all.iter().any(is_known) {
                all.push(address);
            }
        }
        if let Some(last) = &self.last {
            all.sort_by_key(|address| address == last);
        }
        all
    }
}

/// The pause after all brokers were tried so many times, with a random part: many sites that lost
/// the same broker do not come back at the same moment.
pub(super) fn pause(rounds: u32) -> Duration {
    let grown = PAUSE_GROWS.powi(i32::try_from(rounds.saturating_sub(1).min(64)).unwrap_or(64));
    let pause = PAUSE_MAX.as_secs_f64().min(PAUSE.as_secs_f64() * grown);
    Duration::from_secs_f64(pause * (0.5 + fastrand::f64()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_and_have_a_random_part() {
        for (rounds, least, most) in [(0, 250, 750), (1, 250, 750), (4, 843, 2532)] {
            for _ in 0..100 {
                let pause = pause(rounds).as_millis();
                assert!((least..=most).contains(&pause), "{pause}");
            }
        }
        for rounds in [12, 1000, u32::MAX] {
            let pause = pause(rounds).as_secs_f64();
            assert!((10.0..=30.0).contains(&pause), "{pause}");
        }
    }

    #[test]
    fn brokers_that_others_name_are_bounded_and_have_the_login() {
        let mut pool = Pool::default();
        let from = Address::from(&RouteUrl::parse("tls://u:p@central:4222").expect("a URL"));
        let urls: Vec<String> = (1..200).map(|n| format!("10.0.0.{n}:4222")).collect();
        pool.learn(&from, &urls);
        assert_eq!(pool.named.len(), NAMED_MAX);
        let first = &pool.named[0];
        assert_eq!(
            (&*first.host, first.port, &*first.user),
            ("10.0.0.1", 4222, "u")
        );
        pool.learn(&from, &["odd".to_owned()]);
        assert!(pool.named.is_empty());
    }
}
