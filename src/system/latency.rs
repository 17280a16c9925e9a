//! Publishing how long services took, in the account of the service, and exchanging what two brokers
//! have measured of one reply. Names and sums are nats-server's.

use std::time::Duration;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use tracing::debug;

use super::{
    System,
    envelope::{event_id, to_json},
};
use crate::{
    account::latency::{Headers, LatencyEvent, Logged, Outcome, RemoteHalf},
    broker::{server_info::now, system_queue::LATENCY_HALF},
};

/// The type of the messages.
const TYPE: &str = "io.nats.server.metric.v1.service_latency";

/// A measured request. Times are in nanoseconds.
#[derive(Serialize)]
struct ServiceLatency<'a> {
    r#type: &'a str,
    id: String,
    timestamp: String,
    status: u16,
    #[serde(rename = "description", skip_serializing_if = "str::is_empty")]
    error: &'a str,
    requestor: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    responder: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Headers::is_empty")]
    header: &'a Headers,
    start: String,
    service: u64,
    system: u64,
    total: u64,
}

/// What one broker has measured for another.
#[derive(Deserialize, Serialize)]
struct RemoteLatency {
    account: String,
    req_id: String,
    m2: Half,
}

#[derive(Deserialize, Serialize)]
struct Half {
    #[serde(default)]
    r#type: String,
    #[serde(default)]
    id: String,
    #[serde(default)]
    timestamp: String,
    #[serde(default)]
    status: u16,
    responder: Option<Box<RawValue>>,
    #[serde(default)]
    start: String,
    service: i64,
    #[serde(default)]
    system: i64,
    #[serde(default)]
    total: i64,
}

/// The round trip time in a client's description.
#[derive(Default, Deserialize)]
struct RoundTrip {
    #[serde(default)]
    rtt: u64,
}

/// The times of a measured request.
#[derive(Default)]
struct Times {
    service: Duration,
    system: Duration,
    total: Duration,
}

impl System {
    /// Publishes what was measured since the last call.
    pub(super) fn publish_latencies(&self) {
        for logged in self.server.broker.accounts.latencies.take() {
            match logged {
                Logged::Event(event) => self.publish_latency(&event),
                Logged::ForOther {
                    account,
                    reply,
                    at,
                    took,
                    responder,
                } => self.send_half(account, &reply, at, took, responder),
            }
        }
    }

    /// Keeps a copy of the figures, and forgets services that are no longer measured.
    pub(super) fn keep_latencies(&self) {
        let options = self.server.options();
        let accounts = &self.server.broker.accounts;
        accounts.latencies.take_snapshot(|account, service| {
            let config = options
                .accounts
                .iter()
                .find(|config| config.name == account);
            let mut exports = config.into_iter().flat_map(|config| &config.exports);
            exports.any(|export| export.subject == service && export.latency().is_some())
        });
    }

    fn publish_latency(&self, event: &LatencyEvent) {
        let accounts = &self.server.broker.accounts;
        let requestor_rtt = round_trip(&event.requestor);
        let (status, error, responder, times) = times(&event.outcome, requestor_rtt);
        let answered = (status == 200).then_some(times.service);
        accounts.latencies.count(&event.terms, status, answered);
        let Some(account) = accounts.find(&event.terms.account) else {
            return;
        };
        let requestor: Result<&RawValue, _> = serde_json::from_str(&event.requestor);
        let responder: Option<&RawValue> =
            responder.and_then(|responder| serde_json::from_str(responder).ok());
        let Ok(requestor) = requestor else {
            return;
        };
        let latency = ServiceLatency {
            r#type: TYPE,
            id: event_id(),
            timestamp: now(),
            status,
            error,
            requestor,
            responder,
            header: &event.headers,
            start: started(event.at, requestor_rtt),
            service: nanoseconds(times.service),
            system: nanoseconds(times.system),
            total: nanoseconds(times.total),
        };
        let subject = event.terms.config.subject.as_bytes();
        self.deliver(&account, subject, None, to_json(&latency).as_bytes());
    }

