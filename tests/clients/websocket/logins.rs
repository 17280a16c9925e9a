//! Logins by WebSocket: the block's own user, its guest, cookies, and users that may not connect so.

use test_support::{
    Broker, BrokerBuilder, RawClient,
    websocket::{WebSocketClient, with_field},
};

use super::{greeted, on_both, start};

on_both![
    the_blocks_own_user_replaces_that_of_the_client_port,
    the_blocks_own_token,
    the_blocks_own_guest,
    users_that_may_not_connect_so_are_refused,
    cookies_fill_what_connect_leaves_empty,
    a_reload_changes_who_may_log_in,
];

/// What a client gets for these fields of CONNECT: `PONG`, or the error.
fn outcome(mut client: WebSocketClient, fields: &str) -> String {
    client.read_until("\r\n");
    client.say(format!("CONNECT {{\"verbose\":false{fields}}}\r\nPING\r\n"));
    let said = client.read_until("\r\n");
    // The second INFO answers the first ping.
    let lines = said.lines().filter(|line| !line.starts_with("INFO"));
    let lines: Vec<&str> = lines.collect();
    match lines.first() {
        Some(line) => (*line).to_owned(),
        None => client.read_until("PONG\r\n").trim().to_owned(),
    }
}

const REFUSED: &str = "-ERR 'Authorization Violation'";

fn the_blocks_own_user_replaces_that_of_the_client_port(broker: BrokerBuilder) {
    let own = "authorization { user: web, password: w, timeout: 3 }";
    let broker = start(broker, own, "authorization { user: tcp, password: t }\n");
    let mut client = WebSocketClient::connect(broker.websocket_addr());
    assert_eq!(client.info()["auth_required"], true);
    for (fields, expected) in [
        (",\"user\":\"web\",\"pass\":\"w\"", "PONG"),
        (",\"user\":\"tcp\",\"pass\":\"t\"", REFUSED),
        ("", REFUSED),
    ] {
        let client = WebSocketClient::connect(broker.websocket_addr());
        assert_eq!(outcome(client, fields), expected, "{fields}");
    }
    let mut plain = RawClient::connect(broker.client_addr());
    plain.send("CONNECT {\"verbose\":false,\"user\":\"tcp\",\"pass\":\"t\"}\r\n");
    plain.sync();
}

/// The client port stays open.
fn the_blocks_own_token(broker: BrokerBuilder) {
    let broker = start(broker, "authorization { token: secret }", "");
    for (fields, expected) in [(",\"auth_token\":\"secret\"", "PONG"), ("", REFUSED)] {
        let client = WebSocketClient::connect(broker.websocket_addr());
        assert_eq!(outcome(client, fields), expected, "{fields}");
    }
    let mut plain = broker.connect();
    assert!(plain.info()["auth_required"].is_null());
    plain.sync();
}

fn the_blocks_own_guest(broker: BrokerBuilder) {
    let users = "authorization { users: [ { user: guest, password: x, permissions: { publish: a } }, \
                 { user: b, password: c } ] }\n";
    let broker = start(broker, "no_auth_user: guest", users);
    let mut client = WebSocketClient::connect(broker.websocket_addr());
    assert_eq!(client.info()["auth_required"], true);
    // Without any CONNECT.
    client.say("PUB b 0\r\n\r\n");
    let said = client.read_until("-ERR");
    assert!(
        said.contains("Permissions Violation for Publish to \"b\""),
        "{said}"
    );
    let client = WebSocketClient::connect(broker.websocket_addr());
    assert_eq!(outcome(client, ",\"user\":\"b\",\"pass\":\"c\""), "PONG");
    let client = WebSocketClient::connect(broker.websocket_addr());
    assert_eq!(outcome(client, ",\"user\":\"b\",\"pass\":\"d\""), REFUSED);
    let mut plain = broker.connect();
    plain.send("CONNECT {}\r\n");
    let said = format!("{:?}", plain.read_to_end());
    assert!(said.contains("Authorization Violation"), "{said}");
}

