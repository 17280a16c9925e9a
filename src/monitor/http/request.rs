//! A request as the handlers of the table take it: the parameters, and the headers
//! by which it chooses the form of its answer.

use hyper::{HeaderMap, header, header::HeaderValue, http::request::Parts};

use crate::monitor::endpoints::query::Query;

/// The target of a request.
pub(super) struct Request {
    /// The parameters behind its `?`.
    pub(super) query: Query,
    /// Its `Accept`; see [`accepts`](Self::accepts).
    accept: String,
    /// The last server-sent event that its sender has seen.
    pub(super) last_event_id: Option<u64>,
}

impl Request {
    /// The target of these first lines.
    pub(super) fn of(parts: &Parts) -> Self {
        Self {
            query: Query::parse(parts.uri.query().unwrap_or_default()),
            accept: accept(&parts.headers),
            last_event_id: parts
                .headers
                .get("last-event-id")
                .and_then(|id| id.to_str().ok()?.trim().parse().ok()),
        }
    }

    /// Whether the request names this media type (in lower case) as welcome.
    pub(super) fn accepts(&self, media_type: &str) -> bool {
        names(&self.accept, media_type)
    }
}

/// Whether the headers of a request name this media type (in lower case) as welcome.
pub(super) fn accepts(headers: &HeaderMap, media_type: &str) -> bool {
    names(&accept(headers), media_type)
}

fn names(accept: &str, media_type: &str) -> bool {
    accept
        .split(',')
        .any(|range| range.split(';').next().map(str::trim) == Some(media_type))
}

/// `Accept`, in lower case; empty if there is none.
fn accept(headers: &HeaderMap) -> String {
    let text = |value: &HeaderValue| String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
    let accepts: Vec<String> = headers.get_all(header::ACCEPT).iter().map(text).collect();
    accepts.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_choose_the_form() {
        let request = |lines: &[(&str, &str)]| {
            let mut request = hyper::Request::get("/eventsz?since=3");
            for (name, value) in lines {
                request = request.header(*name, *value);
            }
            Request::of(&request.body(()).unwrap().into_parts().0)
        };
        let asked = request(&[
            ("accept", "text/html, Text/Plain;q=0.5"),
            ("accept", "text/event-stream"),
            ("last-event-id", "17"),
        ]);
        for welcome in ["text/html", "text/plain", "text/event-stream"] {
            assert!(asked.accepts(welcome), "{welcome}");
        }
        assert!(!asked.accepts("application/json"));
        assert!(!request(&[]).accepts("text/plain"));
        assert_eq!(asked.last_event_id, Some(17));
        assert_eq!(&*asked.query.text("since"), "3");
        assert_eq!(request(&[("last-event-id", "x")]).last_event_id, None);
    }
}
