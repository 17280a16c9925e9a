//! A limit of an account counts connections at all members of the cluster, both midge and
//! nats-server.

use std::time::Duration;

use serde_json::Value;

use super::faults::{CUT, PASS, SLOW, Wire};
use test_support::{RawClient, raw_client::Next, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

const FULL: &str = "-ERR 'maximum account active connections exceeded'";

fn accounts(limit: &str) -> String {
    format!(
        "accounts {{ A {{ users: [ {{ user: a, password: a }} ]\n {limit} }}\n\
         B {{ users: [ {{ user: b, password: b }} ] }} }}"
    )
}

const THREE: &str = "limits { max_connections: 3 }";

fn start(kinds: &[Kind], limit: &str) -> (Vec<Plan>, Vec<Member>) {
    let ports: Vec<u16> = kinds.iter().map(|_| free_port()).collect();
    let plans: Vec<Plan> = kinds
        .iter()
        .enumerate()
        .map(|(index, kind)| {
            let name = format!("n{index}");
            let mut plan = Plan::new(*kind, &name, ports[index], &ports[..index]);
            plan.config = accounts(limit);
            plan
        })
        .collect();
    let members: Vec<Member> = plans.iter().map(Plan::start).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    (plans, members)
}

/// Logs in; returns the client, or the error if it is refused.
fn log_in(member: &Member, user: &str) -> Result<RawClient, String> {
    let mut client = RawClient::connect(member.broker.client_addr());
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\nPING\r\n"
    ));
    loop {
        let frame = client.next_frame().expect("an answer");
        let line = String::from_utf8_lossy(&frame.line).into_owned();
        if line == "PONG" {
            return Ok(client);
        }
        if line.starts_with("-ERR") {
            return Err(line);
        }
    }
}

/// Tries to log in until a client of the account is accepted.
fn wait_for_login(member: &Member, what: &str) -> RawClient {
    let mut client = None;
    wait_until(&format!("{}: {what}", member.name), || {
        client = log_in(member, "a").ok();
        client.is_some()
    });
    client.expect("the client is accepted")
}

/// Waits until each midge knows all connections of the account. A test login instead
/// would itself count at the other members.
fn wait_until_known(members: &[Member], clients: usize) {
    for member in members {
        wait_until(&format!("{} knows of {clients}", member.name), || {
            knows_of(member, clients)
        });
    }
}

/// Whether a midge knows of so many connections of the account. A nats-server does not report it.
fn knows_of(member: &Member, clients: usize) -> bool {
    let detail = &member.broker.get_json("/accountz?acc=A")["account_detail"];
    let Some(elsewhere) = detail["connections_elsewhere"].as_u64() else {
        return true;
    };
    detail["client_connections"].as_u64() == (clients as u64).checked_sub(elsewhere)
}

fn wait_until_full(member: &Member) {
    wait_until(
        &format!("{} is full", member.name),
        || matches!(log_in(member, "a"), Err(line) if line == FULL),
    );
}

/// Whether the connection stays open for a moment.
fn is_open(client: &mut RawClient) -> bool {
    client.send("PING\r\n");
    loop {
        match client.poll_frame(Duration::from_secs(5)) {
            Next::Frame(frame) if frame.line == b"PONG" => return true,
            Next::Frame(_) => {}
            Next::Closed => return false,
            Next::Nothing => panic!("neither an answer nor an end"),
        }
    }
}

/// Two members; the second dials the first through a proxy.
struct Pair {
    wire: Wire,
    members: [Member; 2],
}

impl Pair {
    fn start(kinds: [Kind; 2], config: &str, mode: u8) -> Self {
        let ports = [free_port(), free_port()];
        let wire = Wire::to(ports[0]);
        wire.set(mode);
        let plans = [
            Plan::new(kinds[0], "n0", ports[0], &[]),
            Plan::new(kinds[1], "n1", ports[1], &[wire.port]),
        ];
        let start = |plan| {
            let config = config.into();
            Plan { config, ..plan }.start()
        };
        let members = plans.map(start);
        Self { wire, members }
    }

