//! A scripted leafnode: what real ones do not send, or at the limits.

use std::net::SocketAddr;

use serde_json::Value;
use test_support::{Broker, RawClient, free_port, raw_client::parse_info, wait_until};

use super::{client, hub, knows, leaf, message, wait_for_leafs};

fn address(port: u16) -> SocketAddr {
    ([127, 0, 0, 1], port).into()
}

/// A leafnode that is let in, and the INFO that says so.
pub(super) fn joined(port: u16, connect: &str) -> (RawClient, Value) {
    let mut leaf = RawClient::connect(address(port));
    leaf.send(format!("CONNECT {{{connect}}}\r\n"));
    let frame = leaf.next_frame().expect("an INFO");
    let info = parse_info(&frame).unwrap_or_else(|| panic!("{frame:?}"));
    assert_eq!(info["connect_info"], true, "{info}");
    (leaf, info)
}

/// The error by which a connection ends.
fn refusal(leaf: &mut RawClient) -> String {
    let frames = leaf.read_to_end();
    let errors = frames
        .iter()
        .rev()
        .find(|frame| frame.line.starts_with(b"-ERR"));
    errors.map_or_else(String::new, |frame| {
        String::from_utf8_lossy(&frame.line).into_owned()
    })
}

const SMALLEST: &str = "\"name\":\"FL\",\"server_id\":\"NFAKE\",\"headers\":true";

/// What a nats-server looks for in the first INFO, and the smallest CONNECT that it sends.
#[test]
fn the_introduction_is_that_of_a_hub() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let (mut leaf, info) = joined(port, SMALLEST);
    let first = leaf.info().clone();
    assert!(
        first["client_id"].as_u64().is_some_and(|id| id > 0),
        "{first}"
    );
    assert_eq!(
        first["leafnode_urls"],
        serde_json::json!([format!("127.0.0.1:{port}")])
    );
    assert_eq!(
        (&first["auth_required"], &first["info_on_connect"]),
        (&true.into(), &true.into())
    );
    assert!(
        first["nonce"].is_string() && first["compression"].is_null(),
        "{first}"
    );
    assert_eq!(info["remote_account"], "$G");
    assert!(
        info["import"].is_null() && info["export"].is_null(),
        "{info}"
    );
    // The subject that finds circles comes first.
    let frame = leaf.next_frame().expect("a line");
    assert!(frame.line.starts_with(b"LS+ $LDS."), "{frame:?}");
    leaf.send("LS+ a.b\r\nLS+ c.* q 3\r\nPING\r\n");
    leaf.sync();
    assert!(knows(&hub, "a.b") && knows(&hub, "c.*"));
    let mut writer = client(&hub);
    writer.send("PUB a.b 2\r\nhi\r\nPUB a.b r 2\r\nhi\r\nPUB c.d 2\r\nhi\r\nPUB c.d r 2\r\nhi\r\n");
    let mut lines = Vec::new();
    for _ in 0..4 {
        lines.push(message(&mut leaf).0);
    }
    assert_eq!(
        lines,
        [
            "LMSG a.b 2",
            "LMSG a.b r 2",
            "LMSG c.d | q 2",
            "LMSG c.d + r q 2"
        ]
    );
    leaf.send("LS- a.b\r\nLS- c.* q\r\n");
    leaf.sync();
    assert!(!knows(&hub, "a.b") && !knows(&hub, "c.*"));
}

