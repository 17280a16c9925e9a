//! From a request to a response: permission, the headers that every response has, and the
//! second thread on which long answers are made.

use std::{collections::BTreeMap, sync::Arc};

use hyper::{
    Response, StatusCode,
    header::{self, HeaderValue},
    http::request::Parts,
};
use parking_lot::Mutex;
use tracing::debug;

use super::{
    access::{self, MonitorListener},
    answer::{Answer, JSON},
    listener::warn_of,
    request::{Request, accepts},
    table::{ACTIONS, Answering, Handler, choose, find},
    unwritten::{Body, hold},
};
use crate::{
    connection::admission::Source,
    monitor::{Monitor, endpoints::refusal::Refusal},
    telemetry::MonotonicMillis,
};

/// The page loads everything from this port, and no other page may embed it.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// Requests so far, by path.
#[derive(Default)]
pub(in crate::monitor) struct RequestCounts(Mutex<BTreeMap<&'static str, u64>>);

impl RequestCounts {
    fn count(&self, path: &'static str) {
        *self.0.lock().entry(path).or_default() += 1;
    }

    /// The counts of the paths that were asked for.
    pub(in crate::monitor) fn by_path(&self) -> BTreeMap<String, u64> {
        let counts = self.0.lock();
        counts
            .iter()
            .map(|(path, count)| ((*path).to_owned(), *count))
            .collect()
    }
}

/// The response to a request received at `listener`.
pub(super) async fn respond<B>(
    monitor: Arc<Monitor>,
    request: hyper::Request<B>,
    listener: MonitorListener,
) -> Response<Body> {
    let (request, _body) = request.into_parts();
    let wants_json = accepts(&request.headers, JSON);
    let answer = answer(&monitor, &request, listener)
        .await
        .inspect_err(|refusal| {
            debug!(
                "{} {} refused: {}",
                request.method,
                request.uri.path(),
                refusal.message
            );
        })
        .unwrap_or_else(|refusal| Answer::refused(refusal, wants_json));
    let answer = hold(&monitor.unwritten, answer);
    let mut response = Response::new(answer.body);
    *response.status_mut() = answer.status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(answer.content_type),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    headers.insert(header::CONTENT_SECURITY_POLICY, CONTENT_SECURITY_POLICY);
    match answer.status {
        StatusCode::METHOD_NOT_ALLOWED => {
            let is_action = find(ACTIONS, &monitor.settings.base_path, request.uri.path());
            let allowed = match is_action {
                Some(_) => "POST",
                None => "GET, HEAD",
            };
            headers.insert(header::ALLOW, HeaderValue::from_static(allowed));
        }
        StatusCode::UNAUTHORIZED => {
            headers.insert(
                header::WWW_AUTHENTICATE,
                HeaderValue::from_static("Basic realm=\"midge\", charset=\"UTF-8\""),
            );
        }
        _ => {}
    }
    response
}

async fn answer(
    monitor: &Arc<Monitor>,
    request: &Parts,
    listener: MonitorListener,
) -> Result<Answer, Refusal> {
    let headers = &request.headers;
    if let MonitorListener::Tcp { local, peer } = listener {
        let rule = &monitor.host_rule;
        rule.check(&request.uri, request.version, headers, local)
            .inspect_err(|refusal| log_misdirected(monitor, listener, refusal))?;
        access::check_login(monitor, headers, peer)?;
    }
    let endpoint = choose(&monitor.settings.base_path, request, listener)?;
    monitor.requests.count(endpoint.counted_as);
    let request = Request::of(request);
    match endpoint.handler {
        Handler::Now(answer) => answer(monitor, &request),
        Handler::Long(answer) => make_beside(monitor, listener.source(), answer, request).await,
        Handler::Later(answer) => answer(monitor, &request)?.await,
    }
}

/// Logs a host that is not this machine, with what lets it in: each one once an hour.
fn log_misdirected(monitor: &Monitor, listener: MonitorListener, refusal: &Refusal) {
    let lines = &monitor.server.broker.telemetry.misdirected_lines;
    if refusal.status == StatusCode::MISDIRECTED_REQUEST
        && lines.admit(MonotonicMillis::now(), &refusal.message)
    {
        let text = format!("Monitoring request refused: {}", refusal.message);
        warn_of(monitor, listener, text);
    }
}

/// Makes a long answer on another thread, one at a time. A client that polls the most
/// expensive answer keeps that thread busy, while health, findings and totals are still
/// answered immediately; sources take turns. A waiting request uses nothing but its
/// connection, and gives up its turn when that ends.
async fn make_beside(
    monitor: &Arc<Monitor>,
    source: Source,
    answer: Answering,
    request: Request,
) -> Result<Answer, Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: format!("The answer could not be written: {error}"),
    };
    let turn = monitor.long_answers.wait(source).await;
    let turn = turn.map_err(|error| failed(&error))?;
    let monitor = monitor.clone();
    let made = tokio::task::spawn_blocking(move || {
        // Held until the answer is made, even if its requester has left.
        let _turn = turn;
        answer(&monitor, &request)
    });
    made.await.map_err(|error| failed(&error))?
}
