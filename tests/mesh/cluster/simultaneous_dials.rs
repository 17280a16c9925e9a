//! Two brokers that dial each other at the same time: both sides keep the same one of the
//! two connections. Also brokers with the same name.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    thread,
    time::{Duration, Instant},
};

use test_support::{PATIENCE, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// A scripted broker: its INFO, and the address that midge dials.
struct Peer {
    id: &'static str,
    is_midge: bool,
    listener: TcpListener,
}

/// One connection between it and midge.
struct Link {
    lines: BufReader<TcpStream>,
    writer: TcpStream,
}

impl Peer {
    fn new(id: &'static str, is_midge: bool) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        Self {
            id,
            is_midge,
            listener,
        }
    }

    fn port(&self) -> u16 {
        self.listener.local_addr().expect("its address").port()
    }

    /// Accepts the next connection of midge and reads its CONNECT.
    fn is_dialled(&self) -> Link {
        let (stream, _) = self.listener.accept().expect("a connection");
        let mut link = Link::new(stream);
        link.expect("CONNECT");
        link
    }

    /// Dials midge, sends CONNECT and reads its INFO.
    fn dials(&self, member: &Member) -> Link {
        let address = (Ipv4Addr::LOCALHOST, member.route_port);
        let mut link = Link::new(TcpStream::connect(address).expect("connect"));
        let (user, password) = mesh::LOGIN.split_once(':').expect("a user and a password");
        link.say(&format!(
            "CONNECT {{\"user\":\"{user}\",\"pass\":\"{password}\",\"name\":\"{}\",\"cluster\":\"mesh\"}}",
            self.id
        ));
        link.expect("INFO");
        link
    }

    fn info(&self) -> String {
        let midge = if self.is_midge {
            "\"midge\":\"1\","
        } else {
            ""
        };
        format!(
            "INFO {{\"server_id\":\"{}\",\"server_name\":\"peer\",{midge}\"cluster\":\"mesh\",\
             \"host\":\"127.0.0.1\",\"port\":{},\"headers\":true}}",
            self.id,
            self.port()
        )
    }
}

impl Link {
    fn new(stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("bound the reading");
        Self {
            writer: stream.try_clone().expect("share the socket"),
            lines: BufReader::new(stream),
        }
    }

    fn say(&mut self, line: &str) {
        self.writer
            .write_all(format!("{line}\r\n").as_bytes())
            .expect("say it");
    }

    /// Reads up to a line with this prefix.
    #[track_caller]
    fn expect(&mut self, verb: &str) {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).expect("a line in time");
            assert!(read > 0, "closed before {verb}");
            if line.starts_with(verb) {
                return;
            }
        }
    }

    /// Checks that it is a route: midge answers on it.
    #[track_caller]
    fn is_a_route(&mut self) {
        assert!(self.answers(), "it was closed");
    }

    /// Whether midge answers on it; otherwise midge has closed it.
    fn answers(&mut self) -> bool {
        // This may fail on a closed connection.
        let _ = self.writer.write_all(b"PING\r\n");
        let mut line = String::new();
        while self.lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            if line == "PONG\r\n" {
                return true;
            }
            line.clear();
        }
        false
    }

    /// Checks that midge closes it.
    #[track_caller]
    fn is_ended(&mut self) {
        let mut line = String::new();
        while self.lines.read_line(&mut line).is_ok_and(|read| read > 0) {
            line.clear();
        }
    }
}

/// A midge that dials this peer.
fn member(peer: &Peer) -> Member {
    Plan::new(Kind::Midge, "n0", free_port(), &[peer.port()]).start()
}

/// Both connections are open; midge's login on the one it dialled is accepted, and then
/// it reads the peer's CONNECT on the other one.
fn both_ways(peer: &Peer, member: &Member) -> (Link, Link) {
    let mut dialled = peer.is_dialled();
    let mut accepted = peer.dials(member);
    dialled.say(&peer.info());
    dialled.expect("INFO");
    dialled.is_a_route();
    accepted.say(&peer.info());
    (dialled, accepted)
}

/// Ids of midge begin with an N: the smaller id decides.
#[test]
fn the_broker_with_the_smaller_id_decides() {
    let peer = Peer::new("ASMALL", true);
    let broker = member(&peer);
    let (mut dialled, mut accepted) = both_ways(&peer, &broker);
    accepted.is_a_route();
    dialled.is_ended();
    assert_eq!(broker.routes().len(), 1);

    let peer = Peer::new("ZGREAT", true);
    let broker = member(&peer);
    let (mut dialled, mut accepted) = both_ways(&peer, &broker);
    accepted.is_ended();
    dialled.is_a_route();
    assert_eq!(broker.routes().len(), 1);
}

