//! One request: sending it, the limits of its answer, and what goes wrong in words.

use std::{
    io::{self, Read},
    sync::{Arc, PoisonError},
    time::{Duration, Instant},
};

use ureq::{
    Agent, Body,
    http::{Response, StatusCode, header},
};

use super::{Client, target};
use crate::{Bounds, Error, error::Phase, open::Opened, text, tls, transport::Late};

/// Bytes of an error's body that are looked at, and of its first line that are kept.
const ERROR_BODY: u64 = 4096;
const ERROR_LINE: usize = 400;

/// The shortest wait; a request without any time left fails with it.
pub(super) const TIMEOUT_MIN: Duration = Duration::from_millis(1);

/// What a request does.
#[derive(Clone, Copy)]
pub(super) enum Method {
    Get,
    Post,
}

/// An agent whose connection is used again, and what it was made from.
#[derive(Debug)]
pub(super) struct Kept {
    agent: Agent,
    opened: Arc<Opened>,
}

impl Client {
    /// Status and body; a status that is not `accepted` is an error.
    pub(super) fn fetch(
        &self,
        method: Method,
        path: &str,
        accepted: &[StatusCode],
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let opened = self.opener.open()?;
        let answer = self.exchange(&opened, method, path, accepted);
        if answer.as_ref().is_err_and(Error::concerns_access) {
            self.opener.note_failure();
        }
        answer
    }

    fn exchange(
        &self,
        opened: &Arc<Opened>,
        method: Method,
        path: &str,
        accepted: &[StatusCode],
    ) -> Result<(StatusCode, Vec<u8>), Error> {
        let begun = Instant::now();
        let limit = Bounds::of(path).bytes;
        let url = target(&opened.place, path);
        let fail = |error| self.error(url.clone(), error, begun);
        let mut response = self.call(opened, method, path, begun).map_err(fail)?;
        let status = response.status();
        if !accepted.contains(&status) {
            return Err(Error::Status {
                url,
                code: status.as_u16(),
                detail: error_detail(&mut response),
            });
        }
        // A body that announces too large a length is not read.
        if response.body().content_length() > Some(limit) {
            return Err(fail(ureq::Error::BodyExceedsLimit(limit)));
        }
        let body = response.body_mut().with_config().limit(limit);
        Ok((status, body.read_to_vec().map_err(fail)?))
    }

    /// Sends a request. If that fails on a connection that was kept, the broker has closed it
    /// meanwhile, and the request is sent once more.
    fn call(
        &self,
        opened: &Arc<Opened>,
        method: Method,
        path: &str,
        begun: Instant,
    ) -> Result<Response<Body>, ureq::Error> {
        let send = |agent: &Agent| {
            let left = self.timeout.saturating_sub(begun.elapsed());
            let to = format!("{}{path}", opened.url);
            // The two have no type in common.
            macro_rules! prepared {
                ($request:expr) => {{
                    let mut request = $request;
                    if let Some(login) = &opened.login {
                        request = request.header(header::AUTHORIZATION, login.text());
                    }
                    let limited = request.config().timeout_global(Some(left.max(TIMEOUT_MIN)));
                    limited.build()
                }};
            }
            match method {
                Method::Get => prepared!(agent.get(to)).call(),
                Method::Post => prepared!(agent.post(to)).send_empty(),
            }
        };
        let Some(kept) = &self.kept else {
            return send(&opened.agent());
        };
        let former = kept.lock().unwrap_or_else(PoisonError::into_inner).take();
        let former = former.filter(|former| Arc::ptr_eq(&former.opened, opened));
        let tried = former.map(|former| (send(&former.agent), former.agent));
        let (answer, agent) = match tried {
            Some((answer, agent)) if !matches!(answer, Err(ureq::Error::Io(_))) => (answer, agent),
            _ => {
                let agent = opened.agent();
                (send(&agent), agent)
            }
        };
        if answer.is_ok() {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(Kept {
                agent,
                opened: Arc::clone(opened),
            });
        }
        answer
    }

    fn error(&self, url: String, error: ureq::Error, begun: Instant) -> Error {
        match error {
            ureq::Error::BodyExceedsLimit(limit) => Error::TooLarge { url, limit },
            ureq::Error::Timeout(_) => self.late(url, Phase::Answer, begun),
            ureq::Error::Io(error) => self.io_error(url, &error, begun),
            ureq::Error::Other(cause) => match cause.downcast_ref() {
                Some(Late(phase)) => self.late(url, *phase, begun),
                None => Error::Connection {
                    url,
                    detail: cause.to_string(),
                },
            },
            other => Error::Connection {
                url,
                detail: match other.to_string() {
                    text if text.contains("http parse fail") => format!(
                        "{text}: this is not a monitoring port: the client port (4222) answers \
                         like this, and a port that wants https"
                    ),
                    text => text,
                },
            },
        }
    }

    fn io_error(&self, url: String, error: &io::Error, begun: Instant) -> Error {
        let cause = error.get_ref();
        if let Some(tls) = cause.and_then(|cause| cause.downcast_ref()) {
            let detail = tls::explain(tls, self.opener.names());
            return Error::Connection { url, detail };
        }
        // Errors of the transport that pass through TLS or the body's reader.
        let late = cause
            .and_then(|cause| cause.downcast_ref())
            .and_then(|error| match error {
                ureq::Error::Other(cause) => cause.downcast_ref(),
                _ => None,
            });
        match (late, error.kind()) {
            (Some(Late(phase)), _) => self.late(url, *phase, begun),
            (None, io::ErrorKind::TimedOut) => self.late(url, Phase::Answer, begun),
            (None, io::ErrorKind::ConnectionRefused) => Error::Refused { url },
            (None, io::ErrorKind::UnexpectedEof) => Error::Connection {
                url,
                detail: "the connection was closed before the answer was complete".to_owned(),
            },
            (None, _) => Error::Connection {
                url,
                detail: error.to_string(),
            },
        }
    }

    /// The request is over after `begun`: normally at the time limit, but with several addresses
    /// perhaps earlier.
    fn late(&self, url: String, phase: Phase, begun: Instant) -> Error {
        let passed = begun.elapsed();
        Error::Timeout {
            url,
            after: passed.min(self.timeout),
            phase,
        }
    }
}

/// What an answer with another status says: the first line of its body, which is where a broker
/// names the option to set, or where it redirects to.
fn error_detail(response: &mut Response<Body>) -> String {
    let location = response.headers().get(header::LOCATION);
    if let Some(location) = location.filter(|_| response.status().is_redirection()) {
        let location = String::from_utf8_lossy(location.as_bytes());
        return one_line(&format!("leads to {location}, which is not followed"));
    }
    let mut start = Vec::new();
    let mut body = response.body_mut().as_reader().take(ERROR_BODY);
    // What has been read counts; the status is the error.
    let _ = body.read_to_end(&mut start);
    first_line(&start)
}

/// The first line of a body that is no JSON; empty for a page of a proxy, which says no more than
/// its status.
pub(super) fn first_line(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    one_line(
        line.filter(|line| !line.starts_with('<'))
            .unwrap_or_default(),
    )
}

fn one_line(line: &str) -> String {
    let line = text::escaped(line);
    match text::cut(&line, ERROR_LINE) {
        whole if whole.len() == line.len() => line.into_owned(),
        cut => format!("{cut}…"),
    }
}
