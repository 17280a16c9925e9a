//! How bytes are parsed into operations: line ends, verbs, separators, sizes, the limit
//! of a control line.
//!
//! A single CR within the arguments is not tested: nats-server treats it as a separator
//! in some places only, and no client sends one.

use super::{Case, case, one};

/// Keeps `+OK` out of the answers.
pub const QUIET: &str = "CONNECT {\"verbose\":false,\"pedantic\":false}\r\n";

/// Like [`QUIET`], with headers and no responders.
pub const HEADERS: &str =
    "CONNECT {\"verbose\":false,\"pedantic\":false,\"headers\":true,\"no_responders\":true}\r\n";

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    cases.extend(line_ends());
    cases.extend(verb_case());
    cases.extend(blanks());
    cases.extend(separators());
    cases.extend(tails());
    cases.extend(unknown_verbs());
    cases.extend(sizes());
    cases.extend(control_line_limit());
    cases.extend(pipelining());
    cases
}

fn line_ends() -> Vec<Case> {
    vec![
        one(
            "LF alone ends every control line",
            "CONNECT {}\nSUB a 1\nPUB a 2\nhi\r\nUNSUB 1\nPING\nPONG\n+OK\nINFO {}\n",
        ),
        one(
            "LF alone ends an HPUB line",
            format!("{HEADERS}SUB a 1\nHPUB a 12 14\nNATS/1.0\r\n\r\nhi\r\n"),
        ),
        one(
            "payload with LF alone",
            "SUB a 1\r\nPUB a 2\r\nhi\nPING\r\n",
        ),
        one(
            "payload with CR and another byte",
            "SUB a 1\r\nPUB a 2\r\nhi\rxPING\r\n",
        ),
        one("payload longer than said", "SUB a 1\r\nPUB a 2\r\nhiho\r\n"),
        one(
            "payload shorter than said",
            "SUB a 1\r\nPUB a 4\r\nhi\r\nPING\r\n",
        ),
        one(
            "payload of size 0 with a byte",
            "SUB a 1\r\nPUB a 0\r\nx\r\n",
        ),
        one(
            "payload with line ends in it",
            "SUB a 1\r\nPUB a 8\r\n\r\nx\ny\r\n\r\r\nPING\r\n",
        ),
        one(
            "payload with every byte",
            [
                b"SUB a 1\r\nPUB a 256\r\n".as_slice(),
                &(0..=255).collect::<Vec<u8>>(),
                b"\r\n",
            ]
            .concat(),
        ),
        one(
            "HPUB payload with LF alone",
            format!("{HEADERS}SUB a 1\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\nPING\r\n"),
        ),
    ]
}

fn verb_case() -> Vec<Case> {
    vec![
        one(
            "lower case",
            "connect {}\r\nsub a 1\r\npub a 2\r\nhi\r\nunsub 1\r\nping\r\npong\r\n+ok\r\ninfo {}\r\n",
        ),
        one(
            "mixed case",
            "CoNnEcT {}\r\nSuB a 1\r\npUb a 2\r\nhi\r\nuNsUb 1\r\nPiNg\r\npOnG\r\n+Ok\r\nInFo {}\r\n",
        ),
        one(
            "hpub in mixed case",
            "connect {\"headers\":true}\r\nsub a 1\r\nhPuB a 12 14\r\nNATS/1.0\r\n\r\nhi\r\n",
        ),
        one(
            "subjects keep their case",
            format!(
                "{QUIET}SUB Aa 1\r\nSUB aA 2\r\nPUB aa 1\r\nx\r\nPUB Aa 1\r\ny\r\nPUB aA 1\r\nz\r\n"
            ),
        ),
    ]
}

fn blanks() -> Vec<Case> {
    vec![
        one("space before a verb", " PING\r\n"),
        one("tab before a verb", "\tPING\r\n"),
        one("empty line with CR", "\r\n"),
        one("empty line", "\n"),
        one("NUL as a verb", "\0"),
        one("empty line after an operation", "SUB a 1\r\n\r\nPING\r\n"),
        one("empty line after a payload", "PUB a 1\r\nx\r\n\r\n"),
        one("high byte as a verb", b"\xff\r\n"),
        one("HTTP request", "GET / HTTP/1.1\r\nHost: x\r\n\r\n"),
        one(
            "TLS client hello",
            b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        ),
    ]
}

