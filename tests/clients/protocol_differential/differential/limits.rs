//! The configured limits: values just within each limit and just beyond it, and the
//! errors.

use super::{
    Case, case,
    framing::{HEADERS, QUIET},
    one,
};

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let mut cases = max_payload();
    cases.extend(max_connections());
    cases.extend(max_subscriptions());
    cases.extend(max_control_line());
    cases
}

fn max_payload() -> Vec<Case> {
    let limit = 100;
    let mut cases = Vec::new();
    for size in [limit - 1, limit, limit + 1, 10 * limit] {
        cases.push(
            one(
                format!("max_payload: PUB of {size}"),
                format!("{QUIET}SUB a 1\r\nPUB a {size}\r\n{}\r\n", "x".repeat(size)),
            )
            .config("max_payload: 100\n"),
        );
        cases.push(
            one(
                format!("max_payload: HPUB of {size}"),
                format!(
                    "{HEADERS}SUB a 1\r\nHPUB a 12 {size}\r\nNATS/1.0\r\n\r\n{}\r\n",
                    "x".repeat(size - 12)
                ),
            )
            .config("max_payload: 100\n"),
        );
    }
    cases.extend([
        one(
            "max_payload: the default",
            format!("{QUIET}PUB a 1048577\r\n"),
        )
        .closed(0),
        one("max_payload: the payload is not awaited", "PUB a 101\r\n")
            .config("max_payload: 100\n")
            .closed(0),
        one(
            "max_payload: verbose",
            format!(
                "SUB a 1\r\nPUB a 1\r\nx\r\nPUB a 101\r\n{}\r\nPING\r\n",
                "x".repeat(101)
            ),
        )
        .config("max_payload: 100\n"),
        one(
            "max_payload: large sizes before the limit",
            format!(
                "{QUIET}SUB a 1\r\nPUB a 70000\r\n{}\r\n",
                "y".repeat(70_000)
            ),
        )
        .config("max_payload: 70000\n"),
        one(
            "max_payload: zero means the default",
            "CONNECT {\"protocol\":1}\r\nPING\r\n",
        )
        .config("max_payload: 0\n"),
    ]);
    cases
}

fn max_connections() -> Vec<Case> {
    vec![
        case("max_connections: the second is refused")
            .config("max_connections: 1\n")
            .sync(0)
            .closed(1)
            .sync(0),
        case("max_connections: the refused one's operations are not done")
            .config("max_connections: 1\n")
            .send(0, format!("{QUIET}SUB > 1\r\n"))
            .sync(0)
            .closed(1)
            .send(0, "PUB a 1\r\nx\r\n"),
        case("max_connections: a place gets free")
            .config("max_connections: 1\n")
            .sync(0)
            .leave(0, 0)
            .sync(1),
        case("max_connections: zero refuses all")
            .config("max_connections: 0\n")
            .closed(0),
    ]
}

fn max_subscriptions() -> Vec<Case> {
    let config = "max_subscriptions: 2\n";
    vec![
        one(
            "max_subscriptions: the third is refused",
            "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\nPUB c 1\r\nx\r\nPUB a 1\r\ny\r\n",
        )
        .config(config),
        one(
            "max_subscriptions: UNSUB makes room",
            "SUB a 1\r\nSUB b 2\r\nUNSUB 1\r\nSUB c 3\r\nPUB c 1\r\nx\r\n",
        )
        .config(config),
        one(
            "max_subscriptions: comes before a duplicate id",
            "SUB a 1\r\nSUB b 2\r\nSUB a 1\r\n",
        )
        .config(config),
        one(
            "max_subscriptions: comes before an invalid subject",
            "SUB a 1\r\nSUB b 2\r\nSUB a..b 3\r\n",
        )
        .config(config),
        one(
            "max_subscriptions: an invalid subject does not count",
            "SUB a 1\r\nSUB a..b 2\r\nSUB c 3\r\n",
        )
        .config(config),
        one(
            "max_subscriptions: a duplicate id does not count",
            "SUB a 1\r\nSUB a 1\r\nSUB c 3\r\n",
        )
        .config(config),
        one(
            "max_subscriptions: the end by UNSUB max makes room",
            "SUB a 1\r\nSUB b 2\r\nUNSUB 1 1\r\nPUB a 1\r\nx\r\nSUB c 3\r\n",
        )
        .config(config),
        one(
            "max_subscriptions: many refusals",
            format!("SUB a 1\r\nSUB b 2\r\n{}", "SUB c 3\r\n".repeat(20)),
        )
        .config(config),
        case("max_subscriptions: per connection")
            .config(config)
            .send(0, "SUB a 1\r\nSUB b 2\r\n")
            .sync(0)
            .send(1, "SUB a 1\r\nSUB b 2\r\nSUB c 3\r\n")
            .sync(1),
    ]
}

fn max_control_line() -> Vec<Case> {
    [63, 64, 65, 66]
        .into_iter()
        .flat_map(|length| {
            let word = |rest: &str| "a".repeat(length - rest.len());
            [
                one(
                    format!("max_control_line: SUB of {length}"),
                    format!("SUB {} 1\r\n", word(" 1")),
                ),
                one(
                    format!("max_control_line: PUB of {length}"),
                    format!("PUB {} 1\r\nx\r\n", word(" 1")),
                ),
                one(
                    format!("max_control_line: CONNECT of {length}"),
                    format!("CONNECT {{\"name\":\"{}\"}}\r\n", word("{\"name\":\"\"}")),
                ),
            ]
        })
        .map(|case| case.config("max_control_line: 64\n"))
        .collect()
}
