//! Members that stop, leave or lose a route, as clients see it: no update of the connect
//! URLs removes a live member.

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use super::faults::{CUT, PASS, Wire};
use test_support::{RawClient, raw_client, raw_client::Next, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// A client and its fallback members, kept as client libraries do: a new list replaces
/// the old one.
struct Follower {
    client: RawClient,
    known: BTreeSet<String>,
    ended: bool,
}

impl Follower {
    fn of(member: &Member) -> Self {
        let mut client = member.watcher();
        // Only clients that have received a PONG get updates.
        let frames = client.sync();
        let mut follower = Self {
            known: BTreeSet::new(),
            ended: false,
            client,
        };
        let first = follower.client.info().clone();
        let later = frames.iter().filter_map(raw_client::parse_info);
        for info in std::iter::once(first).chain(later) {
            follower.learn(&info);
        }
        follower
    }

    fn learn(&mut self, info: &serde_json::Value) {
        let urls = info["connect_urls"].as_array().cloned().unwrap_or_default();
        // Clients ignore an empty list.
        if !urls.is_empty() {
            let urls = urls.iter().filter_map(|url| url.as_str().map(Into::into));
            self.known = urls.collect();
        }
    }

    /// Reads for a moment; after each INFO the list must contain all of these.
    #[track_caller]
    fn keeps_members(&mut self, living: &BTreeSet<String>, what: &str) {
        loop {
            match self.client.poll_frame(Duration::from_millis(10)) {
                Next::Frame(frame) => {
                    if let Some(info) = raw_client::parse_info(&frame) {
                        self.learn(&info);
                    }
                    let lost: Vec<_> = living.difference(&self.known).collect();
                    assert!(lost.is_empty(), "{what}: lost {lost:?} by {frame:?}");
                }
                Next::Closed => return self.ended = true,
                Next::Nothing => return,
            }
        }
    }

    fn knows_all(&mut self, all: &BTreeSet<String>) {
        let what = "all members are known";
        wait_until(what, || {
            self.keeps_members(&BTreeSet::new(), what);
            self.known == *all
        });
    }
}

fn addresses(members: &[Member]) -> BTreeSet<String> {
    let address = |member: &Member| member.broker.client_addr().to_string();
    members.iter().map(address).collect()
}

/// Clients of this member that know the whole mesh.
fn followers(member: &Member, all: &BTreeSet<String>) -> Vec<Follower> {
    let mut followers: Vec<Follower> = (0..20).map(|_| Follower::of(member)).collect();
    for follower in &mut followers {
        follower.knows_all(all);
    }
    followers
}

/// A member stops, leaves and is stopped, or is stopped during a reload: its clients know
/// the other members until their connections close.
#[test]
fn clients_of_a_stopping_member_know_the_remaining_members() {
    let signals: [&[i32]; 4] = [
        &[libc::SIGTERM],
        &[libc::SIGINT],
        &[libc::SIGUSR2, libc::SIGINT],
        &[libc::SIGHUP, libc::SIGTERM],
    ];
    for (round, sent) in signals.iter().cycle().take(2 * signals.len()).enumerate() {
        let kinds = match round / signals.len() % 2 {
            0 => [Kind::Midge, Kind::Midge, Kind::Midge],
            _ => [Kind::Midge, Kind::Nats, Kind::Midge],
        };
        let mut members = mesh::start(&kinds);
        let all = addresses(&members);
        let leaving = members.remove(0);
        let living = addresses(&members);
        let mut its_own = followers(&leaving, &all);
        let mut others = followers(&members[1], &all);
        let what = format!("round {round}, {kinds:?}, signals {sent:?}");
        for signal in *sent {
            leaving.broker.signal(*signal);
            for follower in its_own.iter_mut().chain(&mut others) {
                follower.keeps_members(&living, &what);
            }
        }
        wait_until(&format!("{what}: the member is lost"), || {
            for follower in its_own.iter_mut().chain(&mut others) {
                follower.keeps_members(&living, &what);
            }
            its_own.iter().all(|follower| follower.ended)
        });
        // Clients of the other members forget only the stopped one.
        for follower in &mut others {
            wait_until(&format!("{what}: it is forgotten"), || {
                follower.keeps_members(&living, &what);
                follower.known == living
            });
        }
    }
}

/// A route is cut and restored at once: no client gets an update.
#[test]
fn a_brief_route_loss_removes_no_member_from_connect_urls() {
    let ports = [free_port(), free_port()];
    let wire = Wire::to(ports[0]);
    let first = Plan::new(Kind::Midge, "n0", ports[0], &[]).start();
    let second = Plan::new(Kind::Midge, "n1", ports[1], &[wire.port]).start();
    let members = [first, second];
    mesh::wait_for_mesh(&members.each_ref());
    let all = addresses(&members);
    let mut watching = followers(&members[0], &all);
    watching.extend(followers(&members[1], &all));
    let rid = |member: &Member| member.routes().first().map(|route| route["rid"].clone());
    let before = members.each_ref().map(rid);
    wire.set(CUT);
    wait_until("both have lost the route", || {
        let lost = |(member, before): (&Member, &Option<_>)| rid(member) != *before;
        members.iter().zip(&before).all(lost)
    });
    wire.set(PASS);
    mesh::wait_for_mesh(&members.each_ref());
    // What was kept of the lost route expires in the meantime.
    let mended = Instant::now();
    while mended.elapsed() < Duration::from_secs(3) {
        for follower in &mut watching {
            follower.keeps_members(&all, "cut");
        }
    }
    for member in &members {
        let urls = member.client().info()["connect_urls"].clone();
        assert_eq!(urls.as_array().map(Vec::len), Some(2), "{urls}");
    }
}
