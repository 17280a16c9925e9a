//! The side-by-side benchmark: puts the same load on midge and on other
//! NATS-compatible brokers in turn and compares what it costs them.
//!
//! `cargo bench --bench side_by_side -- --help`; see `benches/README.md`.

mod broker;
mod clock;
mod compare;
mod failure;
mod flow;
mod inbox;
mod load;
mod options;
mod publisher;
mod receivers;
mod report;
mod sample;
mod scenario;
mod sys;
mod wire;

use std::process::ExitCode;

use clap::Parser;

use crate::{
    broker::{Broker, Program},
    compare::{Series, judge},
    failure::{During, Failure, Result},
    load::Stage,
    options::Options,
    sample::Sample,
    scenario::{BrokerLoad, Load, SCENARIOS, Scenario},
};

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("side_by_side: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Runs what was asked for and returns how many runs failed.
fn run(options: &Options) -> Result<usize> {
    if options.list {
        for scenario in SCENARIOS {
            println!(
                "{:18} {}, per {}",
                scenario.name, scenario.what, scenario.unit
            );
        }
        return Ok(0);
    }
    let scenarios = options.scenarios()?;
    let programs = options.programs()?;
    let plan = Plan {
        programs: &programs,
        rounds: options.rounds(),
        seconds: options.seconds()?,
        divisor: options.divisor(),
    };
    let open_files = sys::raise_open_files().during("cannot raise the limit of open files")?;
    println!(
        "{} rounds of {} s, {} cores, {}, {open_files} open files",
        plan.rounds,
        plan.seconds,
        std::thread::available_parallelism().map_or(0, usize::from),
        sys::kernel(),
    );
    for program in &programs {
        println!(
            "{}: {} ({})",
            program.label,
            program.path.display(),
            program.version
        );
    }

    let mut judged = Vec::new();
    let mut failures = 0;
    for scenario in scenarios {
        let series = plan.run(scenario);
        let goals = judge(scenario, &series[0], series.get(1));
        print!("{}", report::scenario(scenario, &series, &goals));
        let rounds = series.iter().flat_map(|series| &series.rounds);
        failures += rounds.filter(|round| round.is_err()).count();
        judged.push((scenario, goals));
    }
    print!("{}", report::summary(&judged, failures));
    Ok(failures)
}

/// What is run how often.
struct Plan<'a> {
    programs: &'a [Program],
    rounds: u32,
    seconds: f64,
    divisor: usize,
}

impl Plan<'_> {
    /// All rounds of a scenario.
    fn run(&self, scenario: &Scenario) -> Vec<Series> {
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
            let mut order: Vec<usize> = (0..self.programs.len()).collect();
            if round % 2 == 1 {
                order.reverse();
            }
            for index in order {
                let result = self.run_once(load, &self.programs[index]);
                series[index].rounds.push(result);
            }
        }
        series
    }

    /// One load on a fresh broker.
    fn run_once(&self, load: BrokerLoad, program: &Program) -> Result<Sample> {
        let broker = Broker::start(program)?;
        let stage = Stage {
            broker: &broker,
            seconds: self.seconds,
            divisor: self.divisor,
        };
        load::run(load, &stage)
            .map_err(|Failure(text)| Failure(format!("{text}{}", broker.log_tail())))
    }
}