fn separators() -> Vec<Case> {
    vec![
        one(
            "tabs",
            format!("{QUIET}SUB\ta\t1\r\nPUB\ta\t2\r\nhi\r\nUNSUB\t1\r\n"),
        ),
        one(
            "runs of blanks",
            format!(
                "{QUIET}SUB \t a \t q  1\r\nPUB  a\t\tr   2\r\nhi\r\nUNSUB   1   1\r\nPUB a 1\r\nx\r\n"
            ),
        ),
        one(
            "blanks at the end",
            format!("{QUIET}SUB a 1 \t \r\nPUB a 2 \t\r\nhi\r\nUNSUB 1\t \r\nPUB a 1\r\nx\r\n"),
        ),
        one(
            "blanks in HPUB",
            format!("{HEADERS}SUB a 1\r\nHPUB \ta\t 12 \t 14 \r\nNATS/1.0\r\n\r\nhi\r\n"),
        ),
        one(
            "blanks around the JSON of CONNECT",
            "CONNECT \t {\"verbose\":false} \t \r\nSUB a 1\r\n",
        ),
        one(
            "CONNECT without a blank",
            "CONNECT{\"verbose\":false}\r\nSUB a 1\r\n",
        ),
        one("INFO without a blank", "INFO{}\r\nSUB a 1\r\n"),
        one("PUB without a blank", "PUBa 1\r\nx\r\n"),
        one("SUB without a blank", "SUBa 1\r\n"),
        one("UNSUB without a blank", "UNSUB1\r\n"),
        one("HPUB without a blank", format!("{HEADERS}HPUBa 12 12\r\n")),
        one(
            "form feed is no separator",
            format!("{QUIET}SUB a\x0cb 1\r\nPUB a\x0cb 1\r\nx\r\n"),
        ),
        one(
            "vertical tab is no separator",
            format!("{QUIET}SUB a\x0bb 1\r\nPUB a\x0bb 1\r\nx\r\n"),
        ),
    ]
}

fn tails() -> Vec<Case> {
    [
        "PINGxyz", "PING xyz", "PING\t", "PONGxyz", "PONG 1", "+OKxyz", "+OK 1", "+OX", "+", "+O",
    ]
    .map(|line| {
        one(
            format!("line {line:?}"),
            format!("{QUIET}{line}\r\nSUB a 1\r\nPUB a 1\r\nx\r\n"),
        )
    })
    .into_iter()
    .chain([one(
        "PING with 5000 bytes after it",
        format!("PING{}\r\n", "x".repeat(5000)),
    )])
    .collect()
}

fn unknown_verbs() -> Vec<Case> {
    [
        "P",
        "PI",
        "PIN",
        "PUBX",
        "PU",
        "PX",
        "PO",
        "PON",
        "S",
        "SU",
        "SUBX",
        "SUX",
        "U",
        "UN",
        "UNSU",
        "UNSUBX",
        "C",
        "CONNEC",
        "CONNECX",
        "H",
        "HP",
        "HPU",
        "HPUBX",
        "HM",
        "HX",
        "I",
        "IN",
        "INF",
        "INFX",
        "Q",
        "QUIT",
        "MSG a 1 1",
        "HMSG a 1 1 1",
        "RS+ a",
        "RS- a",
        "LS+ a",
        "LS- a",
        "A+ a",
        "A- a",
        "RMSG $G a 1",
        "LMSG a 1",
        "R",
        "L",
        "A",
        "M",
        "-",
        "-E",
        "-ERX",
        "PUB",
        "SUB",
        "UNSUB",
        "HPUB",
        "CONNECT",
        "INFO",
    ]
    .into_iter()
    .map(|line| {
        one(
            format!("verb {line:?}"),
            format!("{QUIET}{line}\r\nPUB a 1\r\nx\r\n"),
        )
    })
    .chain([
        one("-ERR of a client", "-ERR 'something'\r\nPING\r\n"),
        one("-ERR without a text", "-ERR\r\n"),
        one("-err in lower case", "-err x\r\n"),
        one("INFO with bad JSON", "INFO {\r\n"),
        one("INFO with a list", "INFO []\r\n"),
        one("INFO with wrong types", "INFO {\"server_id\":1}\r\n"),
        one(
            "INFO with known fields",
            "INFO {\"server_id\":\"x\",\"port\":1,\"max_payload\":1}\r\nPUB a 2\r\nxx\r\n",
        ),
        one(
            "answers before the error come first",
            "SUB a 1\r\nPUB a 1\r\nx\r\nPING\r\nFOO\r\nPING\r\n",
        ),
    ])
    .collect()
}

