//! Frames: what a client may send, what it must not, and how connections end.

use test_support::{
    BrokerBuilder,
    websocket::{WebSocketClient, frame},
};

use super::{connected, greeted, on_both, start};

on_both![
    frames_have_nothing_to_do_with_operations,
    pings_are_answered_before_the_login,
    a_client_that_closes_gets_its_code_back,
    what_breaks_the_rules_ends_the_connection,
    bytes_behind_the_handshake_are_served,
    frames_without_masks_if_agreed,
    ends_have_codes,
    a_client_that_is_silent_is_stale,
    messages_of_any_size_arrive,
];

/// One byte a frame, many operations a frame, an operation in several frames, text frames, frames
/// of no bytes: all the same.
fn frames_have_nothing_to_do_with_operations(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let mut client = connected(&broker);
    for byte in "PING\r\n".chunks_of(1) {
        client.say(byte);
    }
    assert_eq!(client.read_until("\r\n"), "PONG\r\n");
    client.say("SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n");
    assert_eq!(client.read_until("PONG\r\n"), "MSG a 1 2\r\nhi\r\nPONG\r\n");
    client.send(frame(0x02, "PI"));
    client.send(frame(0x89, "now"));
    client.send(frame(0x00, ""));
    client.send(frame(0x80, "NG\r\n"));
    let pong = client.next_frame().expect("a pong");
    assert_eq!((pong.first, pong.text()), (0x8a, "now".into()));
    assert_eq!(client.read_until("\r\n"), "PONG\r\n");
    client.send(frame(0x81, "PUB a 2\r\nhi\r\nPING\r\n"));
    assert_eq!(client.read_until("PONG\r\n"), "MSG a 1 2\r\nhi\r\nPONG\r\n");
}

trait Chunks {
    fn chunks_of(&self, len: usize) -> Vec<&[u8]>;
}

impl Chunks for str {
    fn chunks_of(&self, len: usize) -> Vec<&[u8]> {
        self.as_bytes().chunks(len).collect()
    }
}

fn pings_are_answered_before_the_login(broker: BrokerBuilder) {
    let broker = start(broker, "", "authorization { user: a, password: b }\n");
    let mut client = greeted(&broker);
    client.send(frame(0x89, "x".repeat(125)));
    client.send(frame(0x8a, "nobody asked"));
    let pong = client.next_frame().expect("a pong");
    assert_eq!((pong.first, pong.payload.len()), (0x8a, 125));
    client.say("CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false}\r\nPING\r\n");
    assert!(client.read_until("PONG\r\n").ends_with("PONG\r\n"));
}

/// What it sent before is served, also what came together with CONNECT; what follows is not.
fn a_client_that_closes_gets_its_code_back(broker: BrokerBuilder) {
    let broker = start(broker, "", "authorization { user: a, password: b }\n");
    let login = "CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false}\r\nPING\r\n";
    let mut watcher = greeted(&broker);
    watcher.say(format!("{login}SUB a 1\r\nPING\r\n"));
    watcher.read_until("PONG\r\nPONG\r\n");
    for (payload, expected) in [
        (&b"\x03\xe8bye"[..], "1000 bye"),
        (b"\x0f\xa0", "4000 "),
        (b"", "none"),
    ] {
        let mut client = greeted(&broker);
        let all = [
            frame(0x82, format!("{login}SUB a 1\r\nPUB a 2\r\nhi\r\nPING\r\n")),
            frame(0x88, payload),
            frame(0x82, "PUB a 4\r\nmore\r\n"),
        ];
        client.send(all.concat());
        let frames = client.read_to_end();
        let operations: String = frames
            .iter()
            .filter(|it| it.first == 0x82)
            .map(|it| it.text())
            .collect();
        assert!(
            operations.contains("MSG a 1 2\r\nhi\r\nPONG\r\n"),
            "{operations}"
        );
        let last = frames.last().and_then(|it| it.close());
        assert_eq!(last.as_deref(), Some(expected));
        assert_eq!(watcher.read_until("hi\r\n"), "MSG a 1 2\r\nhi\r\n");
    }
    watcher.say("PING\r\n");
    assert_eq!(watcher.read_until("PONG\r\n"), "PONG\r\n");
}