    /// Sends what was measured here to the broker whose client asked.
    fn send_half(
        &self,
        account: String,
        reply: &[u8],
        at: DateTime<Utc>,
        took: Duration,
        responder: String,
    ) {
        let reply = String::from_utf8_lossy(reply).into_owned();
        // The token of that broker is before the end.
        let Some(token) = reply.rsplit('.').nth(1) else {
            return;
        };
        let subject = format!("{LATENCY_HALF}{token}");
        let service = took.saturating_sub(round_trip(&responder));
        let half = RemoteLatency {
            account,
            req_id: reply,
            m2: Half {
                r#type: TYPE.into(),
                id: event_id(),
                timestamp: now(),
                status: 200,
                responder: RawValue::from_string(responder).ok(),
                start: at.to_rfc3339_opts(SecondsFormat::Nanos, true),
                service: signed(service),
                system: 0,
                total: signed(took),
            },
        };
        self.deliver(
            &self.account,
            subject.as_bytes(),
            None,
            to_json(&half).as_bytes(),
        );
    }

    /// Takes what another broker has measured.
    pub(super) fn take_latency_half(&self, body: &[u8]) {
        let half: RemoteLatency = match serde_json::from_slice(body) {
            Ok(half) => half,
            Err(error) => {
                debug!("A measurement of another broker is not understood: {error}");
                return;
            }
        };
        let account = self.server.broker.accounts.find(&half.account);
        let Some(account) = account else {
            return;
        };
        let Some(token) = account.replies.token(half.req_id.as_bytes()) else {
            return;
        };
        let responder = half
            .m2
            .responder
            .map_or_else(String::new, |it| it.get().to_owned());
        let service = u64::try_from(half.m2.service).unwrap_or(0);
        account.latency.take_half(
            token,
            RemoteHalf {
                responder,
                service: Duration::from_nanos(service),
            },
        );
    }
}

/// Status, error text, responder and times of an outcome.
fn times(outcome: &Outcome, requestor: Duration) -> (u16, &'static str, Option<&str>, Times) {
    let none = Times::default;
    match outcome {
        Outcome::BadRequest => (400, "Bad Request", None, none()),
        Outcome::RequestorLeft => (408, "Request Timeout", None, none()),
        Outcome::NoResponder => (503, "Service Unavailable", None, none()),
        Outcome::Late => (504, "Service Timeout", None, none()),
        Outcome::Answered { took, responder } => {
            let times = Times {
                service: took.saturating_sub(round_trip(responder)),
                system: Duration::ZERO,
                total: *took + requestor,
            };
            (200, "", Some(responder), times)
        }
        Outcome::AnsweredElsewhere { took, half } => {
            let there = half.service + round_trip(&half.responder);
            let times = Times {
                service: half.service,
                system: took.saturating_sub(there),
                total: *took + requestor,
            };
            (200, "", Some(&half.responder), times)
        }
    }
}

/// When the requester sent a request that arrived at this time.
fn started(at: DateTime<Utc>, requestor: Duration) -> String {
    let before = TimeDelta::from_std(requestor).unwrap_or_default();
    let started = at.checked_sub_signed(before).unwrap_or(at);
    started.to_rfc3339_opts(SecondsFormat::Nanos, true)
}

fn round_trip(client: &str) -> Duration {
    let known: RoundTrip = serde_json::from_str(client).unwrap_or_default();
    Duration::from_nanos(known.rtt)
}

fn nanoseconds(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

fn signed(time: Duration) -> i64 {
    i64::try_from(time.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_times_add_up() {
        let micros = Duration::from_micros;
        let responder = r#"{"rtt":20000}"#.to_owned();
        let requestor = micros(30);
        let here = Outcome::Answered {
            took: micros(100),
            responder: responder.clone(),
        };
        let elsewhere = Outcome::AnsweredElsewhere {
            took: micros(150),
            half: RemoteHalf {
                responder,
                service: micros(80),
            },
        };
        for (outcome, system) in [(here, 0), (elsewhere, 50)] {
            let (status, _, _, times) = times(&outcome, requestor);
            assert_eq!((status, times.service), (200, micros(80)));
            assert_eq!(times.system, micros(system));
            let round_trips = micros(20) + requestor;
            assert_eq!(times.total, times.service + times.system + round_trips);
        }
        // The round trips are estimates: none is negative.
        let quick = Outcome::Answered {
            took: micros(5),
            responder: r#"{"rtt":20000}"#.into(),
        };
        assert_eq!(times(&quick, requestor).3.service, Duration::ZERO);
    }
}
