//! Which runs are made, how often and in which order.

use std::{fs, net::TcpListener};

use crate::{
    broker::{Broker, Program},
    certificates::{BrokerKey, Certificates, Node},
    compare::{Judgement, Series},
    endpoint::Compresses,
    failure::{During, Failure, Result, fail},
    load::{self, Stage},
    options::Options,
    sample::Sample,
    scenario::{BrokerLoad, Load, Scenario, WebSocket},
    sys,
};

/// Open files that the harness needs besides the connections of a load.
const OTHER_FILES: u64 = 200;

/// The brokers and the size of all runs.
pub(crate) struct Plan {
    /// midge first, then its peers.
    pub(crate) programs: Vec<Program>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) divisor: usize,
    /// Multiple of the time that impatient clients wait.
    patience: u32,
    /// Limit of connections due to the limit of open files.
    pub(crate) connections_max: usize,
    /// For scenarios with TLS, if there are any.
    certificates: Option<Certificates>,
}

/// A scenario, its results and their evaluation.
pub(crate) struct ScenarioResult {
    pub(crate) scenario: &'static Scenario,
    /// midge first, then its peers; or only the machine.
    pub(crate) series: Vec<Series>,
    pub(crate) goals: Vec<Judgement>,
}

impl ScenarioResult {
    /// Number of failed runs.
    pub(crate) fn failed_runs(&self) -> usize {
        let rounds = self.series.iter().flat_map(|series| &series.rounds);
        rounds.filter(|round| round.is_err()).count()
    }
}

impl Plan {
    /// Finds the brokers, raises the limit of open files and prepares what the scenarios need.
    pub(crate) fn new(options: &Options, scenarios: &[&Scenario]) -> Result<Self> {
        let with_tls = scenarios.iter().any(|scenario| {
            matches!(
                scenario.load,
                Load::Tls(_) | Load::TlsEc(_) | Load::WebSocket(..)
            )
        });
        let files = sys::raise_open_files().during("cannot raise the limit of open files")?;
        Ok(Self {
            programs: options.programs()?,
            rounds: options.rounds(),
            seconds: options.seconds()?,
            divisor: options.divisor(),
            patience: options.patience,
            connections_max: files.saturating_sub(OTHER_FILES) as usize,
            certificates: with_tls.then(Certificates::new).transpose()?,
        })
    }

    /// All rounds of a scenario.
    pub(crate) fn run(&self, scenario: &Scenario) -> Vec<Series> {
        match scenario.load {
            Load::Broker(load) => self.run_on_brokers(load, Self::start_one),
            Load::Tls(load) => self.run_on_brokers(load, |plan, program| {
                plan.start_with_tls(program, BrokerKey::Rsa4096)
            }),
            Load::TlsEc(load) => self.run_on_brokers(load, |plan, program| {
                plan.start_with_tls(program, BrokerKey::P256)
            }),
            Load::WebSocket(kind, load) => self.run_on_brokers(load, |plan, program| {
                plan.start_with_websocket(program, kind)
            }),
            Load::Mesh { members, load } => {
                self.run_on_brokers(load, |_, program| start_mesh(program, members))
            }
            Load::Leafnode(load) => self.run_on_brokers(load, |_, program| start_leafnode(program)),
            Load::Relay { payload } => {
                let rounds = (0..self.rounds).map(|_| load::relay::run(self.seconds, payload));
                vec![Series {
                    label: "no broker".to_owned(),
                    rounds: rounds.collect(),
                }]
            }
        }
    }

    /// Runs every broker once per round, in an order that alternates between rounds.
    fn run_on_brokers(
        &self,
        load: BrokerLoad,
        start: impl Fn(&Self, &Program) -> Result<Vec<Broker>>,
    ) -> Vec<Series> {
        let mut series: Vec<Series> = self
            .programs
            .iter()
            .map(|program| Series {
                label: program.label.clone(),
                rounds: Vec::new(),
            })
            .collect();
        for round in 0..self.rounds {
            for index in self.order(round) {
                let result = self.run_once(load, &self.programs[index], &start);
                series[index].rounds.push(result);
            }
        }
        series
    }

