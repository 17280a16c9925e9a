//! A process that accepts no clients any more has no listening socket: connecting is refused, and does
//! not wait in a queue that nobody serves.

use std::{collections::BTreeSet, fs};

use test_support::{Broker, broker::is_listening, wait_until};

use super::{LONG, staying, watcher};

/// The sockets of a process that listen for TCP connections, by their inode.
fn listening_sockets(pid: u32) -> usize {
    let mut listening = BTreeSet::new();
    for table in ["tcp", "tcp6"] {
        let table = fs::read_to_string(format!("/proc/{pid}/net/{table}")).unwrap_or_default();
        for line in table.lines() {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // The state, of which this is LISTEN, and the inode.
            if fields.get(3) == Some(&"0A") {
                listening.extend(fields.get(9).map(|inode| format!("socket:[{inode}]")));
            }
        }
    }
    let descriptors = fs::read_dir(format!("/proc/{pid}/fd")).expect("its descriptors");
    let links = descriptors.filter_map(|it| fs::read_link(it.ok()?.path()).ok());
    links
        .filter(|link| listening.contains(&*link.to_string_lossy()))
        .count()
}

#[test]
fn a_client_is_refused_in_lame_duck_mode() {
    let broker = Broker::midge().config(LONG).start();
    let mut client = watcher(&broker);
    assert!(is_listening(broker.client_addr()));
    broker.signal(libc::SIGUSR2);
    wait_until("the client port is closed", || {
        !is_listening(broker.client_addr())
    });
    client.sync();
}

#[test]
fn the_old_process_keeps_no_port() {
    let cluster = "cluster { name: c, listen: \"127.0.0.1:0\" }\n";
    for more in ["", cluster] {
        let broker = Broker::midge().config(format!("{LONG}{more}")).start();
        let mut client = staying(&broker);
        assert!(listening_sockets(broker.pid()) > 0);
        let successor = broker.upgrade();
        wait_until("the old process has no listening socket", || {
            listening_sockets(broker.pid()) == 0
        });
        client.sync();
        successor.signal(libc::SIGKILL);
        wait_until("the client port is closed", || {
            !is_listening(broker.client_addr())
        });
    }
}
