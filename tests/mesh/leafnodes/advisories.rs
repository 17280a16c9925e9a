//! What went wrong at nats-servers with leafnodes before or beside the login, as tests: ends of the
//! process by what a stranger sends, logins that were skipped, and traces sent where the leafnode's
//! user may not send.

use std::net::SocketAddr;

use test_support::{Broker, Frame, RawClient, free_port, wait_until};

use super::{client, expect_silence, hub, leaf, message, scripted::joined, subscriber};

fn open(port: u16) -> RawClient {
    RawClient::connect(SocketAddr::from(([127, 0, 0, 1], port)))
}

/// Everything that one broker may say to another over a leafnode connection, and some that none may.
const LINES: [&str; 28] = [
    "CONNECT {}\r\n",
    "CONNECT {\"name\":\"again\",\"cluster\":\"other\",\"compress_mode\":\"s2_fast\"}\r\n",
    "CONNECT {\"is_hub\":true,\"deny_pub\":[\"\",\"a..b\",\">\"],\"protocol\":-1}\r\n",
    "CONNECT {\"name\":null,\"deny_pub\":null,\"headers\":null}\r\n",
    "CONNECT []\r\n",
    "CONNECT\r\n",
    "INFO {}\r\n",
    "INFO {\"compression\":\"s2_auto\",\"client_id\":1}\r\n",
    "INFO {\"compression\":\"accept\",\"nonce\":\"x\",\"leafnode_urls\":null}\r\n",
    "INFO {\"connect_info\":true,\"remote_account\":\"NONE\",\"import\":{},\"export\":null}\r\n",
    "INFO {\"cluster\":\"a b\",\"tls_required\":true}\r\n",
    "INFO null\r\n",
    "LS+ a\r\n",
    "LS+ a q 1\r\n",
    "LS+ a q -1\r\n",
    "LS+ a q 4294967296\r\n",
    "LS- a\r\n",
    "LS- never q\r\n",
    "LS+\r\n",
    "LMSG a 1\r\nx\r\n",
    "LMSG a | q 1\r\nx\r\n",
    "LMSG a + r q 99999999999999999999\r\n",
    "HMSG a 12 13\r\nNATS/1.0\r\n\r\nx\r\n",
    "HMSG a 13 12\r\n",
    "-ERR 'Loop detected for leafnode account=\"$G\"'\r\n",
    "-ERR 'Permissions Violation for Subscription to \"a\"'\r\n",
    "PONG\r\n",
    "\u{16}\u{3}\u{1}\u{ff}\u{ff}\r\n",
];

/// Advisories 2026-04, -10 and -19: whatever comes in whatever state, and twice, the broker lives on.
/// What comes before the login changes nothing.
#[test]
fn no_line_in_any_state_ends_the_broker() {
    let (port, logged_in) = (free_port(), "\"name\":\"FL\",\"server_id\":\"NF\"");
    let hub = hub(Broker::midge(), port, "", "");
    for first in LINES {
        for second in ["", "LS+ a\r\n", "INFO {}\r\n", "CONNECT {}\r\n", first] {
            let mut stranger = open(port);
            stranger.send(format!("{first}{second}"));
            let mut known = joined(port, logged_in).0;
            known.send(format!("{first}{second}"));
            // Both are still there, or have ended.
            for peer in [&mut stranger, &mut known] {
                peer.send("PING\r\n");
                let is_pong = |frame: &Frame| &frame.line[..] == b"PONG";
                while peer.next_frame().is_some_and(|frame| !is_pong(&frame)) {}
            }
        }
    }
    let log = hub.log().to_string();
    assert!(!log.contains("panicked"), "{log}");
    // Those that are gone are no leafnodes, and a new one is served.
    wait_until("none is left", || hub.get_json("/leafz")["leafnodes"] == 0);
    let real = leaf("leaf", port, "", "");
    let mut reader = subscriber(&real, &hub, "news");
    client(&hub).send("PUB news 1\r\ny\r\n");
    assert_eq!(message(&mut reader).1, b"y");
}

