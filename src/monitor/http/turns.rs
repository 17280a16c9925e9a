//! The order in which long answers are made. Sources share the turns: one with requests on
//! many connections has one turn per round like any other, so that it does not delay the
//! others.

use std::{collections::HashMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

use crate::connection::admission::Source;

/// Requests that wait. Each source has a line of its own, whose first waits in the line of all:
/// both are served in the order of coming. The lines are as many as there are
/// connections at most.
pub(in crate::monitor) struct Turns {
    all: Arc<Semaphore>,
    lines: Lines,
}

type Lines = Arc<Mutex<HashMap<Source, Arc<Semaphore>>>>;

/// A turn; over when it is dropped.
pub(in crate::monitor) struct Turn {
    _all: OwnedSemaphorePermit,
    _first: OwnedSemaphorePermit,
    _line: Line,
}

/// A place in the queue of a source, which is removed with its last place.
struct Line {
    lines: Lines,
    source: Source,
    line: Arc<Semaphore>,
}

impl Turns {
    /// No request waits, and `count` may have their turn at a time.
    pub(in crate::monitor) fn new(count: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(count)),
            lines: Lines::default(),
        }
    }

    /// Waits for a turn. One that gives up loses its place.
    ///
    /// # Errors
    ///
    /// There are no more turns.
    pub(in crate::monitor) async fn wait(&self, source: Source) -> Result<Turn, AcquireError> {
        let line = self.lines.lock().entry(source).or_insert_with(one).clone();
        let line = Line {
            lines: self.lines.clone(),
            source,
            line,
        };
        let first = line.line.clone().acquire_owned().await?;
        let all = self.all.clone().acquire_owned().await?;
        Ok(Turn {
            _all: all,
            _first: first,
            _line: line,
        })
    }
}

fn one() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(1))
}

impl Drop for Line {
    fn drop(&mut self) {
        let mut lines = self.lines.lock();
        // The table's own reference and this one: the queue is empty.
        if Arc::strong_count(&self.line) <= 2 {
            lines.remove(&self.source);
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn source(number: u32) -> Source {
        Source::User(number)
    }

    #[tokio::test]
    async fn a_source_with_many_requests_waits_behind_one_with_few() {
        let turns = Turns::new(1);
        let first = turns.wait(source(1)).await.unwrap();
        let wait = |number| Box::pin(turns.wait(source(number)));
        let mut many: Vec<_> = (0..60).map(|_| wait(1)).collect();
        let mut other = wait(2);
        for one in many.iter_mut().chain([&mut other]) {
            assert!(one.now_or_never().is_none());
        }
        drop(first);
        assert!((&mut many[0]).now_or_never().is_none());
        let turn = (&mut other).now_or_never().expect("its turn").unwrap();
        assert!((&mut many[0]).now_or_never().is_none());
        drop(turn);
        // All in their order; those that give up delay no other.
        let turn = (&mut many[0]).now_or_never().expect("its turn").unwrap();
        drop((turn, many, other));
        assert!(turns.lines.lock().is_empty());
        assert!(wait(1).now_or_never().is_some_and(|turn| turn.is_ok()));
        assert!(turns.lines.lock().is_empty());
    }
}
