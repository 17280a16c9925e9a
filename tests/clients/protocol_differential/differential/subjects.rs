//! Subjects: which are valid in which place, which match, and which are reserved.

use super::{Case, framing::HEADERS, one};

/// Subjects of every shape.
const SUBJECTS: &[&str] = &[
    "a",
    "a.b",
    "a.b.c",
    "b.a",
    "A",
    "a..b",
    ".a",
    "a.",
    ".",
    "..",
    "a.>.b",
    ">.a",
    "a.>",
    ">",
    "*",
    "a.*",
    "*.b",
    "*.*",
    "a.*.c",
    "a.*.>",
    "*.>",
    "a*",
    "*a",
    "a**",
    "**",
    ">>",
    "a.b>",
    "foo.>bar",
    "foo.*bar",
    "a.*b",
    "ü.ä",
    "a.\u{1}",
    "a\u{7f}",
    "\u{0}",
    "$SYS.a",
    "$SYS",
    "$G.a",
    "_INBOX.x",
    "$JS",
    "+OK",
    "{a}",
    "a/b",
    "\"a\"",
    "'a'",
    "a,b",
    "\u{feff}a",
    "a.b.c.d.e.f.g.h.i.j.k.l.m.n.o.p.q.r.s.t.u.v.w.x.y.z.0.1.2.3.4.5.6.7.8.9",
];

/// Subscriptions that together reveal a subject's tokens.
const WATCHERS: &str = "SUB > all\r\nSUB * one\r\nSUB *.* two\r\nSUB *.*.* three\r\nSUB a.> a-below\r\nSUB a.* a-one\r\nSUB *.b b-last\r\nSUB a.*.c a-c\r\nSUB a a\r\nSUB a.b a-b\r\nSUB *.> any-below\r\n";

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for subject in SUBJECTS {
        cases.push(publish(subject, false));
        cases.push(publish(subject, true));
        cases.push(subscribe(subject));
        cases.push(reply(subject));
    }
    cases.extend(more_subjects());
    cases.extend(reserved());
    cases.extend(token_limit());
    cases
}

fn publish(subject: &str, pedantic: bool) -> Case {
    one(
        format!("PUB {subject:?}, pedantic {pedantic}"),
        format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":{pedantic}}}\r\n{WATCHERS}PUB {subject} 1\r\nx\r\nPUB {subject} r 1\r\ny\r\n"
        ),
    )
}

/// The subscription is tested with every subject that could match it.
fn subscribe(filter: &str) -> Case {
    let publishes: String = SUBJECTS
        .iter()
        .enumerate()
        .map(|(n, subject)| format!("PUB {subject} 3\r\n{n:03}\r\n"))
        .collect();
    one(
        format!("SUB {filter:?}"),
        format!(
            "CONNECT {{\"verbose\":true,\"pedantic\":false}}\r\nSUB {filter} 1\r\nSUB {filter} q 2\r\n{publishes}UNSUB 1\r\nUNSUB 2\r\nPUB a 1\r\nx\r\n"
        ),
    )
}

fn reply(reply: &str) -> Case {
    one(
        format!("reply {reply:?}"),
        format!(
            "CONNECT {{\"verbose\":false,\"pedantic\":true}}\r\nSUB a 1\r\nPUB a {reply} 1\r\nx\r\n"
        ),
    )
}