/// Advisories 2026-16 and -24: the user that clients without credentials become is no way around
/// CONNECT, and what this user may not be is asked of leafnodes, too.
#[test]
fn nothing_but_connect_comes_first() {
    let port = free_port();
    let users = "no_auth_user: guest\nauthorization { users: [ { user: guest, password: g, \
                 allowed_connection_types: [ STANDARD ] }, { user: site, password: s } ] }";
    let hub = hub(Broker::midge(), port, "", users);
    let mut reader = RawClient::connect_quietly(hub.client_addr());
    reader.send("SUB > 1\r\n");
    reader.sync();
    for first in ["LS+ secret\r\n", "LMSG a 1\r\nx\r\n", "LS- a\r\n"] {
        let mut stranger = open(port);
        stranger.send([first, "PING\r\n"].concat());
        let frames = stranger.read_to_end();
        let said = |text: &[u8]| frames.iter().any(|frame| frame.line.starts_with(text));
        assert!(said(b"-ERR"), "{first}: {frames:?}");
        assert!(!said(b"LS+") && !said(b"LMSG"), "{first}: {frames:?}");
    }
    // The guest may not be a leafnode.
    for connect in ["", "\"user\":\"guest\",\"pass\":\"g\""] {
        let mut stranger = open(port);
        stranger.send(format!("CONNECT {{{connect}}}\r\nLS+ secret\r\n"));
        let frames = stranger.read_to_end();
        let last = frames.iter().rfind(|frame| frame.line.starts_with(b"-ERR"));
        let last = last.map(|frame| frame.line.escape_ascii().to_string());
        assert_eq!(
            last.as_deref(),
            Some(r"-ERR \'Authorization Violation\'"),
            "{connect}"
        );
    }
    expect_silence(&mut reader);
    assert_eq!(hub.get_json("/leafz")["leafnodes"], 0);
    joined(port, "\"user\":\"site\",\"pass\":\"s\"").0.sync();
}

/// Advisory 2026-20: a message of a leafnode has its trace sent only where the leafnode's user may
/// send messages. One that is traced alone, and may not be, goes nowhere.
#[test]
fn a_trace_goes_only_where_the_leafnode_may_send() {
    let port = free_port();
    let users = "accounts { A { users [ { user: free, password: f }, { user: site, password: s, \
                 permissions { publish: [\"out.>\", \"traces.>\"] } } ] } }";
    let hub = hub(Broker::midge(), port, "", users);
    let mut reader = RawClient::connect(hub.client_addr());
    reader
        .send("CONNECT {\"verbose\":false,\"headers\":true,\"user\":\"free\",\"pass\":\"f\"}\r\n");
    reader.send("SUB out.> 1\r\nSUB traces.> 2\r\nSUB secret.> 3\r\n");
    reader.sync();
    let login = "\"name\":\"FL\",\"server_id\":\"NF\",\"headers\":true,\"protocol\":1,\"user\":\"site\",\
                 \"pass\":\"s\"";
    let mut leaf = joined(port, login).0;
    let mut publish = |subject: &str, dest: &str, more: &str| {
        let headers = format!("NATS/1.0\r\nNats-Trace-Dest: {dest}\r\n{more}\r\n");
        let (len, total) = (headers.len(), headers.len() + 1);
        leaf.send(format!("HMSG {subject} {len} {total}\r\n{headers}x\r\n"));
        leaf.sync();
    };
    publish("out.a", "secret.a", "");
    publish("out.b", "secret.b", "Nats-Trace-Only: true\r\n");
    publish("out.c", "traces.c", "");
    let mut seen = Vec::new();
    wait_until("the trace that may be sent", || {
        let frames = reader.sync();
        seen.extend(frames.iter().filter(|frame| frame.is_message()).map(|it| {
            let line = it.line.escape_ascii().to_string();
            line.split(' ').nth(1).unwrap_or_default().to_owned()
        }));
        seen.len() >= 3
    });
    seen.sort();
    assert_eq!(seen, ["out.a", "out.c", "traces.c"]);
    expect_silence(&mut reader);
}
