//! The command line.

use std::path::PathBuf;

use clap::Parser;

use crate::{
    broker::Program,
    failure::{Failure, Result, fail},
    scenario::{SCENARIOS, Scenario},
};

/// Measures midge beside nats-server under the same load.
#[derive(Debug, Parser)]
#[command(name = "side_by_side", version)]
pub(crate) struct Options {
    /// midge's program instead of the one just built.
    #[arg(long, value_name = "PATH", default_value = env!("CARGO_BIN_EXE_midge"))]
    pub(crate) midge: PathBuf,

    /// A broker to compare with; repeat for more. Goals are judged against the
    /// first. Default: nats-server.
    #[arg(long, value_name = "[LABEL=]PATH", conflicts_with = "no_peer")]
    pub(crate) peer: Vec<String>,

    /// Measure midge alone, to profile it.
    #[arg(long)]
    pub(crate) no_peer: bool,

    /// Only these scenarios; names, or beginnings of names that end in `*`.
    #[arg(long, value_name = "NAME,…", value_delimiter = ',')]
    pub(crate) only: Vec<String>,

    /// How often each scenario runs on each broker.
    #[arg(long, value_name = "COUNT", value_parser = clap::value_parser!(u32).range(1..=1000))]
    rounds: Option<u32>,

    /// How long the measured part of a scenario publishes.
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<f64>,

    /// How many times longer clients of impatient-* wait than named there: for a machine
    /// that other programs use at the same time.
    #[arg(long, value_name = "TIMES", default_value_t = 1,
          value_parser = clap::value_parser!(u32).range(1..=30))]
    pub(crate) patience: u32,

    /// Two rounds of 0.2 s and a tenth of the connections and subscriptions.
    #[arg(long)]
    pub(crate) quick: bool,

    /// Write everything measured to a file, too.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,

    /// Show the scenarios and end.
    #[arg(long)]
    pub(crate) list: bool,

    /// Given by `cargo bench`, not by `cargo test`; looked at before.
    #[arg(long, hide = true)]
    bench: bool,
}

impl Options {
    pub(crate) fn rounds(&self) -> u32 {
        self.rounds.unwrap_or(if self.quick { 2 } else { 5 })
    }

    pub(crate) fn seconds(&self) -> Result<f64> {
        match self.seconds {
            // With more, brokers would miss the answers to their PINGs, which idle connections do
            // not send.
            Some(seconds) if !(0.05..=30.0).contains(&seconds) => {
                fail!("--seconds {seconds}: give a number from 0.05 to 30")
            }
            Some(seconds) => Ok(seconds),
            None if self.quick => Ok(0.2),
            None => Ok(1.0),
        }
    }

    /// Divisor of large numbers.
    pub(crate) fn divisor(&self) -> usize {
        if self.quick { 10 } else { 1 }
    }

    /// midge first, then the peers.
    pub(crate) fn programs(&self) -> Result<Vec<Program>> {
        let mut programs = vec![Program::find(&self.midge, Some("midge"))?];
        if self.peer.is_empty() && !self.no_peer {
            let peer = Program::find("nats-server".as_ref(), None).map_err(|Failure(text)| {
                Failure(format!(
                    "{text}; install nats-server (a package of that name, or a release from \
                     github.com/nats-io/nats-server), give --peer PATH, or --no-peer"
                ))
            })?;
            programs.push(peer);
        }
        for peer in &self.peer {
            programs.push(match peer.split_once('=') {
                Some((label, path)) => Program::find(path.as_ref(), Some(label))?,
                None => Program::find(peer.as_ref(), None)?,
            });
        }
        let mut labels: Vec<&str> = programs.iter().map(|it| it.label.as_str()).collect();
        labels.sort_unstable();
        if let Some(pair) = labels.windows(2).find(|pair| pair[0] == pair[1]) {
            fail!(
                "two brokers are called {}; name one: --peer LABEL=PATH",
                pair[0]
            );
        }
        Ok(programs)
    }

    /// The selected scenarios, in the table's order.
    pub(crate) fn scenarios(&self) -> Result<Vec<&'static Scenario>> {
        for pattern in &self.only {
            if !SCENARIOS
                .iter()
                .any(|scenario| is_selected(pattern, scenario.name))
            {
                fail!("--only {pattern}: no such scenario; --list shows them");
            }
        }
        Ok(SCENARIOS
            .iter()
            .filter(|scenario| {
                self.only.is_empty()
                    || self
                        .only
                        .iter()
                        .any(|pattern| is_selected(pattern, scenario.name))
            })
            .collect())
    }
}

fn is_selected(pattern: &str, name: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(beginning) => name.starts_with(beginning),
        None => name == pattern,
    }
}
