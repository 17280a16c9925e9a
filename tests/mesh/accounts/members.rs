//! The account of a client, the limits of accounts, and what monitoring shows about them.

use super::comparison::{Comparison, log_in};
use test_support::{Broker, RawClient, raw_client::parse_info, wait_for};

const CONFIG: &str = r#"
accounts {
  A { users: [ { user: a, password: a } ] }
  B { users: [ { user: b, password: b } ],
      limits { max_connections: 2, max_subscriptions: 2, max_payload: 10 } }
  $SYS { users: [ { user: s, password: s } ] }
}
no_auth_user: a
"#;

#[test]
fn accounts_do_not_receive_each_others_messages() {
    let mut stage = Comparison::new(CONFIG, &["a", "b", ""]);
    let seen = stage.plays_the_same(&[
        (0, "SUB x 1"),
        (1, "SUB > 2"),
        (2, "SUB x 3"),
        (0, "PUB x 2\r\nhi"),
        (1, "PUB x 2\r\nhi"),
        (2, "PUB $SYS.REQ.SERVER.PING.NOTHING 2\r\nhi"),
    ]);
    assert_eq!(seen.len(), 3, "{seen:?}");
}

/// A client refused at an account limit has proved its identity.
#[test]
fn a_client_refused_at_an_account_limit_is_listed_with_its_user() {
    let [ours, theirs] = [Broker::midge(), Broker::nats_server()].map(|builder| {
        let config = CONFIG.replace("max_connections: 2", "max_connections: 1");
        let broker = builder.config(config).start();
        let mut system = log_in(&broker, "s");
        system.send("SUB $SYS.ACCOUNT.B.DISCONNECT 1\r\n");
        system.sync();
        let _first = log_in(&broker, "b");
        let mut second = broker.connect();
        second.send(
            "CONNECT {\"user\":\"b\",\"pass\":\"b\",\"name\":\"n\",\"lang\":\"l\",\"version\":\"1\"}\r\n",
        );
        second.read_to_end();
        // The one that saw that the broker is ready may be listed, too.
        let closed = wait_for("it is closed", || {
            let answer = broker.get_json("/connz?auth=1&state=closed");
            let mut all = answer["connections"].as_array()?.iter();
            all.find(|closed| closed["name"] == "n").cloned()
        });
        let fields = ["authorized_user", "account", "name", "lang", "version", "reason"];
        let closed = fields.map(|key| closed[key].clone());
        let event = system.next_message();
        let event: serde_json::Value =
            serde_json::from_slice(&event.body).expect("JSON");
        let fields = ["user", "acc", "name", "lang", "ver"];
        let event = fields.map(|key| event["client"][key].clone());
        (closed, event)
    });
    assert_eq!(ours, theirs, "midge, then nats-server");
}

#[test]
fn account_limits_are_enforced() {
    let mut stage = Comparison::new(CONFIG, &["b"]);
    stage.plays_the_same(&[
        (0, "SUB x 1"),
        (0, "SUB y 2"),
        (0, "SUB z 3"),
        (0, "UNSUB 1"),
        (0, "SUB z 3"),
        (0, "PUB z 10\r\n0123456789"),
    ]);
    for broker in [&stage.midge.broker, &stage.nats.broker] {
        let mut second = log_in(broker, "b");
        let mut third = broker.connect();
        third.send("CONNECT {\"user\":\"b\",\"pass\":\"b\"}\r\nPING\r\n");
        let last: Vec<String> = third
            .read_to_end()
            .iter()
            .map(|f| format!("{f:?}"))
            .collect();
        assert_eq!(last, ["-ERR 'maximum account active connections exceeded'"]);
        second.send("PUB z 11\r\n01234567890\r\n");
        let last: Vec<String> = second
            .read_to_end()
            .iter()
            .map(|f| format!("{f:?}"))
            .collect();
        assert_eq!(last, ["-ERR 'Maximum Payload Violation'"]);
        broker.wait_for_connections(1);
        log_in(broker, "b");
    }
}

#[test]
fn info_names_the_clients_account() {
    let reported = |broker: &Broker, user: &str| {
        let mut client = broker.connect();
        client.send(format!(
            "CONNECT {{\"verbose\":false,\"protocol\":1,\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\nPING\r\n"
        ));
        client.next_frame();
        let info = parse_info(&client.next_frame().expect("an INFO")).expect("an INFO");
        (
            info["remote_account"].clone(),
            info["acc_is_sys"].clone(),
            info["max_payload"].clone(),
        )
    };
    let midge = Broker::midge().config(CONFIG).start();
    let nats = Broker::nats_server().config(CONFIG).start();
    for user in ["a", "b", "s"] {
        assert_eq!(reported(&midge, user), reported(&nats, user), "{user}");
    }
}