    fn wait_for_mesh(&self) {
        mesh::wait_for_mesh(&self.members.each_ref());
    }

    /// Cuts the route while `meanwhile` runs.
    fn cut(&self, meanwhile: impl FnOnce()) {
        self.wire.set(CUT);
        for member in &self.members {
            wait_until(&format!("{} is alone", member.name), || {
                member.peers().is_empty()
            });
        }
        meanwhile();
        self.wire.set(PASS);
        self.wait_for_mesh();
    }
}

/// Three connections in the whole mesh; a connection that closes makes room at every
/// member, also when its member stops.
#[test]
fn an_account_limit_counts_across_the_mesh() {
    for kinds in [
        [Kind::Midge, Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats, Kind::Midge],
        [Kind::Nats, Kind::Midge, Kind::Nats],
    ] {
        let (_, mut members) = start(&kinds, THREE);
        let mut clients: Vec<RawClient> = members
            .iter()
            .map(|member| log_in(member, "a").expect("the client is accepted"))
            .collect();
        wait_until_known(&members, 3);
        for member in &members {
            wait_until_full(member);
        }
        // Other accounts are not affected.
        let _other = log_in(&members[1], "b").expect("it has no limit");
        drop(clients.remove(0));
        wait_until_known(&members, 2);
        let client = wait_for_login(&members[2], "the place is free");
        clients.push(client);
        wait_until_known(&members, 3);
        for member in &members {
            wait_until_full(member);
        }
        assert!(clients.iter_mut().all(is_open), "{kinds:?}");
        if kinds[0] == Kind::Midge {
            // Client 0 is at the member that stops now.
            members[1].broker.stop();
            members.remove(1);
            wait_until_known(&members, 2);
            let _new = wait_for_login(&members[0], "the place is free");
            wait_until_known(&members, 3);
            for member in &members {
                wait_until_full(member);
            }
        }
    }
}

/// Members that do not know of each other accept too many clients. When they connect,
/// exactly the excess is closed.
#[test]
fn excess_connections_are_closed_once() {
    let pair = Pair::start([Kind::Midge; 2], &accounts(THREE), CUT);
    let members = &pair.members;
    let mut clients: Vec<RawClient> = members
        .iter()
        .flat_map(|member| (0..3).map(|_| log_in(member, "a").expect("the client is accepted")))
        .collect();
    pair.wire.set(PASS);
    pair.wait_for_mesh();
    wait_until("the excess connections are closed", || {
        let count = |member: &Member| {
            let connz = member.broker.get_json("/connz?acc=A");
            connz["total"].as_u64().unwrap_or_default()
        };
        members.iter().map(count).sum::<u64>() == 3
    });
    let open: Vec<bool> = clients.iter_mut().map(is_open).collect();
    assert_eq!(
        open.iter().filter(|is_open| **is_open).count(),
        3,
        "{open:?}"
    );
    wait_until_known(members, 3);
    for member in members {
        wait_until_full(member);
    }
}

/// A limit set by a reload counts clients at other members too.
#[test]
fn a_changed_limit_counts_across_the_mesh() {
    for kinds in [[Kind::Midge, Kind::Midge], [Kind::Midge, Kind::Nats]] {
        let (mut plans, members) = start(&kinds, "");
        let mut elsewhere: Vec<RawClient> = (0..3)
            .map(|_| log_in(&members[1], "a").expect("there is no limit"))
            .collect();
        plans[0].config = accounts(THREE);
        members[0].reload(&plans[0].text());
        wait_until_known(&members, 3);
        wait_until_full(&members[0]);
        drop(elsewhere.pop());
        wait_until_known(&members, 2);
        let mut client = wait_for_login(&members[0], "the place is free");
        assert!(is_open(&mut client) && elsewhere.iter_mut().all(is_open));
    }
}