/// What is told to a leafnode: everything but its own, once per subject, and the members of groups.
#[test]
fn interest_is_told_as_it_changes() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let mut before = client(&hub);
    before.send("SUB early 1\r\nSUB early 2\r\nSUB q.* crew 3\r\nSUB q.* crew 4\r\n");
    before.sync();
    let (mut leaf, _) = joined(port, SMALLEST);
    let mut lines: Vec<String> = Vec::new();
    let read = |leaf: &mut RawClient| -> Vec<String> {
        let frames = leaf.sync();
        let text = |line: &[u8]| String::from_utf8_lossy(line).into_owned();
        let lines = frames.iter().map(|frame| text(&frame.line));
        lines
            .filter(|line| line.starts_with("LS") && !line.contains("$LDS"))
            .collect()
    };
    wait_until("all is told", || {
        lines.extend(read(&mut leaf));
        lines.len() >= 2
    });
    lines.sort();
    assert_eq!(lines, ["LS+ early", "LS+ q.* crew 2"]);
    before.send("UNSUB 1\r\nUNSUB 3\r\n");
    before.sync();
    assert_eq!(read(&mut leaf), ["LS+ q.* crew 1"]);
    before.send("UNSUB 2\r\nUNSUB 4\r\n");
    before.sync();
    assert_eq!(read(&mut leaf), ["LS- early", "LS- q.* crew"]);
    // Its own interest is not told back, whoever else has none.
    leaf.send("LS+ mine\r\nLS+ mine.q crew 5\r\n");
    assert!(read(&mut leaf).is_empty());
    // That of another leafnode is.
    let (mut other, _) = joined(port, "\"name\":\"OTHER\"");
    other.send("LS+ mine\r\nLS+ mine.q crew 2\r\nLS+ theirs\r\n");
    other.sync();
    let mut told = read(&mut leaf);
    told.sort();
    assert_eq!(told, ["LS+ mine", "LS+ mine.q crew 2", "LS+ theirs"]);
    drop(other);
    let mut told = Vec::new();
    wait_until("it is withdrawn", || {
        told.extend(read(&mut leaf));
        told.len() >= 3
    });
    told.sort();
    assert_eq!(told, ["LS- mine", "LS- mine.q crew", "LS- theirs"]);
}

/// Two leafnodes of one cluster: nothing of one is told to the other, and no message goes from one to
/// the other, since they have routes for that.
#[test]
fn members_of_one_cluster_are_not_joined_by_their_hub() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let (mut one, _) = joined(port, "\"name\":\"ONE\",\"cluster\":\"site\"");
    let (mut two, _) = joined(port, "\"name\":\"TWO\",\"cluster\":\"site\"");
    let (mut far, _) = joined(port, "\"name\":\"FAR\"");
    for leaf in [&mut one, &mut two, &mut far] {
        leaf.send("LS+ x\r\n");
        leaf.sync();
    }
    one.send("LMSG x 1\r\na\r\n");
    one.sync();
    assert_eq!(message(&mut far).1, b"a");
    let frames = two.sync();
    assert!(!frames.iter().any(|frame| frame.is_message()), "{frames:?}");
    // Both get what comes from elsewhere.
    client(&hub).send("PUB x 1\r\nb\r\n");
    assert_eq!(message(&mut one).1, b"b");
    assert_eq!(message(&mut two).1, b"b");
}

/// A leafnode that sends our own loop subject back leads to us: it is refused in the words that a
/// nats-server waits 30 seconds for.
#[test]
fn a_circle_is_refused() {
    let port = free_port();
    let _hub = hub(Broker::midge(), port, "", "");
    let (mut leaf, _) = joined(port, SMALLEST);
    let frame = leaf.next_frame().expect("a line");
    leaf.send([&frame.line[..], b"\r\n"].concat());
    assert_eq!(
        refusal(&mut leaf),
        "-ERR 'Loop detected for leafnode account=\"$G\". Delaying attempt to reconnect for 30s'"
    );
}

