//! Whose turn it is of those who may be guessing passwords that take long to
//! compare: one source at a time, and one of its logins at a time. However many
//! a source sends, another one waits for one comparison of it only. The client's
//! login asks for a turn.

use std::{collections::HashMap, net::IpAddr, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// The turns of all sources.
pub struct Guesses {
    /// One place for each source of which a login waits: no more than there are
    /// connections.
    sources: Mutex<HashMap<IpAddr, Arc<Semaphore>>>,
    /// The place that the sources take in turn.
    all: Arc<Semaphore>,
}

/// A turn, which ends when it is dropped.
pub(super) struct Turn {
    _of_all: OwnedSemaphorePermit,
    _of_source: OwnedSemaphorePermit,
}

impl Default for Guesses {
    fn default() -> Self {
        Self {
            sources: Mutex::default(),
            all: Arc::new(Semaphore::new(1)),
        }
    }
}

impl Guesses {
    /// Waits for the turn of a login from `source`. `None` never happens: the
    /// places are never taken away.
    pub(super) async fn turn(&self, source: IpAddr) -> Option<Turn> {
        let of_source = self.place(source).acquire_owned().await.ok()?;
        let of_all = self.all.clone().acquire_owned().await.ok()?;
        Some(Turn {
            _of_all: of_all,
            _of_source: of_source,
        })
    }

    fn place(&self, source: IpAddr) -> Arc<Semaphore> {
        let mut sources = self.sources.lock();
        // Nobody waits for, or has, a place that only this table knows.
        sources.retain(|_, place| Arc::strong_count(place) > 1);
        let place = sources
            .entry(source)
            .or_insert_with(|| Arc::new(Semaphore::new(1)));
        place.clone()
    }
}

#[cfg(test)]
mod tests {
    use std::{future::Future, pin::pin, task::Context};

    use super::*;

    /// A source that sends many does not make others wait for them, and nothing
    /// is remembered of who has gone.
    #[test]
    fn sources_take_turns() {
        let guesses = Guesses::default();
        let [crowd, other] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let mut context = Context::from_waker(std::task::Waker::noop());
        let mut first = pin!(guesses.turn(crowd));
        assert!(first.as_mut().poll(&mut context).is_ready());
        // The turn was given back with the value.
        let mut taken = pin!(guesses.turn(crowd));
        let std::task::Poll::Ready(turn) = taken.as_mut().poll(&mut context) else {
            panic!("nobody has a turn");
        };
        let mut second = pin!(guesses.turn(crowd));
        let mut third = pin!(guesses.turn(crowd));
        let mut elsewhere = pin!(guesses.turn(other));
        assert!(second.as_mut().poll(&mut context).is_pending());
        assert!(third.as_mut().poll(&mut context).is_pending());
        assert!(elsewhere.as_mut().poll(&mut context).is_pending());
        drop(turn);
        assert!(elsewhere.as_mut().poll(&mut context).is_ready());
        assert!(second.as_mut().poll(&mut context).is_ready());
        assert!(third.as_mut().poll(&mut context).is_ready());
        drop(guesses.place(crowd));
        drop(guesses.place(other));
        assert_eq!(guesses.sources.lock().len(), 1);
    }
}
