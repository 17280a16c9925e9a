//! The time a whole run may take, and where it was when it ran out.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use super::{
    status::{Failure, Status},
    text::duration,
};

/// Where a run is. A step that runs out of time is named in the output.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Step {
    /// Asking for the members of the cluster.
    Clusterz,
    /// Opening the TCP connection to the client port.
    Connect,
    /// Asking for `/connz`.
    Connz,
    /// Messages between the brokers.
    Exchange,
    /// Asking for `/eventsz`.
    Eventsz,
    /// Asking for `/explainz`.
    Explainz,
    /// Asking for `/leafz`.
    Leafz,
    /// Asking for `/federationz`.
    Federationz,
    /// Asking for `/nodesz`.
    Nodesz,
    /// Reading the files for TLS and logins.
    Files,
    /// The TLS handshake on the client port.
    Handshake,
    /// Asking for `/healthz`.
    Healthz,
    /// Waiting for the INFO on the client port.
    Info,
    /// Asking for `/latencyz`.
    Latencyz,
    /// CONNECT and the first PING, up to its PONG.
    Login,
    /// Asking for `/memz`.
    Memz,
    /// Asking for `/pathz`.
    Pathz,
    /// A PING, up to its PONG.
    Ping,
    /// Looking up the host name.
    Resolve,
    /// A message published to the own inbox, up to its delivery.
    Roundtrip,
    /// The time between two samples.
    Sample,
    /// Looking up the SRV record.
    Srv,
    /// Asking for `/slowz`.
    Slowz,
    /// Reading or writing the state file, or waiting until no other run uses it.
    StateFile,
    /// Asking for `/topz`.
    Topz,
    /// Asking for `/varz`.
    Varz,
}

/// The end of a run. Shared by the run and by the thread that watches it.
#[derive(Debug)]
pub struct Deadline {
    end: Instant,
    timeout: Duration,
    /// The status of a timeout, if the operator chose one.
    status: Option<Status>,
    step: Mutex<Step>,
}

impl Step {
    /// The status when this step runs out of time: a broker that does not greet a new
    /// client does not serve; later steps decide nothing.
    fn status_when_late(self) -> Status {
        match self {
            Self::Connect | Self::Handshake | Self::Info => Status::Critical,
            _ => Status::Unknown,
        }
    }
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Clusterz => "asking for the members of the cluster",
            Self::Connect => "connecting to the client port",
            Self::Connz => "asking for /connz",
            Self::Exchange => "waiting for messages of the other brokers",
            Self::Eventsz => "asking for /eventsz",
            Self::Explainz => "asking for /explainz",
            Self::Leafz => "asking for the leafnode connections",
            Self::Federationz => "asking for /federationz",
            Self::Nodesz => "asking for /nodesz",
            Self::Files => "reading the files for TLS and logins",
            Self::Handshake => "TLS handshake on the client port",
            Self::Healthz => "asking for /healthz",
            Self::Info => "waiting for INFO on the client port",
            Self::Latencyz => "asking for /latencyz",
            Self::Login => "waiting for the answer to CONNECT and PING",
            Self::Memz => "asking for /memz",
            Self::Pathz => "asking for /pathz",
            Self::Ping => "waiting for PONG",
            Self::Resolve => "looking up the host name",
            Self::Roundtrip => "waiting for the own message",
            Self::Sample => "waiting between two samples",
            Self::Srv => "looking up the SRV record",
            Self::Slowz => "asking for /slowz",
            Self::StateFile => "using the state file",
            Self::Topz => "asking for /topz",
            Self::Varz => "asking for /varz",
        })
    }
}

impl Deadline {
    /// A run that starts now. `status` replaces what a step would say when late.
    pub fn new(timeout: Duration, status: Option<Status>) -> Self {
        Self {
            end: Instant::now() + timeout,
            timeout,
            status,
            step: Mutex::new(Step::Resolve),
        }
    }

    /// The same end for a check of its own, with steps of its own.
    pub fn beside(&self) -> Self {
        Self {
            end: self.end,
            timeout: self.timeout,
            status: self.status,
            step: Mutex::new(Step::Resolve),
        }
    }

    /// When the time is over.
    pub fn end(&self) -> Instant {
        self.end
    }

    /// Enters a step and returns the time left.
    ///
    /// # Errors
    /// [`Deadline::late`] when there is none.
    pub fn begin(&self, step: Step) -> Result<Duration, Failure> {
        *self.step.lock().unwrap_or_else(PoisonError::into_inner) = step;
        self.left()
    }

    /// The time left in the present step.
    ///
    /// # Errors
    /// [`Deadline::late`] when there is none.
    pub fn left(&self) -> Result<Duration, Failure> {
        let left = self.end.saturating_duration_since(Instant::now());
        match left.is_zero() {
            true => Err(self.late()),
            false => Ok(left),
        }
    }

    /// What it means that the present step has no time left.
    pub fn late(&self) -> Failure {
        let step = *self.step.lock().unwrap_or_else(PoisonError::into_inner);
        Failure::new(
            self.status.unwrap_or(step.status_when_late()),
            format!(
                "no time left after {} while {step}",
                duration(self.timeout.as_secs_f64())
            ),
        )
    }
}