/// A circle of real brokers, of which midge is the hub of both others: one connection of it is refused.
#[test]
fn a_circle_of_brokers_is_found() {
    let ports = [free_port(), free_port()];
    let _hub = hub(Broker::midge(), ports[0], "", "");
    let middle = format!(
        "server_name: middle\nleafnodes {{ listen: \"127.0.0.1:{}\", remotes: [ {{ url: \
         \"nats://127.0.0.1:{}\" }} ] }}\n",
        ports[1], ports[0]
    );
    let middle = Broker::nats_server().config(middle).start();
    let last = format!(
        "server_name: last\nleafnodes {{ remotes: [ {{ url: \"nats://127.0.0.1:{}\" }}, {{ url: \
         \"nats://127.0.0.1:{}\" }} ] }}\n",
        ports[0], ports[1]
    );
    let last = Broker::nats_server().config(last).start();
    wait_until("the circle is found", || {
        let logs = [middle.log().to_string(), last.log().to_string()];
        logs.iter().any(|log| log.contains("Loop detected"))
    });
}

/// What is no leafnode is refused in nats-server's words.
#[test]
fn what_is_no_leafnode_is_refused() {
    let port = free_port();
    let _hub = hub(Broker::midge(), port, "min_version: \"2.10.0\"", "");
    for (line, expected) in [
        (
            "CONNECT {\"lang\":\"go\",\"verbose\":false}\r\n",
            "-ERR 'attempted to connect to leaf node port'",
        ),
        (
            "CONNECT {\"gateway\":\"g\"}\r\n",
            "-ERR 'Rejecting connection from gateway \"g\" on the leafnode port'",
        ),
        (
            "CONNECT {\"name\":\"x\",\"version\":\"2.10.0\",\"cluster\":\"a b\"}\r\n",
            "-ERR 'cluster name cannot contain spaces'",
        ),
        (
            "CONNECT {\"name\":\"x\",\"version\":\"2.10.0\",\"cluster\":\"a\\r\\nPING\"}\r\n",
            "-ERR 'cluster name cannot contain spaces'",
        ),
        (
            "CONNECT {\"name\":\"x\",\"version\":\"2.9.25\"}\r\n",
            "-ERR 'connection rejected since minimum version required is \"2.10.0\"'",
        ),
        (
            "CONNECT {\"name\":\"x\"}\r\n",
            "-ERR 'connection rejected since minimum version required is \"2.10.0\"'",
        ),
        ("PUB a 1\r\nx\r\n", "-ERR 'Unknown Protocol Operation'"),
        ("LS+ a\r\n", "-ERR 'Authorization Violation'"),
        ("INFO {}\r\n", "-ERR 'Authorization Violation'"),
    ] {
        let mut leaf = RawClient::connect(address(port));
        leaf.send(line);
        assert_eq!(refusal(&mut leaf), expected, "{line}");
    }
    let (leaf, _) = joined(port, "\"name\":\"x\",\"version\":\"2.10.1\"");
    drop(leaf);
}

/// One that says nothing is closed in time, and one that sends an endless line at its limit: nothing of
/// it is kept.
#[test]
fn before_the_login_little_is_accepted() {
    let port = free_port();
    let _hub = hub(Broker::midge(), port, "authorization { timeout: 0.3 }", "");
    let mut silent = RawClient::connect(address(port));
    assert_eq!(refusal(&mut silent), "-ERR 'Authentication Timeout'");
    let mut endless = RawClient::connect(address(port));
    endless.send("CONNECT {\"name\":\"");
    for _ in 0..64 {
        endless.send("x".repeat(1024));
    }
    let refused = refusal(&mut endless);
    // The error may be lost with a reset.
    assert!(
        refused.is_empty() || refused.contains("maximum control line exceeded"),
        "{refused}"
    );
}

