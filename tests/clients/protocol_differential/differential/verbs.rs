//! The verbs of a client and the replies: number of arguments, `+OK`, the format of MSG
//! and HMSG.

use super::{
    Case, case,
    framing::{HEADERS, QUIET},
    one,
};

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let mut cases = argument_counts();
    cases.extend(layouts());
    cases.extend(verbose());
    cases.extend(headers());
    cases
}

fn argument_counts() -> Vec<Case> {
    [
        "PUB",
        "PUB ",
        "PUB a",
        "PUB 1",
        "PUB a b c 1",
        "PUB a b c d 1",
        "SUB",
        "SUB ",
        "SUB a",
        "SUB a b c d",
        "SUB a b c d e",
        "UNSUB",
        "UNSUB ",
        "UNSUB 1 2 3",
        "UNSUB 1 2 3 4",
        "HPUB",
        "HPUB ",
        "HPUB a",
        "HPUB a 1",
        "HPUB 1 1",
        "HPUB a b c 1 1",
        "CONNECT",
        "CONNECT ",
    ]
    .map(|line| {
        one(
            format!("arguments of {line:?}"),
            format!("{HEADERS}{line}\r\nx\r\n"),
        )
    })
    .into()
}

fn layouts() -> Vec<Case> {
    vec![
        one(
            "message without a payload",
            format!("{QUIET}SUB a 1\r\nPUB a 0\r\n\r\n"),
        ),
        one(
            "message with a reply",
            format!("{QUIET}SUB a 1\r\nPUB a r.1 2\r\nhi\r\n"),
        ),
        one(
            "subscription ids are any token",
            format!(
                "{QUIET}SUB a foo-1\r\nSUB a *\r\nSUB a ü\r\nSUB a 01\r\nSUB a 1\r\nSUB a {}\r\nPUB a 2\r\nhi\r\n",
                "9".repeat(200)
            ),
        ),
        one(
            "operations before any CONNECT",
            "PING\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nUNSUB 1\r\nPING\r\n",
        ),
        one(
            "PONG that nobody asked for",
            format!("{QUIET}PONG\r\nPONG\r\nSUB a 1\r\n"),
        ),
        one("only PING", "PING\r\n"),
        case("nothing but a connection").sync(0),
        one(
            "unknown subscription id",
            "UNSUB 77\r\nUNSUB 77 5\r\nSUB a 77\r\nPUB a 1\r\nx\r\n",
        ),
    ]
}

fn verbose() -> Vec<Case> {
    vec![
        one(
            "+OK for each operation",
            "CONNECT {\"verbose\":true}\r\nSUB a 1\r\nPUB a 1\r\nx\r\nPUB b r 1\r\nx\r\nUNSUB 1\r\nPING\r\nPONG\r\n+OK\r\n",
        ),
        one(
            "+OK for HPUB",
            "CONNECT {\"verbose\":true,\"headers\":true}\r\nSUB a 1\r\nHPUB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        ),
        one(
            "+OK comes before the delivery",
            "CONNECT {\"verbose\":true}\r\nSUB a 1\r\nSUB a 2\r\nPUB a 1\r\nx\r\nPUB a 1\r\ny\r\n",
        ),
        one(
            "no +OK for an invalid subject",
            "CONNECT {\"verbose\":true}\r\nSUB a..b 1\r\nSUB a 2\r\n",
        ),
        one(
            "+OK after an invalid publish subject",
            "CONNECT {\"verbose\":true,\"pedantic\":true}\r\nPUB a..b 1\r\nx\r\n",
        ),
        one(
            "verbose turned off by a second CONNECT",
            "CONNECT {\"verbose\":true}\r\nSUB a 1\r\nCONNECT {\"verbose\":false}\r\nSUB b 2\r\n",
        ),
        one(
            "verbose turned on by a second CONNECT",
            "CONNECT {\"verbose\":false}\r\nSUB a 1\r\nCONNECT {\"verbose\":true}\r\nSUB b 2\r\n",
        ),
        one(
            "+OK for a 503",
            "CONNECT {\"verbose\":true,\"headers\":true,\"no_responders\":true}\r\nSUB r 1\r\nPUB nobody r 1\r\nx\r\n",
        ),
    ]
}

fn headers() -> Vec<Case> {
    let receivers = |publish: &str| {
        case(format!("headers to one with and one without: {publish:?}"))
            .send(0, format!("{HEADERS}SUB a 1\r\n"))
            .sync(0)
            .send(1, format!("{QUIET}SUB a 1\r\n"))
            .sync(1)
            .send(2, format!("{HEADERS}{publish}\r\n"))
            .sync(2)
    };
    vec![
        receivers("HPUB a 12 14\r\nNATS/1.0\r\n\r\nhi"),
        receivers("HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi"),
        receivers("HPUB a 12 12\r\nNATS/1.0\r\n\r\n"),
        receivers("HPUB a 18 20\r\nNATS/1.0\r\na: b\r\n\r\nhi"),
        receivers("HPUB a 4 6\r\nabcdhi"),
        receivers("HPUB a 1 1\r\n\n"),
        receivers("HPUB a 0 2\r\nhi"),
        receivers("HPUB a r 0 0\r\n"),
        receivers("PUB a 2\r\nhi"),
        one(
            "HPUB without headers in CONNECT",
            format!("{QUIET}HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n"),
        ),
        one(
            "HPUB before CONNECT",
            "HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        ),
        one(
            "HPUB where the broker has no headers",
            format!(
                "{}HPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n",
                HEADERS.replace(",\"no_responders\":true", "")
            ),
        )
        .config("no_header_support: true\n"),
        one(
            "headers turned off by a second CONNECT",
            format!(
                "{HEADERS}CONNECT {{\"headers\":false,\"no_responders\":false}}\r\nSUB a 1\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n"
            ),
        ),
        one(
            "header larger than the message",
            format!("{HEADERS}SUB a 1\r\nHPUB a 20 12\r\nNATS/1.0\r\n\r\n\r\n"),
        ),
    ]
}