/// A broker without a tie-break rule keeps the connection of its choice, which becomes
/// the route.
#[test]
fn a_broker_without_the_tie_break_rule_decides() {
    for id in ["ASMALL", "ZGREAT"] {
        let peer = Peer::new(id, false);
        let broker = member(&peer);
        let (dialled, mut accepted) = both_ways(&peer, &broker);
        drop(dialled);
        accepted.is_a_route();

        let peer = Peer::new(id, false);
        let broker = member(&peer);
        let (mut dialled, accepted) = both_ways(&peer, &broker);
        drop(accepted);
        dialled.is_a_route();
        assert_eq!(broker.routes().len(), 1);
    }
}

/// When two addresses of one broker are dialled at the same time, the dialling side
/// decides which connection is kept.
#[test]
fn one_route_is_kept_to_a_broker_with_two_addresses() {
    let peer = Peer::new("ASMALL", true);
    let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[peer.port()]);
    plan.cluster = "name: mesh\n  connect_retries: 0".into();
    let text = plan.text();
    let line = format!("@127.0.0.1:{}", peer.port());
    let routes = text
        .lines()
        .flat_map(|text| {
            let other = text
                .contains(&line)
                .then(|| text.replace("127.0.0.1", "127.0.0.2"));
            std::iter::once(text.to_owned()).chain(other)
        })
        .collect::<Vec<_>>();
    let second = TcpListener::bind((Ipv4Addr::new(127, 0, 0, 2), peer.port()));
    let second = Peer {
        listener: second.expect("the same port"),
        ..Peer::new("ASMALL", true)
    };
    let broker = plan.start_with(routes.join("\n"));
    let (mut one, mut other) = (peer.is_dialled(), second.is_dialled());
    for link in [&mut one, &mut other] {
        link.say(&peer.info());
        link.say("PONG");
    }
    assert_ne!(one.answers(), other.answers(), "one of the two is a route");
    assert_eq!(broker.routes().len(), 1);
}

/// Three members that start at the same time and dial each other: no established route is
/// lost, except to resolve a duplicate.
#[test]
fn members_started_together_connect_without_delay() {
    for round in 0..20 {
        // A nats-server has no rule and closes what it does not want.
        let kind = [Kind::Midge, Kind::Nats][round % 2];
        let ports = [free_port(), free_port(), free_port()];
        let plans: Vec<Plan> = (0..3)
            .map(|index| {
                let mut others = ports.to_vec();
                others.remove(index);
                let kind = [Kind::Midge, kind, Kind::Midge][index];
                Plan::new(kind, &format!("n{index}"), ports[index], &others)
            })
            .collect();
        let members: Vec<Member> = thread::scope(|scope| {
            let starting = plans.iter().map(|plan| scope.spawn(|| plan.start()));
            let starting: Vec<_> = starting.collect();
            let started = starting.into_iter().map(|it| it.join().expect("it starts"));
            started.collect()
        });
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        // The current routes stay.
        let rids = |member: &Member| -> BTreeSet<String> {
            let routes = member.routes();
            routes
                .iter()
                .map(|route| route["rid"].to_string())
                .collect()
        };
        let midges = [&members[0], &members[2]];
        let before = midges.map(rids);
        if kind == Kind::Nats {
            thread::sleep(Duration::from_millis(500));
            assert_eq!(midges.map(rids), before, "round {round}");
        }
        for (seer, seen) in [(0, 1), (0, 2), (2, 0), (2, 1)] {
            let [log, others] = [seer, seen].map(|index| members[index].broker.log().to_string());
            let (chosen, lost) = ends(&log, &members[seen].name);
            // A connection that the other side closed looks like a lost one here.
            let allowed = match kind == Kind::Nats && seen == 1 {
                true => 1,
                false => ends(&others, &members[seer].name).0,
            };
            let what =
                format!("round {round}, n{seer} of n{seen}: {chosen} {lost}\n{log}\n{others}");
            assert!(lost <= allowed, "{what}");
        }
    }
}

