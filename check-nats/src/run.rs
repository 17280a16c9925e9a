//! The check of one broker: what the modes work with. [`supervise`](super::supervise) runs it on
//! a thread of its own and watches the clock.

use std::{cell::Cell, thread, time::Duration};

use monitor_client::{Client, Field, Found, Healthz, Kind, Varz};
use serde::de::DeserializeOwned;

use super::{
    brokers::Among,
    client_port::{Login, OpenError, Session, certificate::Certificate},
    deadline::{Deadline, Step},
    modes::need::{ANNOUNCED, Need},
    options::{Options, TIMEOUT_MAX},
    report::Report,
    status::Failure,
    target::{ClientPort, OPTION_NAMES, Target},
};

/// What to do about a monitoring port at another host that takes no connection.
const NOT_REACHABLE: &str = "the broker is down, or its monitoring port listens on the loopback \
                             address alone: set http: in its configuration, run this check on its \
                             host by NRPE, or use --mode connect, which needs the client port only";

/// A run in progress: what to do, what was found, how much time is left.
pub struct Check<'a> {
    /// What to do.
    pub options: &'a Options,
    /// The broker.
    pub target: &'a Target,
    /// Its place among several that are checked at the same time; `None` for the only one.
    pub among: Option<Among>,
    /// The report.
    pub report: &'a mut Report,
    deadline: &'a Deadline,
    /// Asks the monitoring port; `None` before the first request.
    client: Option<Client>,
    /// What `/varz` said last, or why it did not.
    varz: Option<Result<Varz, Failure>>,
    /// Another part follows: a request may take half of the time left.
    hurried: bool,
    /// Whether the broker has answered anything.
    answered: Cell<bool>,
}

/// The check of a broker, as it ended.
pub struct Finished {
    /// What was found.
    pub report: Report,
    /// Whether the broker answered anything at all.
    pub answered: bool,
}