/// Messages and subjects that the user may not send end the connection; brokers' own subjects do not.
#[test]
fn violations_end_the_connection() {
    let port = free_port();
    let users = "accounts { A { users [ { user: u, password: p, permissions { publish: \"out.>\", \
                 subscribe: \"in.>\" } } ] } }";
    let _hub = hub(Broker::midge(), port, "", users);
    let login = "\"name\":\"FL\",\"user\":\"u\",\"pass\":\"p\"";
    let subscription = "-ERR 'Permissions Violation for Subscription to \"nope\"'";
    let publish = "-ERR 'Permissions Violation for Publish to \"nope\"'";
    let of = |len: usize| format!("LMSG nope {len}\r\n{}\r\n", "x".repeat(len));
    for (lines, expected) in [
        ("LS+ nope\r\n".to_owned(), subscription),
        (of(1), publish),
        ("LMSG nope  1\r\nx\r\n".to_owned(), publish),
        (format!("LMSG out.a 1\r\nx\r\n{}", of(1)), publish),
        // Clients would see it as a message to the subject behind the `@`.
        ("LMSG out.a $JS.ACK.x@nope 1\r\nx\r\n".to_owned(), publish),
        (
            "LMSG out.a $JS.ACK.x@out.> 1\r\nx\r\n".to_owned(),
            "-ERR 'Permissions Violation for Publish to \"out.>\"'",
        ),
        // Payloads that are in memory of their own, also such as take several reads.
        (of(40_000), publish),
        (of(900_000), publish),
    ] {
        let (mut leaf, info) = joined(port, login);
        assert_eq!(info["import"]["allow"], serde_json::json!(["in.>"]));
        assert_eq!(info["export"]["allow"], serde_json::json!(["out.>"]));
        leaf.send("LS+ in.a\r\nLS+ $LDS.x\r\nLMSG out.a 1\r\nx\r\nLMSG _R_.x 1\r\nx\r\n");
        leaf.sync();
        leaf.send(&lines);
        assert_eq!(refusal(&mut leaf), expected, "{:.40}", lines);
    }
}

/// Subjects that a leafnode refuses itself are not sent to it.
#[test]
fn a_leafnode_may_refuse_subjects() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let (mut leaf, _) = joined(port, "\"name\":\"FL\",\"deny_pub\":[\"no.>\"]");
    leaf.send("LS+ >\r\n");
    leaf.sync();
    let mut writer = client(&hub);
    writer.send("PUB no.a 1\r\nn\r\nPUB yes.a 1\r\ny\r\n");
    assert_eq!(message(&mut leaf), ("LMSG yes.a 1".into(), b"y".to_vec()));
}

/// A payload beyond the limit ends the connection, as one of a client.
#[test]
fn a_payload_beyond_the_limit_ends_the_connection() {
    let port = free_port();
    let _hub = hub(Broker::midge(), port, "", "max_payload: 1000");
    let (mut leaf, _) = joined(port, SMALLEST);
    leaf.send(format!("LMSG a 1000\r\n{}\r\n", "x".repeat(1000)));
    leaf.sync();
    leaf.send("LMSG a 1001\r\n");
    assert_eq!(refusal(&mut leaf), "-ERR 'Maximum Payload Violation'");
    // Also behind a small one to the same subject.
    let (mut leaf, _) = joined(port, SMALLEST);
    leaf.send(format!(
        "LMSG a 1\r\nx\r\nLMSG a 2000\r\n{}\r\n",
        "x".repeat(2000)
    ));
    assert_eq!(refusal(&mut leaf), "-ERR 'Maximum Payload Violation'");
}

/// A connection whose end was not noticed gives way to the next one of the same broker.
#[test]
fn a_second_connection_of_a_broker_replaces_the_first() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let login = "\"name\":\"FL\",\"remote_account\":\"$G\"";
    let (mut first, _) = joined(port, login);
    let (mut second, _) = joined(port, login);
    assert_eq!(
        refusal(&mut first),
        "-ERR 'Duplicate Remote LeafNode Connection'"
    );
    second.sync();
    wait_for_leafs(&hub, 1);
    // Connections of other accounts are no duplicates.
    let (mut third, _) = joined(port, "\"name\":\"FL\",\"remote_account\":\"B\"");
    third.sync();
    second.sync();
    wait_for_leafs(&hub, 2);
}

