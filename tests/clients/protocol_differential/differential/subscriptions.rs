//! Subscriptions: ids, UNSUB with a maximum in every order, queue groups, echo, and the
//! reply to a request without responders.

use super::{
    Case, case,
    framing::{HEADERS, QUIET},
    one,
};

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let mut cases = ids();
    cases.extend(unsub_max());
    cases.extend(queue_groups());
    cases.extend(echo());
    cases.extend(no_responders());
    cases
}

/// Publishes these letters as payloads to `subject`.
fn publishes(subject: &str, letters: &str) -> String {
    letters
        .chars()
        .map(|letter| format!("PUB {subject} 1\r\n{letter}\r\n"))
        .collect()
}

fn ids() -> Vec<Case> {
    vec![
        one(
            "duplicate id, other subject",
            format!(
                "SUB a 1\r\nSUB b 1\r\n{}{}UNSUB 1\r\n{}",
                publishes("a", "x"),
                publishes("b", "y"),
                publishes("a", "z")
            ),
        ),
        one(
            "duplicate id, same subject",
            format!(
                "{QUIET}SUB a 1\r\nSUB a 1\r\n{}UNSUB 1\r\n{}",
                publishes("a", "x"),
                publishes("a", "y")
            ),
        ),
        one(
            "duplicate id, with a queue",
            format!(
                "{QUIET}SUB a 1\r\nSUB a q 1\r\n{}UNSUB 1\r\n{}",
                publishes("a", "x"),
                publishes("a", "y")
            ),
        ),
        one(
            "duplicate id with an invalid subject",
            "SUB a 1\r\nSUB a..b 1\r\nPUB a 1\r\nx\r\n",
        ),
        one(
            "id used again after UNSUB",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1\r\nSUB b 1\r\n{}{}",
                publishes("a", "x"),
                publishes("b", "y")
            ),
        ),
        one(
            "id free after an invalid subject",
            format!("{QUIET}SUB a..b 1\r\nSUB a 1\r\n{}", publishes("a", "x")),
        ),
        one(
            "the same subject twice",
            format!(
                "{QUIET}SUB a 1\r\nSUB a 2\r\n{}UNSUB 1\r\n{}",
                publishes("a", "x"),
                publishes("a", "y")
            ),
        ),
        one(
            "overlapping filters",
            format!(
                "{QUIET}SUB a.b 1\r\nSUB a.* 2\r\nSUB a.> 3\r\nSUB > 4\r\nSUB *.b 5\r\n{}",
                publishes("a.b", "xy")
            ),
        ),
        case("ids belong to their connection")
            .send(0, format!("{QUIET}SUB a 1\r\n"))
            .sync(0)
            .send(1, format!("{QUIET}SUB a 1\r\nUNSUB 1\r\n"))
            .sync(1)
            .send(0, publishes("a", "x")),
        case("subscriptions end with their connection")
            .send(0, format!("{QUIET}SUB a 1\r\n"))
            .sync(0)
            .send(1, format!("{HEADERS}SUB r 1\r\nPUB a r 1\r\nx\r\n"))
            .sync(1)
            .leave(0, 1)
            .send(1, "PUB a r 1\r\ny\r\n")
            .sync(1),
    ]
}

