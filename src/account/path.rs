//! The path of a message through imports of services, and where it ends: a message
//! never goes through an import twice, as nats-server has it, nor through more
//! imports than are bounded here. The configuration refuses circles that it sees;
//! requests to streams and functions of mappings can still make one.

use std::{cell::Cell, sync::Arc};

use super::imports::ServiceImport;

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

#[cfg(test)]
mod tests {
    use std::{fmt::Write, fs, thread};

    use super::*;
    use crate::{
        account::{
            Accounts, Destinations,
            fan_out::{Sender, Undelivered},
        },
        config::load,
        connection::buffers::with_buffers,
        delivery::SubjectBatch,
        protocol::message::Message,
    };

    /// The way of a request is resolved and taken one call within the other: the
    /// longest one takes a fourth of the stack of a thread that carries messages at
    /// most.
    #[test]
    fn the_longest_path_takes_little_stack() {
        const STACK_LEN: usize = 512 * 1024;
        let folder = tempfile::TempDir::new().expect("a temporary folder");
        let file = folder.path().join("test.conf");
        let mut text = "accounts { A0 { exports: [ { service: q } ] }\n".to_owned();
        let count = HOPS_MAX + 8;
        for number in 1..count {
            let before = number - 1;
            let _ = writeln!(
                text,
                "A{number} {{ imports: [ {{ service: {{ account: A{before}, subject: q }} }} ], \
                 exports: [ {{ service: q }} ] }}"
            );
        }
        fs::write(&file, text + "}").expect("it can be written");
        let (options, _) = load(&file, &|_| None).expect("options");
        let accounts = Accounts::new(&options, "");
        let find = |number: usize| accounts.find(&format!("A{number}")).expect("defined");
        let (first, reached) = (find(count - 1), find(count - 1 - HOPS_MAX));
        let before = reached.sublist.stats().lookups;
        let work = || {
            let destinations = Destinations::resolve(&first, b"q");
            let batch = SubjectBatch {
                subject: b"q",
                source: b"reply 0\r\n\r\n",
                messages: &[Message {
                    tail_start: 0,
                    tail_end: 11,
                    reply_len: 5,
                    header_len: None,
                    total_len: 0,
                }],
                shared: None,
            };
            let sender = Sender {
                no_echo: None,
                describe: Some(&|_, _| "{}".to_owned()),
                to_peers: false,
                is_service: false,
                path: Path::START,
            };
            let undelivered = with_buffers(|buffers| {
                sender.fan_out(buffers, &first, &batch, &destinations, false)
            });
            assert_eq!(undelivered, Undelivered::These(vec![0]));
        };
        thread::scope(|scope| {
            let thread = thread::Builder::new().stack_size(STACK_LEN);
            let thread = thread.spawn_scoped(scope, work).expect("a thread");
            thread.join().expect("there and back");
        });
        assert!(
            reached.sublist.stats().lookups > before,
            "it went all the way"
        );
        assert_eq!(find(0).sublist.stats().lookups, 0, "and no farther");
    }
}
