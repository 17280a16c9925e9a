//! Logins as clients see them: their effect on other clients, the effect of a reload of
//! the users on connected clients, and what the log and monitoring show.

use std::{
    io::Write,
    net::{SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Socket, Type};
use test_support::{Broker, Frame, RawClient, raw_client::Next, wait_until};

/// A bcrypt hash of "s3cret" with a slow comparison.
const SLOW_HASH: &str = "$2a$11$abcdefghijklmnopqrstuuUCnuixm4ngvxv5GQ9LK1yFHBonHULYe";

/// While a hash is compared, the broker serves others on the same threads.
#[test]
fn a_slow_password_check_delays_nobody_else() {
    let broker = Broker::midge()
        .config(format!(
            "authorization {{ users: [ {{ user: slow, password: \"{SLOW_HASH}\" }}, \
             {{ user: quick, password: p }} ] }}"
        ))
        .start();
    let mut slow: Vec<RawClient> = (0..5).map(|_| broker.connect()).collect();
    for client in &mut slow {
        client
            .send("CONNECT {\"user\":\"slow\",\"pass\":\"s3cret\",\"verbose\":false}\r\nPING\r\n");
    }
    let mut quick = login(&broker, "quick", "p");
    for _ in 0..100 {
        quick.sync();
    }
    let last = slow.last_mut().expect("five clients");
    assert!(
        matches!(last.poll_frame(Duration::ZERO), Next::Nothing),
        "the checks were too quick to prove anything"
    );
    for client in &mut slow {
        assert_eq!(client.next_frame().expect("an answer").line, b"PONG");
    }
}

/// A client whose user was removed or changed must log in again; others stay.
#[test]
fn a_reload_disconnects_clients_that_lost_access() {
    let users = |list: &str| format!("authorization {{ users: [ {list} ] }}\n");
    let before =
        users("{ user: a, password: a }, { user: b, password: b }, { user: c, password: c }");
    let broker = Broker::midge().config(before).start();
    let mut clients = ["a", "b", "c"].map(|name| login(&broker, name, name));
    broker.reload(&users(
        "{ user: a, password: a }, { user: b, password: other }",
    ));
    assert!(clients[0].sync().is_empty());
    for client in &mut clients[1..] {
        let frames: Vec<Frame> = client.read_to_end();
        assert_eq!(frames[0].line, b"-ERR 'Authorization Violation'");
    }
    login(&broker, "b", "other");
}

/// Clients that connected without a required login are disconnected by a reload that
/// requires one.
#[test]
fn a_reload_that_requires_logins_disconnects_everybody() {
    let broker = Broker::midge().config("ping_max: 3\n").start();
    let mut connected = RawClient::connect_quietly(broker.client_addr());
    connected.sync();
    let mut silent = broker.connect();
    silent.sync();
    broker.reload("authorization { token: t }\n");
    for client in [&mut connected, &mut silent] {
        assert_eq!(
            client.read_to_end()[0].line,
            b"-ERR 'Authorization Violation'"
        );
    }
    assert_eq!(broker.connect().info()["auth_required"], true);
    broker.reload("ping_max: 3\n");
    assert!(broker.connect().info().get("auth_required").is_none());
}

/// The log names the refused client and the reason, and never a secret.
#[test]
fn the_log_names_client_and_reason_but_no_secret() {
    let broker = Broker::midge()
        .flag("-DV")
        .config("authorization { users: [ { user: derek, password: hidden } ] }")
        .start();
    let mut client = broker.connect();
    client.send("CONNECT {\"user\":\"derek\",\"pass\":\"attempt\",\"auth_token\":\"attempt\"}\r\n");
    client.read_to_end();
    broker
        .log()
        .wait_for("authentication error - User \"derek\": wrong password");
    let log = broker.log().so_far();
    assert!(log.lacks("hidden") && log.lacks("attempt"), "{log}");
}

/// The answers to repeated wrong passwords are delayed more and more; monitoring counts
/// them by reason, and the log does not grow with them. Another client at the same
/// address is accepted while they wait.
#[test]
fn password_guessing_is_throttled_without_affecting_others() {
    let broker = Broker::midge()
        .config("authorization { users: [ { user: derek, password: hidden } ] }")
        .start();
    let guess = |fields: &str| {
        let mut client = broker.connect();
        client.send(format!("CONNECT {{{fields}}}\r\n"));
        client
    };
    for _ in 0..5 {
        let frames = guess("\"user\":\"derek\",\"pass\":\"x\"").read_to_end();
        assert_eq!(frames.len(), 1, "{frames:?}");
    }
    guess("").read_to_end();
    let mut guessing: Vec<RawClient> = (0..60)
        .map(|n| guess(&format!("\"user\":\"nobody{n}\"")))
        .collect();
    wait_until("the failed logins are counted", || {
        broker.get_json("/varz")["logins"]["refused"]["unknown_user"] == 60
    });
    // The last failed logins wait for their answer, and the correct password does not.
    let last = guessing.last_mut().expect("a client");
    assert!(matches!(last.poll_frame(Duration::ZERO), Next::Nothing));
    login(&broker, "derek", "hidden");
    // What such a client sends in the meantime is ignored.
    last.send("PING\r\nSUB > 1\r\n");
    for client in &mut guessing {
        let frames = client.read_to_end();
        assert_eq!(frames.len(), 1, "{frames:?}");
        assert_eq!(frames[0].line, b"-ERR 'Authorization Violation'");
    }
    let logins = &broker.get_json("/varz")["logins"];
    assert_eq!(logins["accepted"], 1, "{logins}");
    assert_eq!(logins["refused"]["wrong_password"], 5, "{logins}");
    assert_eq!(logins["refused"]["no_credentials"], 1, "{logins}");
    assert!(logins["delayed"].as_u64() > Some(50), "{logins}");
    assert!(logins["held"].as_u64() > Some(0), "{logins}");
    let metrics = broker.get("/metrics").body;
    assert!(
        metrics.contains("midge_logins_refused_total{reason=\"unknown_user\"} 60"),
        "{metrics}"
    );
    broker.log().wait_for("authentication error");
    let lines = broker.log().so_far().count("authentication error");
    assert!((1..=45).contains(&lines), "{lines} lines for 66 guesses");
}

/// A refused client is not shown as the user it named while it is still connected,
/// although its answer is delayed; once it is closed, the name it sent is shown.
#[test]
fn a_refused_client_is_shown_without_a_user() {
    let broker = Broker::midge()
        .config("authorization { users: [ { user: root, password: s3cret } ] }")
        .start();
    let names = |state: &str| {
        let connz = broker.get_json(&format!("/connz?auth=1&state={state}"));
        connz["connections"]
            .as_array()
            .expect("a list")
            .iter()
            .map(|one| {
                let text = |key: &str| one[key].as_str().unwrap_or_default().to_owned();
                [text("authorized_user"), text("name")]
            })
            .collect::<Vec<_>>()
    };
    let guess = || {
        let mut client = broker.connect();
        client.send(
            "CONNECT {\"verbose\":false,\"user\":\"root\",\"pass\":\"guess\",\"name\":\"n\"}\r\n",
        );
        client
    };
    let nobody = ["", ""].map(str::to_owned);
    let root = ["root", "n"].map(str::to_owned);
    let mut looks = 0;
    // The answers are delayed increasingly.
    for count in 1..=9 {
        let mut client = guess();
        loop {
            let open = names("open");
            if !matches!(client.poll_frame(Duration::from_millis(5)), Next::Nothing) {
                break;
            }
            // It was open all the time.
            looks += open.len();
            assert!(open.iter().all(|known| *known == nobody), "{open:?}");
        }
        wait_until("it is listed as closed", || {
            let closed = names("closed");
            closed.iter().filter(|known| **known == root).count() == count
        });
    }
    assert!(looks > 0, "no answer came late");
    let words = ["authentication error - User \"root\"", "v::n"];
    broker.log().wait_for_line(&words);
}

/// Disconnecting before the answer does not avoid the delay: after failed logins from an
/// address, each login from there waits before it is checked. The correct one is
/// accepted.
#[test]
fn disconnecting_early_does_not_avoid_the_throttle() {
    let broker = Broker::midge()
        .config("authorization { users: [ { user: derek, password: hidden } ] }")
        .start();
    let logins = || broker.get_json("/varz")["logins"].clone();
    // A key beside the password makes no difference: no user has one.
    let hang_up = || {
        let mut client = broker.connect();
        client.send("CONNECT {\"user\":\"derek\",\"pass\":\"x\",\"nkey\":\"x\"}\r\n");
    };
    for count in 1..=6 {
        hang_up();
        wait_until("the failed login is counted", || {
            logins()["refused"]["wrong_password"] == count
        });
    }
    assert_eq!(logins()["held"], 0);
    for _ in 0..20 {
        hang_up();
    }
    wait_until("these logins are delayed", || logins()["held"] == 20);
    login(&broker, "derek", "hidden");
    wait_until("each is counted", || {
        logins()["refused"]["wrong_password"] == 26
    });
    let logins = logins();
    assert_eq!(
        (&logins["held"], &logins["accepted"]),
        (&21.into(), &1.into())
    );
}

/// Many expensive password guesses do not block others: a client elsewhere is accepted
/// before they are finished, and those that exceed the login timeout are not compared.
#[test]
fn many_password_guesses_lock_nobody_else_out() {
    const GUESSES: u64 = 300;
    // Of cost 6: so many of them take longer than the login timeout.
    let hash = "$2b$06$abcdefghijklmnopqrstuuNOnw6EGKc3988bZtxlqHMps74iVdpdC";
    let broker = Broker::midge()
        .config(format!(
            "authorization {{ timeout: 1, users: [ {{ user: derek, password: \"{hash}\" }} ] }}\n"
        ))
        .start();
    let guess = || {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).expect("a socket");
        let elsewhere = SocketAddr::from(([127, 0, 0, 2], 0));
        socket.bind(&elsewhere.into()).expect("another address");
        socket
            .connect(&broker.client_addr().into())
            .expect("connect");
        let mut stream = TcpStream::from(socket);
        let text = b"CONNECT {\"user\":\"derek\",\"pass\":\"x\"}\r\n";
        stream.write_all(text).expect("send");
        stream
    };
    let guesses: Vec<TcpStream> = (0..GUESSES).map(|_| guess()).collect();
    let refused = |reason: &str| {
        let logins = &broker.get_json("/varz")["logins"];
        logins["refused"][reason].as_u64().unwrap_or_default()
    };
    wait_until("the failed logins are counted", || {
        refused("wrong_password") > 6
    });
    login(&broker, "derek", "s3cret");
    let through = refused("wrong_password") + refused("timeout");
    assert!(through < GUESSES, "it had to wait for all of them");
    wait_until("each failed login is closed", || {
        refused("wrong_password") + refused("timeout") == GUESSES
    });
    assert!(refused("timeout") > 0, "all were looked at");
    drop(guesses);
}

