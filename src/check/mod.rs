//! `check_nats`: whether a broker is well, in the words of Nagios.
//!
//! The program `check_nats` hands its arguments to [`run`] and prints what
//! comes back. The broker is met only from outside: its client port
//! ([`probe`]) and its monitoring port (package `monitor-client`), so a real
//! nats-server is checked the same way. [`modes`] says what is asked,
//! [`range`] where a figure alerts, [`report`] what is printed. The contract
//! is that of the Monitoring Plugins guidelines.

pub mod modes;
pub mod probe;
pub mod range;
pub mod report;

use std::{
    ffi::OsString,
    sync::mpsc,
    thread,
    time::{Duration, Instant},
};

use clap::Parser;

use modes::MODES;
use report::{Report, Status};

/// Time over the deadline that the steps get to say themselves what took long.
const DEADLINE_GRACE: Duration = Duration::from_millis(300);

/// Checks a NATS broker (midge or nats-server) for Nagios and its kin
#[derive(Debug, Parser)]
#[command(name = "check_nats", version, after_help = after_help())]
struct Arguments {
    /// Host of the broker
    #[arg(short = 'H', long, default_value = "127.0.0.1")]
    hostname: String,
    /// Client port
    #[arg(short, long, default_value_t = 4222)]
    port: u16,
    /// Monitoring port
    #[arg(short, long, default_value_t = 8222)]
    monitor_port: u16,
    /// Monitoring URL, in place of host and monitoring port
    #[arg(short, long)]
    url: Option<String>,
    /// Seconds that everything together may take; :STATE is reported when they
    /// run out (ok, warning, critical, unknown)
    #[arg(short, long, default_value = "10", value_name = "SECONDS[:STATE]")]
    timeout: Timeout,
    /// Range [@]start:end outside of which the figure warns
    #[arg(short, long, value_name = "RANGE", allow_hyphen_values = true)]
    warning: Option<String>,
    /// Range [@]start:end outside of which the figure is critical
    #[arg(short, long, value_name = "RANGE", allow_hyphen_values = true)]
    critical: Option<String>,
    /// What is checked
    #[arg(long, default_value = MODES[0].name)]
    mode: String,
    /// Figure of mode varz, nested ones with a dot
    #[arg(long, value_name = "NAME")]
    figure: Option<String>,
    /// First word of the output
    #[arg(long, default_value = "NATS")]
    service_name: String,
    /// Say more
    #[arg(short, long, action = clap::ArgAction::Count)]
    verbose: u8,
}

/// What is asked of whom, until when.
#[derive(Clone, Debug)]
pub struct Request {
    /// Host of the client port.
    pub host: String,
    /// Client port.
    pub port: u16,
    /// Monitoring URL.
    pub url: String,
    /// When everything must be done.
    pub deadline: Instant,
    /// Where the mode's figure warns, as written.
    pub warning: Option<String>,
    /// Where it is critical, as written.
    pub critical: Option<String>,
    /// The figure of mode `varz`.
    pub figure: Option<String>,
}

#[derive(Clone, Copy, Debug)]
struct Timeout {
    after: Duration,
    status: Status,
}

impl std::str::FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (seconds, status) = text.split_once(':').unwrap_or((text, "unknown"));
        let seconds: f64 = seconds.parse().map_err(|_| "not a number of seconds")?;
        if !(0.001..=3600.0).contains(&seconds) {
            return Err("not between 0.001 and 3600 seconds".into());
        }
        let status = match status.to_ascii_lowercase().as_str() {
            "0" | "ok" => Status::Ok,
            "1" | "warning" => Status::Warning,
            "2" | "critical" => Status::Critical,
            "3" | "unknown" => Status::Unknown,
            other => return Err(format!("{other:?} is no state")),
        };
        Ok(Self {
            after: Duration::from_secs_f64(seconds),
            status,
        })
    }
}

/// Runs the check that `arguments`, the program's name first, ask for. Returns
/// what to print on standard output, and the exit code.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> (String, u8) {
    let arguments = match Arguments::try_parse_from(arguments) {
        Ok(arguments) => arguments,
        // Help and version are UNKNOWN too, as the guidelines have it.
        Err(error) => return (error.render().to_string(), Status::Unknown.exit_code()),
    };
    let Some(mode) = MODES.iter().find(|mode| mode.name == arguments.mode) else {
        let names: Vec<_> = MODES.iter().map(|mode| mode.name).collect();
        return usage(&format!(
            "no mode {:?}; there are {}",
            arguments.mode,
            names.join(", ")
        ));
    };
    let request = Request {
        url: arguments.url.clone().unwrap_or_else(|| {
            format!(
                "http://{}:{}",
                url_host(&arguments.hostname),
                arguments.monitor_port
            )
        }),
        host: arguments.hostname,
        port: arguments.port,
        deadline: Instant::now() + arguments.timeout.after,
        warning: arguments.warning,
        critical: arguments.critical,
        figure: arguments.figure,
    };
    let report = match run_in_time(mode, request, arguments.timeout) {
        Ok(report) => report,
        Err(error) => return usage(&error),
    };
    (
        report.render(&arguments.service_name, arguments.verbose),
        report.status().exit_code(),
    )
}

/// Runs a mode on a thread of its own: some steps, such as the look-up of a
/// name, know no deadline.
fn run_in_time(
    mode: &'static modes::Mode,
    request: Request,
    timeout: Timeout,
) -> Result<Report, String> {
    let (send, receive) = mpsc::channel();
    let wait = timeout.after + DEADLINE_GRACE;
    thread::spawn(move || {
        let mut report = Report::new();
        let result = (mode.run)(&request, &mut report).map(|()| report);
        // Nobody listens any more when the time ran out.
        let _ = send.send(result);
    });
    match receive.recv_timeout(wait) {
        Ok(result) => result,
        Err(error) => {
            let (status, what) = match error {
                mpsc::RecvTimeoutError::Timeout => (timeout.status, "ran out of time"),
                mpsc::RecvTimeoutError::Disconnected => (Status::Unknown, "failed inside"),
            };
            let mut report = Report::new();
            report.complain(status, format!("mode {} {what}", mode.name));
            Ok(report)
        }
    }
}

fn usage(error: &str) -> (String, u8) {
    let text = format!("NATS UNKNOWN: {error}\nTry check_nats --help\n");
    (text, Status::Unknown.exit_code())
}

/// An IPv6 address stands in brackets in a URL.
fn url_host(host: &str) -> String {
    match host.contains(':') {
        true => format!("[{host}]"),
        false => host.to_owned(),
    }
}

fn after_help() -> String {
    let mut text = "Modes:\n".to_owned();
    for mode in MODES {
        text.push_str(&format!("  {:12} {}\n", mode.name, mode.help));
    }
    text.push_str("\nExit code: 0 OK, 1 WARNING, 2 CRITICAL, 3 UNKNOWN");
    text
}