fn unsub_max() -> Vec<Case> {
    let script = |name: &str, before: &str, unsub: &str, after: &str| {
        one(
            format!("UNSUB max: {name}"),
            format!(
                "SUB a 1\r\n{}UNSUB 1 {unsub}\r\n{}",
                publishes("a", before),
                publishes("a", after)
            ),
        )
    };
    vec![
        script("before any message", "", "2", "1234"),
        script("larger than delivered", "12", "4", "3456"),
        script("equal to delivered", "12", "2", "345"),
        script("smaller than delivered", "123", "1", "45"),
        script("never reached", "", "9", "123"),
        script("zero", "1", "0", "23"),
        script("zero before any message", "", "0", "23"),
        script("negative", "1", "-1", "23"),
        script("a word", "1", "x", "23"),
        script("a large number", "1", "99999999999999999999", "23"),
        script("ten digits", "1", "1000000000", "23"),
        script("leading zeros", "", "002", "1234"),
        one(
            "UNSUB max: raised",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1 2\r\n{}UNSUB 1 4\r\n{}",
                publishes("a", "1"),
                publishes("a", "23456")
            ),
        ),
        one(
            "UNSUB max: lowered",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1 5\r\n{}UNSUB 1 2\r\n{}",
                publishes("a", "1"),
                publishes("a", "23456")
            ),
        ),
        one(
            "UNSUB max: lowered below delivered",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1 5\r\n{}UNSUB 1 2\r\n{}",
                publishes("a", "123"),
                publishes("a", "456")
            ),
        ),
        one(
            "UNSUB max: then plain UNSUB",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1 5\r\n{}UNSUB 1\r\n{}",
                publishes("a", "1"),
                publishes("a", "2")
            ),
        ),
        one(
            "UNSUB max: id free afterwards",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1 1\r\n{}SUB b 1\r\n{}{}",
                publishes("a", "1"),
                publishes("a", "2"),
                publishes("b", "3")
            ),
        ),
        one(
            "UNSUB max: id taken until then",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1 2\r\n{}SUB b 1\r\n{}{}",
                publishes("a", "1"),
                publishes("b", "2"),
                publishes("a", "34")
            ),
        ),
        one(
            "UNSUB max: raised after the end",
            format!(
                "{QUIET}SUB a 1\r\nUNSUB 1 1\r\n{}UNSUB 1 9\r\n{}",
                publishes("a", "1"),
                publishes("a", "2")
            ),
        ),
        one(
            "UNSUB max: counts the subscription's own messages",
            format!(
                "{QUIET}SUB a 1\r\nSUB a 2\r\nUNSUB 1 2\r\n{}",
                publishes("a", "1234")
            ),
        ),
        one(
            "UNSUB max: with a queue",
            format!(
                "{QUIET}SUB a q 1\r\nUNSUB 1 2\r\n{}",
                publishes("a", "1234")
            ),
        ),
        one(
            "UNSUB max: with a wildcard",
            format!(
                "{QUIET}SUB a.* 1\r\nUNSUB 1 2\r\n{}{}",
                publishes("a.b", "12"),
                publishes("a.c", "3")
            ),
        ),
        case("UNSUB max: from another connection's messages")
            .send(0, format!("{QUIET}SUB a 1\r\nUNSUB 1 3\r\n"))
            .sync(0)
            .send(1, format!("{QUIET}{}", publishes("a", "12345")))
            .sync(1),
        case("UNSUB max: the next member takes over")
            .send(0, format!("{QUIET}SUB a q 1\r\nUNSUB 1 2\r\n"))
            .sync(0)
            .send(
                1,
                format!(
                    "{HEADERS}SUB r 1\r\nPUB a r 1\r\n1\r\nPUB a r 1\r\n2\r\nPUB a r 1\r\n3\r\n"
                ),
            )
            .sync(1),
    ]
}

fn queue_groups() -> Vec<Case> {
    vec![
        one(
            "queue: one of two members",
            format!(
                "{QUIET}SUB a q 1\r\nSUB a q 2\r\n{}",
                publishes("a", "123456789")
            ),
        )
        .any_member(),
        one(
            "queue: one name over two filters",
            format!(
                "{QUIET}SUB a.* q 1\r\nSUB a.> q 2\r\n{}",
                publishes("a.b", "123456789")
            ),
        )
        .any_member(),
        one(
            "queue: two names",
            format!("{QUIET}SUB a p 1\r\nSUB a q 2\r\n{}", publishes("a", "123")),
        ),
        one(
            "queue: names with case",
            format!("{QUIET}SUB a q 1\r\nSUB a Q 2\r\n{}", publishes("a", "123")),
        ),
        one(
            "queue: beside plain subscriptions",
            format!(
                "{QUIET}SUB a q 1\r\nSUB a q 2\r\nSUB a 3\r\nSUB > 4\r\n{}",
                publishes("a", "123")
            ),
        )
        .any_member(),
        one(
            "queue: a member leaves",
            format!(
                "{QUIET}SUB a q 1\r\nSUB a q 2\r\nUNSUB 1\r\n{}UNSUB 2\r\n{}",
                publishes("a", "12"),
                publishes("a", "3")
            ),
        ),
        one(
            "queue: reserved name",
            "SUB a _sys_ 1\r\nSUB a _sys_x 2\r\nPUB a 1\r\nx\r\n",
        ),
        one(
            "queue: odd names",
            format!(
                "{QUIET}SUB a * 1\r\nSUB a > 2\r\nSUB a .. 3\r\nSUB a ü 4\r\n{}",
                publishes("a", "1")
            ),
        ),
        one(
            "queue: invalid subject",
            "SUB a..b q 1\r\nSUB a.>.b q 2\r\n",
        ),
        case("queue: members on three connections")
            .send(0, format!("{QUIET}SUB a q 1\r\n"))
            .sync(0)
            .send(1, format!("{QUIET}SUB a q 1\r\n"))
            .sync(1)
            .send(
                2,
                format!("{QUIET}SUB a q 1\r\n{}", publishes("a", "0123456789abcdef")),
            )
            .sync(2)
            .any_member(),
        case("queue: a closed member gets nothing")
            .send(0, format!("{QUIET}SUB a q 1\r\n"))
            .sync(0)
            .send(1, format!("{QUIET}SUB a q 1\r\n"))
            .sync(1)
            .leave(0, 1)
            .send(1, publishes("a", "0123456789"))
            .sync(1),
        case("queue: publisher without echo is passed over")
            .send(
                0,
                "CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB a q 1\r\n",
            )
            .sync(0)
            .send(1, format!("{QUIET}SUB a q 2\r\n"))
            .sync(1)
            .send(0, publishes("a", "0123456789"))
            .sync(0),
    ]
}

