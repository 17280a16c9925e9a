//! How a broker stops: its exit code, a second signal, and what its clients receive.

use crate::{accepts_login, as_user, both, client, publish, run, subjects};
use test_support::{
    mesh::{self, Kind},
    raw_client::parse_info,
    wait_until,
};

/// A broker that was stopped by a signal exited with 1, as after an error, and the service
/// manager reported it. It must exit with 0, with clients and routes too.
#[test]
fn nats_server_6083_a_requested_stop_exits_with_success() {
    for kind in [Kind::Midge, Kind::Nats] {
        let mut members = mesh::start(&[kind, Kind::Midge]);
        let mut clients: Vec<_> = (0..3).map(|_| members[0].client()).collect();
        for client in &mut clients {
            client.send("SUB a 1\r\n");
            client.sync();
        }
        assert_eq!(members[0].broker.stop().code(), Some(0));
    }
}

/// A container's runtime sends SIGTERM a moment after lame duck mode was requested, and
/// ended the graceful shutdown early. The second signal must change nothing.
#[test]
fn nats_server_1973_sigterm_does_not_shorten_lame_duck_mode() {
    for builder in both() {
        let mut broker = builder
            .config("lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"4s\"\n")
            .start();
        let mut stays = client(&broker, "stays");
        stays.send("SUB a 1\r\n");
        stays.sync();
        broker.signal(libc::SIGUSR2);
        broker.log().wait_for("lame duck");
        broker.signal(libc::SIGTERM);
        broker.log().wait_for("Trapped \"terminated\" signal");
        stays.send(publish("a", 1));
        assert_eq!(subjects(&stays.sync()), ["a"]);
        assert!(!broker.has_exited());
        // It ends by itself after its time.
        stays.read_to_end();
        assert_eq!(broker.wait_exit().code(), Some(0));
    }
}

/// A lame duck without clients did not stop, not even after its time. It has nobody to
/// wait for and must stop immediately.
#[test]
fn nats_server_1275_a_lame_duck_without_clients_stops_immediately() {
    for builder in both() {
        // The defaults: two minutes, and ten seconds before the first client is closed.
        let mut broker = builder.start();
        wait_until("nobody is connected", || {
            broker.get_json("/varz")["connections"] == 0
        });
        broker.signal(libc::SIGUSR2);
        assert_eq!(broker.wait_exit().code(), Some(0));
    }
}

/// During each restart of a member its clients had errors for minutes, since they were
/// not informed in advance. They must be, with the remaining members.
#[test]
fn nats_py_868_clients_are_informed_that_their_broker_stops() {
    for kinds in [[Kind::Midge, Kind::Midge], [Kind::Midge, Kind::Nats]] {
        let members = mesh::start(&kinds);
        let stays = members[1].broker.client_addr().to_string();
        wait_until("both are announced to clients", || {
            let info = members[0].broker.connect().info().clone();
            info["connect_urls"].to_string().contains(&stays)
        });
        let mut watcher = members[0].watcher();
        watcher.sync();
        members[0].broker.signal(libc::SIGUSR2);
        loop {
            let frame = watcher.next_frame().expect("not closed before the error");
            let Some(info) = parse_info(&frame) else {
                continue;
            };
            if info["ldm"] == true {
                let urls = info["connect_urls"].to_string();
                assert!(urls.contains(&stays), "{info}");
                let own = members[0].broker.client_addr().to_string();
                assert!(!urls.contains(&own), "{info}");
                break;
            }
        }
    }
}

/// In a container without shell tools, `--signal reload` could not find the process. The
/// process id, or the file with it, can be given.
#[test]
fn nats_server_2883_a_reload_is_signalled_by_pid_file() {
    for builder in both() {
        let program = builder.program_path();
        let folder = tempfile::tempdir().expect("a folder");
        let pid_file = folder.path().join("broker.pid").display().to_string();
        let config =
            |user: &str| format!("authorization {{ users: [ {{ user: {user}, password: p }} ] }}");
        let broker = builder
            .config(config("before"))
            .flag("-P")
            .flag(&pid_file)
            .start();
        let pid = broker.pid().to_string();
        for (user, target) in [("by-file", &pid_file), ("by-pid", &pid)] {
            let file = broker.folder().join("broker.conf");
            std::fs::write(file, config(user)).expect("write");
            let ended = run(&program, &["--signal", &format!("reload={target}")]);
            assert_eq!(ended.code, Some(0), "{ended:?}");
            wait_until(&format!("{user} is accepted"), || {
                accepts_login(&broker, &as_user(user, "p"))
            });
        }
        assert!(!accepts_login(&broker, &as_user("before", "p")));
    }
}
