//! What the broker does about once a second besides serving: counting churn, forgetting
//! what is late, asking the other members for their view, measuring how much memory
//! is left for outbound queues, and giving freed memory back to the system.
//!
//! `main` calls [`start`] once. It runs on a thread of its own, since asking the
//! allocator and giving memory back hold its locks for a while. Nothing here judges
//! anything: that is done by `observe`, which is above.

mod heap_trim;
mod room;
mod start_up_code;

use std::{
    io,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::Server;
use crate::{
    account::{latency::MEASURED, lookup_cache, replies},
    broker::{memory, registry::closed},
    client::permission_cache,
    connection::{
        handshake::Handshakers,
        payload,
        subscription::{SUBSCRIPTIONS, lingering},
    },
    delivery::remote::REMOTE_INTEREST,
    security::responses,
    telemetry::{
        MonotonicMillis,
        allocator::{Allocated, Allocator},
        pool::Pool,
        process,
    },
};
use heap_trim::HeapTrim;
use room::Asked;

/// Bytes of the thread's stack. Nothing there recurses.
const STACK_LEN: usize = 256 * 1024;

/// How long a round may look for replies that nobody waits for any more: clients choose how long
/// that takes. One of each account is looked at in any case.
const UNAWAITED_TIME: Duration = Duration::from_millis(50);

/// Rounds between two questions to the other members for what they see.
pub const VIEWS_EVERY: u32 = 5;

/// The round in which the start is over: the first clients are in, and one round of everything
/// that is done regularly has run.
const STARTED_ROUND: u32 = 2;

/// What housekeeping found out last, for those who show it.
#[derive(Default)]
pub struct Readings(Mutex<Allocated>);

impl Readings {
    /// What the allocator said last; it is not asked in each round.
    pub fn allocated(&self) -> Allocated {
        *self.0.lock()
    }
}

/// Does a round every `interval` of the block `diagnosis` as long as the process
/// lives, on a thread of its own.
///
/// # Errors
///
/// The thread cannot be had.
pub fn start(server: Arc<Server>) -> io::Result<()> {
    let mut housekeeping = Housekeeping::new(server);
    housekeeping.read_allocator();
    thread::Builder::new()
        .name("housekeeping".into())
        .stack_size(STACK_LEN)
        .spawn(move || {
            for round in 0_u32.. {
                let begin = Instant::now();
                housekeeping.round(round);
                thread::sleep(housekeeping.interval.saturating_sub(begin.elapsed()));
            }
        })?;
    Ok(())
}

struct Housekeeping {
    server: Arc<Server>,
    interval: Duration,
    allocator: Allocator,
    asked: Asked,
    heap_trim: HeapTrim,
    /// Bytes of memory that the process may use; `None` if that is not known.
    memory_max: Option<usize>,
}

impl Housekeeping {
    fn new(server: Arc<Server>) -> Self {
        Self {
            interval: server.options().diagnosis.interval,
            allocator: Allocator::default(),
            asked: Asked::default(),
            heap_trim: HeapTrim::default(),
            memory_max: memory::process_limit(),
            server,
        }
    }

    fn round(&mut self, round: u32) {
        let (now, begin) = (MonotonicMillis::now(), Instant::now());
        let until = begin + UNAWAITED_TIME;
        let broker = &self.server.broker;
        let telemetry = &broker.telemetry;
        telemetry.churn.tick(&telemetry.events, now);
        for account in broker.accounts.all() {
            account.replies.remove_expired(now);
            account.latency.expire(begin);
            account.end_unawaited(now, until);
        }
        if let Some(cluster) = &self.server.cluster {
            cluster.renew_incomplete_routes();
            if round.is_multiple_of(VIEWS_EVERY) {
                cluster.request_views();
            }
        }
        self.mind_memory();
        if round == STARTED_ROUND
            && let Err(error) = start_up_code::unmap()
        {
            tracing::debug!("the code of the start stays in memory: {error}");
        }
    }

    /// Measures what is left for queues, and gives back what lies idle.
    fn mind_memory(&mut self) {
        let allocated = self.read_allocator();
        let budget = &self.server.broker.registry.budget;
        let queued = budget.used();
        let tables = queued + held_in_tables();
        let taken = self.asked.taken_since(allocated, tables);
        // If the system does not say, what was left the last time counts.
        let process = process::memory().ok();
        if let Some(process) = &process {
            let available = room::left(process, allocated, queued, self.memory_max, taken);
            budget.set_available(available);
        }
        let idle = process.map_or(0, |process| allocated.idle_in(&process));
        let idle = usize::try_from(idle).unwrap_or(0);
        let most = Handshakers::take_most_held();
        let handshakes = Handshakers::all_unfinished().held;
        self.heap_trim
            .note(tables + handshakes, tables + most, idle);
    }

    fn read_allocator(&mut self) -> Allocated {
        let allocated = self.allocator.sample();
        *self.server.housekeeping.0.lock() = allocated;
        allocated
    }
}

/// Bytes of the tables that others fill and that are given back afterwards.
fn held_in_tables() -> usize {
    let pools = [
        &REMOTE_INTEREST,
        &responses::POOL,
        &permission_cache::POOL,
        &replies::POOL,
        &MEASURED,
        &lookup_cache::POOL,
        &payload::READ,
        &payload::SHARED,
        &closed::POOL,
        &SUBSCRIPTIONS,
    ];
    pools.map(Pool::used).iter().sum::<usize>() + lingering()
}
