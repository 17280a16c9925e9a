//! What strangers and clients send without bounds costs bounded memory and time; the advisories of
//! nats-server that concern WebSockets are among it.

use std::{
    fs,
    time::{Duration, Instant},
};

use test_support::{
    Broker,
    websocket::{WebSocketClient, frame},
};

use super::{
    compression::{compressing, deflated},
    connected, greeted, start,
};

/// A broker that asks for a login.
fn asking(more: &str) -> Broker {
    start(
        Broker::midge(),
        more,
        "authorization { user: a, password: b }\n",
    )
}

/// The most memory that the broker has used so far, in KiB.
fn peak(broker: &Broker) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", broker.pid())).expect("its status");
    let line = status.lines().find(|line| line.starts_with("VmHWM:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number
        .and_then(|number| number.parse().ok())
        .expect("a number")
}

const OFFER: &str = "Sec-WebSocket-Extensions: permessage-deflate";

/// Advisory 2026-02: 100 MB of operations in a small compressed message, before the login.
#[test]
fn a_compressed_bomb_before_the_login_ends() {
    let broker = asking("compression: true");
    let before = peak(&broker);
    let begin = Instant::now();
    for message in [
        "PING\r\n".repeat(16 << 20),
        "\r\n".repeat(40 << 20),
        "CONNECT {".repeat(8 << 20),
    ] {
        let mut client = WebSocketClient::connect_with(broker.websocket_addr(), OFFER);
        // INFO, which is compressed as well.
        client.next_frame();
        client.send(frame(0xc2, deflated(message.as_bytes())));
        client.read_to_end();
    }
    let grown = peak(&broker) - before;
    assert!(grown < 4 * 1024, "{grown} KiB");
    assert!(begin.elapsed() < Duration::from_secs(50));
    greeted(&broker);
}

/// The same of a client that is in: its bomb ends at its bound, and others are served meanwhile.
#[test]
fn a_compressed_bomb_after_the_login_ends() {
    let broker = start(Broker::midge(), "compression: true", "");
    let mut other = connected(&broker);
    let before = peak(&broker);
    let mut client = compressing(&broker);
    client.send(frame(0xc2, deflated("\r\n".repeat(40 << 20).as_bytes())));
    other.say("PING\r\n");
    assert_eq!(other.read_until("PONG\r\n"), "PONG\r\n");
    let close = client.read_to_end().last().and_then(|it| it.close());
    let close = close.unwrap_or_default();
    assert!(
        close.starts_with("1009 ") || close.starts_with("1002 "),
        "{close}"
    );
    let grown = peak(&broker) - before;
    assert!(grown < 4 * 1024, "{grown} KiB");
}

/// Advisory 2026-03: a length with its top bit set, before the login.
#[test]
fn a_negative_length_ends_that_connection_alone() {
    let broker = asking("");
    let mut other = greeted(&broker);
    let mut client = greeted(&broker);
    client.send([
        0x82, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0, 0,
    ]);
    let close = client.read_to_end().last().and_then(|it| it.close());
    assert_eq!(close.as_deref(), Some("1002 invalid 64-bit payload length"));
    other.say("CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false}\r\nPING\r\n");
    assert!(other.read_until("PONG\r\n").ends_with("PONG\r\n"));
}

/// Advisory 2026-11: endless fragments, an endless line, an endless frame, before the login.
#[test]
fn endless_input_before_the_login_ends() {
    let broker = asking("");
    let before = peak(&broker);
    let letters = "x".repeat(60_000);
    let huge_head = [
        0x82, 0xff, 0x3f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0,
    ];
    for begin in [
        frame(0x02, "CONNECT {"),
        [&huge_head[..], b"CONNECT {"].concat(),
    ] {
        let mut client = greeted(&broker);
        let is_one_frame = begin[1] == 0xff;
        client.send(begin);
        for _ in 0..50 {
            match is_one_frame {
                true => client.send(&letters),
                false => client.send(frame(0x00, &letters)),
            }
        }
        let close = client.read_to_end().last().and_then(|it| it.close());
        // It may be lost with what was not read of it.
        if let Some(close) = close {
            assert_eq!(close, "1008 Maximum Control Line Exceeded");
        }
    }
    let grown = peak(&broker) - before;
    assert!(grown < 2 * 1024, "{grown} KiB");
    broker.wait_for_connections(0);
}

/// Advisory 2026-24: a user who may not connect so is not let in by an operation before CONNECT.
#[test]
fn a_guest_who_may_not_connect_so_is_refused() {
    let users = "authorization { users: [ { user: guest, password: x, \
                 allowed_connection_types: [STANDARD] } ] }\n";
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = start(builder, "no_auth_user: guest", users);
        for said in ["SUB a 1\r\n", "CONNECT {}\r\n"] {
            let mut client = greeted(&broker);
            client.say(said);
            let frames = client.read_to_end();
            let text: String = frames.iter().map(|it| it.text()).collect();
            assert!(
                text.contains("-ERR 'Authorization Violation'"),
                "{said}: {text}"
            );
            let close = frames.last().and_then(|it| it.close());
            assert_eq!(close.as_deref(), Some("1008 Authentication Failure"));
        }
    }
}

