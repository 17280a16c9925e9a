//! `POST /rebalance`: clients that were at one member go to the others, a bounded number a second.

use std::{
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use serde_json::Value;
use test_support::{
    HttpResponse, RawClient, free_port, http,
    mesh::{self, Kind, Member, Plan},
    raw_client::parse_info,
    wait_until,
};

fn mesh(count: usize) -> Vec<Member> {
    let ports: Vec<u16> = (0..count).map(|_| free_port()).collect();
    let start = |index: usize| {
        let mut others = ports.clone();
        others.remove(index);
        let mut plan = Plan::new(Kind::Midge, &format!("n{index}"), ports[index], &others);
        plan.config = "monitor { unix: m.sock }\n".into();
        plan.start()
    };
    let members: Vec<Member> = (0..count).map(start).collect();
    mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    members
}

fn rebalance(member: &Member, query: &str) -> HttpResponse {
    let socket = member.broker.folder().join("m.sock");
    http::request_unix(&socket, "POST", &format!("/rebalance{query}"))
}

fn clients(member: &Member) -> u64 {
    member.broker.get_json("/varz")["connections"]
        .as_u64()
        .expect("a number")
}

fn ended(member: &Member) -> Value {
    rebalance(member, "?progress=1").json()
}

/// A client that connects to another address of the last INFO when its connection ends, as client
/// libraries do.
struct Wanderer(Arc<AtomicBool>);

impl Wanderer {
    fn start(address: String) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let over = stop.clone();
        thread::spawn(move || {
            let mut address = address;
            while !over.load(Ordering::Relaxed) {
                let urls = stay(&address, &over);
                let others: Vec<String> = urls.into_iter().filter(|url| *url != address).collect();
                if !others.is_empty() {
                    address.clone_from(&others[fastrand::usize(..others.len())]);
                }
            }
        });
        Self(stop)
    }
}