/// A leafnode's own services and mappings: a message to a mapped subject goes where a client's would.
#[test]
fn mapped_subjects_and_imported_services_are_wanted() {
    let port = free_port();
    let config = "accounts { A { users [ { user: a, password: a } ], exports [ { service: svc } ] }\n \
                  B { users [ { user: b, password: b } ], imports [ { service: { account: A, subject: \
                  svc }, to: remote.svc } ], mappings { from: to } } }";
    let hub = hub(Broker::midge(), port, "", config);
    let leaf = leaf("leaf", port, "b:b@", "");
    wait_for_leafs(&hub, 1);
    wait_until("both are told", || {
        knows(&leaf, "remote.svc") && knows(&leaf, "from")
    });
    let of = |user: &str| {
        let mut client = RawClient::connect(hub.client_addr());
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"headers\":true,\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\n"
        ));
        client
    };
    let mut server = of("a");
    server.send("SUB svc 1\r\n");
    server.sync();
    let mut mapped = of("b");
    mapped.send("SUB to 1\r\n");
    mapped.sync();
    let mut requester = client(&leaf);
    requester.send("SUB inbox 1\r\nPUB remote.svc inbox 2\r\nhi\r\nPUB from 1\r\nm\r\n");
    let (line, _) = message(&mut server);
    let reply = line.split(' ').nth(3).expect("a reply").to_owned();
    server.send(format!("PUB {reply} 3\r\nyes\r\n"));
    assert_eq!(
        message(&mut requester),
        ("MSG inbox 1 3".into(), b"yes".to_vec())
    );
    assert_eq!(message(&mut mapped), ("MSG to 1 1".into(), b"m".to_vec()));
}

/// A slow leafnode is cut at its limit, and the views name it.
#[test]
fn a_leafnode_that_reads_nothing_is_cut() {
    let port = free_port();
    let hub = hub(
        Broker::midge(),
        port,
        "write_deadline: \"300ms\"",
        "max_payload: 1MB",
    );
    let (mut leaf, _) = joined(port, SMALLEST);
    leaf.send("LS+ flood\r\n");
    leaf.sync();
    let mut writer = client(&hub);
    let payload = "x".repeat(1024 * 1024);
    wait_until("it is cut", || {
        writer.send(format!("PUB flood {}\r\n{payload}\r\n", payload.len()));
        writer.sync();
        hub.get_json("/leafz")["leafnodes"] == 0
    });
    let varz = hub.get_json("/varz");
    assert_eq!(varz["slow_consumer_stats"]["leafs"], 1, "{varz}");
    let slowz = hub.get_json("/slowz").to_string();
    assert!(slowz.contains("Leafnode"), "{slowz}");
}

/// The system account hears of a leafnode that connects.
#[test]
fn the_system_account_hears_of_leafnodes() {
    let port = free_port();
    let config = "accounts { SYS { users [ { user: s, password: s } ] }, A { users [ { user: a, \
                  password: a } ] } }\nsystem_account: SYS";
    let hub = hub(Broker::midge(), port, "", config);
    let mut system = RawClient::connect(hub.client_addr());
    system.send("CONNECT {\"verbose\":false,\"user\":\"s\",\"pass\":\"s\"}\r\n");
    system.send("SUB $SYS.ACCOUNT.*.LEAFNODE.CONNECT 1\r\n");
    system.sync();
    let _leaf = leaf("leaf", port, "a:a@", "");
    let (line, body) = message(&mut system);
    assert!(
        line.starts_with("MSG $SYS.ACCOUNT.A.LEAFNODE.CONNECT 1 "),
        "{line}"
    );
    let event: Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!(
        (&event["acc"], &event["leafnodes"]),
        (&"A".into(), &1.into()),
        "{event}"
    );
}