/// How many routes to this member closed as duplicates, and how many for other reasons.
fn ends(log: &str, name: &str) -> (usize, usize) {
    let end = format!("Router connection to \"{name}\" closed");
    let ends = log.lines().filter(|line| line.contains(&end));
    let (chosen, lost): (Vec<_>, Vec<_>) = ends.partition(|line| line.contains("Duplicate Route"));
    (chosen.len(), lost.len())
}

/// The second broker of a name gets an error, and the broker that accepted the first logs
/// it.
#[test]
fn a_duplicate_server_name_is_reported_on_both_sides() {
    for (kinds, third) in [
        ([Kind::Midge, Kind::Midge], Kind::Midge),
        ([Kind::Midge, Kind::Nats], Kind::Midge),
        ([Kind::Nats, Kind::Midge], Kind::Midge),
    ] {
        let first = Plan::new(kinds[0], "twin", free_port(), &[]).start();
        let second = Plan::new(kinds[1], "twin", free_port(), &[first.route_port]).start();
        let reported = |member: &Member| {
            let log = member.broker.log();
            log.wait_for("Remote server has a duplicate name");
        };
        reported(&first);
        reported(&second);
        // A nats-server shows one for a moment.
        wait_until("there is no route", || {
            first.peers().is_empty() && second.peers().is_empty()
        });
        // A member that knows the first refuses the second.
        let between = Plan::new(third, "other", free_port(), &[first.route_port]).start();
        mesh::wait_for_mesh(&[&between, &first]);
        let late = Plan::new(kinds[1], "twin", free_port(), &[between.route_port]).start();
        reported(&between);
        reported(&late);
        assert_eq!(between.peers().len(), 1);
    }
}

/// A dialled peer that sends nothing is closed after as many unanswered pings as a route
/// may have.
#[test]
fn a_silent_peer_is_closed_as_a_stale_route() {
    let peer = Peer::new("ASILENT", true);
    let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[peer.port()]);
    plan.cluster = "name: mesh\n  ping_interval: \"100ms\"\n  ping_max: 1".into();
    let broker = plan.start();
    peer.is_dialled().is_ended();
    broker.broker.log().wait_for("Stale Connection: no INFO");
}

/// Two brokers dial each other: the route that is kept was accepted, but counts as
/// configured, so that it closes when it is removed from the configuration. This also
/// holds for the next route to that broker.
#[test]
fn the_surviving_route_counts_as_configured() {
    let peer = Peer::new("ASMALL", true);
    let mut plan = Plan::new(Kind::Midge, "n0", free_port(), &[peer.port()]);
    // It announces another address.
    let elsewhere =
        |info: String| info.replace("\"host\":\"127.0.0.1\"", "\"host\":\"else.where\"");
    let broker = plan.start();
    let mut dialled = peer.is_dialled();
    let mut accepted = peer.dials(&broker);
    // Both are accepted before either is a route.
    accepted.say(&elsewhere(peer.info()));
    accepted.is_a_route();
    dialled.say(&elsewhere(peer.info()));
    dialled.is_ended();
    let configured = || {
        let routes = broker.routes();
        routes
            .first()
            .is_some_and(|route| route["is_configured"] == true)
    };
    wait_until("it is the configured one", configured);
    // The other side reconnects immediately.
    drop(accepted);
    let mut next = peer.dials(&broker);
    next.say(&elsewhere(peer.info()));
    next.is_a_route();
    let mut again = peer.is_dialled();
    again.say(&elsewhere(peer.info()));
    again.is_ended();
    plan.routes.clear();
    wait_until("the next route is configured", configured);
    broker.reload(&plan.text());
    next.is_ended();
}

/// Nothing that a peer sends on an established route makes midge redial without a pause,
/// whatever it means among brokers.
#[test]
fn nothing_a_peer_sends_removes_the_pause_between_dials() {
    for words in [
        "cluster name",
        "Not possible to have a dedicated route",
        "Authorization Violation",
    ] {
        let peer = Peer::new("ASPEAKS", true);
        let _broker = member(&peer);
        let mut times = Vec::new();
        for _ in 0..5 {
            let mut link = peer.is_dialled();
            times.push(Instant::now());
            link.say(&peer.info());
            link.say("PONG");
            link.expect("INFO");
            link.say(&format!("-ERR '{words}'"));
            link.is_ended();
        }
        let took = times[4] - times[0];
        assert!(took > Duration::from_secs(4), "{words}: {took:?}");
    }
}