impl Drop for Wanderer {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Is connected until that ends; returns where else it may go.
fn stay(address: &str, over: &AtomicBool) -> Vec<String> {
    let Ok(stream) = TcpStream::connect(address) else {
        return Vec::new();
    };
    stream
        .set_read_timeout(Some(Duration::from_millis(200)))
        .expect("a bound");
    let mut reader = BufReader::new(stream);
    let connect = b"CONNECT {\"verbose\":false,\"protocol\":1}\r\nPING\r\n";
    reader.get_mut().write_all(connect).expect("send");
    let (mut urls, mut line) = (Vec::new(), String::new());
    while !over.load(Ordering::Relaxed) {
        match reader.read_line(&mut line) {
            Ok(0) => break,
            Ok(_) if line.ends_with('\n') => {}
            Ok(_) => break,
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => continue,
            Err(_) => break,
        }
        if let Some(json) = line.strip_prefix("INFO ") {
            let info: Value = serde_json::from_str(json).expect("JSON");
            let listed = info["connect_urls"].as_array().into_iter().flatten();
            urls = listed
                .filter_map(Value::as_str)
                .map(str::to_owned)
                .collect();
        } else if line.starts_with("PING") {
            reader.get_mut().write_all(b"PONG\r\n").expect("send");
        }
        line.clear();
    }
    urls
}

#[test]
fn clients_go_to_the_members_with_room_and_come_back_there() {
    let members = mesh(3);
    let address = members[0].broker.client_addr().to_string();
    let wanderers: Vec<Wanderer> = (0..30).map(|_| Wanderer::start(address.clone())).collect();
    wait_until("all are connected", || clients(&members[0]) == 30);
    wait_until("the others have told how many they have", || {
        rebalance(&members[0], "?rate=100").status == 200
    });
    wait_until("it is over", || {
        assert!(clients(&members[0]) >= 10, "no more than the surplus");
        ended(&members[0])["running"] == false
    });
    let progress = ended(&members[0]);
    assert_eq!(
        (&progress["moved"], &progress["to_move"]),
        (&20.into(), &20.into()),
        "{progress}"
    );
    wait_until("all are connected again", || {
        members.iter().map(clients).sum::<u64>() == 30
    });
    assert_eq!(clients(&members[0]), 10);
    let closed = members[0].broker.get_json("/connz?state=closed");
    let mut reasons = closed["connections"].as_array().expect("a list").iter();
    assert!(reasons.any(|one| one["reason"] == "Rebalanced"), "{closed}");
    // There is nothing more to do, here and elsewhere.
    let again = || rebalance(&members[0], "");
    wait_until("nothing is left to move", || {
        let refused = again();
        assert_eq!(refused.status, 409, "{}", refused.body);
        refused.body.contains("nothing to move")
    });
    let events = members[0].broker.get("/eventsz?type=server").body;
    assert!(events.contains("sent 20 clients away: done"), "{events}");
    drop(wanderers);
}

/// A client that would not know where to go stays, and a run can be stopped.
#[test]
fn a_run_is_bounded_and_can_be_stopped() {
    let members = mesh(2);
    let plain: Vec<RawClient> = (0..2)
        .map(|_| {
            let mut client = RawClient::connect(members[0].broker.client_addr());
            client.send("CONNECT {\"verbose\":false}\r\n");
            client.sync();
            client
        })
        .collect();
    let mut watchers: Vec<RawClient> = (0..8).map(|_| members[0].watcher()).collect();
    watchers.iter_mut().for_each(|watcher| {
        watcher.sync();
    });
    assert_eq!(rebalance(&members[0], "?rate=1001").status, 400);
    wait_until("it begins", || {
        rebalance(&members[0], "?rate=1").status == 200
    });
    assert_eq!(
        rebalance(&members[0], "").status,
        409,
        "there is one already"
    );
    let begun = ended(&members[0]);
    assert_eq!(
        (&begun["to_move"], &begun["immovable"]),
        (&5.into(), &2.into()),
        "{begun}"
    );
    assert_eq!(rebalance(&members[0], "?stop=1").status, 200);
    wait_until("it is over", || ended(&members[0])["running"] == false);
    let progress = ended(&members[0]);
    assert_eq!(progress["ended"], "it was stopped");
    assert!(
        progress["moved"].as_u64().is_some_and(|moved| moved < 5),
        "{progress}"
    );
    // Over TCP it is not there.
    assert_ne!(members[0].broker.get("/rebalance").status, 200);
    drop((plain, watchers));
}

/// A broker without others has nowhere to send clients.
#[test]
fn without_another_member_nobody_is_sent_away() {
    let members = mesh(1);
    let _client = members[0].watcher();
    let refused = rebalance(&members[0], "");
    assert_eq!(refused.status, 409);
    assert!(refused.body.contains("no other member"), "{}", refused.body);
}

/// Clients that were told to go stay if the other member is gone before they are closed, and are told
/// so.
#[test]
fn clients_stay_when_no_other_member_is_left() {
    let mut members = mesh(2);
    let mut watchers: Vec<RawClient> = (0..6).map(|_| members[0].watcher()).collect();
    watchers.iter_mut().for_each(|watcher| {
        watcher.sync();
    });
    wait_until("it begins", || {
        rebalance(&members[0], "?rate=1000").status == 200
    });
    wait_until("all are told", || ended(&members[0])["moved"] == 3);
    members[1].broker.kill();
    wait_until("it is over", || ended(&members[0])["running"] == false);
    let progress = ended(&members[0]);
    assert_eq!(
        (&progress["ended"], &progress["moved"]),
        (
            &"3 were told and stay: no other member is left".into(),
            &0.into()
        ),
        "{progress}"
    );
    assert_eq!(clients(&members[0]), 6);
    let mut told = 0;
    for watcher in &mut watchers {
        let frames = watcher.sync();
        let infos: Vec<Value> = frames.iter().filter_map(parse_info).collect();
        let leaves = |info: &Value| info["ldm"] == true;
        told += usize::from(infos.iter().any(leaves));
        assert!(!infos.last().is_some_and(leaves), "{infos:?}");
    }
    assert_eq!(told, 3);
}

/// Connections that have not logged in do not count, at any member.
#[test]
fn strangers_do_not_steer_it() {
    let members = mesh(2);
    let connect = |member: &Member, count: usize, protocol: u8| -> Vec<RawClient> {
        let one = || {
            let mut client = RawClient::connect(member.broker.client_addr());
            client.send(format!(
                "CONNECT {{\"verbose\":false,\"protocol\":{protocol}}}\r\n"
            ));
            client.sync();
            client
        };
        std::iter::repeat_with(one).take(count).collect()
    };
    let strangers = members
        .iter()
        .flat_map(|member| (0..40).map(|_| RawClient::connect(member.broker.client_addr())));
    let strangers: Vec<RawClient> = strangers.collect();
    let there = connect(&members[1], 4, 1);
    let refused = |query: &str, why: &str| {
        let answer = rebalance(&members[0], query);
        assert_eq!(answer.status, 409, "{}", answer.body);
        answer.body.contains(why)
    };
    wait_until("the other has told how many it has", || {
        refused("", "0 clients, and an even share is 2")
    });
    let here = connect(&members[0], 4, 1);
    assert!(refused("", "4 clients, and an even share is 4"));
    // Most clients cannot be moved.
    let plain = connect(&members[0], 6, 0);
    assert!(refused("", "6 of 10 clients here cannot be moved"));
    let begun = rebalance(&members[0], "?rate=1000&force=1");
    assert_eq!(begun.status, 200, "{}", begun.body);
    let begun = begun.json();
    assert_eq!(
        (&begun["to_move"], &begun["immovable"]),
        (&3.into(), &6.into()),
        "{begun}"
    );
    drop((strangers, there, here, plain));
}
