//! Members of a cluster that connected to themselves, kept addresses of removed members,
//! or did not forward events.

use std::fs;

use crate::user;
use test_support::{
    RawClient, free_port,
    mesh::{self, Kind, Member, Plan},
    wait_until,
};

/// A member with its own address among its routes repeatedly connected to itself, or did
/// not join the others. It must skip itself and join, so that all members may have one
/// list.
#[test]
fn nats_server_175_a_member_that_is_in_its_own_list_of_routes_joins_the_others() {
    for kind in [Kind::Midge, Kind::Nats] {
        let ports = [free_port(), free_port(), free_port()];
        let members: Vec<Member> = (0..3)
            .map(|at| {
                let mut plan = Plan::new(kind, &format!("n{at}"), ports[at], &ports);
                plan.config = "debug: true".into();
                plan.start()
            })
            .collect();
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        for member in &members {
            assert!(!member.peers().contains(&member.name));
            // No attempt is repeated forever: each is logged at most twice.
            let log = member.broker.log().so_far();
            let own = format!("127.0.0.1:{}", member.route_port);
            let tries = log
                .lines()
                .filter(|line| line.contains("Trying to connect to route") && line.contains(&own));
            assert!(tries.count() <= 2, "{log}");
        }
    }
}

/// A route port on `[::]` could not be opened, and members in an IPv6-only network did
/// not find each other. They must, by address in brackets.
#[test]
fn nats_server_323_routes_go_over_ipv6() {
    for kinds in [
        [Kind::Midge; 2],
        [Kind::Midge, Kind::Nats],
        [Kind::Nats, Kind::Midge],
    ] {
        let ports = [free_port(), free_port()];
        let members: Vec<Member> = (0..2)
            .map(|at| {
                let plan = Plan::new(kinds[at], &format!("n{at}"), ports[at], &[ports[1 - at]]);
                let listen = format!("listen: \"127.0.0.1:{}\"", ports[at]);
                let text = plan.text();
                assert!(text.contains(&listen));
                let text = text.replace(&listen, &format!("listen: \"[::]:{}\"", ports[at]));
                let route = format!("nats-route://{}@127.0.0.1:{}", mesh::LOGIN, ports[1 - at]);
                assert!(text.contains(&route));
                let over_six = format!("\"{}\"", route.replace("127.0.0.1", "[::1]"));
                plan.start_with(text.replace(&route, &over_six))
            })
            .collect();
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        for (from, to) in [(0, 1), (1, 0)] {
            let mut subscriber = members[to].client();
            subscriber.send("SUB over.six 1\r\n");
            subscriber.sync();
            wait_until("the subscription is known", || {
                members[from].knows("over.six")
            });
            members[from].client().send("PUB over.six 2\r\nok\r\n");
            assert_eq!(subscriber.next_message().body, b"ok", "{kinds:?}");
        }
    }
}

/// A member was replaced by one with another address; the others continued to announce
/// the old address to clients and monitoring.
#[test]
fn nats_server_438_the_address_of_a_replaced_member_is_not_announced() {
    for kind in [Kind::Midge, Kind::Nats] {
        let mut members = mesh::start(&[kind, kind]);
        let mut gone = members.remove(1);
        let old = gone.broker.client_addr().to_string();
        gone.broker.kill();
        let stays = &members[0];
        let mut plan = Plan::new(kind, "n1", gone.route_port, &[stays.route_port]);
        plan.port = free_port();
        let new = plan.start();
        mesh::wait_for_mesh(&[stays, &new]);
        let address = new.broker.client_addr().to_string();
        assert_ne!(address, old);
        wait_until(
            "the new address is announced, and the old one is not",
            || {
                let varz = stays.broker.get_json("/varz")["connect_urls"].to_string();
                let info = stays.broker.connect().info()["connect_urls"].to_string();
                [&varz, &info]
                    .iter()
                    .all(|reported| reported.contains(&address) && !reported.contains(&old))
            },
        );
    }
}

/// Disconnect events reached a subscriber at another member only without a queue group. A
/// group must get each of them once, from all members.
#[test]
fn nats_server_3177_a_queue_group_receives_events_of_all_members() {
    let accounts = "accounts { $SYS { users: [ { user: sys, password: s } ] } }";
    let start = |kinds: [Kind; 2]| {
        let ports = [free_port(), free_port()];
        let members: Vec<Member> = (0..2)
            .map(|at| {
                let mut plan = Plan::new(kinds[at], &format!("n{at}"), ports[at], &[ports[1 - at]]);
                plan.config = accounts.into();
                plan.start()
            })
            .collect();
        mesh::wait_for_mesh(&members.iter().collect::<Vec<_>>());
        members
    };
    for kinds in [
        [Kind::Midge; 2],
        [Kind::Midge, Kind::Nats],
        [Kind::Nats, Kind::Midge],
    ] {
        let members = start(kinds);
        let mut watcher = user(&members[0].broker, "sys", "s");
        watcher.send("SUB $SYS.ACCOUNT.*.DISCONNECT watchers 1\r\n");
        watcher.sync();
        wait_until("the other member has the subscription", || {
            let routes = members[1].broker.get_json("/routez?subs=1").to_string();
            routes.contains("$SYS.ACCOUNT.*.DISCONNECT")
        });
        for (at, member) in members.iter().enumerate() {
            let name = format!("leaves-{at}");
            let mut leaves: RawClient = crate::client(&member.broker, &name);
            leaves.sync();
            drop(leaves);
            loop {
                let body = watcher.next_message().body;
                if String::from_utf8_lossy(&body).contains(&name) {
                    break;
                }
            }
            let again = watcher.sync();
            assert!(
                !format!("{again:?}").contains(&name),
                "{kinds:?}: {again:?}"
            );
        }
    }
}

