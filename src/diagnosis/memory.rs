//! What holds the memory: by cause, and who holds most.

use super::{
    history::History,
    sample::{Holder, Sample},
};
use crate::{
    account::{SYSTEM_REQUESTS, lookup_cache, replies},
    client::permission_cache,
    connection::{
        Connection, SUBSCRIPTIONS, budget, lingering, payload, registry::closed,
        remote::REMOTE_INTEREST,
    },
    security::responses,
    server::Server,
    telemetry::{allocator::Allocated, metrics, pool::Pool, process},
};

/// Connections that are named.
const HOLDERS_MAX: usize = 10;

/// Bytes that one subscription takes besides itself, for the order of holders.
const SUBSCRIPTION_OVERHEAD: u64 = 160;

/// Bytes that one connection takes besides itself: its task and its session.
/// An estimate.
const CONNECTION_OVERHEAD: u64 = 2048;

/// Bytes of a TLS session with the certificates that its peer showed. An
/// estimate.
const TLS_SESSION: u64 = 11 * 1024;

/// The part of what the process may use that stays free: what queues hold is looked
/// at only now and then, and what is counted is not all that is mapped.
const SPARE_PART: usize = 16;

/// Tables whose users are told when they are full, by the name of their cause.
pub(super) const TOLD_WHEN_FULL: [(&str, &Pool); 6] = [
    ("interest", &REMOTE_INTEREST),
    ("payloads", &payload::RESERVED),
    ("permissions", &responses::POOL),
    ("replies", &replies::POOL),
    ("subscriptions", &SUBSCRIPTIONS),
    ("system_requests", &SYSTEM_REQUESTS),
];

/// Bytes of the tables that others fill and that are given back afterwards.
pub(super) fn held_in_tables() -> usize {
    let pools = [
        &REMOTE_INTEREST,
        &responses::POOL,
        &permission_cache::POOL,
        &replies::POOL,
        &lookup_cache::POOL,
        &payload::READ,
        &payload::SHARED,
        &closed::POOL,
        &SUBSCRIPTIONS,
    ];
    pools.map(Pool::used).iter().sum::<usize>() + lingering()
}

/// Bytes that the allocator keeps for later and that are resident. Of what is free,
/// not all need be; of what is used, not all is touched.
pub(super) fn idle(sample: &Sample) -> u64 {
    sample
        .process
        .map_or(0, |process| idle_of(&process, sample.allocated))
}

fn idle_of(process: &process::Memory, allocated: Allocated) -> u64 {
    let own = process.anonymous.unwrap_or(process.resident);
    own.saturating_sub(allocated.used).min(allocated.free)
}

/// What was held when the allocator was last asked what is free: it is not asked at
/// each look, and what was taken since is free no more.
#[derive(Default)]
pub(super) struct Asked {
    said: Allocated,
    held: usize,
}

impl Asked {
    /// Bytes that were taken since, where `held` are held now.
    pub(super) fn taken_since(&mut self, sample: &Sample, held: usize) -> u64 {
        if self.said != sample.allocated {
            self.said = sample.allocated;
            self.held = held;
        }
        held.saturating_sub(self.held) as u64
    }
}

/// Bytes that are left for queues which now hold `queued`, of what the process may
/// use; `memory_max` is its memory, and `taken` is free no more. `None` if the system
/// does not tell now.
pub(super) fn room(
    sample: &Sample,
    queued: usize,
    memory_max: Option<usize>,
    taken: u64,
) -> Option<usize> {
    let process = sample.process?;
    let of_memory = Use {
        max: memory_max,
        used: process.resident,
        // What is free and not resident has to come from the system again.
        reusable: idle(sample).saturating_sub(taken),
    };
    let of_address_space = Use {
        max: budget::address_space_limit(),
        used: process.mapped,
        reusable: sample.allocated.free.saturating_sub(taken),
    };
    Some(of_memory.left(queued).min(of_address_space.left(queued)))
}

/// What is used of something that may have an end.
struct Use {
    max: Option<usize>,
    used: u64,
    /// What of it serves for more of the same.
    reusable: u64,
}

impl Use {
    /// Bytes that are left for queues which now hold `queued`.
    fn left(&self, queued: usize) -> usize {
        let max = self.max.map_or(usize::MAX, |max| max - max / SPARE_PART);
        let [used, reusable] =
            [self.used, self.reusable].map(|bytes| usize::try_from(bytes).unwrap_or(usize::MAX));
        max.saturating_sub(used.saturating_sub(queued.saturating_add(reusable)))
    }
}

/// What the memory is held for.
#[derive(Clone, Debug, Default)]
pub struct Memory {
    /// Resident memory in bytes; 0 if the system does not tell.
    pub resident: u64,
    /// What of it is known by cause, the biggest first.
    pub causes: Vec<Cause>,
    /// Connections that hold most, the biggest first.
    pub holders: Vec<MemoryHolder>,
}

/// Memory held for one reason.
#[derive(Clone, Debug)]
pub struct Cause {
    /// The reason: stable.
    pub name: &'static str,
    /// Bytes; an estimate but for queues and events.
    pub bytes: u64,
    /// Things that hold it.
    pub count: u64,
}

/// A connection that holds memory.
#[derive(Clone, Debug)]
pub struct MemoryHolder {
    /// Connection id.
    pub cid: u64,
    /// Its name, user or address.
    pub name: String,
    /// Bytes in its outbound queue.
    pub pending: usize,
    /// Its subscriptions.
    pub subscriptions: usize,
}

