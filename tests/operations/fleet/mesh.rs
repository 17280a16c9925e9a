//! A fleet spread over a mesh whose files the Puppet module writes. One member after the other
//! is killed, restarted and sent away while `mco` keeps asking.

use std::{
    collections::BTreeSet,
    fs,
    net::Ipv4Addr,
    sync::{
        Mutex,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;
use tempfile::TempDir;
use test_support::{free_port, wait_until};

use super::{
    super::puppet::host::{CHANGED, Host, Ports},
    ca::Ca,
    commands::{Pace, every_command_is_answered, ping_all, ping_list},
    nodes::{self, Fleet},
};

/// The members share the ports.
const ADDRESSES: [Ipv4Addr; 3] = [
    Ipv4Addr::new(127, 0, 2, 1),
    Ipv4Addr::new(127, 0, 2, 2),
    Ipv4Addr::new(127, 0, 2, 3),
];

const PARAMETERS: &str = "
    servers => ['127.0.2.1', '127.0.2.2', '127.0.2.3'],
    routes_password => Sensitive('S3cret'),
";

#[test]
fn no_node_is_missing_after_a_member_failed() {
    let folder = TempDir::new().expect("a folder");
    let ca = Ca::new();
    let members = set_up(&folder, &ca);
    let servers = members.iter().map(|it| it.client_addr().to_string());
    let fleet = Fleet::start(&ca, &servers.collect::<Vec<_>>(), None);
    wait_until("all nodes are connected", || everybody_is_there(&members));
    for member in &members {
        let connections = member.get_json("/varz")["connections"].as_u64();
        assert!(connections > Some(0), "nobody is at {}", member.address);
    }
    let pace = Pace::measure(&fleet);
    every_command_is_answered(&fleet, pace);

    let asking = Asking::default();
    let calm = thread::scope(|scope| {
        scope.spawn(|| asking.ask_until_told(&fleet, pace));
        let _end = End(&asking.stop);
        inflict_faults(&members, &fleet, pace)
    });
    asking.check(&calm);
}

fn set_up(folder: &TempDir, ca: &Ca) -> Vec<Host> {
    let ports = Ports {
        client: free_port(),
        cluster: free_port(),
        monitor: free_port(),
    };
    let members = ADDRESSES.map(|address| {
        let member = Host::new(folder.path(), address, ports, &[]);
        let names = format!("localhost,IP:{address}");
        let ssl_dir = ca.issue(
            &format!("broker{}.example.net", address.octets()[3]),
            &names,
        );
        fs::rename(ssl_dir, member.path("ssl")).expect("the agent's files");
        member
    });
    thread::scope(|scope| {
        for member in &members {
            let parameters = format!(
                "{PARAMETERS} monitor_port => {}, extra_config => '{}',",
                ports.monitor,
                format_args!(
                    "lame_duck_grace_period: \"1s\"\nlog_file: \"{}/midge.log\"",
                    member.root.display()
                ),
            );
            scope.spawn(move || member.apply(&parameters, CHANGED));
        }
    });
    for member in &members {
        wait_until("the member has two routes", || has_routes(member));
    }
    members.into()
}

fn has_routes(member: &Host) -> bool {
    member.get_json("/routez")["num_routes"] == 2
}

fn everybody_is_there<'a>(members: impl IntoIterator<Item = &'a Host>) -> bool {
    let answers: Vec<_> = members
        .into_iter()
        .map(|member| member.get_json("/connz?subs=1"))
        .collect();
    nodes::all_subscribed(&answers)
}

/// Whether all nodes have subscribed at these members, and each of these knows what the nodes of
/// the others have subscribed to.
fn is_whole(members: &[&Host]) -> bool {
    let subjects = |of: &Value| -> BTreeSet<String> {
        let all = of["subscriptions_list"].as_array().into_iter().flatten();
        let all = all.filter_map(|subject| subject.as_str());
        let of_nodes = ["mcollective.node.", "mcollective.broadcast."];
        all.filter(|subject| of_nodes.iter().any(|begin| subject.starts_with(begin)))
            .map(str::to_owned)
            .collect()
    };
    let routes: Vec<Value> = members
        .iter()
        .map(|member| member.get_json("/routez?subs=1"))
        .collect();
    let knows = |routes: &Value, id: &Value, subscribed: &BTreeSet<String>| {
        let mut routes = routes["routes"].as_array().into_iter().flatten();
        routes.any(|route| route["remote_id"] == *id && subjects(route).is_superset(subscribed))
    };
    everybody_is_there(members.iter().copied())
        && routes
            .iter()
            .all(|routes| routes["num_routes"] == members.len() - 1)
        && members.iter().all(|member| {
            let connections = member.get_json("/connz?subs=1");
            let id = &connections["server_id"];
            let nodes = connections["connections"].as_array().into_iter().flatten();
            let subscribed = nodes.flat_map(subjects).collect();
            routes
                .iter()
                .all(|routes| routes["server_id"] == *id || knows(routes, id, &subscribed))
        })
}

/// Times in which nothing happens to the mesh, and in which it has recovered from what happened.
type Calm = Vec<(Instant, Instant)>;

fn inflict_faults(members: &[Host], fleet: &Fleet, pace: Pace) -> Calm {
    let mut calm = Calm::new();
    let [killed, restarted, leaving] = members else {
        panic!("three members");
    };
    let all = [killed, restarted, leaving];
    let mut look = |what: &str, running: &[&Host]| {
        wait_until(what, || is_whole(running));
        let begin = Instant::now();
        thread::scope(|scope| {
            scope.spawn(|| assert_eq!(ping_all(fleet, 0, pace), nodes::names(), "{what}"));
            for first_server in 0..members.len() {
                scope.spawn(move || {
                    let answered = ping_list(fleet, first_server, &pace.patience());
                    assert_eq!(answered, nodes::names(), "{what}, asked at {first_server}");
                });
            }
        });
        calm.push((begin, Instant::now()));
    };
    look("before", &all);
    signal(killed, libc::SIGKILL);
    look("a member was killed", &[restarted, leaving]);
    killed.service("start");
    look("a member is back", &all);
    restarted.service("restart");
    look("a member was restarted", &all);
    signal(leaving, libc::SIGUSR2);
    wait_until("its clients are closed and it has gone", || !leaving.runs());
    look("a member left in lame duck mode", &[killed, restarted]);
    leaving.service("start");
    look("all members are back", &all);
    assert!(is_whole(&all));
    calm
}

fn signal(member: &Host, signal: i32) {
    let pid = member.pid().expect("it runs");
    // SAFETY: kill takes two integers and touches no memory of ours.
    assert_eq!(unsafe { libc::kill(pid, signal) }, 0);
}

/// Tells the other thread to end, also when this one has failed.
struct End<'a>(&'a AtomicBool);

impl Drop for End<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Pings, one after the other, and who answered.
#[derive(Default)]
struct Asking {
    stop: AtomicBool,
    pings: Mutex<Vec<(Instant, Instant, BTreeSet<String>)>>,
}

impl Asking {
    fn ask_until_told(&self, fleet: &Fleet, pace: Pace) {
        let mut first_server = 0;
        while !self.stop.load(Ordering::Relaxed) {
            let begin = Instant::now();
            let answered = ping_list(fleet, first_server, &pace.patience());
            let ping = (begin, Instant::now(), answered);
            self.pings.lock().expect("the pings").push(ping);
            first_server = (first_server + 1) % ADDRESSES.len();
            thread::sleep(Duration::from_millis(100));
        }
    }

    /// Each ping within a calm time was answered by all.
    fn check(&self, calm: &Calm) {
        let pings = self.pings.lock().expect("the pings");
        let mut judged = 0;
        for (begin, end, answered) in pings.iter() {
            if calm.iter().any(|(from, to)| from <= begin && end <= to) {
                assert_eq!(*answered, nodes::names());
                judged += 1;
            }
        }
        assert!(
            judged > 0,
            "no ping of {} fell into a calm time",
            pings.len()
        );
    }
}
