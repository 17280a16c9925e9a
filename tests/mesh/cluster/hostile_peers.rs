//! A peer that sends far more than a broker needs to: what is kept of it is bounded, and
//! the broker, its clients and the route continue.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpStream},
    time::Instant,
};

use test_support::{PATIENCE, RawClient, raw_client::parse_info, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// A scripted peer with a route to a midge.
struct HostilePeer {
    lines: BufReader<TcpStream>,
    writer: TcpStream,
}

const ID: &str = "NLIAR";

impl HostilePeer {
    fn of(member: &Member) -> Self {
        let address = (Ipv4Addr::LOCALHOST, member.route_port);
        let stream = TcpStream::connect(address).expect("connect");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("bound the reading");
        let mut peer = Self {
            writer: stream.try_clone().expect("share the socket"),
            lines: BufReader::new(stream),
        };
        let (user, password) = mesh::LOGIN.split_once(':').expect("a user and a password");
        peer.say(&format!(
            "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"name\":\"{ID}\",\"cluster\":\"mesh\"}}"
        ));
        peer.read_until("INFO");
        peer.say(&info(""));
        wait_until("the route is up", || !member.routes().is_empty());
        peer
    }

    fn say(&mut self, line: &str) {
        let line = format!("{line}\r\n");
        self.writer.write_all(line.as_bytes()).expect("say it");
    }

    /// Reads up to the first line with this prefix; returns the lines before it.
    #[track_caller]
    fn read_until(&mut self, verb: &str) -> Vec<String> {
        let mut before = Vec::new();
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("a line in time");
            assert!(read > 0, "closed before {verb}");
            if line.starts_with(verb) {
                return before;
            }
            before.push(line);
        }
    }

    /// Checks that the route is open and that everything sent before was processed.
    #[track_caller]
    fn is_heard(&mut self) -> Vec<String> {
        self.say("PING");
        self.read_until("PONG")
    }
}

/// The INFO of this peer, with more entries.
fn info(more: &str) -> String {
    format!(
        "INFO {{\"server_id\":\"{ID}\",\"server_name\":\"liar\",\"cluster\":\"mesh\",\"host\":\"127.0.0.1\",\
         \"port\":1,\"headers\":true{more}}}"
    )
}

fn member(config: &str) -> Member {
    let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[]);
    plan.config = config.into();
    plan.start()
}

/// Bytes of a cause in `/memz`, as of the last sample.
fn held(member: &Member, cause: &str) -> u64 {
    let memz = member.broker.get_json("/memz");
    let causes = memz["causes"].as_array().expect("causes");
    let found = causes.iter().find(|known| known["cause"] == cause);
    found.and_then(|it| it["bytes"].as_u64()).expect("a cause")
}

/// An unterminated line is counted while it is buffered.
#[test]
fn an_unfinished_line_is_counted() {
    let member = member("");
    let mut peer = HostilePeer::of(&member);
    let line = format!("RS+ $G {}", "a".repeat(3_000_000));
    peer.writer.write_all(line.as_bytes()).expect("say it");
    wait_until("it is counted", || held(&member, "payloads") >= 3_000_000);
    peer.say(" ");
    peer.is_heard();
    wait_until("it is released", || held(&member, "payloads") == 0);
}