/// Existing clients stay when a route is cut for a moment, and changes in the meantime
/// are known when it is back, also that no connection is left.
#[test]
fn a_brief_route_loss_disconnects_no_client() {
    for kinds in [
        [Kind::Midge, Kind::Midge],
        [Kind::Nats, Kind::Midge],
        [Kind::Midge, Kind::Nats],
    ] {
        let pair = Pair::start(kinds, &accounts(THREE), PASS);
        pair.wait_for_mesh();
        // New clients connect to a midge; the existing ones are at the other member.
        let at = kinds.iter().rposition(|kind| *kind == Kind::Midge);
        let at = at.expect("a midge");
        let (here, there) = (&pair.members[at], &pair.members[1 - at]);
        let mut first: Vec<RawClient> = (0..3)
            .map(|_| log_in(there, "a").expect("the client is accepted"))
            .collect();
        wait_until_known(&pair.members, 3);
        pair.cut(|| {
            for _ in 0..3 {
                assert_eq!(log_in(here, "a").err().as_deref(), Some(FULL), "{kinds:?}");
            }
        });
        wait_until_known(&pair.members, 3);
        wait_until_full(here);
        assert!(first.iter_mut().all(is_open), "{kinds:?}");
        pair.cut(|| {
            first.clear();
            wait_until("they have disconnected", || {
                there.broker.get_json("/connz?acc=A")["total"] == 0
            });
        });
        wait_until_known(&pair.members, 0);
        let _new: Vec<RawClient> = (0..3)
            .map(|_| log_in(here, "a").expect("the client is accepted again"))
            .collect();
    }
}

/// The connections of a crashed member count until it is back as a new process.
#[test]
fn a_crashed_member_counts_until_it_is_back() {
    for kind in [Kind::Midge, Kind::Nats] {
        let (plans, mut members) = start(&[Kind::Midge, kind], THREE);
        let _first: Vec<RawClient> = (0..3)
            .map(|_| log_in(&members[1], "a").expect("the client is accepted"))
            .collect();
        wait_until_known(&members, 3);
        members[1].broker.kill();
        wait_until("its disconnect is known", || members[0].peers().is_empty());
        assert_eq!(log_in(&members[0], "a").err().as_deref(), Some(FULL));
        members[1] = plans[1].start();
        wait_until_known(&members, 0);
        log_in(&members[0], "a").expect("the places are free");
    }
}

/// Each account is reduced to its limit, however many accounts are above it.
#[test]
fn every_account_is_reduced_to_its_limit() {
    const ACCOUNTS: usize = 300;
    let account = |number| {
        format!(
            "A{number} {{ users: [ {{ user: u{number}, password: u{number} }} ]\n \
             limits {{ max_connections: 1 }} }}\n"
        )
    };
    let all: String = (0..ACCOUNTS).map(account).collect();
    let pair = Pair::start([Kind::Midge; 2], &format!("accounts {{\n{all} }}"), CUT);
    let _clients: Vec<RawClient> = pair
        .members
        .iter()
        .flat_map(|member| (0..ACCOUNTS).map(move |number| (member, number)))
        .map(|(member, number)| {
            log_in(member, &format!("u{number}")).expect("the client is accepted")
        })
        .collect();
    pair.wire.set(PASS);
    pair.wait_for_mesh();
    wait_until("each account has one connection", || {
        let mut open = [0; ACCOUNTS];
        for member in &pair.members {
            let connz = member.broker.get_json("/connz?auth=1&limit=2000");
            for connection in connz["connections"].as_array().into_iter().flatten() {
                let account = connection["account"].as_str().unwrap_or_default();
                let number: usize = account[1..].parse().expect("a number");
                open[number] += 1;
            }
        }
        open.iter().all(|count| *count == 1)
    });
}

/// Whether the member is asked for the account's connection count.
fn is_asked(member: &Member) -> bool {
    member.knows("$SYS.SERVER.ACCOUNT.A.CONNS")
}

