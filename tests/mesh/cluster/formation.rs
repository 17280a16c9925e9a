//! How meshes form and stay connected, and which peers they refuse.

use std::{collections::BTreeSet, thread, time::Duration};

use serde_json::Value;

use test_support::{RawClient, raw_client, wait_for, wait_until};
use test_support::{
    free_port,
    mesh::{self, Kind, Member, Plan},
};

/// A member that knows one member of the mesh finds all of them, of any kind; clients are
/// informed of all and of removals; `/routez` and `/varz` show it.
#[test]
fn a_single_seed_route_connects_all_members() {
    for kinds in [
        [Kind::Midge, Kind::Midge, Kind::Midge],
        [Kind::Nats, Kind::Midge, Kind::Nats29],
        [Kind::Midge, Kind::Nats, Kind::Nats],
    ] {
        let seed = free_port();
        let mut members = vec![Plan::new(kinds[0], "n0", seed, &[]).start()];
        let mut watcher = members[0].watcher();
        watcher.sync();
        for (index, kind) in kinds.iter().enumerate().skip(1) {
            let name = format!("n{index}");
            members.push(Plan::new(*kind, &name, free_port(), &[seed]).start());
        }
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        let all: BTreeSet<String> = addresses(&members);
        wait_for_urls(&mut watcher, &all);
        for member in &members {
            wait_until(&format!("{kinds:?}: all urls at {}", member.name), || {
                urls(member.client().info()) == all
            });
        }
        shows_its_routes(
            members
                .iter()
                .find(|member| is_midge(member))
                .expect("a midge"),
        );
        members.pop();
        wait_for_urls(&mut watcher, &addresses(&members));
    }
}

fn is_midge(member: &Member) -> bool {
    member.broker.get_json("/varz")["midge"].is_string()
}

fn shows_its_routes(member: &Member) {
    let varz = member.broker.get_json("/varz");
    assert_eq!((&varz["routes"], &varz["remotes"]), (&2.into(), &2.into()));
    assert_eq!(varz["cluster"]["name"], "mesh");
    assert_eq!(varz["cluster"]["cluster_port"], member.route_port);
    let subscriber = &mut member.client();
    assert_eq!(subscriber.info()["cluster"], "mesh");
    for route in member.routes() {
        for text in [
            "remote_id",
            "remote_name",
            "ip",
            "start",
            "last_activity",
            "uptime",
            "idle",
        ] {
            assert!(
                route[text].as_str().is_some_and(|it| !it.is_empty()),
                "{text}: {route}"
            );
        }
        for number in [
            "rid",
            "port",
            "in_msgs",
            "out_msgs",
            "pending_size",
            "subscriptions",
        ] {
            assert!(route[number].is_u64(), "{number}: {route}");
        }
    }
    wait_until("the round trips are measured", || {
        member.routes().iter().all(|route| route["rtt"].is_string())
    });
    let events = member.broker.get_json("/eventsz?kind=route");
    assert!(events.to_string().contains("opened"), "{events}");
}

fn addresses(members: &[Member]) -> BTreeSet<String> {
    let address = |member: &Member| member.broker.client_addr().to_string();
    members.iter().map(address).collect()
}

fn urls(info: &Value) -> BTreeSet<String> {
    let urls = info["connect_urls"].as_array().cloned().unwrap_or_default();
    let urls = urls.iter().filter_map(|url| url.as_str().map(Into::into));
    urls.collect()
}

/// Reads until an INFO contains exactly these addresses.
#[track_caller]
fn wait_for_urls(client: &mut RawClient, expected: &BTreeSet<String>) {
    loop {
        let frame = client.next_frame().expect("the broker is there");
        if let Some(info) = raw_client::parse_info(&frame)
            && urls(&info) == *expected
        {
            return;
        }
    }
}

/// A stopping member is removed from the clients' list before it restarts: if it stayed
/// in the list, clients would not learn that it came back.
#[test]
fn a_stopped_member_is_removed_from_connect_urls_until_it_returns() {
    let mut members = mesh::start(&[Kind::Midge, Kind::Midge, Kind::Midge]);
    let ports: Vec<u16> = members.iter().map(|member| member.route_port).collect();
    let all = addresses(&members);
    let mut watcher = members[0].watcher();
    watcher.sync();
    let mut stopped = members.remove(2);
    stopped.broker.stop();
    let mut plan = Plan::new(Kind::Midge, &stopped.name, ports[2], &ports[..2]);
    plan.port = stopped.broker.client_addr().port();
    members.push(plan.start());
    wait_for_urls(&mut watcher, &addresses(&members[..2]));
    wait_for_urls(&mut watcher, &all);
}

