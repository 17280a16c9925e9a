use super::*;

fn passed(sockets: Vec<(&str, OwnedFd)>) -> Inherited {
    let mut inherited = Inherited::default();
    for (descriptor, (name, socket)) in (3..).zip(sockets) {
        inherited.add(name.into(), descriptor, socket).unwrap();
    }
    inherited
}

fn tcp(address: &str) -> (u16, OwnedFd) {
    let listener = TcpListener::bind(address).unwrap();
    (listener.local_addr().unwrap().port(), listener.into())
}

#[test]
fn a_socket_is_taken_by_its_address_and_only_once() {
    let (port, socket) = tcp("127.0.0.1:0");
    let mut inherited = passed(vec![("midge.socket", socket)]);
    let mut take = |host, port| inherited.take_tcp(Role::Client, host, port).unwrap();
    assert!(take("0.0.0.0", port).is_none());
    assert!(take("127.0.0.1", port.wrapping_add(1)).is_none());
    // Any free port may be meant for another listener.
    assert!(take("127.0.0.1", 0).is_none());
    let (address, listener) = take("127.0.0.1", port).unwrap();
    assert_eq!(listener.local_addr().unwrap(), address);
    assert!(take("127.0.0.1", port).is_none());
    assert!(inherited.refuse_rest().is_ok());
}

#[test]
fn a_name_restricts_a_socket_to_its_role() {
    let (port, socket) = tcp("127.0.0.1:0");
    let mut inherited = passed(vec![("cluster", socket)]);
    assert!(matches!(
        inherited.take_tcp(Role::Client, "127.0.0.1", port),
        Ok(None)
    ));
    let (address, _) = inherited
        .take_tcp(Role::Cluster, "127.0.0.1", 0)
        .unwrap()
        .unwrap();
    assert_eq!(address.port(), port);
}

#[test]
fn a_socket_on_all_addresses_serves_a_host_of_either_family() {
    let (port, v4) = tcp("0.0.0.0:0");
    let mut inherited = passed(vec![("", v4)]);
    let mut take = |host| inherited.take_tcp(Role::Client, host, port).unwrap();
    assert!(take("127.0.0.1").is_none() && take("::").is_none());
    assert_eq!(take("0.0.0.0").unwrap().0.port(), port);
    let Ok(v6) = TcpListener::bind("[::]:0") else {
        // The machine has no IPv6.
        return;
    };
    let port = v6.local_addr().unwrap().port();
    let mut inherited = passed(vec![("", v6.into())]);
    let taken = inherited.take_tcp(Role::Client, "0.0.0.0", port).unwrap();
    assert_eq!(
        taken.unwrap().0,
        SocketAddr::from(([0, 0, 0, 0], port)),
        "it serves both families"
    );
}

#[test]
fn what_nobody_takes_is_named_with_what_is_configured() {
    let (port, socket) = tcp("127.0.0.1:0");
    let mut inherited = passed(vec![("client", socket)]);
    assert!(
        inherited
            .take_tcp(Role::Client, "0.0.0.0", 4222)
            .unwrap()
            .is_none()
    );
    let text = inherited.refuse_rest().unwrap_err().to_string();
    for part in [
        "descriptor 3 (\"client\")",
        &format!("127.0.0.1:{port}"),
        "client 0.0.0.0:4222",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
}

#[test]
fn two_sockets_for_one_listener_are_refused() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("m.sock");
    let first = UnixListener::bind(&path).unwrap();
    let second = first.try_clone().unwrap();
    let mut inherited = passed(vec![("monitor", first.into()), ("", second.into())]);
    assert!(
        inherited
            .take_unix(&folder.path().join("x"))
            .unwrap()
            .is_none()
    );
    let error = inherited.take_unix(&path).unwrap_err().to_string();
    assert!(error.contains("descriptor 4"), "{error}");
}

#[test]
fn only_listening_stream_sockets_are_accepted() {
    let datagrams = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
    let (connected, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    for socket in [OwnedFd::from(datagrams), OwnedFd::from(connected)] {
        let error = Inherited::default().add("client".into(), 3, socket);
        let text = error.unwrap_err().to_string();
        assert!(text.contains("Accept=no"), "{text}");
    }
}

#[test]
fn there_is_a_name_for_each_socket() {
    assert_eq!(names_of(None, 2).unwrap(), ["", ""]);
    assert_eq!(
        names_of(Some("client:monitor"), 2).unwrap(),
        ["client", "monitor"]
    );
    assert!(names_of(Some("client"), 2).is_err());
}
