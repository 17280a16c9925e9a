//! PINGs from the broker: a client that does not answer is stale, a client that answers
//! stays connected. These cases take seconds because the shortest interval is one second.

use super::{Case, case, framing::QUIET, one};

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let config = "ping_interval: \"1s\"\nping_max: 2\n";
    vec![
        one("stale", QUIET).config(config).show_pings().closed(0),
        case("stale before CONNECT")
            .config(config)
            .show_pings()
            .sync(0)
            .closed(0),
        one("stale with one PING allowed", QUIET)
            .config("ping_interval: \"1s\"\nping_max: 1\n")
            .show_pings()
            .closed(0),
        one("answered PINGs keep the connection", QUIET)
            .config(config)
            .answer_pings(0, 3),
    ]
}