fn echo() -> Vec<Case> {
    let silent =
        "CONNECT {\"verbose\":false,\"echo\":false,\"headers\":true,\"no_responders\":true}\r\n";
    vec![
        one(
            "echo off",
            format!(
                "{silent}SUB a 1\r\nSUB > 2\r\nSUB a q 3\r\n{}",
                publishes("a", "1")
            ),
        ),
        case("echo off leaves others alone")
            .send(0, format!("{silent}SUB a 1\r\n"))
            .sync(0)
            .send(1, format!("{QUIET}SUB a 1\r\n{}", publishes("a", "1")))
            .sync(1)
            .send(0, publishes("a", "2"))
            .sync(0),
        one(
            "echo off: own subscription is no responder",
            format!("{silent}SUB a 1\r\nSUB r 2\r\nPUB a r 1\r\nx\r\n"),
        ),
        one(
            "echo off: own queue is no responder",
            format!("{silent}SUB a q 1\r\nSUB r 2\r\nPUB a r 1\r\nx\r\n"),
        ),
        one(
            "echo turned on again",
            format!(
                "{silent}SUB a 1\r\n{}CONNECT {{\"echo\":true}}\r\nSUB a 1\r\n{}",
                publishes("a", "1"),
                publishes("a", "2")
            ),
        ),
    ]
}

fn no_responders() -> Vec<Case> {
    let request = |name: &str, subscription: &str, publish: &str| {
        one(
            format!("no responders: {name}"),
            format!("{HEADERS}{subscription}\r\n{publish}\r\nPUB after 1\r\nz\r\n"),
        )
    };
    vec![
        request("plain inbox", "SUB r 1", "PUB a r 1\r\nx"),
        request("wildcard inbox", "SUB r.* 1", "PUB a r.1 1\r\nx"),
        request("full wildcard", "SUB > 1", "PUB a r 1\r\nx"),
        request("two inboxes", "SUB r 1\r\nSUB q 2", "PUB a r 1\r\nx"),
        request(
            "a long subject",
            "SUB r 1",
            &format!("PUB {} r 1\r\nx", "long.".repeat(50) + "x"),
        ),
        request("HPUB", "SUB r 1", "HPUB a r 12 14\r\nNATS/1.0\r\n\r\nhi"),
        request("no payload", "SUB r 1", "PUB a r 0\r\n"),
        request("no inbox", "SUB other 1", "PUB a r 1\r\nx"),
        request("queue inbox only", "SUB r q 1", "PUB a r 1\r\nx"),
        request("no reply", "SUB r 1", "PUB a 1\r\nx"),
        request("somebody is there", "SUB r 1\r\nSUB a 2", "PUB a r 1\r\nx"),
        request("a queue is there", "SUB r 1\r\nSUB a q 2", "PUB a r 1\r\nx"),
        request("empty token", "SUB r 1", "PUB a..b r 1\r\nx"),
        request("wildcard subject", "SUB r 1", "PUB a.* r 1\r\nx"),
        request("reply with wildcards", "SUB r.* 1", "PUB a r.* 1\r\nx"),
        request(
            "does not count for UNSUB max",
            "SUB r 1\r\nUNSUB 1 1",
            "PUB a r 1\r\nx\r\nPUB a r 1\r\ny\r\nPUB r 1\r\nm\r\nPUB r 1\r\nn",
        ),
        one(
            "no responders: not asked for",
            "CONNECT {\"verbose\":false,\"headers\":true}\r\nSUB r 1\r\nPUB a r 1\r\nx\r\n",
        ),
        one(
            "no responders: before CONNECT",
            "SUB r 1\r\nPUB a r 1\r\nx\r\n",
        ),
        one(
            "no responders: needs headers",
            "CONNECT {\"no_responders\":true}\r\nPING\r\n",
        ),
        one("no responders: needs headers of the broker", HEADERS)
            .config("no_header_support: true\n"),
        case("no responders: inbox on another connection")
            .send(0, format!("{HEADERS}SUB r 1\r\n"))
            .sync(0)
            .send(1, format!("{HEADERS}PUB a r 1\r\nx\r\n"))
            .sync(1),
        case("no responders: the other one echoes not")
            .send(
                0,
                "CONNECT {\"verbose\":false,\"echo\":false}\r\nSUB a 1\r\n",
            )
            .sync(0)
            .send(1, format!("{HEADERS}SUB r 1\r\nPUB a r 1\r\nx\r\n"))
            .sync(1),
    ]
}