fn users_that_may_not_connect_so_are_refused(broker: BrokerBuilder) {
    let users = "authorization { users: [ \
                 { user: web, password: x, allowed_connection_types: [websocket] }, \
                 { user: tcp, password: x, allowed_connection_types: [STANDARD] }, \
                 { user: any, password: x } ] }\n";
    let broker = start(broker, "", users);
    for (user, by_websocket, plainly) in [
        ("web", true, false),
        ("tcp", false, true),
        ("any", true, true),
    ] {
        let fields = format!(",\"user\":\"{user}\",\"pass\":\"x\"");
        let client = WebSocketClient::connect(broker.websocket_addr());
        assert_eq!(outcome(client, &fields) == "PONG", by_websocket, "{user}");
        let mut plain = broker.connect();
        plain.send(format!("CONNECT {{\"verbose\":false{fields}}}\r\nPING\r\n"));
        let first = plain.next_frame().expect("an answer").line;
        assert_eq!(first != REFUSED.as_bytes(), plainly, "{user}");
    }
}

fn cookies_fill_what_connect_leaves_empty(broker: BrokerBuilder) {
    let names = "user_cookie: u, pass_cookie: p, token_cookie: t";
    let users = "authorization { users: [ { user: a, password: b }, { user: c, password: b } ] }\n";
    let program = broker.program_path();
    let broker = start(broker, names, users);
    for (cookies, fields, expected) in [
        ("u=a; p=b", "", "PONG"),
        ("u=\"a\"; p=\"b\"", "", "PONG"),
        ("u=a", ",\"pass\":\"b\"", "PONG"),
        ("u=a; p=b", ",\"user\":\"c\"", "PONG"),
        ("u=a; p=b", ",\"pass\":\"wrong\"", REFUSED),
        ("u=a; p=wrong", "", REFUSED),
        ("U=a; p=b", "", REFUSED),
        ("x=y", "", REFUSED),
    ] {
        let request = with_field(&format!("Cookie: {cookies}"));
        let client = WebSocketClient::request(broker.websocket_addr(), &request);
        assert_eq!(outcome(client, fields), expected, "{cookies} {fields}");
    }
    broker.log().assert_lacks("wrong;");
    let broker = start(
        Broker::program(program),
        names,
        "authorization { token: secret }\n",
    );
    for (cookies, expected) in [("t=secret", "PONG"), ("t=other", REFUSED)] {
        let request = with_field(&format!("Cookie: {cookies}"));
        let client = WebSocketClient::request(broker.websocket_addr(), &request);
        assert_eq!(outcome(client, ""), expected, "{cookies}");
    }
    broker.log().assert_lacks("secret");
}

/// The users of the file count at both ports; settings of the block itself need a restart.
fn a_reload_changes_who_may_log_in(broker: BrokerBuilder) {
    let users = |password: &str| {
        format!("authorization {{ users: [ {{ user: a, password: {password} }} ] }}\n")
    };
    let broker = start(broker, "", &users("b"));
    let mut stays = greeted(&broker);
    stays.say("CONNECT {\"verbose\":false,\"user\":\"a\",\"pass\":\"b\"}\r\nPING\r\n");
    stays.read_until("PONG\r\n");
    let text = format!("{}{}", super::block(""), users("c"));
    broker.reload(&text);
    let frames = stays.read_to_end();
    let said: String = frames.iter().map(|it| it.text()).collect();
    assert!(said.contains("-ERR 'Authorization Violation'"), "{said}");
    for (password, expected) in [("b", REFUSED), ("c", "PONG")] {
        let client = WebSocketClient::connect(broker.websocket_addr());
        let fields = format!(",\"user\":\"a\",\"pass\":\"{password}\"");
        assert_eq!(outcome(client, &fields), expected, "{password}");
    }
}
