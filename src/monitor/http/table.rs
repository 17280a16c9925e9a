//! The table of paths: what answers each of them, and in which form.

use std::pin::Pin;

use hyper::{Method, StatusCode, http::request::Parts};
use serde::Serialize;

use super::{access::MonitorListener, answer::Answer, event_stream::EventStream, request::Request};
use crate::monitor::{
    Monitor, dashboard,
    endpoints::{
        accountz, accstatz, clusterz, connz, control, eventsz, explainz, federationz, gatewayz,
        healthz, jsz, latencyz, leafz, memz, nodesz, pathz, refusal::Refusal, routez, slowz, subsz,
        topz, varz,
    },
    metrics::{self, Format},
};

/// An answer that is waited for without holding up others.
pub(super) type Later = Pin<Box<dyn Future<Output = Result<Answer, Refusal>> + Send>>;

/// Makes an answer.
pub(super) type Answering = fn(&Monitor, &Request) -> Result<Answer, Refusal>;

/// The function that answers a request.
pub(super) enum Handler {
    /// On the monitoring thread.
    Now(Answering),
    /// On the second thread: the time of the answer grows with the number of connections,
    /// accounts or routes.
    Long(Answering),
    /// When something else is done.
    Later(fn(&Monitor, &Request) -> Result<Later, Refusal>),
}

/// One path of the monitoring port.
pub(in crate::monitor) struct Endpoint {
    /// The path after the base path; `/` is the base path itself.
    pub(in crate::monitor) path: &'static str,
    /// The name it is counted by in `http_req_stats`.
    pub(super) counted_as: &'static str,
    /// Its description on the index page; empty for what that does not link.
    pub(in crate::monitor) about: &'static str,
    pub(super) handler: Handler,
}

/// All paths.
pub(in crate::monitor) const ENDPOINTS: &[Endpoint] = &[
    endpoint("/", "", |monitor, _| {
        Ok(Answer::html(dashboard::page(monitor)))
    }),
    endpoint("/dashboard.css", "", |_, _| {
        Ok(Answer::fixed("text/css; charset=utf-8", dashboard::STYLE))
    }),
    endpoint("/dashboard.js", "", |_, _| {
        Ok(Answer::fixed(
            "text/javascript; charset=utf-8",
            dashboard::SCRIPT,
        ))
    }),
    endpoint(
        "/varz",
        "Settings, totals and resources",
        |monitor, request| pretty(varz::answer(monitor, &request.query)),
    ),
    long("/connz", "Connections", |monitor, request| {
        pretty(connz::answer(monitor, &request.query))
    }),
    long("/subsz", "Subscriptions", subscriptions),
    Endpoint {
        counted_as: "/subsz",
        ..long("/subscriptionsz", "", subscriptions)
    },
    long("/pathz", "Where a message would go, and why", path),
    endpoint("/explainz", "What is wrong", findings),
    long("/slowz", "Slow readers", |monitor, request| {
        pretty(slowz::answer(monitor, &request.query))
    }),
    long(
        "/topz",
        "The busiest clients and subjects",
        |monitor, request| pretty(topz::answer(monitor, &request.query)),
    ),
    long(
        "/latencyz",
        "How long messages stay in the broker",
        |monitor, request| pretty(latencyz::answer(monitor, &request.query)),
    ),
    endpoint("/eventsz", "Events", events),
    endpoint(
        "/memz",
        "Memory, and limits that may be reached",
        |monitor, request| pretty(memz::answer(monitor, &request.query)),
    ),
    endpoint("/healthz", "Health", |monitor, request| {
        let (status, health) = healthz::answer(monitor, &request.query)?;
        Answer::compact_json(status, &health)
    }),
    long("/metrics", "Metrics for Prometheus", exposition),
    long("/accountz", "Accounts", |monitor, request| {
        pretty(accountz::answer(monitor, &request.query))
    }),
    long("/accstatz", "Traffic by account", |monitor, request| {
        pretty(accstatz::answer(monitor, &request.query))
    }),
    long("/routez", "Routes", |monitor, request| {
        pretty(routez::answer(monitor, &request.query))
    }),
    long(
        "/clusterz",
        "Members, and the routes between them",
        |monitor, request| pretty(clusterz::answer(monitor, &request.query)),
    ),
    endpoint(
        "/federationz",
        "The federation of the site",
        |monitor, request| pretty(federationz::answer(monitor, &request.query)),
    ),
    long("/nodesz", "Expected nodes", |monitor, request| {
        pretty(nodesz::answer(monitor, &request.query))
    }),
    endpoint("/leafz", "Leafnodes", |monitor, request| {
        pretty(leafz::answer(monitor, &request.query))
    }),
    endpoint("/gatewayz", "Gateways", |monitor, request| {
        pretty(gatewayz::answer(monitor, &request.query))
    }),
    endpoint("/jsz", "JetStream", |monitor, request| {
        pretty(jsz::answer(monitor, &request.query))
    }),
];