/// An INFO of the maximum length with unknown entries is ignored, even one of a
/// nats-server that no nats-server would accept.
#[test]
fn an_oversized_info_is_ignored() {
    let member = member("");
    let mut peer = HostilePeer::of(&member);
    let memory = || {
        member.broker.get_json("/varz")["mem"]
            .as_u64()
            .expect("bytes")
    };
    let before = memory();
    for _ in 0..5 {
        let entries = vec!["{\"\":0}"; 500_000].join(",");
        peer.say(&info(&format!(",\"x\":[{entries}]")));
        peer.is_heard();
    }
    member.broker.log().wait_for("INFO of");
    let grown = memory().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

/// Client addresses are sent to every client, so their number is limited to that of a
/// large mesh. The broker's own addresses stay.
#[test]
fn a_large_list_of_client_addresses_is_truncated() {
    let member = member("");
    let mut peer = HostilePeer::of(&member);
    let urls: Vec<String> = (0..3000)
        .map(|it| format!("\"10.0.{it}.1:4222\""))
        .collect();
    peer.say(&info(&format!(",\"connect_urls\":[{}]", urls.join(","))));
    peer.is_heard();
    let own = member.broker.client_addr().to_string();
    wait_until("clients get some of them", || {
        let mut client = RawClient::connect_silently(member.broker.client_addr());
        let frame = client.next_frame().expect("INFO");
        let info = parse_info(&frame).expect("INFO comes first");
        let urls = info["connect_urls"].as_array().cloned().unwrap_or_default();
        assert!(frame.line.len() < 48 * 1024, "{}", frame.line.len());
        urls.len() > 1000 && urls[0] == own
    });
}

/// Account names use memory: they are counted, and invalid ones are ignored.
#[test]
fn account_names_from_a_peer_are_bounded() {
    let member = member("");
    let mut peer = HostilePeer::of(&member);
    let held = || held(&member, "interest");
    let before = held();
    let name = |number: usize| format!("{number:04}{}", "n".repeat(4000));
    for number in 0..500 {
        peer.say(&format!("RS+ {} a", name(number)));
    }
    peer.is_heard();
    // The last sample is shown.
    wait_until("the names are counted", || held() >= before + 500 * 4000);
    for number in 0..500 {
        peer.say(&format!("RS- {} a", name(number)));
    }
    peer.is_heard();
    // What stays is the list of the broker's own services, which has been kept since the first route.
    wait_until("they are released", || held() < before + 100_000);
    peer.say(&format!("RS+ {} a", "n".repeat(1_000_000)));
    peer.is_heard();
    member.broker.log().wait_for("whose name has 1000000 bytes");
}

/// Each INFO has other permissions: the local interest is sent again a few times, not
/// each time.
#[test]
fn a_peer_that_keeps_changing_exports_is_logged_at_intervals() {
    let member = member("");
    let mut peer = HostilePeer::of(&member);
    let mut client = member.client();
    client.send("SUB wanted.here 1\r\n");
    client.sync();
    let mut reported = 0;
    let begin = Instant::now();
    let export = |round: u64| info(&format!(",\"export\":{{\"allow\":[\"a{round}\"]}}"));
    for round in 0..300 {
        peer.say(&export(round));
        let lines = peer.is_heard();
        reported += lines
            .iter()
            .filter(|line| line.contains("wanted.here"))
            .count() as u64;
    }
    // Once a second, however long the machine takes for the rounds.
    let max = 2 + begin.elapsed().as_secs();
    assert!(reported <= max, "reported {reported} times");
    // The last change is applied.
    peer.say(&export(300));
    peer.read_until("RS+ $G wanted.here");
}

/// Invalid protocol is logged a few times a second at most.
#[test]
fn invalid_protocol_does_not_flood_the_log() {
    let member = member("");
    let mut peer = HostilePeer::of(&member);
    for _ in 0..100 {
        peer.say(&vec!["RS+ $G a..b"; 100].join("\r\n"));
        peer.is_heard();
    }
    let log = member.broker.log();
    log.wait_for("Invalid remote subject");
    let lines = log.so_far().count("Invalid remote subject");
    assert!((1..1000).contains(&lines), "{lines} lines");
}

/// Brokers that a peer invents are dialled with a bounded number of dials at once, and
/// logged a few times a second.
#[test]
fn invented_brokers_do_not_flood_the_log() {
    let member = member("");
    let mut peer = HostilePeer::of(&member);
    // Nothing listens there.
    let (closed, rounds, in_one) = (free_port(), 10, 60);
    for round in 0..rounds {
        for number in 0..in_one {
            peer.say(&format!(
                "INFO {{\"server_id\":\"NX{round}.{number}\",\"server_name\":\"x\",\"cluster\":\"mesh\",\
                 \"host\":\"127.{round}.{number}.1\",\"port\":{closed}}}"
            ));
        }
        peer.is_heard();
    }
    let reported = || {
        member
            .broker
            .log()
            .so_far()
            .count("Error trying to connect")
    };
    wait_until("somebody is dialled", || reported() > 0);
    let events = member.broker.get_json("/eventsz?type=route").to_string();
    let events = events.matches("Error trying to connect").count();
    assert!(events < rounds * in_one / 2, "{events} events");
    assert!(reported() < rounds * in_one / 2, "{} lines", reported());
}