/// Sums of weights beyond what a line can say neither end a connection nor leave interest behind.
#[test]
fn the_largest_weights_add_up_and_go() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let (mut watcher, _) = joined(port, "\"name\":\"WATCHER\"");
    for cluster in ["", ",\"cluster\":\"site\""] {
        let mut leafs: Vec<RawClient> = (0..6)
            .map(|number| joined(port, &format!("\"name\":\"L{number}\"{cluster}")).0)
            .collect();
        for leaf in &mut leafs {
            leaf.send("LS+ w crew 999999999\r\n");
            leaf.sync();
        }
        let mut lines = Vec::new();
        wait_until("the largest number is told", || {
            lines.extend(watcher.sync());
            lines
                .iter()
                .any(|frame| frame.line == b"LS+ w crew 4294967295")
        });
        // One is left: nothing is forgotten by the way.
        leafs.truncate(1);
        wait_until("the last one is told", || {
            lines.extend(watcher.sync());
            lines
                .last()
                .is_some_and(|frame| frame.line == b"LS+ w crew 999999999")
        });
        drop(leafs);
        wait_until("it is withdrawn", || {
            lines.extend(watcher.sync());
            lines
                .last()
                .is_some_and(|frame| frame.line == b"LS- w crew")
        });
        wait_for_leafs(&hub, 1);
    }
}

/// Many leafnodes of the same interest: each one is told as long as another one has it.
#[test]
fn common_interest_is_told_until_the_last_other_one_leaves() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let (mut watcher, _) = joined(port, "\"name\":\"WATCHER\"");
    let mut leafs: Vec<RawClient> = (0..6)
        .map(|number| {
            let (mut leaf, _) = joined(port, &format!("\"name\":\"L{number}\""));
            leaf.send("LS+ common\r\n");
            leaf.sync();
            leaf
        })
        .collect();
    let about = |frames: Vec<test_support::wire::Frame>| -> Vec<String> {
        let lines = frames.into_iter();
        let lines = lines.map(|frame| String::from_utf8_lossy(&frame.line).into_owned());
        lines.filter(|line| line.ends_with(" common")).collect()
    };
    let mut told: Vec<String> = Vec::new();
    wait_until("the watcher is told", || {
        told.extend(about(watcher.sync()));
        told == ["LS+ common"]
    });
    let mut last = leafs.remove(0);
    let mut of_last: Vec<String> = Vec::new();
    wait_until("it is told of the others", || {
        of_last.extend(about(last.sync()));
        of_last == ["LS+ common"]
    });
    let mut reader = client(&hub);
    reader
        .send("SUB common 1\r\nUNSUB 1\r\nSUB common 2\r\nSUB common 3\r\nUNSUB 2\r\nUNSUB 3\r\n");
    reader.sync();
    while leafs.pop().is_some() {
        wait_for_leafs(&hub, leafs.len() + 2);
        told.extend(about(watcher.sync()));
        assert_eq!(told, ["LS+ common"]);
    }
    wait_until("it is told that there is no other one", || {
        of_last.extend(about(last.sync()));
        of_last == ["LS+ common", "LS- common"]
    });
    drop(last);
    wait_until("the watcher is told that it is over", || {
        told.extend(about(watcher.sync()));
        told == ["LS+ common", "LS- common"]
    });
}

/// A leafnode that names each of thousands of queue groups is served, and an error that it reports does
/// not end its connection.
#[test]
fn many_queue_groups_and_errors_of_a_leafnode_are_taken() {
    let port = free_port();
    let _hub = hub(Broker::midge(), port, "", "");
    let (mut one, _) = joined(port, "\"name\":\"ONE\"");
    let names: Vec<String> = (0..10_000).map(|number| format!("q{number}")).collect();
    let lines = names.iter().map(|name| format!("LS+ s {name} 1\r\n"));
    one.send(lines.collect::<String>());
    one.send("-ERR 'maximum subscriptions exceeded'\r\n");
    one.sync();
    let (mut two, _) = joined(port, "\"name\":\"TWO\"");
    two.send(format!("LMSG s | {} 2\r\nhi\r\n", names.join(" ")));
    two.sync();
    let (line, body) = message(&mut one);
    assert_eq!(body, b"hi");
    assert_eq!(line.split(' ').count(), names.len() + 4, "{line:.100}");
}