fn sizes() -> Vec<Case> {
    let pub_sizes = [
        "+1",
        "-1",
        "-0",
        "x",
        "1x",
        "x1",
        "0x1",
        "1.0",
        "1e0",
        "1,0",
        "0000000001",
        "9999999999",
        "999999999",
        "4294967297",
        "18446744073709551617",
        "99999999999999999999",
        "\u{661}",
    ];
    let hpub_sizes = [
        "+12 12",
        "12 +12",
        "-1 12",
        "12 -1",
        "x 12",
        "12 x",
        "13 12",
        "12 11",
        "0000000012 12",
        "12 0000000012",
        "9999999999 9999999999",
        "999999999 999999999",
    ];
    let bad_pub = pub_sizes.map(|size| {
        one(
            format!("PUB size {size:?}"),
            format!("{QUIET}SUB a 1\r\nPUB a {size}\r\nx\r\n"),
        )
    });
    let bad_hpub = hpub_sizes.map(|sizes| {
        one(
            format!("HPUB sizes {sizes:?}"),
            format!("{HEADERS}SUB a 1\r\nHPUB a {sizes}\r\nNATS/1.0\r\n\r\n\r\n"),
        )
    });
    bad_pub
        .into_iter()
        .chain(bad_hpub)
        .chain([
            one("leading zeros are echoed", format!("{QUIET}SUB a 1\r\nPUB a 001\r\nx\r\nPUB a r 000000001\r\ny\r\nPUB a 00\r\n\r\n")),
            one("leading zeros in HPUB", format!("{HEADERS}SUB a 1\r\nHPUB a 012 0014\r\nNATS/1.0\r\n\r\nhi\r\nHPUB a r 012 000012\r\nNATS/1.0\r\n\r\n\r\n")),
            one("leading zeros in HPUB to one without headers", "CONNECT {\"headers\":true,\"verbose\":false}\r\nSUB a 1\r\n").sync(0).send(1, format!("{HEADERS}PING\r\nHPUB a 012 0014\r\nNATS/1.0\r\n\r\nhi\r\n")).sync(1),
        ])
        .collect()
}

fn control_line_limit() -> Vec<Case> {
    let mut cases = Vec::new();
    for end in ["\r\n", "\n"] {
        for length in [4095, 4096, 4097, 4098, 9000] {
            let title = |verb: &str| format!("{verb} with {length} bytes before {end:?}");
            let word = |rest: &str| "a".repeat(length - rest.len());
            cases.push(one(
                title("SUB"),
                format!("{QUIET}SUB {} 1{end}", word(" 1")),
            ));
            cases.push(one(
                title("PUB"),
                format!("{QUIET}PUB {} 0{end}\r\n", word(" 0")),
            ));
            cases.push(one(
                title("UNSUB"),
                format!("{QUIET}UNSUB {}{end}", word("")),
            ));
            cases.push(one(
                title("HPUB"),
                format!("{HEADERS}HPUB {} 0 0{end}\r\n", word(" 0 0")),
            ));
            cases.push(one(
                title("CONNECT"),
                format!("CONNECT {{\"name\":\"{}\"}}{end}", word("{\"name\":\"\"}")),
            ));
        }
    }
    cases.extend([
        one(
            "blanks before the arguments are not counted",
            format!("{QUIET}SUB {}{} 1\r\n", " ".repeat(50), "a".repeat(4094)),
        ),
        one(
            "blanks at the end are counted",
            format!("{QUIET}SUB {} 1{}\r\n", "a".repeat(4000), " ".repeat(95)),
        ),
        one(
            "a line without end",
            format!("{QUIET}SUB {}", "a".repeat(5000)),
        )
        .closed(0),
        one(
            "INFO with 5000 bytes",
            format!("INFO {{\"server_id\":\"{}\"}}\r\n", "a".repeat(5000)),
        ),
        one(
            "-ERR with 5000 bytes",
            format!("-ERR {}\r\n", "a".repeat(5000)),
        ),
    ]);
    cases
}

fn pipelining() -> Vec<Case> {
    let thousand: String = (0..1000)
        .map(|n| format!("PUB a 4\r\n{n:04}\r\n"))
        .collect();
    vec![
        one(
            "everything in one write",
            "CONNECT {\"verbose\":true}\r\nSUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\nUNSUB 1\r\nPUB a 1\r\nx\r\nPING\r\n",
        ),
        one(
            "a thousand messages in one write",
            format!("{QUIET}SUB a 1\r\n{thousand}"),
        ),
        one(
            "a thousand messages, verbose",
            format!("SUB a 1\r\n{thousand}"),
        ),
        one("a hundred PINGs", "PING\r\n".repeat(100)),
        one(
            "a megabyte",
            format!(
                "{QUIET}SUB a 1\r\nPUB a 1048576\r\n{}\r\n",
                "m".repeat(1_048_576)
            ),
        ),
        case("two connections keep the order of a publisher")
            .send(0, format!("{QUIET}SUB > 1\r\n"))
            .sync(0)
            .send(1, format!("{QUIET}{thousand}"))
            .sync(1),
    ]
}