/// Runs the mode for one broker, which has this place if it is one of several.
pub fn run(
    options: &Options,
    target: &Target,
    among: Option<Among>,
    deadline: &Deadline,
) -> Finished {
    let mut report = Report::new(&options.metrics);
    let mut check = Check {
        options,
        target,
        among,
        report: &mut report,
        deadline,
        client: None,
        varz: None,
        hurried: false,
        answered: Cell::new(false),
    };
    let result = (options.mode.run)(&mut check);
    check.note_warnings();
    let answered = check.answered.get();
    if let Err(failure) = result {
        report.fail(&failure);
    }
    Finished { report, answered }
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

    /// Connects to the client port, reads the INFO, and does TLS where it is wanted. The login
    /// comes later, with [`Session::log_in`].
    ///
    /// # Errors
    /// As [`Session::open`]; a file of the login cannot be used: unknown.
    pub fn open_session(&mut self) -> Result<Session<'a>, OpenError> {
        let port = self.client_port()?;
        self.deadline.begin(Step::Files)?;
        let login = Login::read(&self.target.login)?;
        let session = Session::open(&self.target.tls, &port, login, self.deadline)?;
        self.answered.set(true);
        let info = session.info();
        let text = format!(
            "broker {} {}, id {}",
            info.server_name, info.version, info.server_id
        );
        self.report.detail(2, &text);
        for warning in session.warnings() {
            self.report.detail(1, warning);
        }
        Ok(session)
    }

    /// The certificate that the client port shows, and its port.
    ///
    /// # Errors
    /// As [`Session::certificate`].
    pub fn shown_certificate(&mut self) -> Result<Certificate, OpenError> {
        let port = self.client_port()?;
        Session::certificate(&self.target.tls, &port, self.deadline)
    }

    /// Where the client port is, asked of the broker if it was not given.
    fn client_port(&mut self) -> Result<ClientPort, Failure> {
        let port = self.target.client_port(|| match self.varz.take() {
            Some(Ok(varz)) => Ok(varz),
            // It has been reported.
            Some(Err(_)) => Err(Failure::unknown("")),
            None => self.hurry(Self::announced),
        })?;
        let scheme = if port.tls { "tls" } else { "nats" };
        self.report
            .detail(2, &format!("asked {scheme}://{}", port.address));
        Ok(port)
    }

    /// `/varz` for what it says of the client port, in modes that need no monitoring port as well.
    fn announced(&mut self) -> Result<Varz, Failure> {
        self.request_for(&ANNOUNCED, ANNOUNCED.path)?
            .map_err(|error| self.http_failure(&error))
    }

    /// A path of the monitoring port, as messages name it.
    pub fn place(&self, path: &str) -> String {
        match &self.client {
            Some(client) => client.target(path),
            None => format!("{}{path}", self.target.monitor_place()),
        }
    }

    /// `/varz`, as a broker answers it.
    ///
    /// # Errors
    /// As [`Check::ask`].
    pub fn varz(&mut self) -> Result<Varz, Failure> {
        let varz = self.ask("/varz");
        self.varz = Some(varz.clone());
        varz
    }

    /// Status code and answer of `/healthz`.
    ///
    /// # Errors
    /// As [`Check::ask`]; 500 and 503 are answers.
    pub fn healthz(&mut self) -> Result<(u16, Healthz), Failure> {
        let need = self.need("/healthz")?;
        let client = self.client(need, need.path)?;
        let answer = client
            .healthz()
            .map_err(|error| self.http_failure(&error))?;
        self.answered.set(true);
        Ok(answer)
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
        match self.request(path)? {
            Ok(answer) => Ok(Some(answer)),
            Err(error) if error.is_missing() => {
                self.answered.set(true);
                Ok(None)
            }
            Err(error) => Err(self.http_failure(&error)),
        }
    }

    /// A page of a long list, in half of the time left: other pages follow. `None` if the page
    /// is longer than an answer may be.
    ///
    /// # Errors
    /// As [`Check::ask`].
    pub fn ask_page<T: DeserializeOwned>(&mut self, path: &str) -> Result<Option<T>, Failure> {
        match self.hurry(|check| check.request(path))? {
            Ok(page) => Ok(Some(page)),
            Err(monitor_client::Error::TooLarge { .. }) => {
                self.answered.set(true);
                Ok(None)
            }
            Err(error) if error.is_missing() => Err(self.not_there(path)?),
            Err(error) => Err(self.http_failure(&error)),
        }
    }

    /// The answer at a path; the inner error is why the broker gives none.
    fn request<T: DeserializeOwned>(
        &mut self,
        path: &str,
    ) -> Result<Result<T, monitor_client::Error>, Failure> {
        let need = self.need(path)?;
        self.request_for(need, path)
    }

    fn request_for<T: DeserializeOwned>(
        &mut self,
        need: &Need,
        path: &str,
    ) -> Result<Result<T, monitor_client::Error>, Failure> {
        let client = self.client(need, path)?;
        let fields: Vec<Field<'_>> = need.fields().map(|needed| needed.field).collect();
        match client.get_with(path, &fields) {
            Ok((answer, found)) => {
                self.accept(need, &client, &found)?;
                Ok(Ok(answer))
            }
            Err(error) => Ok(Err(error)),
        }
    }

    /// The value at one more path of an answer, given on the command line.
    ///
    /// # Errors
    /// As [`Check::ask`].
    pub fn inspect(&mut self, path: &str, place: &str) -> Result<Found, Failure> {
        let need = self.need(path)?;
        let client = self.client(need, path)?;
        let mut fields: Vec<Field<'_>> = need.fields().map(|needed| needed.field).collect();
        fields.push(Field {
            name: place,
            kind: Kind::Any,
        });
        let mut found = match client.inspect(path, &fields) {
            Err(monitor_client::Error::Status { code: 404, .. }) => {
                self.answered.set(true);
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
        self.answered.set(true);
        for (needed, found) in need.fields().zip(found) {
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
        let place = self.place(need.path);
        Ok(Failure::unknown(match need.midge_only {
            "" => format!("{place}: HTTP status 404"),
            why => format!("{why}: {place} is not there (HTTP status 404)"),
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

    /// The end of the run.
    pub fn deadline(&self) -> &'a Deadline {
        self.deadline
    }

    /// Notes that the state file is used from here on.
    ///
    /// # Errors
    /// No time is left.
    pub fn begin_state_file(&self) -> Result<(), Failure> {
        self.deadline.begin(Step::StateFile).map(|_| ())
    }

    /// The client of the monitoring port, for a request within the time left. Names take half of
    /// it at most: the verdict is known, and is still to be kept for the next run.
    fn client(&mut self, need: &Need, path: &str) -> Result<Client, Failure> {
        let client = match &self.client {
            Some(client) => client.clone(),
            None => self.new_client()?,
        };
        self.report
            .detail(2, &format!("asked {}", client.target(path)));
        let left = self.deadline.begin(need.step)?;
        let time = match self.hurried || need.is_for_names {
            true => left / 2,
            false => left,
        };
        Ok(client.within(time))
    }

    fn new_client(&mut self) -> Result<Client, Failure> {
        self.deadline.begin(Step::Files)?;
        let access = self.target.monitor.as_ref();
        let mut access = access.map_err(Failure::unknown)?.clone();
        if access
            .url
            .as_deref()
            .is_some_and(|url| url.starts_with("https:"))
        {
            access.tls = self.target.tls.files()?.files;
        }
        let client = Client::with_access(access, &OPTION_NAMES, TIMEOUT_MAX)
            .map_err(|error| Failure::unknown(error.to_string()))?;
        Ok(self.client.insert(client).clone())
    }

    /// Reports what is wrong with files that were used all the same.
    fn note_warnings(&mut self) {
        let warnings = self.client.as_ref().map(Client::warnings);
        for warning in warnings.unwrap_or_default() {
            self.report.detail(1, &warning);
        }
    }

    fn http_failure(&self, error: &monitor_client::Error) -> Failure {
        match error {
            monitor_client::Error::Refused { .. } => {
                let refused = Failure::critical(error.to_string());
                match self.target.is_monitored_elsewhere() {
                    true => refused.with_remedy(NOT_REACHABLE),
                    false => refused,
                }
            }
            monitor_client::Error::Timeout { .. } => Failure {
                text: error.to_string(),
                ..self.deadline.late()
            },
            monitor_client::Error::Connection { .. } => Failure::unknown(error.to_string()),
            // An answer, but not one to be used.
            _ => {
                self.answered.set(true);
                Failure::unknown(error.to_string())
            }
        }
    }
}
