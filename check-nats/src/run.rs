//! One run: what the modes work with, and the thread that watches the clock.

use std::{
    any::Any,
    sync::{
        Arc,
        mpsc::{self, RecvTimeoutError},
    },
    thread,
    time::Duration,
};

use monitor_client::{Client, Field, Found, Healthz, Kind, Varz};
use serde::de::DeserializeOwned;

use super::{
    client_port::{OpenError, Session},
    deadline::{Deadline, Step},
    modes::need::Need,
    options::Options,
    report::Report,
    status::Failure,
};

/// Time that a run has after its own timeout to report it. After that the watching thread
/// reports instead: a host look-up, for example, cannot be interrupted.
const GRACE: Duration = Duration::from_millis(250);

/// A run in progress: what to do, what was found, how much time is left.
pub struct Check<'a> {
    /// What to do.
    pub options: &'a Options,
    /// The report.
    pub report: &'a mut Report,
    deadline: &'a Deadline,
    /// Another part follows: a request may take half of the time left.
    hurried: bool,
}

/// Runs the mode, in bounded time, and whatever it does.
pub fn supervise(options: &Options) -> Report {
    let deadline = Arc::new(Deadline::new(options.timeout, options.timeout_status));
    let (sender, receiver) = mpsc::channel();
    let worker = {
        let (options, deadline) = (options.clone(), Arc::clone(&deadline));
        thread::Builder::new().spawn(move || {
            let report = run(&options, &deadline);
            // Fails if the time is over and the receiver is gone.
            let _ = sender.send(report);
        })
    };
    let failure = match worker {
        Err(error) => Failure::unknown(format!("no thread for the check: {error}")),
        Ok(worker) => match receiver.recv_timeout(options.timeout + GRACE) {
            Ok(report) => return report,
            Err(RecvTimeoutError::Timeout) => deadline.late(),
            Err(RecvTimeoutError::Disconnected) => match worker.join() {
                Ok(()) => Failure::unknown("the check ended without a result"),
                Err(panic) => internal_error(&*panic),
            },
        },
    };
    let mut report = Report::new(&options.metrics);
    report.fail(&failure);
    report
}

/// The report of a caught panic.
pub fn internal_error(panic: &(dyn Any + Send)) -> Failure {
    let message = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("no message");
    Failure::unknown(format!("internal error, please report it: {message}"))
}

fn run(options: &Options, deadline: &Deadline) -> Report {
    let mut report = Report::new(&options.metrics);
    let mut check = Check {
        options,
        report: &mut report,
        deadline,
        hurried: false,
    };
    if let Err(failure) = (options.mode.run)(&mut check) {
        report.fail(&failure);
    }
    report
}

impl<'a> Check<'a> {
    /// Runs a part of the check that must leave time for another one.
    ///
    /// # Errors
    /// What `part` fails with.
    pub fn hurry<T>(
        &mut self,
        part: impl FnOnce(&mut Self) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        self.hurried = true;
        let result = part(self);
        self.hurried = false;
        result
    }

