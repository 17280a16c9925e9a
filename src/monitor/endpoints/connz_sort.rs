//! The orders in which `/connz` lists connections.

use std::cmp::Reverse;

use super::{
    connz::{Candidate, State},
    refusal::Refusal,
};
use crate::telemetry::MonotonicMillis;

/// The sort key of connections. Equal ones are in the order of their ids.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(in crate::monitor) enum Order {
    BytesFrom,
    BytesTo,
    Cid,
    Idle,
    Last,
    MsgsFrom,
    MsgsTo,
    Pending,
    Reason,
    RoundTrip,
    Stop,
    Subscriptions,
    Uptime,
}

impl Order {
    /// The order that the parameter `sort` names.
    ///
    /// # Errors
    ///
    /// There is none of this name, or not for connections in this state.
    pub(in crate::monitor) fn parse(name: &str, state: State) -> Result<Self, Refusal> {
        let order = match name {
            "" | "cid" | "start" => Self::Cid,
            "bytes_from" => Self::BytesFrom,
            "bytes_to" => Self::BytesTo,
            "idle" => Self::Idle,
            "last" => Self::Last,
            "msgs_from" => Self::MsgsFrom,
            "msgs_to" => Self::MsgsTo,
            "pending" => Self::Pending,
            "reason" => Self::Reason,
            "rtt" => Self::RoundTrip,
            "stop" => Self::Stop,
            "subs" => Self::Subscriptions,
            "uptime" => Self::Uptime,
            _ => {
                return Err(Refusal::bad_request(format!(
                    "invalid sorting option: {name}"
                )));
            }
        };
        if matches!(order, Self::Reason | Self::Stop) && state != State::Closed {
            return Err(Refusal::bad_request(format!(
                "sort by {name} only valid on closed connections"
            )));
        }
        Ok(order)
    }

    /// Sorts connections as they are at `now`: ids, uptimes and reasons
    /// ascend, all else descends.
    pub(in crate::monitor) fn sort(self, candidates: &mut [Candidate], now: MonotonicMillis) {
        match self {
            Self::Cid => candidates.sort_by_key(Candidate::cid),
            Self::Reason => {
                candidates.sort_by_cached_key(|candidate| (candidate.reason(), candidate.cid()));
            }
            Self::Uptime => {
                candidates.sort_by_cached_key(|candidate| (candidate.age_ms(now), candidate.cid()));
            }
            // Values change while they are compared, so each is read once.
            _ => candidates.sort_by_cached_key(|candidate| {
                (Reverse(self.value(candidate, now)), candidate.cid())
            }),
        }
    }

    fn value(self, candidate: &Candidate, now: MonotonicMillis) -> u64 {
        let traffic = || match candidate {
            Candidate::Closed(closed) => closed.last.traffic,
            Candidate::Open(connection) => connection.traffic(),
        };
        match self {
            Self::BytesFrom => traffic().in_bytes,
            Self::BytesTo => traffic().out_bytes,
            Self::MsgsFrom => traffic().in_msgs,
            Self::MsgsTo => traffic().out_msgs,
            Self::Idle => candidate.idle_ms(now),
            Self::Last => candidate.last_activity().0,
            Self::Pending => candidate.pending(),
            Self::RoundTrip => candidate.round_trip_nanos(),
            Self::Stop => candidate.stop_micros(),
            Self::Subscriptions => candidate.subscriptions(),
            Self::Cid | Self::Reason | Self::Uptime => 0,
        }
    }
}

impl Candidate {
    fn reason(&self) -> String {
        match self {
            Self::Closed(closed) => closed.reason.to_string(),
            Self::Open(_) => String::new(),
        }
    }

    fn age_ms(&self, now: MonotonicMillis) -> u64 {
        match self {
            Self::Closed(closed) => closed.last.start.micros_until(closed.stop) / 1000,
            Self::Open(connection) => now.0.saturating_sub(connection.start.millis().0),
        }
    }

    fn last_activity(&self) -> MonotonicMillis {
        match self {
            Self::Closed(closed) => closed.last.last_activity,
            Self::Open(connection) => connection.last_activity(),
        }
    }

