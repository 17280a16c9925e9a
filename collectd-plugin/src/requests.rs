//! The requests of a poll: which endpoints are asked, and what they answer.
//!
//! Only endpoints that an enabled metric needs are asked, one after the other over one connection,
//! and all share the time limit of the poll: what is not reached in time has no values. A path that
//! a broker does not have (a nats-server knows nothing of midge's) is not asked again until another
//! run of a broker answers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, Instant, SystemTime},
};

use monitor_client::{Client, Error, Healthz};
use serde_json::Value as Json;

use crate::{
    findings::{self, Findings},
    metrics::{self, Answers, Broker, Endpoint, Metric},
};

/// What is asked of one broker.
pub(crate) struct Requests {
    client: Client,
    /// Time limit of all requests of a poll.
    timeout: Duration,
    /// The keys that are kept of the answers.
    wanted: BTreeMap<Endpoint, BTreeSet<String>>,
    /// Connections that are asked for.
    connections: usize,
    /// Id of the run that answered last, the paths that it has, and those that it does not.
    run: String,
    present: BTreeSet<Endpoint>,
    absent: BTreeSet<Endpoint>,
}

/// The results of one poll.
pub(crate) struct Sample {
    /// When it began.
    pub(crate) time: SystemTime,
    pub(crate) at: Instant,
    /// Duration of the request of `/varz`.
    pub(crate) varz_took: Duration,
    /// Duration of all requests.
    pub(crate) took: Duration,
    pub(crate) broker: Result<Broker, Error>,
    /// `None` if it was not requested, because the broker is down.
    pub(crate) health: Option<Result<(u16, Healthz), Error>>,
    pub(crate) findings: Findings,
    pub(crate) answers: Answers,
    /// The other endpoints that answered, or could not be asked.
    pub(crate) outcomes: Vec<(Endpoint, Outcome)>,
    /// Those that did not answer within the time limit of the poll.
    pub(crate) late: Vec<Endpoint>,
}

/// What became of the request of an endpoint.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// Its answer was read.
    Read,
    /// The broker does not have it.
    Absent,
    /// There is no answer, or none that can be used.
    Failed(Error),
}

impl Requests {
    /// Requests for these metrics, and the findings, which say whether the broker is healthy.
    pub(crate) fn new<'a>(
        client: Client,
        timeout: Duration,
        metrics: impl IntoIterator<Item = &'a Metric>,
        connections: usize,
    ) -> Self {
        let mut wanted = metrics::wanted(metrics);
        for (endpoint, keys) in [
            (Endpoint::Varz, Broker::keys().collect::<Vec<_>>()),
            (Endpoint::Explainz, findings::KEYS.to_vec()),
        ] {
            let keys = keys.into_iter().map(str::to_owned);
            wanted.entry(endpoint).or_default().extend(keys);
        }
        Self {
            client,
            timeout,
            wanted,
            connections,
            run: String::new(),
            present: BTreeSet::new(),
            absent: BTreeSet::new(),
        }
    }

    /// Time limit of all requests of a poll.
    pub(crate) fn timeout(&self) -> Duration {
        self.timeout
    }

    /// The client, for texts.
    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    /// Asks everything once.
    pub(crate) fn make(&mut self) -> Sample {
        let (time, at) = (SystemTime::now(), Instant::now());
        let end = at + self.timeout;
        // Closed when the poll is over.
        let client = self.client.with_one_connection();
        let varz = self.get(&client, Endpoint::Varz, end);
        let varz_took = at.elapsed();
        let mut sample = Sample {
            time,
            at,
            varz_took,
            took: varz_took,
            broker: varz
                .as_ref()
                .map_err(Error::clone)
                .and_then(|varz| self.broker(varz)),
            health: None,
            findings: Findings::Unknown,
            answers: Answers::new(),
            outcomes: Vec::new(),
            late: Vec::new(),
        };
        if let (Ok(broker), Ok(varz)) = (&sample.broker, varz) {
            let is_member = broker.is_member;
            self.note_run(&broker.server_id);
            sample.answers.insert(Endpoint::Varz, varz);
            sample.health = Some(client.within(left(end)).healthz());
            self.ask_others(&client, is_member, end, &mut sample);
        }
        sample.took = at.elapsed();
        sample
    }

    fn ask_others(&mut self, client: &Client, is_member: bool, end: Instant, sample: &mut Sample) {
        let due: Vec<Endpoint> = self
            .wanted
            .keys()
            .copied()
            .filter(|endpoint| *endpoint != Endpoint::Varz && !self.absent.contains(endpoint))
            .filter(|endpoint| is_member || !endpoint.is_about_cluster())
            .collect();
        if self.absent.contains(&Endpoint::Explainz) {
            sample.findings = Findings::Absent;
        }
        for endpoint in due {
            if left(end).is_zero() {
                sample.late.push(endpoint);
                continue;
            }
            let answer = match self.get(client, endpoint, end) {
                Err(Error::Timeout { .. }) => {
                    sample.late.push(endpoint);
                    continue;
                }
                answer => answer,
            };
            let outcome = self.take(endpoint, answer, sample);
            sample.outcomes.push((endpoint, outcome));
        }
    }

    fn take(
        &mut self,
        endpoint: Endpoint,
        answer: Result<Json, Error>,
        sample: &mut Sample,
    ) -> Outcome {
        let is_findings = endpoint == Endpoint::Explainz;
        match answer {
            Ok(answer) => {
                if is_findings {
                    let Some(findings) = findings::of_answer(&answer) else {
                        return Outcome::Failed(Error::Field {
                            url: self.client.target(endpoint.path()),
                            detail: "findings: no list".to_owned(),
                        });
                    };
                    sample.findings = Findings::Known(findings);
                }
                sample.answers.insert(endpoint, answer);
                self.present.insert(endpoint);
                Outcome::Read
            }
            // What it had before is not gone: a proxy in front of it says so for a moment.
            Err(error) if error.is_missing() && !self.present.contains(&endpoint) => {
                self.absent.insert(endpoint);
                if is_findings {
                    sample.findings = Findings::Absent;
                }
                Outcome::Absent
            }
            Err(error) => Outcome::Failed(error),
        }
    }

    fn get(&self, client: &Client, endpoint: Endpoint, end: Instant) -> Result<Json, Error> {
        let wanted = self.wanted.get(&endpoint);
        let wanted: Vec<&str> = wanted.into_iter().flatten().map(String::as_str).collect();
        let path = endpoint.request(self.connections);
        client.within(left(end)).select(&path, &wanted)
    }

    fn broker(&self, varz: &Json) -> Result<Broker, Error> {
        Broker::read(varz).map_err(|detail| Error::Field {
            url: self.client.target(Endpoint::Varz.path()),
            detail,
        })
    }

    /// Another run may be another version, which has other paths.
    fn note_run(&mut self, id: &str) {
        if self.run != id {
            id.clone_into(&mut self.run);
            self.present.clear();
            self.absent.clear();
        }
    }
}

fn left(end: Instant) -> Duration {
    end.saturating_duration_since(Instant::now())
}
