//! The hubs whose leafnode a broker is.

use std::{
    net::{SocketAddr, TcpListener, TcpStream},
    os::fd::AsRawFd,
    time::Duration,
};

use test_support::{Broker, free_port, wait_until};

use super::{Effect, Scene};

pub const EFFECTS: &[Effect] = &[
    ("leafnodes dial_timeout", dial_timeout),
    ("leafnodes reconnect", reconnect),
    ("leafnodes remotes", remotes),
];

fn hub(port: u16) -> Broker {
    let text = format!("leafnodes {{ listen: \"127.0.0.1:{port}\" }}\n");
    Broker::midge().config(text).start()
}

fn block(port: u16, more: &str) -> String {
    format!("leafnodes {{ remotes: [ {{ url: \"nats-leaf://127.0.0.1:{port}\" }} ], {more} }}")
}

fn leafs(broker: &Broker) -> u64 {
    let leafz = broker.get_json("/leafz");
    leafz["leafnodes"].as_u64().expect("a number")
}

/// They begin, are other ones, and end.
#[test]
fn remotes() {
    let ports = [free_port(), free_port()];
    let hubs = ports.map(hub);
    let mut scene = Scene::new("", "");
    scene.reload(&block(ports[0], ""), "");
    wait_until("the first one begins", || leafs(&hubs[0]) == 1);
    scene.reload(&block(ports[1], ""), "");
    wait_until("the other one begins", || leafs(&hubs[1]) == 1);
    wait_until("the first one ends", || leafs(&hubs[0]) == 0);
    scene.reload("", "");
    wait_until("the other one ends", || leafs(&hubs[1]) == 0);
}

/// A hub that is away is dialled soon after a reload, and no more by the long pause of before.
#[test]
fn reconnect() {
    let port = free_port();
    let mut scene = Scene::new(&block(port, "reconnect: \"1h\""), "");
    let broker =
        |scene: &Scene| scene.member.broker.get_json("/varz")["leaf"]["remotes"][0].clone();
    wait_until("the first attempt", || broker(&scene)["attempts"] == 1);
    scene.reload(&block(port, "reconnect: \"50ms\""), "");
    wait_until("attempts follow each other", || {
        broker(&scene)["attempts"].as_u64() > Some(5)
    });
    let hub = hub(port);
    wait_until("it is connected", || leafs(&hub) == 1);
}

/// A hub that does not answer is given up after the new time.
#[test]
fn dial_timeout() {
    let (listener, _waiting) = silent_listener();
    let port = listener.local_addr().expect("an address").port();
    let mut scene = Scene::new(&block(port, "dial_timeout: \"1h\""), "");
    scene.reload(&block(port, "dial_timeout: \"50ms\""), "");
    wait_until("it is given up", || {
        let varz = scene.member.broker.get_json("/varz");
        let error = varz["leaf"]["remotes"][0]["last_error"].clone();
        error
            .as_str()
            .is_some_and(|error| error.contains("timed out"))
    });
}

/// A port that takes no further connection, and those that wait there.
fn silent_listener() -> (TcpListener, Vec<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address: SocketAddr = listener.local_addr().expect("an address");
    // SAFETY: listen takes two integers and touches no memory of ours.
    let shortened = unsafe { libc::listen(listener.as_raw_fd(), 0) };
    assert_eq!(shortened, 0);
    let mut waiting = Vec::new();
    while let Ok(stream) = TcpStream::connect_timeout(&address, Duration::from_millis(300)) {
        waiting.push(stream);
        assert!(waiting.len() < 100, "the queue is never full");
    }
    (listener, waiting)
}
