//! The totals of `/varz` are updated from the connections that had traffic; those of
//! `/metrics` are summed over all connections. Both must be equal, whichever is requested
//! first.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use super::metrics::values;
use test_support::{Broker, RawClient, wait_until};

const CLIENTS: usize = 24;
const ROUNDS: usize = 20;

/// Whether a series of this name is a total of messages or bytes: `in_msgs`,
/// `out_client_bytes`, `dropped_msgs_no_interest`.
fn is_total(name: &str) -> bool {
    let mut words = name.split('_');
    words.any(|word| ["msgs", "bytes"].contains(&word))
}

/// The totals in `/varz`, under the names that they have in `/metrics`.
fn kept(broker: &Broker) -> BTreeMap<String, f64> {
    let varz = broker.get_json("/varz");
    let fields = varz.as_object().expect("an object").iter();
    let (by_reason, single): (Vec<_>, Vec<_>) = fields
        .filter(|(name, _)| is_total(name))
        .partition(|(_, value)| value.is_object());
    let by_reason = by_reason.into_iter().flat_map(|(name, value)| {
        let reasons = value.as_object().expect("an object").iter();
        reasons.map(move |(reason, value)| (format!("{name}_{reason}"), value))
    });
    let single = single
        .into_iter()
        .map(|(name, value)| (name.clone(), value));
    single
        .chain(by_reason)
        .map(|(name, value)| (name, value.as_f64().expect("a number")))
        .collect()
}

/// The totals in `/metrics`.
fn summed_up(broker: &Broker) -> BTreeMap<String, f64> {
    let found = values(&broker.get("/metrics").body);
    let totals = found.iter().filter_map(|(series, value)| {
        let (name, _) = series.strip_prefix("gnatsd_varz_")?.split_once('{')?;
        is_total(name).then(|| (name.to_owned(), *value))
    });
    totals.collect()
}

#[test]
fn kept_totals_are_the_sums_over_all_connections() {
    let broker = Broker::midge().start();
    let is_over = AtomicBool::new(false);
    thread::scope(|scope| {
        // Requested continuously, so that updates and requests interleave in every order.
        let asking = scope.spawn(|| {
            while !is_over.load(Ordering::Relaxed) {
                broker.get_json("/varz");
            }
        });
        let mut clients: Vec<RawClient> = (0..CLIENTS)
            .map(|number| {
                let mut client = broker.connect();
                client.send(format!("SUB a.{} 1\r\nSUB all 2\r\n", number % 8));
                client.sync();
                client
            })
            .collect();
        for round in 0..ROUNDS {
            for (number, client) in clients.iter_mut().enumerate() {
                let to = (number + round) % 12;
                let some = format!("PUB a.{to} 5\r\nhello\r\n").repeat(number);
                client.send(format!("{some}PUB all 2\r\nhi\r\nPUB nobody 1\r\nx\r\n"));
            }
            // Some disconnect, others connect.
            let leaves = clients.remove(round % CLIENTS);
            drop(leaves);
            let mut comes = broker.connect();
            comes.send("SUB a.1 1\r\n");
            comes.sync();
            clients.push(comes);
            for client in &mut clients {
                client.sync();
            }
        }
        is_over.store(true, Ordering::Relaxed);
        asking.join().expect("it asked to the end");
        broker.wait_for_connections(CLIENTS as u64);
        let same = || kept(&broker) == summed_up(&broker);
        wait_until("both are the same", same);
    });
    let kept = kept(&broker);
    assert!(kept["in_msgs"] > (ROUNDS * CLIENTS) as f64);
    assert!(
        kept["dropped_msgs_no_interest"] > 0.0 && kept.len() > 10,
        "{kept:?}"
    );
}
