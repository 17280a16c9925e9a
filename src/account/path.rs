//! The path of a message through imported services, and its limits: as in nats-server, a message
//! never goes through the same import twice; here the number of imports is limited, too. The
//! configuration rejects cycles that it can detect; JetStream requests and functions of mappings
//! can still form one.

use std::{cell::Cell, sync::Arc};

use super::imports::ServiceImport;

/// Limit of imports that a message passes one after the other.
const HOPS_MAX: usize = 32;

/// Limit of requests that one message causes.
const REQUESTS_MAX: usize = 1024;

/// The imports that a message has passed.
#[derive(Clone, Copy)]
pub struct Path<'a> {
    /// The last import, and the path before it.
    last: Option<(&'a Arc<ServiceImport>, &'a Path<'a>)>,
    hops: usize,
    /// The number of further requests that the message may cause; `None` before the first.
    budget_left: Option<&'a Cell<usize>>,
}

impl<'a> Path<'a> {
    /// The path of a message where a client published it.
    pub const START: Path<'static> = Path {
        last: None,
        hops: 0,
        budget_left: None,
    };

    /// The same, with a budget of [`REQUESTS_MAX`] requests.
    pub(super) fn start(budget_left: &'a Cell<usize>) -> Self {
        Self {
            budget_left: Some(budget_left),
            ..Path::START
        }
    }

    /// A new budget of requests.
    pub(super) fn budget() -> Cell<usize> {
        Cell::new(REQUESTS_MAX)
    }

    /// The path extended by an import; `None` if a limit is reached. `budget` is used if this is
    /// the first import.
    pub(super) fn extend<'b>(
        &'b self,
        import: &'b Arc<ServiceImport>,
        budget: &'b Cell<usize>,
    ) -> Option<Path<'b>>
    where
        'a: 'b,
    {
        let budget_left = self.budget_left.unwrap_or(budget);
        let fewer = budget_left.get().checked_sub(1)?;
        if self.hops == HOPS_MAX || self.contains(import) {
            return None;
        }
        budget_left.set(fewer);
        Some(Path {
            last: Some((import, self)),
            hops: self.hops + 1,
            budget_left: Some(budget_left),
        })
    }

    fn contains(&self, import: &Arc<ServiceImport>) -> bool {
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
        delivery::{SubjectBatch, leaf_side::Source},
        protocol::message::Message,
    };

    /// Requests are resolved and delivered recursively: the longest path uses at most a quarter of
    /// the stack of a thread that carries messages.
    #[test]
    fn the_longest_path_needs_little_stack() {
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
                from: Source::Here,
                groups: None,
                as_it_came: None,
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
