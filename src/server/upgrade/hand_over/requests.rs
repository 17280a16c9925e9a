//! The thread that takes requests of other processes (`upgrade::request`): upgrades, and comparisons
//! of a file with what is in force.

use std::{
    io,
    os::unix::net::UnixListener,
    path::PathBuf,
    sync::{
        Arc,
        mpsc::{RecvTimeoutError, sync_channel},
    },
    thread,
    time::Duration,
};

use tokio::{runtime::Handle, sync::mpsc};
use tracing::warn;

use super::{
    super::{
        listeners::Listeners,
        request::{self, Outcome, Request},
    },
    HandOver, Handed, STACK_LEN,
};
use crate::{
    server::{
        Server,
        reload::{self, Purpose},
    },
    telemetry::{
        MonotonicMillis,
        log_throttle::{LogOncePerName, LogThrottle},
        threads,
    },
};

/// Reports that can wait; there are two at most.
const HANDED_MAX: usize = 2;

/// How long it may take to read a file that is only compared.
const COMPARING_TIMEOUT: Duration = Duration::from_secs(5);

/// Pause after a failed accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

impl HandOver {
    /// Takes requests on a thread of its own; without it the broker runs as well.
    /// Returns where is reported what is to be done.
    pub fn listen(
        server: &Arc<Server>,
        requests: io::Result<UnixListener>,
        listeners: Listeners,
        owns_socket_file: bool,
    ) -> mpsc::Receiver<Handed> {
        let (handed, receiver) = mpsc::channel(HANDED_MAX);
        let hand_over = Self {
            server: server.clone(),
            listeners,
            owns_socket_file,
            handed,
        };
        let runtime = Handle::current();
        let listening = requests.and_then(|listener| {
            let work = move || hand_over.run(&listener, &runtime);
            threads::spawn("upgrade", STACK_LEN, work)
        });
        if let Err(error) = listening {
            warn!("This process cannot be upgraded, only restarted: {error}");
        }
        receiver
    }

    fn run(mut self, listener: &UnixListener, runtime: &Handle) {
        let mut handed_to = None;
        let (throttle, accept_errors) = (LogThrottle::default(), LogOncePerName::default());
        loop {
            let stream = match listener.accept() {
                Ok((stream, _)) => stream,
                Err(error) => {
                    let text = format!(
                        "Requests of other processes cannot be accepted: {error}; it is tried again"
                    );
                    if accept_errors.admit(MonotonicMillis::now(), &error.to_string()) {
                        warn!("{text}");
                    }
                    thread::sleep(ACCEPT_PAUSE);
                    continue;
                }
            };
            let answered = request::answer(stream, |request| match request {
                Request::Upgrade => match self.upgrade(runtime, &mut handed_to) {
                    Ok(text) => Outcome::Done(text),
                    Err(why) => Outcome::Failed(why),
                },
                Request::Compare(file) => self.compare(file),
            });
            if let Err(error) = answered {
                let text = format!("A request of a process could not be answered: {error}");
                if let Some(text) = throttle.throttle(MonotonicMillis::now(), text, "requests") {
                    warn!("{text}");
                }
            }
        }
    }

    /// What a reload would do with a file. It is read by a thread of its own.
    fn compare(&self, file: PathBuf) -> Outcome {
        let (sender, outcome) = sync_channel(1);
        self.server
            .reload(Purpose::Try(Some(file)), move |outcome| {
                // Nobody may wait any more.
                let _ = sender.send(outcome);
            });
        match outcome.recv_timeout(COMPARING_TIMEOUT) {
            Ok(reload::Outcome {
                error: Some(error), ..
            }) => Outcome::Refused(error),
            Ok(outcome) => Outcome::Compared(outcome.answer(true)),
            Err(RecvTimeoutError::Timeout) => Outcome::Failed(format!(
                "the file is not read within {COMPARING_TIMEOUT:?}; see /explainz"
            )),
            Err(RecvTimeoutError::Disconnected) => {
                Outcome::Failed("the comparison ended early; see the log".into())
            }
        }
    }
}