/// The password of routes was in the log whenever a member tried to reach an unreachable
/// one. No line may contain it, with everything that can be logged.
#[test]
fn nats_server_2597_the_route_password_is_never_logged() {
    let dead = free_port();
    let port = free_port();
    let mut plan = Plan::new(Kind::Midge, "n0", port, &[dead, port]);
    plan.config = "debug: true\ntrace: true\n".into();
    plan.cluster = "name: mesh\n connect_retries: 5".into();
    let member = plan.start();
    let tried = |times: usize| {
        wait_until(&format!("it has tried {times} times"), || {
            let log = member.broker.log().so_far();
            log.count(&dead.to_string()) >= times
        });
    };
    tried(2);
    // A reload logs changes, too.
    let (_, password) = mesh::LOGIN.split_once(':').expect("a user and a password");
    let text = plan.text().replace("retries: 5", "retries: 6");
    member.reload(&text.replace(password, "0ther"));
    tried(3);
    let log = member.broker.log().so_far();
    assert!(log.lacks(password) && log.lacks("0ther"), "{log}");
    for path in member.broker.endpoints() {
        let body = member.broker.get(&path).body;
        assert!(!body.contains("0ther"), "{path}: {body}");
    }
}

/// Only a timeout within the cluster block was changed, and after the reload the route
/// was refused and never restored. It must stay.
#[test]
fn nats_server_719_a_reload_of_the_route_login_timeout_keeps_the_route() {
    let members = mesh::start(&[Kind::Midge, Kind::Midge]);
    let route = |member: &Member| member.routes()[0]["rid"].clone();
    let before: Vec<_> = members.iter().map(route).collect();
    for member in &members {
        let file = member.broker.folder().join("broker.conf");
        let text = fs::read_to_string(file).expect("its configuration");
        assert!(text.contains("timeout: 2"));
        member.reload(&text.replace("timeout: 2", "timeout: 3"));
    }
    let mut subscriber = members[1].client();
    subscriber.send("SUB after.reload 1\r\n");
    subscriber.sync();
    wait_until("the subscription is known", || {
        members[0].knows("after.reload")
    });
    members[0].client().send("PUB after.reload 2\r\nok\r\n");
    assert_eq!(subscriber.next_message().body, b"ok");
    assert_eq!(members.iter().map(route).collect::<Vec<_>>(), before);
}

/// A smaller cluster looked forever for the removed members, unless every member was
/// restarted. A reload without them must suffice: they are neither dialled nor reported
/// missing.
#[test]
fn nats_server_824_a_reload_without_a_member_stops_dialling_it() {
    let diagnosis = "diagnosis { interval: 50ms, appear_after: 100ms, clear_after: 200ms }";
    let ports = [free_port(), free_port()];
    let plan = |routes: &[u16]| {
        let mut plan = Plan::new(Kind::Midge, "n0", ports[0], routes);
        plan.config = diagnosis.into();
        plan
    };
    let stays = plan(&ports[1..]).start();
    let mut leaves = Plan::new(Kind::Midge, "n1", ports[1], &[]).start();
    mesh::wait_for_mesh(&[&stays, &leaves]);
    leaves.broker.kill();
    let missing = || crate::findings(&stays.broker, "route-missing");
    wait_until("it is reported missing", || !missing().is_empty());
    stays.reload(&plan(&[]).text());
    wait_until("it is not reported missing any more", || {
        missing().is_empty()
    });
    let urls = stays.broker.get_json("/varz")["cluster"]["urls"].clone();
    assert!(!urls.to_string().contains(&ports[1].to_string()), "{urls}");
}

/// A client subscribed for one message and left before it arrived; the other member kept
/// the subscription forever. Nothing may remain anywhere.
#[test]
fn nats_server_549_a_subscription_for_one_message_does_not_outlive_its_client() {
    for kinds in [
        [Kind::Midge; 2],
        [Kind::Midge, Kind::Nats],
        [Kind::Nats, Kind::Midge],
    ] {
        let members = mesh::start(&kinds);
        let mut leaves = members[0].client();
        leaves.send("SUB once.only 1\r\nUNSUB 1 1\r\nSUB once.queue q 2\r\nUNSUB 2 5\r\n");
        leaves.sync();
        let knows = |subject: &str| {
            let routes = members[1].broker.get_json("/routez?subs=1").to_string();
            routes.contains(subject)
        };
        wait_until("both are known", || {
            knows("once.only") && knows("once.queue")
        });
        drop(leaves);
        wait_until("both are removed", || {
            !knows("once.only") && !knows("once.queue")
        });
    }
}

/// Routes of the command line could not replace those in the file: the broker complained
/// that there was no cluster, though the file has one.
#[test]
fn nats_server_319_routes_of_the_command_line_replace_those_of_the_file() {
    for builder in crate::both() {
        let port = free_port();
        let member = Plan::new(Kind::Midge, "n0", port, &[]).start();
        let nobody = free_port();
        let file = format!(
            "server_name: n1\ncluster {{ name: mesh, listen: \"127.0.0.1:{}\", routes: [ \
             \"nats-route://{}@127.0.0.1:{nobody}\" ] }}\n",
            free_port(),
            mesh::LOGIN
        );
        let broker = builder
            .config(file)
            .flag("--routes")
            .flag(format!("nats-route://{}@127.0.0.1:{port}", mesh::LOGIN))
            .start();
        wait_until("it has joined the mesh", || {
            member.peers().contains("n1") && broker.get_json("/varz")["remotes"] == 1
        });
        broker.log().assert_lacks(&nobody.to_string());
    }
}
