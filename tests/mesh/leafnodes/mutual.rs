//! Two brokers that dial each other as leafnodes: one connection is kept, and the second one is refused
//! again and again without touching the first.

use serde_json::Value;
use test_support::{Broker, BrokerBuilder, free_port, wait_until};

use super::{
    delivery::every_form,
    remotes::{HUBS, remote},
    wait_for_leafs,
};

type Kind = fn() -> BrokerBuilder;

/// What a midge says to the one that it refuses.
const REFUSED: &str = "Loop detected: connected already, the other way round";

/// Two brokers, of which the first one is started first.
struct Pair {
    kinds: [Kind; 2],
    ports: [u16; 2],
    brokers: [Broker; 2],
}

impl Pair {
    fn start(kinds: [Kind; 2]) -> Self {
        let ports = [free_port(), free_port()];
        let pair = Self {
            brokers: [0, 1].map(|index| kinds[index]().config(text(ports, index, 1)).start()),
            kinds,
            ports,
        };
        wait_until("the second connection was refused", || {
            let logs = pair.brokers.each_ref().map(|it| it.log().to_string());
            logs.iter().any(|log| log.contains(REFUSED))
        });
        pair.expect_one("first");
        pair
    }

    /// Exactly one connection, on which each message passes once.
    fn expect_one(&self, word: &str) {
        let [a, b] = &self.brokers;
        wait_for_leafs(a, 1);
        wait_for_leafs(b, 1);
        every_form(a, b, word);
        every_form(b, a, word);
    }

    fn is_midge(&self, index: usize) -> bool {
        std::ptr::fn_addr_eq(self.kinds[index], HUBS[1])
    }

    /// The one whose remote is connected.
    fn dialler(&self) -> usize {
        let is_spoke = |index: &usize| {
            let leafz = self.brokers[*index].get_json("/leafz");
            leafz["leafs"][0]["is_spoke"] == true
        };
        (0..2).find(is_spoke).expect("one of them dialled")
    }

    /// The numbers of the connection at both sides.
    fn ids(&self) -> [Value; 2] {
        let id = |broker: &Broker| broker.get_json("/leafz")["leafs"][0]["id"].clone();
        self.brokers.each_ref().map(id)
    }
}

/// The configuration of one of the two; `reconnect` is in seconds.
fn text(ports: [u16; 2], index: usize, reconnect: usize) -> String {
    format!(
        "server_name: {}\nleafnodes {{ listen: \"127.0.0.1:{}\", reconnect: {reconnect}, remotes: [ \
         {{ url: \"nats://127.0.0.1:{}\" }} ] }}\n",
        ["one", "two"][index],
        ports[index],
        ports[1 - index]
    )
}

fn check(kinds: [Kind; 2]) {
    let mut pair = Pair::start(kinds);
    let (dialler, ids) = (pair.dialler(), pair.ids());
    let refused = 1 - dialler;
    if pair.is_midge(refused) {
        let broker = &pair.brokers[refused];
        // A reload ends the pause.
        for round in 2..5 {
            let before = remote(broker)["attempts"].as_u64();
            broker.reload(&text(pair.ports, refused, round));
            wait_until("it has tried again", || {
                remote(broker)["attempts"].as_u64() > before
            });
        }
        let state = remote(broker);
        assert_eq!(state["connected"], false, "{state}");
        let why = state["last_error"].to_string();
        assert!(why.contains(REFUSED), "{state}");
        pair.expect_one("refused");
        assert_eq!(pair.ids(), ids);
    }
    pair.brokers[dialler].kill();
    let again = kinds[dialler]().config(text(pair.ports, dialler, 1));
    pair.brokers[dialler] = again.start();
    pair.expect_one("again");
}

#[test]
fn two_midges_that_dial_each_other_keep_one_connection() {
    // Which one decides depends on the ids, which are new each time.
    for _ in 0..4 {
        check([HUBS[1], HUBS[1]]);
    }
}

#[test]
fn a_midge_and_then_a_nats_server_that_dial_each_other_keep_one_connection() {
    check([HUBS[1], HUBS[0]]);
}

#[test]
fn a_nats_server_and_then_a_midge_that_dial_each_other_keep_one_connection() {
    check([HUBS[0], HUBS[1]]);
}
