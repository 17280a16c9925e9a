//! The check plugin `check_nats`: checks one broker, midge or nats-server, and returns OK,
//! WARNING, CRITICAL or UNKNOWN as defined for Nagios, Icinga and compatible systems.
//!
//! A crate of its own because it accesses the broker only from outside, through the
//! monitoring port and the client port. The program `check_nats` calls [`run`]. The command
//! line is defined in [`args`] and evaluated in [`options`]; [`supervise`](supervise::supervise)
//! runs one of the [`modes`] for each broker in bounded time; the mode fills a [`report`], which
//! [`output`] prints. What concerns several brokers in one call is in [`brokers`]. A new check is
//! one file in `modes/` and one line in its table: help, options, manual and tests follow.
//! Nothing here is async but the look-up of SRV records.

pub mod args;
pub mod baseline;
pub mod brokers;
pub mod client_port;
pub mod deadline;
pub mod manual;
pub mod metric;
pub mod modes;
pub mod options;
pub mod output;
pub mod range;
pub mod report;
pub mod run;
pub mod status;
pub mod supervise;
pub mod target;
pub mod text;

use std::ffi::OsString;

use args::Asked;
use options::Options;
use status::Status;

/// Output and exit code of the plugin.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Outcome {
    /// Text for standard output, with a line end.
    pub output: String,
    /// Exit code: 0 to 3.
    pub code: u8,
}

/// Does what the arguments ask for, the program's name first. Never exits and
/// never prints; help, the version and mistakes are UNKNOWN, as the plugin
/// contract asks, so that no service is OK by mistake. `version` is what
/// `--version` prints.
pub fn run(arguments: impl IntoIterator<Item = OsString>, version: &'static str) -> Outcome {
    match args::read(arguments, version) {
        Asked::Check(matches) => match Options::new(&matches) {
            Ok(options) => check(&options),
            Err(mistake) => nonsense(&mistake),
        },
        Asked::Manual => Outcome::unknown(manual::page()),
        Asked::Nonsense(mistake) => nonsense(&mistake),
        Asked::Text(text) => Outcome::unknown(text),
    }
}

/// The result of a panic outside of a check.
pub fn outcome_of_panic(panic: &(dyn std::any::Any + Send)) -> Outcome {
    let failure = brokers::parallel::internal_error(panic);
    let line = output::first_line("NATS", failure.status, &text::harmless(&failure.text));
    Outcome::unknown(format!("{line}\n"))
}

fn check(options: &Options) -> Outcome {
    let report = supervise::supervise(options);
    Outcome {
        output: output::draw(&report, options),
        code: report.status().code(),
    }
}

fn nonsense(mistake: &str) -> Outcome {
    let line = output::first_line("NATS", Status::Unknown, &text::harmless(mistake));
    Outcome::unknown(format!("{line}\n{}", args::usage()))
}

impl Outcome {
    fn unknown(output: String) -> Self {
        Self {
            output,
            code: Status::Unknown.code(),
        }
    }
}
