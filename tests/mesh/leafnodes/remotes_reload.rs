//! midge as leafnode: what a reload, an upgrade and the end of the broker do with the connection.

use test_support::{Broker, free_port, wait_until};

use super::{
    client,
    delivery::every_form,
    hub, knows, message,
    remotes::{HUBS, hub_of, remote, spoke},
    subscriber, wait_for_leafs,
};

fn text(remotes: &str) -> String {
    format!("server_name: leaf\nleafnodes {{ reconnect: 1, remotes: [ {remotes} ] }}\n")
}

/// Hubs are added, changed, turned off and removed by reloads; the others stay connected.
#[test]
fn a_reload_changes_the_hubs() {
    let ports = [free_port(), free_port()];
    let hubs = [
        hub(Broker::midge(), ports[0], "", ""),
        hub(Broker::nats_server(), ports[1], "", ""),
    ];
    let of = |index: usize, more: &str| {
        format!(
            "{{ url: \"nats-leaf://127.0.0.1:{}\", {more} }}",
            ports[index]
        )
    };
    // Without a block at the start.
    let leaf = Broker::midge().config("server_name: leaf\n").start();
    leaf.reload(&text(&of(0, "")));
    wait_for_leafs(&hubs[0], 1);
    let id = || hubs[0].get_json("/leafz")["leafs"][0]["id"].clone();
    let first = id();
    leaf.reload(&text(&format!("{}, {}", of(0, ""), of(1, ""))));
    wait_for_leafs(&hubs[1], 1);
    wait_for_leafs(&leaf, 2);
    assert_eq!(id(), first);
    leaf.reload(&text(&format!(
        "{}, {}",
        of(0, ""),
        of(1, "disabled: true")
    )));
    wait_for_leafs(&hubs[1], 0);
    wait_for_leafs(&leaf, 1);
    assert_eq!(id(), first);
    let varz = leaf.get_json("/varz");
    assert_eq!(varz["leaf"]["remotes"][1]["disabled"], true, "{varz}");
    leaf.reload(&text(&of(0, "deny_exports: \"kept.>\"")));
    wait_until("the connection is a new one", || {
        let now = id();
        now != first && !now.is_null()
    });
    leaf.reload("server_name: leaf\n");
    wait_for_leafs(&hubs[0], 0);
    wait_for_leafs(&leaf, 0);
    assert!(leaf.get_json("/varz")["leaf"]["remotes"].is_null());
}

/// A reload with a remote that is wrong changes nothing, and says where the fault is.
#[test]
fn a_wrong_remote_changes_nothing() {
    let port = free_port();
    let hub = hub(Broker::midge(), port, "", "");
    let good = format!("{{ url: \"nats-leaf://127.0.0.1:{port}\" }}");
    let leaf = Broker::midge().config(text(&good)).start();
    wait_for_leafs(&hub, 1);
    std::fs::write(
        leaf.folder().join("broker.conf"),
        text("{ url: \"ws://hub.example.net:443\" }"),
    )
    .expect("write the file");
    leaf.signal(libc::SIGHUP);
    wait_until("it is refused", || {
        let log = leaf.log().to_string();
        log.contains("ws://hub.example.net:443 is not served")
    });
    drop(subscriber(&leaf, &hub, "still.here"));
}

/// The end of the broker ends the connection, and the hub knows.
#[test]
fn a_stop_ends_the_connection() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", "");
        let mut leaf = spoke("leaf", port, "", "", "");
        drop(subscriber(&leaf, &hub, "some.thing"));
        assert!(leaf.stop().success());
        wait_for_leafs(&hub, 0);
    }
}

/// After an upgrade the new process is the leafnode, and its clients are reached as before.
#[test]
fn an_upgrade_keeps_the_leafnode() {
    for kind in HUBS {
        let port = free_port();
        let hub = hub_of(kind, port, "", "");
        let leaf = spoke("leaf", port, "", "", "");
        let mut reader = subscriber(&leaf, &hub, "kept.on");
        let successor = leaf.upgrade();
        wait_until("the old process has ended", || {
            leaf.processes() == [successor.pid]
        });
        wait_until("the new one is connected", || {
            remote(&leaf)["connected"] == true && hub.get_json("/leafz")["leafnodes"] == 1
        });
        wait_until("its interest is known", || knows(&hub, "kept.on"));
        client(&hub).send("PUB kept.on 2\r\nhi\r\n");
        assert_eq!(message(&mut reader).1, b"hi");
        every_form(&leaf, &hub, "upgraded");
        successor.stop();
    }
}