/// Of frames that break the rules nothing is done. nats-server's close frame is often lost, midge's
/// is not.
fn what_breaks_the_rules_ends_the_connection(broker: BrokerBuilder) {
    let is_midge = broker.program_path() == test_support::tools::midge();
    let broker = start(broker, "", "");
    let mut watcher = connected(&broker);
    watcher.say("SUB > 1\r\nPING\r\n");
    watcher.read_until("PONG\r\n");
    let publish = "PUB a 2\r\nhi\r\n";
    let unmasked = [&[0x82, publish.len() as u8][..], publish.as_bytes()].concat();
    let negative = [
        &[0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0][..],
        &[0; 4],
        b"PUB a 2",
    ]
    .concat();
    for (bytes, code, text) in [
        (unmasked, 1002, "mask bit missing"),
        (negative, 1002, "invalid 64-bit payload length"),
        (frame(0x83, publish), 1002, "unknown opcode 3"),
        (frame(0xa2, publish), 1002, "RSV2 and RSV3 must be clear"),
        (
            frame(0xc2, publish),
            1002,
            "compressed frame received without negotiated permessage-deflate",
        ),
        (frame(0x80, publish), 1002, "invalid continuation frame"),
        (
            [frame(0x02, ""), frame(0x82, publish)].concat(),
            1002,
            "new message started before final frame for previous message was received",
        ),
        (
            frame(0x89, "x".repeat(126)),
            1002,
            "control frame length bigger than maximum allowed of 125 bytes",
        ),
        (
            frame(0x09, ""),
            1002,
            "control frame does not have final bit set",
        ),
        (
            frame(0x88, "x"),
            1002,
            "close frame payload cannot be 1 byte",
        ),
        (
            frame(0x88, b"\x03\xe7"),
            1002,
            "invalid close status code 999",
        ),
        (
            frame(0x88, b"\x03\xed"),
            1002,
            "invalid close status code 1005",
        ),
        (
            frame(0x88, b"\x13\x88"),
            1002,
            "invalid close status code 5000",
        ),
        (
            frame(0x88, b"\x03\xe8\xff"),
            1007,
            "invalid utf8 body in close frame",
        ),
    ] {
        let mut client = connected(&broker);
        client.send(bytes);
        let close = client.read_to_end().last().and_then(|it| it.close());
        if is_midge {
            assert_eq!(close, Some(format!("{code} {text}")));
            broker.log().wait_for(&format!("read error: {text}"));
        } else if let Some(close) = close {
            assert_eq!(close, format!("{code} {text}"));
        }
    }
    watcher.say("PING\r\n");
    assert_eq!(watcher.read_until("PONG\r\n"), "PONG\r\n");
}

/// A client need not wait for INFO once it has the answer.
fn bytes_behind_the_handshake_are_served(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let mut client = WebSocketClient::connect(broker.websocket_addr());
    client.say("CONNECT {\"verbose\":false}\r\nPING\r\n");
    let said = client.read_until("PONG\r\n");
    assert!(
        said.starts_with("INFO {") && said.contains("\r\nPONG\r\n"),
        "{said}"
    );
}

/// Leafnodes and clients that run no code of others may go without masks.
fn frames_without_masks_if_agreed(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let mut client =
        WebSocketClient::connect_with(broker.websocket_addr(), "Nats-No-Masking: true");
    assert!(
        client.answer.contains("\r\nNats-No-Masking: true\r\n"),
        "{}",
        client.answer
    );
    client.send(b"\x82\x1bCONNECT {\"verbose\":false}\r\n\x82\x06PING\r\n");
    assert!(client.read_until("PONG\r\n").ends_with("PONG\r\n"));
    let client = WebSocketClient::connect_with(broker.websocket_addr(), "Nats-No-Masking: yes");
    assert!(
        !client.answer.contains("Nats-No-Masking"),
        "{}",
        client.answer
    );
}