impl Memory {
    /// What holds the memory at one look.
    pub(super) fn of(server: &Server, sample: &Sample, history: &History) -> Self {
        let process = sample.process.unwrap_or_default();
        let mut causes = causes(server, sample, history);
        let counted = |causes: &[Cause]| causes.iter().map(|cause| cause.bytes).sum::<u64>();
        causes.push(cause("allocator", idle(sample), 0));
        let other = process.resident.saturating_sub(counted(&causes));
        causes.push(cause("other", other, 0));
        causes.sort_by_key(|cause| std::cmp::Reverse(cause.bytes));
        Self {
            resident: process.resident,
            causes,
            holders: holders(sample),
        }
    }
}

fn cause(name: &'static str, bytes: impl TryInto<u64>, count: impl TryInto<u64>) -> Cause {
    Cause {
        name,
        bytes: bytes.try_into().unwrap_or(u64::MAX),
        count: count.try_into().unwrap_or(u64::MAX),
    }
}

/// What is known, each measured where it is held, or estimated as its constant says.
fn causes(server: &Server, sample: &Sample, history: &History) -> Vec<Cause> {
    let pool = |name, pool: &Pool| cause(name, pool.used(), pool.count());
    let telemetry = &server.clients.telemetry;
    let events = &telemetry.events;
    let accounts = server.clients.accounts.all();
    let tables = accounts.iter().map(|known| known.sublist.table_memory());
    let tables = tables.sum::<usize>() + sample.subscription_tables;
    let interest = accounts
        .iter()
        .map(|known| known.remote.table_memory() + known.interest.memory());
    let surplus = accounts.iter().map(|known| known.replies.table_surplus());
    let surplus = surplus.sum();
    let connection = size_of::<Connection>() as u64 + CONNECTION_OVERHEAD;
    let (loads, moving) = telemetry.loads.memory();
    let (incidents, incidents_count) = telemetry.slow.memory();
    let (buffers, threads) = metrics::buffers_memory();
    let process = sample.process.unwrap_or_default();
    vec![
        cause(
            "outbound_queues",
            sample.queued.saturating_sub(sample.shared) + payload::SHARED.used(),
            sample.queues_in_use,
        ),
        pool("payloads", &payload::READ),
        cause(
            "subscriptions",
            SUBSCRIPTIONS.used() + lingering() + tables,
            sample.subscriptions,
        ),
        cause(
            "interest",
            REMOTE_INTEREST.used() + interest.sum::<usize>(),
            REMOTE_INTEREST.count(),
        ),
        cause(
            "connections",
            sample.connections as u64 * connection + sample.texts as u64,
            sample.connections,
        ),
        cause(
            "tls_sessions",
            sample.tls_sessions as u64 * TLS_SESSION,
            sample.tls_sessions,
        ),
        cause(
            "handshakes",
            sample.handshakes.held,
            sample.handshakes.count,
        ),
        pool("closed_connections", &closed::POOL),
        cause("log", server.log_state().waiting, 0),
        cause("events", events.memory(), events.count()),
        cause(
            "replies",
            replies::POOL.used().saturating_add_signed(surplus),
            replies::POOL.count(),
        ),
        pool("lookups", &lookup_cache::POOL),
        pool("system_requests", &SYSTEM_REQUESTS),
        cause(
            "permissions",
            permission_cache::POOL.used() + responses::POOL.used(),
            permission_cache::POOL.count() + responses::POOL.count(),
        ),
        cause("subjects", telemetry.subjects.memory(), 0),
        cause("incidents", incidents + history.memory(), incidents_count),
        cause(
            "figures",
            loads + metrics::histograms_memory() + telemetry.latency.memory(),
            moving,
        ),
        cause("thread_buffers", buffers, threads),
        cause("program", process.of_files(), 0),
    ]
}

/// Those with the longest queues and the most subscriptions, each once.
fn holders(sample: &Sample) -> Vec<MemoryHolder> {
    let weight = |holder: &Holder| {
        holder.backlog.pending as u64 + holder.subscriptions as u64 * SUBSCRIPTION_OVERHEAD
    };
    let mut all: Vec<&Holder> = sample
        .by_pending
        .iter()
        .chain(&sample.by_subscriptions)
        .collect();
    all.sort_by_key(|holder| (std::cmp::Reverse(weight(holder)), holder.connection.cid));
    all.dedup_by_key(|holder| holder.connection.cid);
    all.into_iter()
        .take(HOLDERS_MAX)
        .map(|holder| MemoryHolder {
            cid: holder.connection.cid,
            name: holder.connection.who(),
            pending: holder.backlog.pending,
            subscriptions: holder.subscriptions,
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    /// After a tide much is free, and given back to the system: it does not serve
    /// the queues again without becoming resident again.
    #[test]
    fn what_is_free_and_not_resident_leaves_no_room() {
        let allocated = Allocated {
            used: 100 * MIB,
            free: 300 * MIB,
        };
        let process = |anonymous: u64| process::Memory {
            mapped: 900 * MIB,
            resident: (anonymous + 10) * MIB,
            anonymous: Some(anonymous * MIB),
        };
        let left = |anonymous: u64| {
            let process = process(anonymous);
            let memory = Use {
                max: Some(512 << 20),
                used: process.resident,
                reusable: idle_of(&process, allocated),
            };
            memory.left(0) >> 20
        };
        // 480 may be used: 110 are, whatever else is resident and free.
        assert_eq!((left(100), left(300), left(400)), (370, 370, 370));
        // Where the system does not tell of what it is, files count as idle.
        let mut untold = process(100);
        untold.anonymous = None;
        assert_eq!(idle_of(&untold, allocated), 10 * MIB);
        assert_eq!(untold.of_files(), 0);
    }
}
