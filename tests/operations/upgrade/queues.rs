//! Plain subscribers and queue groups on the same and on overlapping subjects, while clients are
//! handed over: each plain subscription gets each message once and in order, and so does each group.

use std::{collections::BTreeMap, thread};

use test_support::{Broker, RawClient, wait_until};

use super::{
    BRIEF, LONG, staying,
    traffic::{Publishers, texts_in_order},
    watcher,
};

/// Numbers by publisher, in the order in which they came.
type Came = Vec<(usize, u32)>;

/// A client with one subscription, which is read until each publisher has ended.
struct Subscriber {
    what: &'static str,
    thread: thread::JoinHandle<Came>,
}

impl Subscriber {
    /// `what` is a subject, and perhaps a queue group.
    fn start(mut client: RawClient, what: &'static str, publishers: usize) -> Self {
        client.send(format!("SUB {what} 1\r\nSUB end 2\r\n"));
        client.sync();
        let thread = thread::spawn(move || read(client, publishers));
        Self { what, thread }
    }
}

fn read(mut client: RawClient, publishers: usize) -> Came {
    let (mut came, mut ended) = (Vec::new(), 0);
    while ended < publishers {
        let message = client.next_message();
        let text = String::from_utf8_lossy(&message.body).into_owned();
        match text.split_once('.') {
            Some((of, number)) => came.push((
                of.parse().expect("the number of a publisher"),
                number.parse().expect("a number"),
            )),
            None => ended += 1,
        }
    }
    came
}

/// The numbers of each publisher, in their order.
fn by_publisher(came: &Came) -> BTreeMap<usize, Vec<u32>> {
    let mut numbers: BTreeMap<usize, Vec<u32>> = BTreeMap::new();
    for (of, number) in came {
        numbers.entry(*of).or_default().push(*number);
    }
    numbers
}

/// What is subscribed to, by a client that is handed over and by one that stays. Groups of one name
/// on different subjects are one group for a message.
const SUBSCRIBED: [&str; 7] = [
    "data.x",
    "data.*",
    "data.>",
    "data.x crew",
    "data.* crew",
    "data.> team",
    "*.x team",
];

fn name_of_group(what: &str) -> Option<&str> {
    what.split_once(' ').map(|(_, queue)| queue)
}

#[test]
fn plain_subscribers_and_queue_groups_get_each_message_once() {
    let broker = Broker::midge().config(LONG).start();
    let mut subscribers = Vec::new();
    for what in SUBSCRIBED {
        for client in [watcher(&broker), staying(&broker)] {
            subscribers.push(Subscriber::start(client, what, 3));
        }
    }
    let clients = vec![staying(&broker), watcher(&broker), watcher(&broker)];
    let publishers = Publishers::start(clients, "data.x", "end");
    let successor = broker.upgrade();
    let more = publishers.count() + 500;
    wait_until("both processes have carried messages", || {
        publishers.count() >= more
    });
    let sent = publishers.end();
    let all: BTreeMap<usize, Vec<u32>> = sent
        .iter()
        .enumerate()
        .map(|(of, count)| (of, (0..*count).collect()))
        .collect();
    let mut groups: BTreeMap<&str, Came> = BTreeMap::new();
    for Subscriber { what, thread } in subscribers {
        let came = thread.join().expect("a subscriber");
        match name_of_group(what) {
            None => assert!(by_publisher(&came) == all, "{what}: {} came", came.len()),
            Some(group) => {
                let in_order = by_publisher(&came).values().all(|it| it.is_sorted());
                assert!(in_order, "{what}: out of order");
                groups.entry(group).or_default().extend(came);
            }
        }
    }
    for (group, mut came) in groups {
        came.sort_unstable();
        assert!(by_publisher(&came) == all, "{group}: {} came", came.len());
    }
    assert!(successor.is_running());
}

/// The members that stay are closed one after the other in lame duck mode: what is on its way to them
/// goes back, and reaches no plain subscriber a second time.
#[test]
fn members_that_leave_the_old_process_double_nothing() {
    let mut broker = Broker::midge().config(BRIEF).start();
    for what in ["data.x crew", "data.* crew", "data.> team"] {
        for _ in 0..3 {
            let mut client = staying(&broker);
            client.send(format!("SUB {what} 1\r\n"));
            client.sync();
            thread::spawn(move || client.read_to_end());
        }
    }
    // One that always is there.
    let mut stays = watcher(&broker);
    stays.send("SUB data.x crew 1\r\nSUB data.x team 2\r\n");
    stays.sync();
    let stays = thread::spawn(move || stays.read_to_end());
    let plain: Vec<Subscriber> = ["data.x", "data.*", "data.>"]
        .into_iter()
        .map(|what| Subscriber::start(watcher(&broker), what, 2))
        .collect();
    let publishers = Publishers::start(vec![watcher(&broker), watcher(&broker)], "data.x", "end");
    let successor = broker.upgrade();
    assert!(broker.wait_exit().success());
    let sent = publishers.end();
    for Subscriber { what, thread } in plain {
        let came = by_publisher(&thread.join().expect("a subscriber"));
        for (of, count) in sent.iter().enumerate() {
            let all: Vec<u32> = (0..*count).collect();
            assert!(
                came[&of] == all,
                "{what}: {} of publisher {of}",
                came[&of].len()
            );
        }
    }
    successor.stop();
    let came = stays.join().expect("a member");
    assert!(!texts_in_order(&came).is_empty());
}