/// A restarted member is found again, with its subscriptions.
#[test]
fn a_restarted_member_rejoins() {
    let kinds = [Kind::Midge, Kind::Midge, Kind::Nats];
    let mut members = mesh::start(&kinds);
    for (index, kind) in kinds.into_iter().enumerate() {
        let ports: Vec<u16> = members.iter().map(|member| member.route_port).collect();
        let mut gone = members.remove(index);
        gone.broker.kill();
        for member in &members {
            wait_until("the lost member is noticed", || {
                !member.peers().contains(&gone.name)
            });
        }
        let others = ports.iter().copied();
        let others: Vec<u16> = others.filter(|port| *port != gone.route_port).collect();
        let back = Plan::new(kind, &gone.name, gone.route_port, &others).start();
        members.insert(index, back);
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
    }
}

/// The same list of all members, including the own address, works for every member: no
/// member keeps a connection to itself, and no pair has two routes.
#[test]
fn a_member_may_list_itself_as_a_route() {
    let ports = [free_port(), free_port()];
    let plan = |index: usize| Plan::new(Kind::Midge, &format!("n{index}"), ports[index], &ports);
    let members = [plan(0).start(), plan(1).start()];
    mesh::wait_for_mesh(&[&members[0], &members[1]]);
    for member in &members {
        member.broker.log().wait_for("leads to this broker itself");
        assert_eq!(member.routes().len(), 1);
    }
}

/// Wrong passwords, other clusters, equal names and clients are refused with a clear log
/// line, and the mesh continues.
#[test]
fn untrusted_peers_are_refused() {
    let port = free_port();
    let host = Plan::new(Kind::Midge, "host", port, &[]).start();
    let refused = |name: &str, change: &dyn Fn(String) -> String, expected: &str| {
        for kind in [Kind::Midge, Kind::Nats] {
            let mut plan = Plan::new(kind, name, free_port(), &[port]);
            plan.config = String::new();
            let text = change(plan.text());
            let untrusted_peer = plan.start_with(text);
            wait_until(&format!("{kind:?}: {expected}"), || {
                host.broker.log().so_far().already_has(expected)
                    || untrusted_peer.broker.log().so_far().already_has(expected)
            });
            assert!(
                host.peers().is_empty(),
                "{kind:?} is in the mesh: {expected}"
            );
        }
    };
    refused(
        "intruder",
        &|text| text.replace("routes:s3cret@", "routes:wrong@"),
        "wrong user \"routes\" or wrong password",
    );
    refused(
        "stranger",
        &|text| text.replace("name: mesh", "name: other"),
        "cluster name \"other\" does not match \"mesh\"",
    );
    refused("host", &|text| text, "duplicate name");
    host.broker.log().assert_lacks("s3cret");

    let mut client = RawClient::connect_silently(([127, 0, 0, 1], port).into());
    client.send("CONNECT {\"lang\":\"rust\",\"name\":\"lost\"}\r\n");
    let frames = client.read_to_end();
    assert_eq!(frames[0].line, b"-ERR 'attempted to connect to route port'");
    let mut silent = RawClient::connect_silently(([127, 0, 0, 1], port).into());
    let frames = silent.read_to_end();
    assert_eq!(frames[1].line, b"-ERR 'Authentication Timeout'");
    let mut scanner = RawClient::connect_silently(([127, 0, 0, 1], port).into());
    scanner.send("GET / HTTP/1.1\r\n\r\n");
    let frames = scanner.read_to_end();
    assert_eq!(frames[0].line, b"-ERR 'Unknown Protocol Operation'");
}

/// Members without a cluster name agree on one; a configured one wins.
#[test]
fn members_agree_on_a_generated_cluster_name() {
    let ports = [free_port(), free_port(), free_port()];
    let nameless = |kind, index: usize| {
        let others = ports.iter().copied().filter(|port| *port != ports[index]);
        let mut plan = Plan::new(
            kind,
            &format!("n{index}"),
            ports[index],
            &others.collect::<Vec<_>>(),
        );
        plan.cluster = String::new();
        plan
    };
    let first = nameless(Kind::Midge, 0).start();
    let second = nameless(Kind::Nats, 1).start();
    mesh::wait_for_mesh(&[&first, &second]);
    let name = |member: &Member| member.client().info()["cluster"].clone();
    wait_until("both have one name", || name(&first) == name(&second));
    let mut named = nameless(Kind::Midge, 2);
    named.cluster = "name: fleet".into();
    let third = named.start();
    mesh::wait_for_mesh(&[&first, &second, &third]);
    for member in [&first, &second, &third] {
        wait_until("all have the configured name", || name(member) == "fleet");
    }
}

