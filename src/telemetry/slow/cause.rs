//! Why a consumer is slow.

use std::time::Duration;

use monitor_client::text::plural;

/// Scheduling delay from which the broker itself is the cause.
const SCHEDULING_DELAY_MIN: Duration = Duration::from_millis(250);

/// What made the consumer slow.
#[derive(Clone, Copy, Debug, Default, Eq, Ord, PartialEq, PartialOrd)]
pub enum Cause {
    /// The broker's threads were scheduled late.
    Midge,
    /// Packets are lost, or the network is too slow.
    Network,
    /// The peer's receive window is closed: its program does not read.
    PeerNotReading,
    /// The system reports nothing about the socket.
    #[default]
    Unknown,
}

impl Cause {
    /// The name in answers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Midge => "midge",
            Self::Network => "network",
            Self::PeerNotReading => "peer_not_reading",
            Self::Unknown => "unknown",
        }
    }
}

/// What the system reports about a connection's socket (`TCP_INFO`).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct SocketStats {
    /// Bytes left in the peer's receive window.
    pub send_window: u32,
    /// Consecutive probes sent to a closed window.
    pub probes: u8,
    /// Packets sent but not acknowledged.
    pub unacked: u32,
    /// Packets retransmitted so far.
    pub retransmits: u32,
    /// Bytes in the system's send buffer that were not sent yet.
    pub not_sent: u32,
    /// Microseconds during which the connection had something to send.
    pub busy: u64,
    /// The part of them in which the peer's window limited sending.
    pub window_limited: u64,
    /// Round trip time in microseconds.
    pub rtt: u32,
}

/// Decides why a consumer is slow, from the state of its socket now and when the incident began and
/// from the recent scheduling delay of the broker's threads. Returns the reasons as a sentence,
/// too.
pub fn find_cause(
    before: Option<SocketStats>,
    now: Option<SocketStats>,
    scheduling_delay: Duration,
) -> (Cause, String) {
    let Some(now) = now else {
        return (
            Cause::Unknown,
            "the system has no information about the socket".into(),
        );
    };
    let before = before.unwrap_or_default();
    let busy = now.busy.saturating_sub(before.busy);
    let window_limited = now.window_limited.saturating_sub(before.window_limited);
    let retransmits = now.retransmits.saturating_sub(before.retransmits);
    let share = match busy {
        0 => 0,
        busy => window_limited * 100 / busy,
    };
    // A retransmitted probe of a closed window is not packet loss.
    if now.send_window == 0 || now.probes > 0 || (share >= 50 && now.not_sent > 0) {
        let text = format!(
            "the peer's receive window is {} with {} not sent; it blocked the connection \
             {share} % of the time: the peer's program does not read fast enough",
            match now.send_window {
                0 => "closed".to_owned(),
                bytes => format!("down to {}", plural(bytes, "byte")),
            },
            plural(now.not_sent, "byte")
        );
        return (Cause::PeerNotReading, text);
    }
    if retransmits > 0 || now.unacked > 0 && now.not_sent > 0 {
        let text = format!(
            "{} retransmitted, {} not acknowledged, round trip {:.1} ms, while the peer's window was \
             open",
            plural(retransmits, "packet"),
            now.unacked,
            f64::from(now.rtt) / 1000.0
        );
        return (Cause::Network, text);
    }
    if scheduling_delay >= SCHEDULING_DELAY_MIN {
        let text = format!(
            "the broker's threads ran up to {} ms late, and the socket accepts more",
            scheduling_delay.as_millis()
        );
        return (Cause::Midge, text);
    }
    let text = format!(
        "the peer's window is open, nothing was retransmitted, and the broker's threads ran at \
         most {} ms late",
        scheduling_delay.as_millis()
    );
    (Cause::Unknown, text)
}
