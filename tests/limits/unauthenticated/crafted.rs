//! What clients that are in may send to reach further than they should.

use serde_json::Value;
use test_support::{Broker, PATIENCE, RawClient, raw_client::Next};

use super::login;

/// Class "forged identity" (2026-08, -09): a client cannot set the header that
/// names the requester to a service.
#[test]
fn a_client_cannot_forge_the_requester() {
    let config = "accounts { S { users: [ { user: s, password: s } ], exports: [ { service: q } ] }\n\
                  C { users: [ { user: c, password: c } ], imports: [ { service: { account: S, \
                  subject: q }, share: true } ] } }\n";
    let broker = Broker::midge().config(config).start();
    let login = |name: &str| {
        let mut client = broker.connect();
        client.send(format!(
            "CONNECT {{\"user\":{name:?},\"pass\":{name:?},\"verbose\":false,\"headers\":true}}\r\n"
        ));
        client.sync();
        client
    };
    let (mut service, mut client) = (login("s"), login("c"));
    service.send("SUB q 1\r\n");
    service.sync();
    for name in [
        "Nats-Request-Info",
        "nats-request-info",
        "NATS-REQUEST-INFO",
    ] {
        let headers = format!("NATS/1.0\r\n{name}: {{\"acc\":\"$SYS\"}}\r\n{name}: forged\r\n\r\n");
        client.send(format!(
            "HPUB q r {} {}\r\n{headers}\r\n",
            headers.len(),
            headers.len()
        ));
        let asked = service.next_message();
        let body = String::from_utf8_lossy(&asked.body).into_owned();
        assert!(!body.contains("forged") && !body.contains("$SYS"), "{body}");
        assert!(body.contains("Nats-Request-Info"), "{body}");
    }
}

/// Class "monitoring crash" (2026-28): extreme numbers for every parameter, over HTTP and
/// over the system account.
#[test]
fn extreme_numbers_are_harmless_to_monitoring() {
    const NUMBERS: &[&str] = &[
        "9223372036854775807",
        "-9223372036854775808",
        "9223372036854775808",
        "18446744073709551615",
        "-1",
        "0",
        "1e308",
        "99999999999999999999999999",
        "",
        "NaN",
    ];
    const PARAMETERS: &[&str] = &[
        "limit",
        "offset",
        "cid",
        "since",
        "connections",
        "n",
        "seconds",
        "lines",
    ];
    let config = "accounts { SYS { users: [ { user: s, password: s } ] }, A { users: [ { user: u, \
                  password: p } ] } }\nsystem_account: SYS\n";
    let broker = Broker::midge().config(config).start();
    let _open = login(&broker);
    for path in broker.endpoints() {
        for parameter in PARAMETERS {
            for number in NUMBERS {
                let status = broker
                    .get(&format!("{path}?{parameter}={number}&state=any"))
                    .status;
                assert!(
                    [200, 400, 404].contains(&status),
                    "{path} {parameter}={number}: {status}"
                );
            }
        }
        let both = "limit=9223372036854775807&offset=9223372036854775807&subs=1";
        broker.get(&format!("{path}?{both}"));
    }
    let mut system = broker.connect();
    system.send("CONNECT {\"user\":\"s\",\"pass\":\"s\",\"verbose\":false}\r\nSUB r 1\r\n");
    system.sync();
    let mut account = login(&broker);
    account.send("SUB r 1\r\n");
    account.sync();
    for name in [
        "CONNZ", "SUBSZ", "VARZ", "ROUTEZ", "ACCOUNTZ", "HEALTHZ", "STATSZ",
    ] {
        for number in NUMBERS
            .iter()
            .filter(|number| number.parse::<f64>().is_ok_and(f64::is_finite))
        {
            let body = format!("{{\"limit\":{number},\"offset\":{number},\"cid\":{number}}}");
            let len = body.len();
            for to in [
                format!("$SYS.REQ.SERVER.PING.{name}"),
                format!("$SYS.REQ.ACCOUNT.A.{name}"),
            ] {
                system.send(format!("PUB {to} r {len}\r\n{body}\r\n"));
            }
            account.send(format!(
                "PUB $SYS.REQ.ACCOUNT.PING.{name} r {len}\r\n{body}\r\n"
            ));
        }
    }
    system.sync();
    account.sync();
    system.send("PUB $SYS.REQ.SERVER.PING.CONNZ r 2\r\n{}\r\n");
    let answered = |system: &mut RawClient| matches!(system.poll_frame(PATIENCE), Next::Frame(_));
    assert!(answered(&mut system), "it still answers");
    let varz: Value = broker.get_json("/varz");
    assert_eq!(varz["connections"], 3, "nobody was disconnected: {varz}");
    broker.log().assert_lacks("panicked");
}