/// What ends a connection is said twice: as `-ERR`, and as a close frame.
fn ends_have_codes(broker: BrokerBuilder) {
    let top = "max_payload: 100\nmax_connections: 3\n\
               authorization { user: a, password: b, timeout: 1 }\n";
    let mut broker = start(broker, "", top);
    let login = "CONNECT {\"user\":\"a\",\"pass\":\"b\",\"verbose\":false,\"headers\":true}\r\n";
    for (said, error, close) in [
        (
            "CONNECT {\"user\":\"a\",\"pass\":\"c\"}\r\n".to_owned(),
            "-ERR 'Authorization Violation'\r\n",
            "1008 Authentication Failure",
        ),
        (
            String::new(),
            "-ERR 'Authentication Timeout'\r\n",
            "1008 Authentication Timeout",
        ),
        (
            format!("{login}PUB a 101\r\n"),
            "-ERR 'Maximum Payload Violation'\r\n",
            "1009 Maximum Message Payload Exceeded",
        ),
        (
            format!(
                "{}no_responders\":true}}\r\n",
                login.replace("headers\":true}\r\n", "")
            ),
            "-ERR 'no responders requires headers support'\r\n",
            "1011 No Responders Requires Headers",
        ),
    ] {
        let mut client = greeted(&broker);
        client.say(&said);
        let frames = client.read_to_end();
        let close_frame = frames.last().and_then(|it| it.close());
        assert_eq!(close_frame.as_deref(), Some(close), "{said}");
        let text: String = frames.iter().map(|it| it.text()).collect();
        assert!(
            text.to_lowercase().contains(&error.to_lowercase()),
            "{text}"
        );
        broker.wait_for_connections(0);
    }
    let mut clients: Vec<_> = (0..3).map(|_| greeted(&broker)).collect();
    for client in &mut clients {
        client.say(format!("{login}PING\r\n"));
        client.read_until("PONG\r\n");
    }
    let mut surplus = WebSocketClient::connect(broker.websocket_addr());
    let frames = surplus.read_to_end();
    let texts: String = frames.iter().map(|it| it.text()).collect();
    assert!(
        texts.contains("-ERR 'maximum connections exceeded'"),
        "{texts}"
    );
    let close = frames.last().and_then(|it| it.close());
    assert_eq!(close.as_deref(), Some("1008 Maximum Connections Exceeded"));
    broker.signal(libc::SIGTERM);
    for client in &mut clients {
        let close = client.read_to_end().last().and_then(|it| it.close());
        assert_eq!(close.as_deref(), Some("1001 Server Shutdown"));
    }
    broker.wait_exit();
}

/// Pings of the protocol keep it up to date; those of WebSockets do not. The block's interval
/// counts.
fn a_client_that_is_silent_is_stale(broker: BrokerBuilder) {
    let broker = start(broker, "ping_interval: \"200ms\"", "");
    let mut client = connected(&broker);
    for _ in 0..3 {
        client.send(frame(0x89, "alive"));
    }
    let frames = client.read_to_end();
    let text: String = frames
        .iter()
        .filter(|it| it.first == 0x82)
        .map(|it| it.text())
        .collect();
    assert!(
        text.ends_with("PING\r\nPING\r\n-ERR 'Stale Connection'\r\n"),
        "{text}"
    );
    let close = frames.last().and_then(|it| it.close());
    assert_eq!(close.as_deref(), Some("1001 Stale Connection"));
}

fn messages_of_any_size_arrive(broker: BrokerBuilder) {
    let broker = start(broker, "", "");
    let mut subscriber = connected(&broker);
    subscriber.say("SUB a 1\r\nPING\r\n");
    subscriber.read_until("PONG\r\n");
    let mut publisher = connected(&broker);
    for len in [0, 1, 100, 126, 4096, 16_384, 65_536, 70_000, 1_000_000] {
        let payload: String = (0..len)
            .map(|at| char::from(b'a' + (at % 23) as u8))
            .collect();
        publisher.say(format!("PUB a {len}\r\n{payload}\r\n"));
        let expected = format!("MSG a 1 {len}\r\n{payload}\r\n");
        let mut received = String::new();
        while received.len() < expected.len() {
            received += &subscriber.read_until("\n");
        }
        assert!(received == expected, "{len}: {} bytes", received.len());
    }
}