/// A limit that is removed and set again starts with fresh counts, without connections
/// that have closed.
#[test]
fn a_limit_set_again_starts_from_current_counts() {
    for kind in [Kind::Midge, Kind::Nats] {
        let (mut plans, members) = start(&[Kind::Midge, kind], THREE);
        let first: Vec<RawClient> = (0..3)
            .map(|_| log_in(&members[1], "a").expect("the client is accepted"))
            .collect();
        wait_until_known(&members, 3);
        plans[0].config = accounts("");
        members[0].reload(&plans[0].text());
        if kind == Kind::Midge {
            wait_until("it gets no more requests", || !is_asked(&members[1]));
        }
        drop(first);
        wait_until("they have disconnected", || {
            members[1].broker.get_json("/connz?acc=A")["total"] == 0
        });
        plans[0].config = accounts(THREE);
        members[0].reload(&plans[0].text());
        let again: Vec<RawClient> = (0..3)
            .map(|_| log_in(&members[0], "a").expect("the client is accepted"))
            .collect();
        drop(again);
        let mut there = wait_for_login(&members[1], "the places are free");
        wait_until("all know of the client there", || {
            // One that was let in before all three logins elsewhere were known is closed once they are.
            if !is_open(&mut there) {
                there = wait_for_login(&members[1], "the places are free");
            }
            members.iter().all(|member| knows_of(member, 1))
        });
    }
}

/// Clients that a reload moves to another account, or whose account it removes, count
/// where they are now.
#[test]
fn a_moved_client_counts_in_its_new_account() {
    let users = |a: &str, b: &str| {
        format!(
            "accounts {{ A {{ users: [ {{ user: a, password: a }} {a} ]\n {THREE} }}\n\
             B {{ users: [ {{ user: b, password: b }} {b} ]\n {THREE} }} }}"
        )
    };
    let moves = ", { user: m, password: m }";
    let (mut plans, members) = start(&[Kind::Midge; 2], "");
    for (plan, member) in plans.iter_mut().zip(&members) {
        plan.config = users(moves, "");
        member.reload(&plan.text());
    }
    let elsewhere = |account: &str| -> Option<u64> {
        let path = format!("/accountz?acc={account}");
        let accountz: Value = members[0].broker.get_json(&path);
        accountz["account_detail"]["connections_elsewhere"].as_u64()
    };
    let wait_for = |what: &str, counts: [u64; 2]| {
        wait_until(what, || ["A", "B"].map(elsewhere) == counts.map(Some));
    };
    let mut clients = vec![log_in(&members[1], "m"), log_in(&members[1], "m")];
    wait_for("two are in A", [2, 0]);
    plans[1].config = users("", moves);
    members[1].reload(&plans[1].text());
    wait_for("two are in B", [0, 2]);
    clients.extend([log_in(&members[1], "a"), log_in(&members[1], "a")]);
    assert!(clients.iter().all(Result::is_ok));
    wait_for("two are in each", [2, 2]);
    let only_b = format!("B {{ users: [ {{ user: b, password: b }} {moves} ]\n {THREE} }}");
    plans[1].config = format!("accounts {{ {only_b} }}");
    members[1].reload(&plans[1].text());
    wait_for("A is removed", [0, 2]);
}

/// Connection counts are requested until they arrive: a member that is still sending its
/// interest does not reply.
#[test]
fn connection_counts_are_requested_until_they_arrive() {
    // The request is repeated after five samples.
    let config = format!("diagnosis {{ interval: 100ms }}\n{}", accounts(THREE));
    let pair = Pair::start([Kind::Midge; 2], &config, CUT);
    let mut busy = log_in(&pair.members[0], "b").expect("it has no limit");
    let subjects = 30_000;
    let lines = (0..subjects).map(|it| format!("SUB {it}.{} {it}\r\n", "x".repeat(100)));
    busy.send(lines.collect::<String>());
    busy.sync();
    let _clients: Vec<RawClient> = (0..3)
        .map(|_| log_in(&pair.members[0], "a").expect("the client is accepted"))
        .collect();
    pair.wire.set(SLOW);
    pair.wait_for_mesh();
    wait_until_known(&pair.members, 3);
    assert_eq!(log_in(&pair.members[1], "a").err().as_deref(), Some(FULL));
}
