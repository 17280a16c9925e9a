//! The totals of `/varz` are updated from the connections that had traffic; those of
//! `/metrics` are summed over all connections. Both must be equal, whichever is requested
//! first.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use serde_json::Value;

use super::metrics::values;
use test_support::{Broker, RawClient, wait_until};

const CLIENTS: usize = 24;
const ROUNDS: usize = 20;

const FIELDS: [&str; 8] = [
    "in_msgs",
    "in_bytes",
    "out_msgs",
    "out_bytes",
    "in_client_msgs",
    "out_client_bytes",
    "written_msgs",
    "written_bytes",
];

/// The values in `/varz`.
fn kept(broker: &Broker) -> BTreeMap<String, f64> {
    let varz = broker.get_json("/varz");
    let mut kept: BTreeMap<_, _> = FIELDS
        .iter()
        .map(|field| {
            (
                (*field).to_owned(),
                varz[*field].as_f64().expect("a number"),
            )
        })
        .collect();
    kept.insert("lost".into(), sum(&varz["dropped_msgs"]));
    kept
}

/// The values in `/metrics`.
fn summed_up(broker: &Broker) -> BTreeMap<String, f64> {
    let found = values(&broker.get("/metrics").body);
    let mut all: BTreeMap<_, _> = FIELDS
        .iter()
        .map(|field| {
            let name = format!("gnatsd_varz_{field}{{");
            let value = found.iter().find(|(series, _)| series.starts_with(&name));
            ((*field).to_owned(), *value.expect("it is there").1)
        })
        .collect();
    let lost = found
        .iter()
        .filter(|(series, _)| series.starts_with("gnatsd_varz_dropped_msgs_"));
    all.insert("lost".into(), lost.map(|(_, value)| value).sum());
    all
}

fn sum(object: &Value) -> f64 {
    let numbers = object.as_object().into_iter().flatten();
    numbers.filter_map(|(_, number)| number.as_f64()).sum()
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
    assert!(kept(&broker)["in_msgs"] > (ROUNDS * CLIENTS) as f64);
}