    fn idle_ms(&self, now: MonotonicMillis) -> u64 {
        match self {
            Self::Closed(closed) => {
                let idle = closed.last.last_activity.until(closed.stop.millis());
                u64::try_from(idle.as_millis()).unwrap_or(u64::MAX)
            }
            Self::Open(connection) => now.0.saturating_sub(connection.last_activity().0),
        }
    }

    fn pending(&self) -> u64 {
        match self {
            Self::Closed(closed) => closed.last.pending as u64,
            Self::Open(connection) => connection.outbound().backlog().pending as u64,
        }
    }

    fn round_trip_nanos(&self) -> u64 {
        let rtt = match self {
            Self::Closed(closed) => closed.last.rtt,
            Self::Open(connection) => connection.rtt(),
        };
        rtt.map_or(0, |rtt| u64::try_from(rtt.as_nanos()).unwrap_or(u64::MAX))
    }

    fn stop_micros(&self) -> u64 {
        match self {
            Self::Closed(closed) => closed.stop.0,
            Self::Open(_) => 0,
        }
    }

    fn subscriptions(&self) -> u64 {
        match self {
            Self::Closed(closed) => closed.last.subscriptions as u64,
            Self::Open(connection) => connection.subscriptions.lock().len() as u64,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{net::SocketAddr, sync::Arc, time::Duration};

    use super::*;
    use crate::{
        broker::registry::{ClosedConnection, ConnectionView},
        connection::{CloseReason, Identity},
        telemetry::{MonotonicMicros, Traffic},
    };

    /// A closed connection whose values all derive from `cid` and `value`.
    fn closed(cid: u64, value: u64, reason: CloseReason) -> Candidate {
        let start = MonotonicMicros(1_000_000_000);
        Candidate::Closed(Arc::new(ClosedConnection {
            last: ConnectionView {
                client_type: "nats",
                cid,
                peer: SocketAddr::from(([127, 0, 0, 1], 1)),
                start,
                last_activity: MonotonicMillis(value),
                rtt: Some(Duration::from_nanos(value)),
                pending: value as usize,
                traffic: Traffic {
                    in_msgs: value,
                    in_bytes: value,
                    out_msgs: value,
                    out_bytes: value,
                    ..Traffic::default()
                },
                stalls: 0,
                subscriptions: value as usize,
                identity: Identity::default(),
                tls: None,
            },
            subscriptions: Vec::new(),
            stop: MonotonicMicros(start.0 + value * 1_000_000),
            reason,
        }))
    }

    fn sorted(name: &str) -> Vec<u64> {
        let order = Order::parse(name, State::Closed).unwrap();
        let mut candidates = vec![
            closed(3, 20, CloseReason::ClientClosed),
            closed(2, 10, CloseReason::WriteError),
            closed(4, 30, CloseReason::AuthenticationFailure),
            closed(1, 20, CloseReason::ClientClosed),
        ];
        order.sort(&mut candidates, MonotonicMillis::now());
        candidates.iter().map(Candidate::cid).collect()
    }

    #[test]
    fn ids_uptimes_and_reasons_ascend_all_else_descends() {
        for name in ["", "cid", "start"] {
            assert_eq!(sorted(name), [1, 2, 3, 4], "{name}");
        }
        assert_eq!(sorted("uptime"), [2, 1, 3, 4]);
        assert_eq!(sorted("reason"), [4, 1, 3, 2]);
        for name in [
            "subs",
            "pending",
            "msgs_to",
            "msgs_from",
            "bytes_to",
            "bytes_from",
            "last",
            "stop",
            "rtt",
            "idle",
        ] {
            assert_eq!(sorted(name), [4, 1, 3, 2], "{name}");
        }
    }

    #[test]
    fn names_are_exact_and_some_are_for_closed_connections() {
        for name in ["CID", "state", "x"] {
            assert!(Order::parse(name, State::Closed).is_err());
        }
        for name in ["stop", "reason"] {
            assert!(Order::parse(name, State::Open).is_err());
            assert!(Order::parse(name, State::Any).is_err());
        }
    }
}
