//! What dialling other brokers has in common, be they members of the cluster, hubs or upstream brokers:
//! connecting to one of a host's addresses, pauses between attempts, and which failures are logged.

use std::{collections::BTreeSet, io, net::SocketAddr, time::Duration};

use tokio::{net::TcpStream, time::timeout};

/// The longest pause that grows.
const PAUSE_MAX: Duration = Duration::from_secs(30);

/// Number of different reasons that are logged for a broker until it is reached.
const REASONS_MAX: usize = 8;

/// Of the other failures of a broker, every how many one is logged.
const REPORT_EVERY: u32 = 3600;

/// Connects to one of the addresses of a host, the first that answers, in any order.
///
/// # Errors
///
/// None did; the error is that of the last one.
pub async fn connect(
    mut addresses: Vec<SocketAddr>,
    patience: Duration,
) -> io::Result<(TcpStream, SocketAddr)> {
    fastrand::shuffle(&mut addresses);
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the host has no address");
    for address in addresses {
        match timeout(patience, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => return Ok((stream, address)),
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(last)
}

/// The pause after this many consecutive failures, which grows from `first` on, without a random part.
pub fn growing_pause(first: Duration, failures: u32) -> Duration {
    let grown = first.saturating_mul(1 << failures.saturating_sub(1).min(5));
    grown.min(PAUSE_MAX.max(first))
}

/// Consecutive failures of dialling one broker.
#[derive(Default)]
pub struct Failures {
    /// How many.
    pub count: u32,
    /// The reasons that were logged.
    reported: BTreeSet<String>,
}

impl Failures {
    /// Counts a failure. Returns whether it is to be logged: a new reason is, known ones are from time
    /// to time.
    pub fn add(&mut self, why: &str) -> bool {
        self.count = self.count.saturating_add(1);
        let is_new = self.reported.len() < REASONS_MAX && self.reported.insert(why.to_owned());
        is_new || self.count.is_multiple_of(REPORT_EVERY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_logged_once_and_then_seldom() {
        let mut failures = Failures::default();
        assert!(failures.add("refused"));
        assert!(failures.add("timed out"));
        for _ in 2..REPORT_EVERY - 1 {
            assert!(!failures.add("refused"));
        }
        assert!(failures.add("refused"));
        for number in 0..100 {
            failures.add(&number.to_string());
        }
        assert_eq!(failures.reported.len(), REASONS_MAX);
    }

    #[test]
    fn pauses_grow_up_to_a_bound() {
        let seconds =
            |first, failures| growing_pause(Duration::from_secs(first), failures).as_secs();
        let pauses: Vec<u64> = (0..9).map(|failures| seconds(1, failures)).collect();
        assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!([seconds(60, 0), seconds(60, 9)], [60, 60]);
    }
}