/// The paths that change something: POST on the Unix socket only.
pub(super) const ACTIONS: &[Endpoint] = &[
    endpoint("/forget", "", |monitor, request| {
        pretty(control::forget(monitor, &request.query))
    }),
    endpoint("/kick", "", |monitor, request| {
        pretty(control::kick(monitor, &request.query))
    }),
    endpoint("/rebalance", "", |monitor, request| {
        pretty(control::rebalance(monitor, &request.query))
    }),
    Endpoint {
        path: "/reload",
        counted_as: "/reload",
        about: "",
        handler: Handler::Later(|monitor, request| {
            let reloading = control::reload(monitor, &request.query)?;
            Ok(Box::pin(async { pretty(reloading.await) }))
        }),
    },
    endpoint("/trace", "", |monitor, request| {
        pretty(control::trace(monitor, &request.query))
    }),
];

fn subscriptions(monitor: &Monitor, request: &Request) -> Result<Answer, Refusal> {
    pretty(subsz::answer(monitor, &request.query))
}

/// Findings as JSON, or as text for people with `format=text` or
/// `Accept: text/plain`.
fn findings(monitor: &Monitor, request: &Request) -> Result<Answer, Refusal> {
    match wants_text(request)? {
        true => Ok(Answer::text(explainz::page(monitor))),
        false => pretty(explainz::answer(monitor, &request.query)),
    }
}

/// Where a message would go, in the same forms.
fn path(monitor: &Monitor, request: &Request) -> Result<Answer, Refusal> {
    match wants_text(request)? {
        true => Ok(Answer::text(pathz::page(monitor, &request.query)?)),
        false => pretty(pathz::answer(monitor, &request.query)),
    }
}

/// Whether an answer is wanted as text for people.
fn wants_text(request: &Request) -> Result<bool, Refusal> {
    match &*request.query.text("format") {
        "" => Ok(request.accepts("text/plain")),
        "text" => Ok(true),
        "json" => Ok(false),
        _ => Err(Refusal::bad_request("'format' must be json or text".into())),
    }
}

/// A page of events or, with `Accept: text/event-stream`, a stream of them.
/// `Last-Event-ID` is a `since` that a browser sends by itself.
fn events(monitor: &Monitor, request: &Request) -> Result<Answer, Refusal> {
    let eventsz::Selected { since, kinds } = eventsz::Selected::parse(&request.query)?;
    if request.accepts("text/event-stream") {
        let stream = EventStream::open(monitor, request.last_event_id.or(since), kinds)?;
        return Ok(Answer::events(stream));
    }
    let since = since.or(request.last_event_id);
    pretty(eventsz::page(monitor, &request.query, since, &kinds))
}

/// Metrics in the form that the scraper asks for.
fn exposition(monitor: &Monitor, request: &Request) -> Result<Answer, Refusal> {
    let format = match request.accepts(metrics::OPEN_METRICS) {
        true => Format::OpenMetrics,
        false => Format::Text,
    };
    let text = metrics::render(monitor, &request.query, format)?;
    Ok(Answer::metrics(format.content_type(), text))
}

/// A value as JSON that people can read.
fn pretty(value: Result<impl Serialize, Refusal>) -> Result<Answer, Refusal> {
    Answer::pretty_json(&value?)
}

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

/// The endpoint of a path. The prefix alone means the index page; without a prefix that is
/// `/`.
pub(super) fn find(
    among: &'static [Endpoint],
    prefix: &str,
    path: &str,
) -> Option<&'static Endpoint> {
    let path = match path.strip_prefix(prefix)? {
        "" => "/",
        "/" if !prefix.is_empty() => return None,
        rest => rest,
    };
    among.iter().find(|endpoint| endpoint.path == path)
}

/// The endpoint that a request is for, if it may be had there by this method.
pub(super) fn choose(
    prefix: &str,
    request: &Parts,
    listener: MonitorListener,
) -> Result<&'static Endpoint, Refusal> {
    let (method, path) = (&request.method, request.uri.path());
    let not_allowed = |message: String| Refusal {
        status: StatusCode::METHOD_NOT_ALLOWED,
        message,
    };
    if let Some(action) = find(ACTIONS, prefix, path) {
        return match (listener, method) {
            (MonitorListener::Tcp { .. }, _) => Err(Refusal {
                status: StatusCode::FORBIDDEN,
                message: "Changes are possible through the Unix socket only: set \"unix\" in the \
                          block \"monitor\" of the broker's configuration."
                    .into(),
            }),
            (MonitorListener::Unix(_), &Method::POST) => Ok(action),
            (MonitorListener::Unix(_), _) => Err(not_allowed(format!(
                "{method} is not allowed here: this changes something, so use POST."
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

    /// The end-to-end tests take all other paths from the index page.
    #[test]
    fn paths_that_the_index_page_does_not_describe_are_known_to_the_tests() {
        use test_support::endpoints;
        let mut undescribed: Vec<&str> = ENDPOINTS
            .iter()
            .filter(|known| known.about.is_empty())
            .map(|known| known.path)
            .collect();
        undescribed.sort_unstable();
        assert_eq!(undescribed, endpoints::UNDESCRIBED);
        let actions: Vec<&str> = ACTIONS.iter().map(|known| known.path).collect();
        assert_eq!(actions, endpoints::ACTIONS);
    }

    #[test]
    fn both_names_of_the_subscriptions_count_as_one() {
        let names = ENDPOINTS
            .iter()
            .filter(|known| known.counted_as == "/subsz");
        assert_eq!(names.count(), 2);
    }
}
