//! Answers that wait for their readers: all of them together have a limit in bytes.

use std::sync::{
    Arc,
    atomic::{AtomicUsize, Ordering},
};

use bytes::Bytes;
use http_body_util::{Either, Full};
use hyper::StatusCode;

use super::{
    answer::{Answer, Content},
    event_stream::EventStream,
};

/// Bytes of answers that may wait for their readers, all connections together.
/// The largest answer fits several times.
const UNWRITTEN_MAX: usize = 128 * 1024 * 1024;

/// An answer that is not longer always goes out, so that slow readers of long ones
/// keep no health check from its answer: there are few connections.
const SMALL: usize = 64 * 1024;

/// The text of the refusal when they are used up.
const OUT_OF_MEMORY: &[u8] = b"Answers that other readers have not taken yet fill the memory for \
                               answers. Try again later, or ask for less (limit).";

/// The body of a response: complete, or events as they happen.
pub(super) type Body = Either<Full<Bytes>, EventStream>;

/// An answer whose bytes are accounted for until they are written.
pub(super) struct HeldAnswer {
    pub(super) status: StatusCode,
    pub(super) content_type: &'static str,
    pub(super) body: Body,
}

/// A body, and the account it is booked on.
struct Booked {
    body: Vec<u8>,
    unwritten: Arc<AtomicUsize>,
}

/// Books the answer's bytes, or gives a short refusal in its place when slow
/// readers hold too many already. Readers of events are limited in number.
pub(super) fn hold(unwritten: &Arc<AtomicUsize>, answer: Answer) -> HeldAnswer {
    let body = match answer.content {
        Content::Bytes(body) => body,
        Content::Events(stream) => {
            return HeldAnswer {
                status: answer.status,
                content_type: answer.content_type,
                body: Either::Right(stream),
            };
        }
    };
    // Only one thread books, so there is no race between the check and the addition.
    if unwritten.load(Ordering::Relaxed) + body.len() > UNWRITTEN_MAX && body.len() > SMALL {
        return HeldAnswer {
            status: StatusCode::SERVICE_UNAVAILABLE,
            content_type: "text/plain; charset=utf-8",
            body: Either::Left(Full::new(Bytes::from_static(OUT_OF_MEMORY))),
        };
    }
    unwritten.fetch_add(body.len(), Ordering::Relaxed);
    HeldAnswer {
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
}