/// A login by key is never delayed: keys cannot be guessed.
#[test]
fn nkey_logins_do_not_wait_for_password_guesses() {
    let key = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L";
    let broker = Broker::midge()
        .config(format!(
            "authorization {{ users: [ {{ user: u, password: p }}, {{ nkey: {key} }} ] }}"
        ))
        .start();
    for _ in 0..8 {
        let mut client = broker.connect();
        client.send("CONNECT {\"user\":\"u\",\"pass\":\"x\"}\r\n");
        client.read_to_end();
    }
    let held = broker.get_json("/varz")["logins"]["held"].clone();
    assert_eq!(held, 2);
    let mut client = broker.connect();
    let fields = format!("\"nkey\":{key:?},\"sig\":\"x\"");
    client.send(format!("CONNECT {{{fields}}}\r\n"));
    client.read_to_end();
    assert_eq!(broker.get_json("/varz")["logins"]["held"], held);
}

fn login(broker: &Broker, user: &str, password: &str) -> RawClient {
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"user\":{user:?},\"pass\":{password:?},\"verbose\":false}}\r\n"
    ));
    assert!(client.sync().is_empty(), "{user} is let in");
    client
}

/// `auth_required` in INFO and in `/varz` is the same as in nats-server, for each login
/// method.
#[test]
fn auth_required_in_info_matches_nats_server() {
    let users =
        "authorization { users: [ { user: u, password: p, permissions: { publish: a } } ] }";
    for config in [
        String::new(),
        "authorization { user: a, password: b }".into(),
        "authorization { token: t }".into(),
        users.into(),
        format!("{users}\nno_auth_user: u"),
        "accounts { A { users: [ { user: u, password: p } ] } }\nno_auth_user: u".into(),
        "accounts { $SYS { users: [ { user: a, password: b } ] } }".into(),
    ] {
        let reported = |builder: test_support::BrokerBuilder| {
            let broker = builder.config(config.clone()).start();
            let of = |json: &serde_json::Value| json["auth_required"] == true;
            (
                of(test_support::RawClient::connect(broker.client_addr()).info()),
                of(&broker.get_json("/varz")),
            )
        };
        let [midge, nats] = [Broker::midge(), Broker::nats_server()].map(reported);
        assert_eq!(midge, nats, "INFO and /varz with {config:?}");
    }
}