/// Users that are defined in the system account only neither lock out other clients nor
/// let them into the system account.
#[test]
fn users_in_the_system_account_only_require_no_login_elsewhere() {
    let only_system = "accounts { $SYS { users: [ { user: s, password: s } ] } }";
    for (config, attempts) in [
        (only_system.to_owned(), [("", true), ("s", true), ("x", false)]),
        (
            format!("{only_system}\nauthorization {{ timeout: 3 }}"),
            [("", false), ("s", true), ("x", false)],
        ),
        (
            "accounts { $SYS { users: [ { user: s, password: s } ] }\n A { users: [ { user: a, password: a } ] } }".to_owned(),
            [("", false), ("a", true), ("x", false)],
        ),
        (
            format!("{only_system}\nauthorization {{ users: [ {{ user: g, password: g }} ] }}"),
            [("", false), ("g", true), ("x", false)],
        ),
    ] {
        let midge = Broker::midge().config(&*config).start();
        let nats = Broker::nats_server().config(&*config).start();
        for (user, is_in) in attempts {
            for broker in [&midge, &nats] {
                let mut client = broker.connect();
                client.send(format!(
                    "CONNECT {{\"verbose\":false,\"user\":\"{user}\",\"pass\":\"{user}\"}}\r\nSUB $SYS.> 1\r\nPING\r\n"
                ));
                let first = client.next_frame().map(|frame| format!("{frame:?}"));
                match is_in {
                    true => assert_ne!(first.as_deref(), Some("-ERR 'Authorization Violation'"), "{config} {user:?}"),
                    false => assert_eq!(first.as_deref(), Some("-ERR 'Authorization Violation'"), "{config} {user:?}"),
                }
            }
        }
    }
}

#[test]
fn monitoring_shows_each_account_separately() {
    let mut stage = Comparison::new(CONFIG, &["a", "a", "b", "s"]);
    stage.plays_the_same(&[(0, "SUB x 1"), (1, "PUB x 2\r\nhi"), (2, "SUB y 1")]);
    let figures = |broker: &Broker| {
        let statz = broker.get_json("/accstatz?unused=1")["account_statz"].clone();
        let mut figures: Vec<String> = statz
            .as_array()
            .expect("a list")
            .iter()
            .filter(|stat| stat["acc"] != "$SYS")
            .map(|stat| {
                format!(
                    "{} {} conns, in {} {}, out {} {}, slow {}",
                    stat["acc"],
                    stat["conns"],
                    stat["received"]["msgs"],
                    stat["received"]["bytes"],
                    stat["sent"]["msgs"],
                    stat["sent"]["bytes"],
                    stat["slow_consumers"]
                )
            })
            .collect();
        figures.sort();
        for name in ["A", "B", "$G", "$SYS"] {
            let detail = &broker.get_json(&format!("/accountz?acc={name}"))["account_detail"];
            figures.push(format!(
                "{} {} {}",
                detail["account_name"], detail["is_system"], detail["client_connections"]
            ));
        }
        for query in [
            "/connz?acc=A",
            "/connz?acc=B",
            "/connz?acc=$G",
            "/connz?acc=X",
        ] {
            figures.push(format!("{query} {}", broker.get_json(query)["total"]));
        }
        let connz = broker.get_json("/connz?auth=1&acc=B")["connections"][0].clone();
        figures.push(format!(
            "{} {} {}",
            connz["account"], connz["authorized_user"], connz["name_tag"]
        ));
        let mut names: Vec<String> = broker.get_json("/accountz")["accounts"]
            .as_array()
            .expect("a list")
            .iter()
            .map(ToString::to_string)
            .collect();
        names.sort();
        figures.push(names.join(" "));
        figures.push(broker.get_json("/varz")["system_account"].to_string());
        figures
    };
    assert_eq!(figures(&stage.midge.broker), figures(&stage.nats.broker));
}

/// A reload changes accounts while clients are connected: imports, limits, new and
/// removed accounts.
#[test]
fn a_reload_changes_accounts() {
    let config = |b: &str, more: &str| {
        format!(
            r#"accounts {{
              A {{ users: [ {{ user: a, password: a }} ],
                   exports: [ {{ stream: "s.>" }}, {{ service: "q" }} ] }}
              B {{ users: [ {{ user: b, password: b }} ]
                   {b} }}
              {more} }}"#
        )
    };
    let imports = r#"imports: [ { stream: { account: A, subject: "s.x" } }, { service: { account: A, subject: q } } ]"#;
    let broker = Broker::midge()
        .config(config("", "C { users: [ { user: c, password: c } ] }"))
        .start();
    let reload = |text: String| broker.reload(&text);
    let (mut a, mut b, mut c) = (
        log_in(&broker, "a"),
        log_in(&broker, "b"),
        log_in(&broker, "c"),
    );
    let publish = |a: &mut RawClient, b: &mut RawClient| {
        a.send("SUB q 1\r\nPUB s.x 2\r\nhi\r\n");
        a.sync();
        b.send("SUB s.* 1\r\nPUB q 2\r\nhi\r\n");
        let received = b.sync().len();
        (received, a.sync().len())
    };
    assert_eq!(publish(&mut a, &mut b), (0, 0));

    reload(config(imports, "D { users: [ { user: d, password: d } ] }"));
    assert_eq!(
        publish(&mut a, &mut b),
        (1, 1),
        "what was subscribed before takes the import"
    );
    let last = c.read_to_end();
    assert!(
        last.iter().any(|frame| frame.line.starts_with(b"-ERR")),
        "{last:?}"
    );
    log_in(&broker, "d");

    reload(config(
        &format!("{imports}, limits {{ max_payload: 1, max_connections: 1 }}"),
        "",
    ));
    b.send("PUB q 2\r\nhi\r\n");
    let last: Vec<String> = b
        .read_to_end()
        .iter()
        .map(|frame| format!("{frame:?}"))
        .collect();
    assert_eq!(last, ["-ERR 'Maximum Payload Violation'"]);

    reload(config("", ""));
    let mut b = log_in(&broker, "b");
    assert_eq!(publish(&mut a, &mut b), (0, 0));
    let detail = broker.get_json("/accountz?acc=A");
    assert_eq!(
        detail["account_detail"]["subscriptions"], 1,
        "no shadow stays"
    );
    assert_eq!(broker.get("/accountz?acc=C").status, 400);
}