    /// Connects to the client port and reads the INFO.
    ///
    /// # Errors
    /// As [`Session::open`].
    pub fn open_session(&mut self) -> Result<Session<'a>, OpenError> {
        let text = format!("nats://{}", self.options.client_port());
        self.report.detail(2, &format!("asked {text}"));
        let session = Session::open(self.options, self.deadline)?;
        let info = session.info();
        self.report.detail(
            2,
            &format!(
                "broker {} {}, id {}",
                info.server_name, info.version, info.server_id
            ),
        );
        Ok(session)
    }

    /// `/varz`, as a broker answers it.
    ///
    /// # Errors
    /// As [`Check::ask`].
    pub fn varz(&mut self) -> Result<Varz, Failure> {
        self.ask("/varz")
    }

    /// Status code and answer of `/healthz`.
    ///
    /// # Errors
    /// As [`Check::ask`]; 500 and 503 are answers.
    pub fn healthz(&mut self) -> Result<(u16, Healthz), Failure> {
        let need = self.need("/healthz")?;
        let client = self.client(need.step, need.path)?;
        client.healthz().map_err(|error| self.http_failure(&error))
    }

    /// The answer at a path of the monitoring port, which may carry a query, with
    /// all in it that the mode needs.
    ///
    /// # Errors
    /// Refused: critical. Anything else that is no answer of a broker: unknown,
    /// and so is an answer that lacks what the verdict rests on.
    pub fn ask<T: DeserializeOwned>(&mut self, path: &str) -> Result<T, Failure> {
        match self.ask_if_there(path)? {
            Some(answer) => Ok(answer),
            None => Err(self.not_there(path)?),
        }
    }

    /// The same; `None` if the broker has no such path.
    ///
    /// # Errors
    /// As [`Check::ask`].
    pub fn ask_if_there<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>, Failure> {
        let need = self.need(path)?;
        let client = self.client(need.step, path)?;
        let fields: Vec<Field<'_>> = need.fields.iter().map(|needed| needed.field).collect();
        match client.get_with(path, &fields) {
            Ok((answer, found)) => {
                self.accept(need, &client, &found)?;
                Ok(Some(answer))
            }
            Err(monitor_client::Error::Status { code: 404, .. }) => Ok(None),
            Err(error) => Err(self.http_failure(&error)),
        }
    }

    /// The value at one more path of an answer, given on the command line.
    ///
    /// # Errors
    /// As [`Check::ask`].
    pub fn inspect(&mut self, path: &str, place: &str) -> Result<Found, Failure> {
        let need = self.need(path)?;
        let client = self.client(need.step, path)?;
        let mut fields: Vec<Field<'_>> = need.fields.iter().map(|needed| needed.field).collect();
        fields.push(Field {
            name: place,
            kind: Kind::Any,
        });
        let mut found = match client.inspect(path, &fields) {
            Err(monitor_client::Error::Status { code: 404, .. }) => {
                return Err(self.not_there(path)?);
            }
            found => found.map_err(|error| self.http_failure(&error))?,
        };
        let asked = found.pop().unwrap_or(Found::Absent);
        self.accept(need, &client, &found)?;
        Ok(asked)
    }

    /// What the mode needs of a path: one that its table does not name would be
    /// believed unseen.
    fn need(&self, path: &str) -> Result<&'static Need, Failure> {
        let mode = self.options.mode;
        mode.need(path).ok_or_else(|| {
            Failure::unknown(format!(
                "internal error, please report it: mode {} needs nothing of {path}",
                mode.name
            ))
        })
    }

    /// Refuses an answer without the fields that the result needs; a metric that the broker
    /// does not provide is unknown.
    fn accept(&mut self, need: &Need, client: &Client, found: &[Found]) -> Result<(), Failure> {
        for (needed, found) in need.fields.iter().zip(found) {
            let missing = client
                .require(need.path, &[needed.field], std::slice::from_ref(found))
                .err();
            match (missing, needed.metric) {
                (None, _) => {}
                (Some(error), None) => return Err(self.http_failure(&error)),
                (Some(_), Some(metric)) => {
                    let why = format!("{} has no \"{}\"", need.path, needed.field.name);
                    self.report.missing(metric.label, &why);
                }
            }
        }
        Ok(())
    }

    /// What it means that a path is not there.
    fn not_there(&self, path: &str) -> Result<Failure, Failure> {
        let need = self.need(path)?;
        let place = format!("{}{}: HTTP status 404", self.options.monitor_url, need.path);
        Ok(Failure::unknown(match need.midge_only {
            "" => place,
            why => format!("{place}: not in the answer: {why}"),
        }))
    }

    /// Waits between two samples.
    ///
    /// # Errors
    /// The time left is too short.
    pub fn sleep(&self, time: Duration) -> Result<(), Failure> {
        let left = self.deadline.begin(Step::Sample)?;
        thread::sleep(time.min(left));
        self.deadline.left().map(|_| ())
    }

    /// Notes that the state file is used from here on.
    ///
    /// # Errors
    /// No time is left.
    pub fn begin_state_file(&self) -> Result<(), Failure> {
        self.deadline.begin(Step::StateFile).map(|_| ())
    }

    fn client(&mut self, step: Step, path: &str) -> Result<Client, Failure> {
        let url = &self.options.monitor_url;
        self.report.detail(2, &format!("asked {url}{path}"));
        let left = self.deadline.begin(step)?;
        let time = if self.hurried { left / 2 } else { left };
        Client::new(url, time).map_err(|error| self.http_failure(&error))
    }

    fn http_failure(&self, error: &monitor_client::Error) -> Failure {
        match error {
            monitor_client::Error::Refused { .. } => Failure::critical(error.to_string()),
            monitor_client::Error::Timeout { .. } => Failure {
                status: self.deadline.late().status,
                text: error.to_string(),
            },
            _ => Failure::unknown(error.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        args::{self, Asked},
        modes::{Compares, Mode},
        status::Status,
    };

    fn options(mode: &'static Mode, arguments: &[&str]) -> Options {
        let arguments = ["check_nats"].iter().chain(arguments);
        let Asked::Check(matches) = args::read(arguments.map(Into::into), "") else {
            panic!("the arguments of the test are wrong");
        };
        let mut options = Options::new(&matches).unwrap();
        options.mode = mode;
        options
    }

    #[test]
    fn a_panic_is_unknown() {
        static BROKEN: Mode = Mode {
            name: "broken",
            help: "",
            metrics: &[],
            needs: &[],
            compares: Compares::Nothing,
            run: |_| panic!("boom"),
        };
        let report = supervise(&options(&BROKEN, &[]));
        assert_eq!(report.status(), Status::Unknown);
        assert!(report.statements()[0].text.ends_with("report it: boom"));
    }

    /// A step that hangs without looking at the clock is ended all the same.
    #[test]
    fn a_hanging_step_is_named() {
        static HANGING: Mode = Mode {
            name: "hanging",
            help: "",
            metrics: &[],
            needs: &[],
            compares: Compares::Nothing,
            run: |check| {
                check.begin_state_file()?;
                loop {
                    thread::park();
                }
            },
        };
        let report = supervise(&options(&HANGING, &["-t", "50ms"]));
        assert_eq!(report.status(), Status::Unknown);
        assert!(
            report.statements()[0]
                .text
                .ends_with("while using the state file")
        );
        let report = supervise(&options(&HANGING, &["-t", "50ms:warning"]));
        assert_eq!(report.status(), Status::Warning);
    }
}
