//! The check plugin `check_nats`: checks one broker, midge or nats-server, and returns OK,
//! WARNING, CRITICAL or UNKNOWN as defined for Nagios, Icinga and compatible systems.
//!
//! A crate of its own because it accesses the broker only from outside, through the
//! monitoring port and the client port. The program `check_nats` calls [`program::main`].
//! The command line is defined in [`args`] and evaluated in [`options`];
//! [`supervise`](supervise::supervise) runs one of the [`modes`] for each broker in bounded time;
//! the mode fills a [`report`], which [`output`] prints. What concerns several brokers in one
//! call is in [`brokers`]. A new check is one file in `modes/` and one line in its table: help,
//! options, manual, completions and tests follow. Modes that compare with the run before leave a
//! [`baseline`] in a [`state_file`]. Nothing here is async.

pub mod args;
pub mod baseline;
pub mod brokers;
pub mod client_port;
pub mod completions;
pub mod deadline;
pub mod manual;
pub mod metric;
pub mod modes;
pub mod number;
pub mod options;
pub mod output;
pub mod program;
pub mod range;
pub mod report;
pub mod run;
pub mod state_file;
pub mod status;
pub mod supervise;
pub mod target;
pub mod text;

use std::ffi::OsString;

use args::Asked;
use options::{Format, Options};
use report::Report;
use status::{Failure, Status};

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
/// `--version` prints; `begin` is called before a check begins.
pub fn run(
    arguments: impl IntoIterator<Item = OsString>,
    version: &'static str,
    begin: impl FnOnce(&Options),
) -> Outcome {
    let arguments: Vec<OsString> = arguments.into_iter().collect();
    let format = args::asked_format(&arguments);
    match args::read(arguments, version) {
        Asked::Check(matches) => match Options::new(&matches) {
            Ok(options) => {
                begin(&options);
                outcome(&supervise::supervise(&options), &options)
            }
            Err(mistake) => nonsense(&mistake, format),
        },
        Asked::Completions(shell) => Outcome::unknown(completions::script(shell)),
        Asked::Manual => Outcome::unknown(manual::page()),
        Asked::Nonsense(mistake) => nonsense(&mistake, format),
        Asked::Text(text) => Outcome::unknown(text),
    }
}

/// The result of a panic outside of a check.
pub fn outcome_of_panic(panic: &(dyn std::any::Any + Send), format: Format) -> Outcome {
    let failure = brokers::parallel::internal_error(panic);
    Outcome::unknown(output::draw_failure(&failure, format))
}

/// The result of a check that found out nothing but this.
pub fn outcome_of(failure: &Failure, options: &Options) -> Outcome {
    let mut report = supervise::empty_report(options);
    report.fail(failure);
    outcome(&report, options)
}

fn outcome(report: &Report, options: &Options) -> Outcome {
    Outcome {
        output: output::draw(report, options),
        code: report.status().code(),
    }
}

/// The result of arguments that make no check; people also get the usage.
fn nonsense(mistake: &str, format: Format) -> Outcome {
    let mut text = output::draw_failure(&Failure::unknown(mistake), format);
    if matches!(format, Format::Nagios | Format::Text) {
        text.push_str(&args::usage());
    }
    Outcome::unknown(text)
}

impl Outcome {
    fn unknown(output: String) -> Self {
        Self {
            output,
            code: Status::Unknown.code(),
        }
    }
}