    fn order(&self, round: u32) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.programs.len()).collect();
        if round % 2 == 1 {
            order.reverse();
        }
        order
    }

    fn start_one(&self, program: &Program) -> Result<Vec<Broker>> {
        Ok(vec![Broker::start(program, Vec::new(), None)?])
    }

    /// A broker that requires client certificates.
    fn start_with_tls(&self, program: &Program, key: BrokerKey) -> Result<Vec<Broker>> {
        let Some(certificates) = &self.certificates else {
            fail!("no certificates were made");
        };
        let configuration = certificates.configuration(key).display().to_string();
        let client = certificates.client(Node::Puppet, false)?;
        let arguments = vec!["-c".to_owned(), configuration];
        Ok(vec![Broker::start(program, arguments, Some(client))?])
    }

    /// A broker whose clients connect by WebSocket.
    fn start_with_websocket(&self, program: &Program, kind: WebSocket) -> Result<Vec<Broker>> {
        let Some(certificates) = &self.certificates else {
            fail!("no certificates were made");
        };
        let compresses = Compresses(matches!(kind, WebSocket::Compressed));
        let (configuration, tls) = match kind {
            WebSocket::Tls => (
                certificates.websocket_configuration(),
                Some(certificates.client(Node::Light, false)?),
            ),
            WebSocket::Plain | WebSocket::Compressed => {
                (certificates.plain_websocket_configuration(), None)
            }
        };
        let arguments = vec!["-c".to_owned(), configuration.display().to_string()];
        let broker = Broker::start(program, arguments, tls)?;
        Ok(vec![broker.by_websocket(compresses)?])
    }

    /// Runs a load on new brokers.
    fn run_once(
        &self,
        load: BrokerLoad,
        program: &Program,
        start: impl Fn(&Self, &Program) -> Result<Vec<Broker>>,
    ) -> Result<Sample> {
        let brokers = start(self, program)?;
        let stage = Stage {
            brokers: &brokers,
            program,
            certificates: self.certificates.as_ref(),
            seconds: self.seconds,
            divisor: self.divisor,
            patience: self.patience,
            connections_max: self.connections_max,
        };
        load::run(load, &stage).map_err(|Failure(text)| {
            let tails = brokers.iter().map(Broker::log_tail);
            Failure(tails.fold(text, |text, tail| text + &tail))
        })
    }
}

/// Starts `members` brokers, each with a route to every other.
fn start_mesh(program: &Program, members: usize) -> Result<Vec<Broker>> {
    // All ports are bound before the first is released, so that they differ.
    let reserved = (0..members)
        .map(|_| TcpListener::bind("127.0.0.1:0"))
        .collect::<std::io::Result<Vec<_>>>()
        .during("cannot find free ports")?;
    let addresses = reserved
        .iter()
        .map(|listener| Ok(format!("nats://{}", listener.local_addr()?)))
        .collect::<std::io::Result<Vec<_>>>()
        .during("cannot find free ports")?;
    drop(reserved);
    let routes = addresses.join(",");
    let start = |address: &String| {
        let arguments = [
            "--cluster_name",
            "bench",
            "--cluster",
            address,
            "--routes",
            &routes,
        ];
        Broker::start(program, arguments.map(str::to_owned).to_vec(), None)
    };
    addresses.iter().map(start).collect()
}

/// Starts a hub and a leafnode of it; the leafnode comes first.
fn start_leafnode(program: &Program) -> Result<Vec<Broker>> {
    let reserved = TcpListener::bind("127.0.0.1:0").during("cannot find a free port")?;
    let address = reserved.local_addr().during("cannot find a free port")?;
    drop(reserved);
    // Read at the start alone.
    let directory = tempfile::tempdir().during("cannot make a temporary directory")?;
    let start = |name: &str, block: String| {
        let path = directory.path().join(name);
        let text = format!("server_name: {name}\nleafnodes {{ {block} }}\n");
        fs::write(&path, text).during("cannot write a configuration")?;
        let arguments = vec!["-c".to_owned(), path.display().to_string()];
        Broker::start(program, arguments, None)
    };
    let hub = start("hub", format!("listen: \"{address}\""))?;
    let leafnode = start(
        "leafnode",
        format!("remotes: [ {{ url: \"nats://{address}\" }} ]"),
    )?;
    Ok(vec![leafnode, hub])
}
