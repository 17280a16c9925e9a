//! From a request to a response: the table of endpoints, and what every
//! response has in common.

use std::{
    collections::BTreeMap,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::{
    Method, Request, Response, StatusCode,
    header::{self, HeaderValue},
    http::request::Parts,
};
use parking_lot::Mutex;
use tracing::debug;

use super::{
    Monitor, accountz, accstatz,
    answer::{Answer, Content, Refusal},
    clusterz, connz, control, dashboard,
    event_stream::EventStream,
    eventsz, explainz, gatewayz, healthz, jsz, latencyz, leafz, memz, metrics,
    monitor_listener::{self, MonitorListener},
    query::Query,
    routez, slowz, subsz, topz, varz,
};
use crate::connection::admission::Source;

/// Bytes of answers that may wait for their readers, all connections together.
/// The largest answer fits several times.
const UNWRITTEN_MAX: usize = 128 * 1024 * 1024;

/// An answer that is not longer always goes out, so that slow readers of long ones
/// keep no health check from its answer: there are few connections.
const SMALL: usize = 64 * 1024;

/// What is said when they are used up.
const OUT_OF_MEMORY: &[u8] = b"Answers that slow readers have not taken yet fill the memory set \
    aside for them; try again later, or ask for less (limit).";

/// The page takes all it needs from this port, and no other page may frame it.
const CONTENT_SECURITY_POLICY: HeaderValue = HeaderValue::from_static(
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; \
     base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
);

/// An answer that is waited for without holding up others.
pub(super) type Later = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;

/// Makes an answer.
type Answering = fn(&Monitor, &Query) -> Result<Answer, Refusal>;

/// What answers a request.
enum Handler {
    /// On the monitoring thread.
    Now(Answering),
    /// Beside it: the answer takes the longer, the more connections, accounts or
    /// routes there are.
    Long(Answering),
    /// When something else is done.
    Later(fn(&Monitor, &Query) -> Result<Later, Refusal>),
}

/// One path of the monitoring port.
pub(super) struct Endpoint {
    /// The path behind the base path; `/` is the base path itself.
    pub(super) path: &'static str,
    /// The name it is counted by in `http_req_stats`.
    counted_as: &'static str,
    /// What the page says of it; empty for what it does not link.
    pub(super) about: &'static str,
    handler: Handler,
}

/// All paths.
pub(super) const ENDPOINTS: &[Endpoint] = &[
    endpoint("/", "", dashboard::page),
    endpoint("/dashboard.css", "", dashboard::style),
    endpoint("/dashboard.js", "", dashboard::script),
    endpoint("/varz", "Settings, totals and resources", varz::answer),
    long("/connz", "Connections", connz::answer),
    long("/subsz", "Subscriptions", subsz::answer),
    Endpoint {
        path: "/subscriptionsz",
        counted_as: "/subsz",
        about: "",
        handler: Handler::Long(subsz::answer),
    },
    endpoint("/explainz", "What is wrong", explainz::answer),
    long("/slowz", "Readers that fell behind", slowz::answer),
    long("/topz", "Who and what carries the load", topz::answer),
    long("/latencyz", "How long messages stay", latencyz::answer),
    endpoint("/eventsz", "Events", eventsz::answer),
    endpoint("/memz", "Memory and ceilings", memz::answer),
    endpoint("/healthz", "Health", healthz::answer),
    long("/metrics", "Figures for Prometheus", metrics::answer),
    long("/accountz", "Accounts", accountz::answer),
    long("/accstatz", "Traffic by account", accstatz::answer),
    long("/routez", "Routes", routez::answer),
    long("/clusterz", "Members, and who sees whom", clusterz::answer),
    endpoint("/leafz", "Leafnodes", leafz::answer),
    endpoint("/gatewayz", "Gateways", gatewayz::answer),
    endpoint("/jsz", "JetStream", jsz::answer),
];

/// The paths that change something: POST on the Unix socket only.
const ACTIONS: &[Endpoint] = &[
    endpoint("/forget", "", control::forget),
    endpoint("/kick", "", control::kick),
    Endpoint {
        path: "/reload",
        counted_as: "/reload",
        about: "",
        handler: Handler::Later(control::reload),
    },
    endpoint("/trace", "", control::trace),
];

const fn endpoint(path: &'static str, about: &'static str, handler: Answering) -> Endpoint {
    Endpoint {
        path,
        counted_as: path,
        about,
        handler: Handler::Now(handler),
    }
}

/// An endpoint whose answers are made beside the monitoring thread.
const fn long(path: &'static str, about: &'static str, handler: Answering) -> Endpoint {
    Endpoint {
        handler: Handler::Long(handler),
        ..endpoint(path, about, handler)
    }
}

/// Requests so far, by path.
#[derive(Default)]
pub(super) struct RequestCounts(Mutex<BTreeMap<&'static str, u64>>);

impl RequestCounts {
    fn count(&self, path: &'static str) {
        *self.0.lock().entry(path).or_default() += 1;
    }

    /// The counts of the paths that were asked for.
    pub(super) fn by_path(&self) -> BTreeMap<String, u64> {
        let counts = self.0.lock();
        counts
            .iter()
            .map(|(path, count)| ((*path).to_owned(), *count))
            .collect()
    }
}

/// The body of a response: all at once, or events as they happen.
pub(super) type Body = Either<Full<Bytes>, EventStream>;

/// The response to a request that came in at `door`.
pub(super) async fn respond<B>(
    monitor: Arc<Monitor>,
    request: Request<B>,
    door: MonitorListener,
) -> Response<Body> {
    let (request, _body) = request.into_parts();
    let answer = answer(&monitor, &request, door)
        .await
        .inspect_err(|refusal| {
            debug!(
                "{} {} refused: {}",
                request.method,
                request.uri.path(),
                refusal.message
            );
        })
        .unwrap_or_else(Answer::from);
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
    door: MonitorListener,
) -> Result<Answer, Refusal> {
    let headers = &request.headers;
    if let MonitorListener::Tcp { local, peer } = door {
        let rule = &monitor.host_rule;
        rule.check(&request.uri, request.version, headers, local)?;
        monitor_listener::check_login(monitor, headers, peer)?;
    }
    let endpoint = choose(&monitor.settings.base_path, request, door)?;
    monitor.requests.count(endpoint.counted_as);
    let query = Query::parse(request.uri.query().unwrap_or_default()).with_headers(headers);
    match endpoint.handler {
        Handler::Now(answer) => answer(monitor, &query),
        Handler::Long(answer) => make_beside(monitor, door.source(), answer, query).await,
        Handler::Later(answer) => answer(monitor, &query)?.await,
    }
}

/// Makes an answer that may take long on another thread, one at a time: whoever
/// asks for the dearest again and again keeps that thread busy, while health,
/// findings and totals are answered as ever, and sources take turns. Who waits for
/// his turn holds nothing but his connection, and his place is gone with it.
async fn make_beside(
    monitor: &Arc<Monitor>,
    source: Source,
    answer: Answering,
    query: Query,
) -> Result<Answer, Refusal> {
    let failed = |error: &dyn std::fmt::Display| Refusal {
        status: StatusCode::INTERNAL_SERVER_ERROR,
        message: format!("The answer could not be made: {error}"),
    };
    let turn = monitor.long_answers.wait(source).await;
    let turn = turn.map_err(|error| failed(&error))?;
    let monitor = monitor.clone();
    let made = tokio::task::spawn_blocking(move || {
        // Kept until it is made, even if nobody waits for it any more.
        let _turn = turn;
        answer(&monitor, &query)
    });
    made.await.map_err(|error| failed(&error))?
}

/// The endpoint that a request is for, if it may be had there by this method.
fn choose(
    prefix: &str,
    request: &Parts,
    door: MonitorListener,
) -> Result<&'static Endpoint, Refusal> {
    let (method, path) = (&request.method, request.uri.path());
    let not_allowed = |message: String| Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        message,
    };
    if let Some(action) = find(ACTIONS, prefix, path) {
        return match (door, method) {
            (MonitorListener::Tcp { .. }, _) => Err(Refusal {
                status: StatusCode::FORBIDDEN,
                message: "Changes are made over the Unix socket only: set \"unix\" in the block \
                          \"monitor\" of the broker's configuration."
                    .into(),
            }),
            (MonitorListener::Unix(_), &Method::POST) => Ok(action),
            (MonitorListener::Unix(_), _) => Err(not_allowed(format!(
                "{method} is not allowed here: this changes something and wants POST."
            ))),
        };
    }
    if !matches!(*method, Method::GET | Method::HEAD) {
        return Err(not_allowed(format!(
            "{method} is not allowed here: the monitoring port answers GET and HEAD."
        )));
    }
    find(ENDPOINTS, prefix, path).ok_or_else(|| Refusal {
        status: StatusCode::NOT_FOUND,
        message: "404 page not found\n".into(),
    })
}

