//! What is run how often and in which order.

use crate::{
    broker::{Broker, Program},
    compare::{Judgement, Series},
    failure::{During, Failure, Result},
    load::{self, Stage},
    options::Options,
    sample::Sample,
    scenario::{BrokerLoad, Load, Scenario},
    sys,
};

/// Open files that the harness needs beside the connections of a load.
const OTHER_FILES: u64 = 200;

/// The brokers and the size of all runs.
pub(crate) struct Plan {
    /// midge first, then its peers.
    pub(crate) programs: Vec<Program>,
    pub(crate) rounds: u32,
    pub(crate) seconds: f64,
    pub(crate) divisor: usize,
    /// How many connections the limit of open files allows.
    pub(crate) connections_most: usize,
}

/// A scenario, what was measured and how it is judged.
pub(crate) struct ScenarioResult {
    pub(crate) scenario: &'static Scenario,
    /// midge first, then its peers; or the machine alone.
    pub(crate) series: Vec<Series>,
    pub(crate) goals: Vec<Judgement>,
}

impl ScenarioResult {
    /// How many runs have no figure.
    pub(crate) fn failed_runs(&self) -> usize {
        let rounds = self.series.iter().flat_map(|series| &series.rounds);
        rounds.filter(|round| round.is_err()).count()
    }
}

impl Plan {
    /// Finds the brokers and raises the limit of open files.
    pub(crate) fn new(options: &Options) -> Result<Self> {
        let files = sys::raise_open_files().during("cannot raise the limit of open files")?;
        Ok(Self {
            programs: options.programs()?,
            rounds: options.rounds(),
            seconds: options.seconds()?,
            divisor: options.divisor(),
            connections_most: files.saturating_sub(OTHER_FILES) as usize,
        })
    }

    /// All rounds of a scenario.
    pub(crate) fn run(&self, scenario: &Scenario) -> Vec<Series> {
        match scenario.load {
            Load::Broker(load) => self.run_on_brokers(load),
            Load::Relay { payload } => {
                let rounds = (0..self.rounds).map(|_| load::relay::run(self.seconds, payload));
                vec![Series {
                    label: "no broker".to_owned(),
                    rounds: rounds.collect(),
                }]
            }
        }
    }

    /// Every broker once per round, in an order that changes from round to
    /// round.
    fn run_on_brokers(&self, load: BrokerLoad) -> Vec<Series> {
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
                let result = self.run_once(load, &self.programs[index]);
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

    /// One load on a fresh broker.
    fn run_once(&self, load: BrokerLoad, program: &Program) -> Result<Sample> {
        let broker = Broker::start(program)?;
        let stage = Stage {
            broker: &broker,
            seconds: self.seconds,
            divisor: self.divisor,
            connections_most: self.connections_most,
        };
        load::run(load, &stage)
            .map_err(|Failure(text)| Failure(format!("{text}{}", broker.log_tail())))
    }
}