fn more_subjects() -> Vec<Case> {
    let long = "t".repeat(4000);
    let many = vec!["t"; 1500].join(".");
    vec![
        one(
            "bytes that are no UTF-8",
            b"SUB \xff.\xfe 1\r\nSUB \xff.* 2\r\nPUB \xff.\xfe 1\r\nx\r\n",
        ),
        one(
            "a long token",
            format!("SUB {long} 1\r\nSUB * 2\r\nPUB {long} 1\r\nx\r\n"),
        ),
        one(
            "many tokens",
            format!("SUB {many} 1\r\nSUB t.> 2\r\nPUB {many} 1\r\nx\r\nPUB t.{many} 1\r\ny\r\n"),
        ),
        one(
            "wildcards with many tokens",
            format!("SUB {} 1\r\nPUB {many} 1\r\nx\r\n", many.replace('t', "*")),
        ),
        one(
            "a literal beside wildcards in SUB",
            "SUB a.*b 1\r\nPUB a.*b 1\r\nx\r\nPUB a.xb 1\r\ny\r\n",
        ),
        one(
            "subscriptions come and go",
            "CONNECT {\"verbose\":false}\r\nSUB a.* 1\r\nPUB a.b 1\r\n1\r\nSUB a.b 2\r\nPUB a.b 1\r\n2\r\nUNSUB 1\r\nPUB a.b 1\r\n3\r\nSUB a.> 3\r\nPUB a.b 1\r\n4\r\nUNSUB 2\r\nUNSUB 3\r\nPUB a.b 1\r\n5\r\n",
        ),
    ]
}

fn reserved() -> Vec<Case> {
    let publish = |line: &str| {
        one(
            format!("reserved: {line}"),
            format!(
                "CONNECT {{\"pedantic\":false}}\r\nSUB > 1\r\nPUB {line} 1\r\nx\r\nPUB after 1\r\ny\r\n"
            ),
        )
    };
    let mut cases: Vec<Case> = [
        "_GR_.x",
        "_GR_",
        "_GR_.a.b.c",
        "$NRG.x",
        "$NRG",
        "$NRG.a.b",
        "_R_.x",
        "_R_",
        "$JS.ACK.x",
        "$JS.API.INFO",
        "$SYS.x",
        "$SYS.REQ.x",
        "$SYS.SERVER.x.STATSZ",
        "a _R_.x",
        "a _R_",
        "a $JS.ACK.x",
        "a $JS.ACK",
        "a _GR_.x",
        "a _GR_",
        "a $NRG.x",
        "a $SYS.x",
        "$KV.x",
        "$O.x",
        "a \"quoted\"",
        "_GR_.\"q\"\\\u{1}ü",
    ]
    .into_iter()
    .map(publish)
    .collect();
    cases.extend([
        one("reserved: system account", "CONNECT {\"user\":\"admin\",\"pass\":\"p\",\"pedantic\":false}\r\nSUB $NRG.> 1\r\nSUB after 2\r\nPUB $NRG.x 1\r\nx\r\nPUB _GR_.x 1\r\nx\r\nPUB after $NRG.x 1\r\ny\r\nPUB after _GR_.x 1\r\nz\r\n")
            .config("accounts { $SYS { users: [ { user: admin, password: p } ] } }\n"),
        one("reserved: subscriptions", "SUB _GR_.> 1\r\nSUB _R_.> 2\r\nSUB $SYS.> 3\r\nSUB $NRG.> 4\r\nSUB $JS.ACK.> 5\r\nPUB $SYS.x 1\r\nx\r\nPUB _R_.x 1\r\ny\r\n"),
        one("reserved: HPUB", format!("{HEADERS}SUB > 1\r\nHPUB _GR_.x 12 12\r\nNATS/1.0\r\n\r\n\r\nHPUB a _R_.x 12 12\r\nNATS/1.0\r\n\r\n\r\nHPUB a 12 12\r\nNATS/1.0\r\n\r\n\r\n")),
    ]);
    cases
}

fn token_limit() -> Vec<Case> {
    vec![
        one("max_sub_tokens", "SUB a.b 1\r\nSUB a.b.c 2\r\nSUB a.b.c.d 3\r\nSUB a.*.> 4\r\nSUB a.b.c.d q 5\r\nPUB a.b.c.d.e 1\r\nx\r\nPUB a.b.c 1\r\ny\r\n").config("max_sub_tokens: 3\n"),
    ]
}
