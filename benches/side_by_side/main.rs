//! The side-by-side benchmark: applies the same load to midge and to other NATS-compatible brokers
//! in turn and compares the costs.
//!
//! `cargo bench --bench side_by_side -- --help`; see `benches/README.md`.

mod broker;
mod certificates;
mod clock;
mod compare;
mod endpoint;
mod failure;
mod flow;
mod inbox;
mod json;
mod load;
mod options;
mod plan;
mod publisher;
mod receivers;
mod report;
mod sample;
mod scenario;
mod sys;
mod websocket;
mod wire;

use std::{fs::File, process::ExitCode};

use clap::Parser;

use crate::{
    compare::judge,
    failure::{During, Result},
    options::Options,
    plan::{Plan, ScenarioResult},
    scenario::SCENARIOS,
};

fn main() -> ExitCode {
    // `cargo test --all-targets` also starts benchmarks, with the arguments of tests; only `cargo
    // bench` passes this one.
    if !std::env::args().any(|argument| argument == "--bench") {
        eprintln!("side_by_side measures only with `cargo bench` (or the argument --bench)");
        return ExitCode::SUCCESS;
    }
    match run(&Options::parse()) {
        Ok(0) => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(failure) => {
            eprintln!("side_by_side: {failure}");
            ExitCode::from(2)
        }
    }
}

/// Runs the selected scenarios and returns how many runs failed.
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
    // Fail before the long run if the file cannot be written.
    let json = match &options.json {
        Some(path) => Some(File::create(path).during(path.display())?),
        None => None,
    };
    let plan = Plan::new(options, &scenarios)?;
    print!("{}", report::heading(&plan));

    let mut results = Vec::new();
    for scenario in scenarios {
        let series = plan.run(scenario);
        let goals = judge(scenario, &series[0], series.get(1));
        let result = ScenarioResult {
            scenario,
            series,
            goals,
        };
        print!("{}", report::scenario(&result));
        results.push(result);
    }
    print!("{}", report::summary(&results));
    if let Some(file) = json {
        json::write(file, &plan, &results)?;
    }
    Ok(results.iter().map(ScenarioResult::failed_runs).sum())
}