/// A member that leaves in lame duck mode informs the other members' clients before it
/// stops.
#[test]
fn a_leaving_member_is_announced() {
    let mut members = mesh::start(&[Kind::Midge, Kind::Midge, Kind::Nats]);
    let all = addresses(&members);
    let leaving = members.remove(0);
    let mut watchers: Vec<RawClient> = members.iter().map(Member::watcher).collect();
    for watcher in &mut watchers {
        let mut known = urls(watcher.info());
        for frame in watcher.sync() {
            known = raw_client::parse_info(&frame).map_or(known, |info| urls(&info));
        }
        if known != all {
            wait_for_urls(watcher, &all);
        }
    }
    // One client stays connected, so that the member waits before it stops.
    let mut stays = leaving.client();
    stays.sync();
    leaving.broker.signal(libc::SIGUSR2);
    for watcher in &mut watchers {
        wait_for_urls(watcher, &addresses(&members));
    }
    // Until it stops it serves the remaining clients.
    stays.send("SUB still.here 1\r\n");
    stays.sync();
    wait_until("it is still a member", || members[0].knows("still.here"));
    members[0].client().send("PUB still.here 2\r\nhi\r\n");
    assert_eq!(stays.next_message().body, b"hi");
}

/// A hundred thousand subscriptions are propagated and removed quickly.
#[test]
fn many_subscriptions_are_propagated() {
    const COUNT: u64 = 100_000;
    // Each member has a few more subscriptions for its system account.
    const SERVICES_MAX: u64 = 64;
    let members = mesh::start(&[Kind::Midge, Kind::Midge]);
    let mut client = members[0].client();
    // In parts, each with its own timeout: a busy machine is slow.
    for start in (0..COUNT).step_by(10_000) {
        let lines = (start..start + 10_000).map(|it| format!("SUB many.{it} {it}\r\n"));
        client.send(lines.collect::<String>());
        client.sync();
    }
    let count = |route: &Value| route["subscriptions"].as_u64().expect("a number");
    let known = || count(&members[1].broker.get_json("/routez")["routes"][0]);
    wait_until("all are known", || known() >= COUNT);
    // A new member receives all of it in one go.
    let port = free_port();
    let others = [members[0].route_port, members[1].route_port];
    let late = Plan::new(Kind::Midge, "late", port, &others).start();
    wait_until("the new member has all of it", || {
        let routez = late.broker.get_json("/routez");
        let routes = routez["routes"].as_array().expect("routes");
        routes.iter().any(|route| count(route) >= COUNT)
    });
    let mut publisher = late.client();
    publisher.send("PUB many.0 0\r\n\r\n");
    wait_for("the message arrives", || {
        match client.poll_frame(Duration::from_millis(50)) {
            raw_client::Next::Frame(frame) if frame.is_message() => Some(()),
            _ => None,
        }
    });
    drop(client);
    wait_until("all are forgotten", || known() <= SERVICES_MAX);
}

/// The password of the cluster is changed at one member after the other: members that
/// discovered each other get a route again, in any order.
#[test]
fn a_changed_password_keeps_discovered_routes() {
    for order in [[2, 0, 1], [1, 0, 2], [0, 1, 2]] {
        let seed = free_port();
        let ports = [seed, free_port(), free_port()];
        let plan = |index: usize| {
            let routes = if index == 0 { &[][..] } else { &ports[..1] };
            Plan::new(Kind::Midge, &format!("n{index}"), ports[index], routes)
        };
        let members = [0, 1, 2].map(|index| plan(index).start());
        mesh::wait_for_mesh(&members.each_ref());
        for index in order {
            members[index].reload(&plan(index).text().replace("s3cret", "n3w"));
            // Long enough for attempts with the old password.
            thread::sleep(Duration::from_millis(2500));
        }
        mesh::wait_for_mesh(&members.each_ref());
    }
}

/// The password to send is unknown if only its hash is configured: without routes that
/// contain it, the broker logs this when it reads its configuration, and when a
/// discovered broker refuses it.
#[test]
fn a_hashed_route_password_is_reported_as_unusable_for_dialling() {
    let hash = bcrypt::hash("s3cret", 4).expect("a hash");
    let plain = format!("password: {}", mesh::LOGIN.split_once(':').expect("both").1);
    let hashed = |plan: &Plan| {
        let text = plan.text();
        assert!(text.contains(&plain), "{text}");
        text.replace(&plain, &format!("password: \"{hash}\""))
    };
    let seed = Plan::new(Kind::Midge, "n0", free_port(), &[]);
    let seed = seed.start_with(hashed(&seed));
    let ports = [free_port(), free_port()];
    // One has a route with the plain password; the other logs in to that one.
    let first = Plan::new(Kind::Midge, "n1", ports[0], &[seed.route_port]);
    let first = first.start_with(hashed(&first));
    let second = Plan::new(Kind::Midge, "n2", ports[1], &[seed.route_port]);
    let second = second.start_with(hashed(&second));
    mesh::wait_for_mesh(&[&seed, &first, &second]);
    let warning = "no route has the user with the plain password";
    seed.broker.log().wait_for(warning);
    first.broker.log().assert_lacks(warning);
    // The seed discovers a member that it does not know.
    let late = Plan::new(Kind::Midge, "n3", free_port(), &[ports[0]]);
    let _late = late.start_with(hashed(&late));
    seed.broker
        .log()
        .wait_for("the cluster's password is a hash and no route");
}