/// The body of an endpoint's answer, asked for without HTTP.
pub(super) fn ask(monitor: &Monitor, path: &str, query: &Query) -> Result<Vec<u8>, Refusal> {
    let missing = || Refusal {
        status: StatusCode::NOT_FOUND,
        message: format!("there is no endpoint {path}"),
    };
    let endpoint = find(ENDPOINTS, "", path).ok_or_else(missing)?;
    let (Handler::Now(answer) | Handler::Long(answer)) = endpoint.handler else {
        return Err(missing());
    };
    match answer(monitor, query)?.content {
        Content::Bytes(body) => Ok(body),
        Content::Events(_) => Err(missing()),
    }
}

/// The endpoint of a path. The prefix stands alone for the index page, and
/// without a prefix that is `/`.
fn find(among: &'static [Endpoint], prefix: &str, path: &str) -> Option<&'static Endpoint> {
    let path = match path.strip_prefix(prefix)? {
        "" => "/",
        "/" if !prefix.is_empty() => return None,
        rest => rest,
    };
    among.iter().find(|endpoint| endpoint.path == path)
}

/// An answer whose bytes are accounted for until they are written.
struct Held {
    status: StatusCode,
    content_type: &'static str,
    body: Body,
}

/// A body, and the account it is booked on.
struct Booked {
    body: Vec<u8>,
    unwritten: Arc<AtomicUsize>,
}

/// Books the answer's bytes, or gives a short refusal in its place when slow
/// readers hold too many already. Readers of events are limited in number.
fn hold(unwritten: &Arc<AtomicUsize>, answer: Answer) -> Held {
    let body = match answer.content {
        Content::Bytes(body) => body,
        Content::Events(stream) => {
            return Held {
                status: answer.status,
                content_type: answer.content_type,
                body: Either::Right(stream),
            };
        }
    };
    // One thread books, so that nobody can come in between.
    if unwritten.load(Ordering::Relaxed) + body.len() > UNWRITTEN_MAX && body.len() > SMALL {
        return Held {
            status: StatusCode::SERVICE_UNAVAILABLE,
            content_type: "text/plain; charset=utf-8",
            body: Either::Left(Full::new(Bytes::from_static(OUT_OF_MEMORY))),
        };
    }
    unwritten.fetch_add(body.len(), Ordering::Relaxed);
    Held {
        status: answer.status,
        content_type: answer.content_type,
        body: Either::Left(Full::new(Bytes::from_owner(Booked {
            body,
            unwritten: unwritten.clone(),
        }))),
    }
}

impl AsRef<[u8]> for Booked {
    fn as_ref(&self) -> &[u8] {
        &self.body
    }
}

impl Drop for Booked {
    fn drop(&mut self) {
        self.unwritten.fetch_sub(self.body.len(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_are_exact() {
        let found = |prefix, path| find(ENDPOINTS, prefix, path).map(|endpoint| endpoint.path);
        assert_eq!(found("", "/"), Some("/"));
        assert_eq!(found("", "/varz"), Some("/varz"));
        assert_eq!(found("", "/varz/"), None);
        assert_eq!(found("", "/nope"), None);
        assert_eq!(found("/foo", "/foo"), Some("/"));
        assert_eq!(found("/foo", "/foo/varz"), Some("/varz"));
        for path in ["/", "/varz", "/foo/", "/foovarz", "/foo/foo"] {
            assert_eq!(found("/foo", path), None, "{path}");
        }
    }

    #[test]
    fn answers_that_wait_have_a_limit_together() {
        let unwritten = Arc::new(AtomicUsize::new(UNWRITTEN_MAX - SMALL - 1));
        let hold_page = || hold(&unwritten, Answer::html("x".repeat(SMALL + 1)));
        let first = hold_page();
        assert_eq!(first.status, StatusCode::OK);
        assert_eq!(hold_page().status, StatusCode::SERVICE_UNAVAILABLE);
        let small = hold(&unwritten, Answer::html("healthy".into()));
        assert_eq!(small.status, StatusCode::OK);
        drop((first, small));
        assert_eq!(unwritten.load(Ordering::Relaxed), UNWRITTEN_MAX - SMALL - 1);
        assert_eq!(hold_page().status, StatusCode::OK);
    }

    #[test]
    fn both_names_of_the_subscriptions_count_as_one() {
        let names = ENDPOINTS
            .iter()
            .filter(|known| known.counted_as == "/subsz");
        assert_eq!(names.count(), 2);
    }
}