/// Who sends pings and takes no pongs has only the latest ones held for it.
#[test]
fn pongs_that_are_not_taken_are_not_held() {
    let broker = start(Broker::midge(), "", "");
    let before = peak(&broker);
    let mut client = connected(&broker);
    let pings = frame(0x89, "x".repeat(125)).repeat(500);
    for _ in 0..100 {
        client.send(&pings);
    }
    client.say("PING\r\n");
    assert_eq!(client.read_until("PONG\r\n"), "PONG\r\n");
    let grown = peak(&broker) - before;
    assert!(grown < 2 * 1024, "{grown} KiB");
}

/// Many strangers with an incomplete compressed message each: there is a bound for all of them
/// together.
#[test]
fn incomplete_compressed_messages_have_a_bound() {
    let broker = asking("compression: true");
    let part = deflated("CONNECT {\"name\":\"some name that is not complete".as_bytes());
    let clients: Vec<WebSocketClient> = (0..300)
        .map(|_| {
            let mut client = WebSocketClient::connect_with(broker.websocket_addr(), OFFER);
            client.send(frame(0x42, &part));
            client
        })
        .collect();
    broker
        .log()
        .wait_for("too many compressed messages are incomplete");
    let memz = broker.get_json("/memz").to_string();
    assert!(memz.contains("\"websockets\""), "{memz}");
    let mut other = greeted(&broker);
    other.say("CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false}\r\nPING\r\n");
    assert!(other.read_until("PONG\r\n").ends_with("PONG\r\n"));
    drop(clients);
}

/// A reader that stops reading is cut like every other one, and gets no close frame.
#[test]
fn a_slow_consumer_is_cut_without_a_word() {
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = start(builder, "", "max_pending: 2MB\n");
        let mut slow = connected(&broker);
        slow.say("SUB a 1\r\nPING\r\n");
        slow.read_until("PONG\r\n");
        let mut publisher = connected(&broker);
        let message = format!("PUB a 100000\r\n{}\r\n", "x".repeat(100_000));
        let mut sent = 0;
        while broker.get_json("/varz")["slow_consumers"] == 0 {
            assert!(sent < 1000);
            for _ in 0..10 {
                publisher.say(&message);
                sent += 1;
            }
            publisher.say("PING\r\n");
            publisher.read_until("PONG\r\n");
        }
        let closed = broker.get_json("/connz?state=closed&subs=0").to_string();
        assert!(closed.contains("Slow Consumer (Pending Bytes)"), "{closed}");
        let close = slow.read_to_end().last().and_then(|it| it.close());
        assert_eq!(close, None);
    }
}
