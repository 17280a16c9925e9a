//! A limit of an account counts over all members of the cluster, midges and
//! nats-servers alike.

use std::time::Duration;

use crate::{
    faults::{CUT, PASS, Wire},
    mesh::{self, Kind, Member, Plan, free_port},
    support::{RawClient, raw_client::Next, wait_until},
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

/// Logs in; the client if it is let in, else what it was told.
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

/// Tries until a client of the account is let in, or until it is not.
fn wait_for_login(member: &Member, what: &str) -> RawClient {
    let mut client = None;
    wait_until(&format!("{}: {what}", member.name), || {
        client = log_in(member, "a").ok();
        client.is_some()
    });
    client.expect("it is let in")
}

/// Waits until each midge knows of all connections of the account. Who asks by
/// logging in instead is one too many for the others.
fn wait_until_known(members: &[Member], clients: usize) {
    for member in members {
        let detail = || member.broker.get_json("/accountz?acc=A")["account_detail"].clone();
        wait_until(&format!("{} knows of {clients}", member.name), || {
            let detail = detail();
            let Some(elsewhere) = detail["connections_elsewhere"].as_u64() else {
                // A nats-server does not tell.
                return true;
            };
            detail["client_connections"].as_u64() == (clients as u64).checked_sub(elsewhere)
        });
    }
}

fn wait_until_full(member: &Member) {
    wait_until(
        &format!("{} is full", member.name),
        || matches!(log_in(member, "a"), Err(line) if line == FULL),
    );
}

/// Whether it was not closed within a moment.
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

/// Three in all of the mesh, wherever they are; a place that is given back is free
/// everywhere, also when a member is gone.
#[test]
fn the_limit_of_an_account_counts_over_the_mesh() {
    for kinds in [
        [Kind::Midge, Kind::Midge, Kind::Midge],
        [Kind::Midge, Kind::Nats, Kind::Midge],
        [Kind::Nats, Kind::Midge, Kind::Nats],
    ] {
        let (_, mut members) = start(&kinds, THREE);
        let mut clients: Vec<RawClient> = members
            .iter()
            .map(|member| log_in(member, "a").expect("there is room"))
            .collect();
        wait_until_known(&members, 3);
        for member in &members {
            wait_until_full(member);
        }
        // Other accounts are not meant.
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
            // Client 0 is at the member that goes now.
            members[1].broker.kill();
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

/// Who comes to several members while they do not know of each other: when they do
/// there are as many as there may be, and no fewer.
#[test]
fn what_is_too_much_is_cut_once() {
    let ports = [free_port(), free_port()];
    let wire = Wire::to(ports[0]);
    wire.set(CUT);
    let mut plans = [
        Plan::new(Kind::Midge, "n0", ports[0], &[]),
        Plan::new(Kind::Midge, "n1", ports[1], &[wire.port]),
    ];
    for plan in &mut plans {
        plan.config = accounts(THREE);
    }
    let members = plans.each_ref().map(|plan| plan.start());
    let mut clients: Vec<RawClient> = members
        .iter()
        .flat_map(|member| (0..3).map(|_| log_in(member, "a").expect("there is room")))
        .collect();
    wire.set(PASS);
    mesh::wait_for_mesh(&members.each_ref());
    wait_until("the surplus is cut", || {
        let count = |member: &Member| {
            let connz = member.broker.get_json("/connz?acc=A");
            connz["total"].as_u64().unwrap_or_default()
        };
        members.iter().map(count).sum::<u64>() == 3
    });
    assert_eq!(
        clients
            .iter_mut()
            .filter_map(|it| is_open(it).then_some(()))
            .count(),
        3
    );
    wait_until_known(&members, 3);
    for member in &members {
        wait_until_full(member);
    }
}

/// A limit that a reload brings counts those elsewhere, too.
#[test]
fn a_new_limit_counts_over_the_mesh() {
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
