//! The same bytes split into pieces: the answers must not depend on where a read of the
//! broker ends.

use super::{Player, normalise};
use test_support::{Broker, RawClient};

/// Replaced by four digits that differ per connection, so that recently closed
/// connections do not matter.
const RUN: &str = "@@@@";

/// A mixed script that leaves the connection open.
///
/// Not pedantic: nats-server repeats its `Invalid Publish Subject` when the
/// payload comes in a later read, and midge need not.
pub const LONG_SCRIPT: &str = "CONNECT {\"verbose\":true,\"pedantic\":false,\"headers\":true,\"no_responders\":true,\"protocol\":1}\r\n\
    SUB s@@@@.a 1\r\nPUB s@@@@.a 5\r\nhello\r\nSUB  s@@@@.* \tq  q-1\r\nping\r\n\
    HPUB s@@@@.a r 18 20\r\nNATS/1.0\r\na: b\r\n\r\nhi\r\nPUB s@@@@..b 2\r\nxx\r\nUNSUB 1 4\nPUB s@@@@.a 0\r\n\r\n\
    SUB r@@@@ 2\r\nPUB nobody@@@@ r@@@@ 002\r\n\r\n\r\n+OK\r\nPONG\r\nSUB a..b 3\r\nINFO {}\r\n\
    PUB s@@@@.a 12\r\nxPING\r\n+OK\r\n\r\nUNSUB q-1\r\nPUB s@@@@.a 1\r\nx\r\nPUB s@@@@.a 1\r\ny\r\nPING\r\n";

/// Scripts that end in an error and a close.
pub const FATAL_SCRIPTS: [&str; 4] = [
    "SUB s@@@@ 1\r\nPUB s@@@@ 2\r\nhi\r\nPUB s@@@@ 2\r\nhi!\r\nPUB s@@@@ 1\r\nx\r\n",
    "SUB s@@@@ 1\r\nPUB s@@@@ 2\r\nhi\r\nBAD\r\nPUB s@@@@ 1\r\nx\r\n",
    "SUB s@@@@ 1\r\nPUB s@@@@ 2 3 4\r\nhi\r\nPUB s@@@@ 1\r\nx\r\n",
    "CONNECT {\"verbose\":false,\"protocol\":9}\r\nSUB s@@@@ 1\r\n",
];

/// The answers to `script` in one piece, byte by byte, and split in two at
/// every position, in this order.
pub fn answers(broker: &Broker, script: &str) -> Vec<Vec<String>> {
    let length = script.len();
    let whole = std::iter::once(Vec::new());
    let bytewise = std::iter::once((1..length).collect());
    let split = (1..length).map(|position| vec![position]);
    whole
        .chain(bytewise)
        .chain(split)
        .enumerate()
        .map(|(run, cuts)| answer(broker, script, run, &cuts))
        .collect()
}

fn answer(broker: &Broker, script: &str, run: usize, cuts: &[usize]) -> Vec<String> {
    let run = format!("{run:04}");
    let script = script.replace(RUN, &run);
    let mut player = Player::new(RawClient::connect_silently(broker.client_addr()));
    let mut start = 0;
    for &cut in cuts {
        player.send_alone(&script.as_bytes()[start..cut]);
        start = cut;
    }
    player.send(&script.as_bytes()[start..]);
    player.sync();
    player.sync();
    let port = broker.client_addr().port();
    normalise::transcript([(0, player.seen)].into(), port, false, false)
        .remove(&0)
        .unwrap_or_default()
        .into_iter()
        .map(|frame| frame.replace(&run, RUN))
        .collect()
}
