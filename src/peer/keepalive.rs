//! Keepalive: when to ping, and when a silent peer is stale.
//!
//! As nats-server has it: the first ping comes soon after CONNECT, to measure
//! the round trip; later ones are left out while the peer is busy.

use std::time::Duration;

use tokio::time::Instant;

/// A round trip time older than this is measured again also when the peer is
/// busy.
const RTT_AGE_MAX: Duration = Duration::from_secs(3600);

/// One peer's pings.
pub struct Keepalive {
    interval: Duration,
    ping_max: u32,
    next: Instant,
    unanswered: u32,
    ping_sent: Option<Instant>,
    measured: Option<Instant>,
    /// Whether the peer sent something since the last check.
    busy: bool,
}

/// The action when the timer expires.
#[derive(Debug, Eq, PartialEq)]
pub enum Due {
    /// Nothing yet.
    Nothing,
    /// Send a ping.
    Ping,
    /// The peer is stale.
    Stale,
}

impl Keepalive {
    /// For a peer that has not sent CONNECT yet.
    pub fn new(interval: Duration, ping_max: u32) -> Self {
        Self {
            interval,
            ping_max,
            next: Instant::now() + interval,
            unanswered: 0,
            ping_sent: None,
            measured: None,
            busy: false,
        }
    }

    /// Other limits from now on; an interval that runs is cut to the new one.
    pub fn set_limits(&mut self, interval: Duration, ping_max: u32) {
        self.interval = interval;
        self.ping_max = ping_max;
        self.next = self.next.min(Instant::now() + interval);
    }

    /// Pings that may go unanswered.
    pub fn ping_max(&self) -> u32 {
        self.ping_max
    }

    /// Starts pinging after the login: the first ping is sent after at most `first_max`.
    /// Jitter keeps many clients that connected together from answering together.
    pub fn connected(&mut self, first_max: Duration) {
        let delay = self.interval.min(first_max);
        self.next = Instant::now() + delay + delay.mul_f64(fastrand::f64() * 0.2);
    }

    /// The peer sent a message, a subscription or a ping.
    pub fn busy(&mut self) {
        self.busy = true;
    }

    /// The peer answered; the round trip time, if this answers our last ping.
    pub fn pong(&mut self) -> Option<Duration> {
        self.unanswered = 0;
        let sent = self.ping_sent.take()?;
        let now = Instant::now();
        self.measured = Some(now);
        Some(now - sent)
    }

    /// When to check again.
    pub fn next(&self) -> Instant {
        self.next
    }

    /// The action due at `now`.
    pub fn due(&mut self, now: Instant) -> Due {
        if now < self.next {
            return Due::Nothing;
        }
        self.next = now + self.interval;
        let known = self
            .measured
            .is_some_and(|measured| now - measured < RTT_AGE_MAX);
        if std::mem::take(&mut self.busy) && known {
            return Due::Nothing;
        }
        if self.unanswered >= self.ping_max {
            return Due::Stale;
        }
        self.unanswered += 1;
        self.ping_sent = Some(now);
        Due::Ping
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_unanswered_pings_then_stale() {
        let mut keepalive = Keepalive::new(Duration::from_secs(60), 2);
        let mut now = Instant::now();
        assert_eq!(keepalive.due(now), Due::Nothing);
        for expected in [Due::Ping, Due::Ping, Due::Stale] {
            now += Duration::from_secs(61);
            assert_eq!(keepalive.due(now), expected);
        }
    }

    #[test]
    fn an_answer_or_activity_keeps_the_peer() {
        let mut keepalive = Keepalive::new(Duration::from_secs(60), 1);
        let mut now = Instant::now();
        for _ in 0..3 {
            now += Duration::from_secs(61);
            assert_eq!(keepalive.due(now), Due::Ping);
            keepalive.pong();
        }
        keepalive.busy();
        now += Duration::from_secs(61);
        assert_eq!(keepalive.due(now), Due::Nothing);
    }
}
