//! The effect of a reload: each key that the table marks as reloadable has a test here of
//! its effect on connected and new clients and, where it matters, on routes. A log line
//! is not accepted as proof.
//!
//! Each file lists its keys and their tests; the lists are compared with the table.

mod clients;
mod diagnosis;
mod federation;
mod leafnodes;
mod log;
mod logins;
mod queues;
mod routes;
mod timeouts;
mod websocket;

use std::{
    collections::BTreeSet,
    net::{TcpListener, TcpStream},
    time::Instant,
};

use midge::config::options::{keys::tables, table::ReloadKind};

use test_support::{
    Frame, PATIENCE, RawClient, free_port,
    mesh::{Kind, Member, Plan},
    raw_client::parse_info,
    wait_for, wait_until,
};

/// A key with its block, and the test of its effect.
type Effect = (&'static str, fn());

const EFFECTS: &[&[Effect]] = &[
    clients::EFFECTS,
    diagnosis::EFFECTS,
    federation::EFFECTS,
    leafnodes::EFFECTS,
    log::EFFECTS,
    logins::EFFECTS,
    queues::EFFECTS,
    routes::EFFECTS,
    timeouts::EFFECTS,
    websocket::EFFECTS,
];

/// Each reloadable key needs a test of its effect.
#[test]
fn every_live_key_has_a_test_of_its_effect() {
    let mut live = BTreeSet::new();
    for table in tables() {
        for row in table.rows {
            if row.reload == Some(ReloadKind::Live) {
                live.insert(match table.name {
                    "top" => row.names[0].to_owned(),
                    block => format!("{block} {}", row.names[0]),
                });
            }
        }
    }
    let tested = EFFECTS.iter().flat_map(|effects| *effects);
    let tested: BTreeSet<String> = tested.map(|(key, _)| (*key).to_owned()).collect();
    assert_eq!(live, tested);
}

/// A member of a mesh with scripted peers.
struct Scene {
    plan: Plan,
    member: Member,
}

impl Scene {
    /// Starts with these lines at the top level of the file, and these in `cluster`.
    fn new(config: &str, cluster: &str) -> Self {
        let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[]);
        plan.config = config.into();
        plan.cluster = format!("name: mesh\n  {cluster}");
        let member = plan.start();
        Self { plan, member }
    }

    /// Reloads with these lines instead.
    fn reload(&mut self, config: &str, cluster: &str) {
        self.plan.config = config.into();
        self.plan.cluster = format!("name: mesh\n  {cluster}");
        self.member.reload(&self.plan.text());
    }

    /// A client that receives INFO updates.
    fn client(&self) -> RawClient {
        let mut client = self.member.watcher();
        client.sync();
        client
    }

    /// A scripted peer.
    fn peer(&self) -> RawClient {
        let peer = self.peer_with("s3cret");
        wait_until("the route is up", || !self.member.routes().is_empty());
        peer
    }

    /// A scripted peer with this password.
    fn peer_with(&self, password: &str) -> RawClient {
        let mut peer = self.route_port();
        peer.send(format!(
            "CONNECT {{\"user\":\"routes\",\"pass\":\"{password}\",\"name\":\"PEER\",\"cluster\":\
             \"mesh\"}}\r\nINFO {{\"server_id\":\"PEER\",\"server_name\":\"peer\",\"cluster\":\
             \"mesh\",\"host\":\"127.0.0.1\",\"port\":1,\"headers\":true,\"connect_urls\":[\"there:1\"]}}\r\n"
        ));
        peer
    }

    /// A connection to the route port on which nothing was sent.
    fn route_port(&self) -> RawClient {
        RawClient::connect_silently(([127, 0, 0, 1], self.member.route_port).into())
    }

    /// Waits until the only route has closed.
    fn route_ends(&self) {
        wait_until("the route ends", || self.member.routes().is_empty());
    }

    fn closed(&self, reason: &str) -> bool {
        let closed = self.member.broker.get_json("/connz?state=closed");
        let closed = closed["connections"].as_array().cloned();
        closed
            .into_iter()
            .flatten()
            .any(|connection| connection["reason"] == reason)
    }
}

/// Reads up to an INFO that satisfies the condition, answering pings.
#[track_caller]
fn info_with(client: &mut RawClient, wanted: impl Fn(&serde_json::Value) -> bool) {
    read_up_to(client, "INFO", |frame| {
        parse_info(frame).is_some_and(|info| wanted(&info))
    });
}

/// Reads up to a line with this prefix, answering pings.
#[track_caller]
fn line_with(client: &mut RawClient, begin: &str) {
    read_up_to(client, begin, |frame| {
        frame.line.starts_with(begin.as_bytes())
    });
}

/// Reads up to a frame that satisfies the condition. A peer gets other messages all the
/// time, so silence is not the only end.
#[track_caller]
fn read_up_to(client: &mut RawClient, what: &str, wanted: impl Fn(&Frame) -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while Instant::now() < deadline {
        let frame = client.next_frame();
        let frame = frame.unwrap_or_else(|| panic!("closed while {what} was awaited"));
        if wanted(&frame) {
            return;
        }
        if frame.line == b"PING" {
            client.send("PONG\r\n");
        }
    }
    panic!("waited in vain for {what}");
}

/// The text of the error with which the broker closes the connection.
#[track_caller]
fn error_of(client: &mut RawClient) -> String {
    let deadline = Instant::now() + PATIENCE;
    let mut error = String::new();
    while let Some(frame) = client.next_frame() {
        assert!(Instant::now() < deadline, "the connection goes on");
        if frame.verb() == b"-ERR" {
            error = String::from_utf8_lossy(&frame.line).into_owned();
        }
    }
    error
}

/// Accepts the next connection.
#[track_caller]
fn accepted(listener: &TcpListener) -> TcpStream {
    listener.set_nonblocking(true).expect("a listener");
    let stream = wait_for("a connection arrives", || {
        listener.accept().ok().map(|(stream, _)| stream)
    });
    stream.set_nonblocking(false).expect("a connection");
    stream
}
