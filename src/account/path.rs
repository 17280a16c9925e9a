//! The path of a message through imports of services, and where it ends: a message
//! never goes through an import twice, as nats-server has it, nor through more
//! imports than are bounded here. The configuration refuses circles that it sees;
//! requests to streams and functions of mappings can still make one.

use std::{cell::Cell, sync::Arc};

use super::links::ServiceImport;

/// Imports that a message may go through one behind the other.
const HOPS_MAX: usize = 32;

/// Requests that may become of one message.
const REQUESTS_MAX: usize = 1024;

/// The imports that a message has come through.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    /// The last one, and the path up to it.
    last: Option<(&'a Arc<ServiceImport>, &'a Path<'a>)>,
    hops: usize,
    /// Requests that may still become of the message; none before the first.
    left: Option<&'a Cell<usize>>,
}

impl<'a> Path<'a> {
    /// Where a client published it.
    pub const START: Path<'static> = Path {
        last: None,
        hops: 0,
        left: None,
    };

    /// The same, for all requests of which there may be [`REQUESTS_MAX`].
    pub(super) fn start(left: &'a Cell<usize>) -> Self {
        Self {
            left: Some(left),
            ..Path::START
        }
    }

    /// What is left at the beginning.
    pub(super) fn all() -> Cell<usize> {
        Cell::new(REQUESTS_MAX)
    }

    /// The path through one more import; `None` if it ends here. `all` is what is
    /// left if this is the first.
    pub(super) fn through<'b>(
        &'b self,
        import: &'b Arc<ServiceImport>,
        all: &'b Cell<usize>,
    ) -> Option<Path<'b>>
    where
        'a: 'b,
    {
        let left = self.left.unwrap_or(all);
        let fewer = left.get().checked_sub(1)?;
        if self.hops == HOPS_MAX || self.has(import) {
            return None;
        }
        left.set(fewer);
        Some(Path {
            last: Some((import, self)),
            hops: self.hops + 1,
            left: Some(left),
        })
    }

    fn has(&self, import: &Arc<ServiceImport>) -> bool {
        let mut path = self;
        while let Some((known, before)) = path.last {
            if Arc::ptr_eq(known, import) {
                return true;
            }
            path = before;
        }
        false
    }
}
