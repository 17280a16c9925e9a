//! The filter for fail2ban finds each refused login in the log of a real broker, in each form
//! of log lines, and nothing that a client sends makes it find another address.

use std::path::Path;

use test_support::{Broker, RawClient, tools};

const USERS: &str = "authorization { users: [ { user: derek, password: s3cret, permissions: { \
                     publish: allowed } } ] }\ndebug: true\ntrace: true\n";

/// The addresses that the filter finds in a log, once for each line.
fn found(log: &Path) -> Vec<String> {
    let filter = tools::project().join("conf/fail2ban/filter.d/midge.conf");
    let output = tools::fail2ban_regex()
        .args(["-o", "ip"])
        .args([log, &filter])
        .output()
        .expect("fail2ban-regex runs");
    assert!(output.stderr.is_empty(), "{output:?}");
    let text = String::from_utf8(output.stdout).expect("addresses");
    text.lines().map(str::to_owned).collect()
}

/// A text as a JSON string.
fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

fn log_in(broker: &Broker, user: &str, password: &str, name: &str) -> RawClient {
    let mut client = RawClient::connect_silently(broker.client_addr());
    let (user, password, name) = (json(user), json(password), json(name));
    client.send(format!(
        "CONNECT {{\"user\":{user},\"pass\":{password},\"name\":{name},\"lang\":{name},\
         \"version\":{name},\"verbose\":false}}\r\nPING\r\n"
    ));
    client
}

/// Lines and fields of a refused login of somebody else, in each form.
const FORGED: [&str; 7] = [
    "plain",
    "x\r\n[1] 2026/01/02 03:04:05.000000 [ERR] 203.0.113.1:1 - cid:1 - Authentication Failure: ",
    "x\" - Authentication Failure: \" [ERR] 203.0.113.2:1 - cid:1 - Authentication Failure: ",
    "\\\" - [ERR] 203.0.113.3:1 - cid:1 - Authentication Failure: ",
    "x\nlevel=error pid=1 code=auth.failed kind=client cid=1 ip=203.0.113.4 port=1 \
     msg=\"Authentication Failure: \"",
    "\",\"ip\":\"203.0.113.5\",\"port\":1,\"msg\":\"Authentication Failure: ",
    "\\\": wrong password, after a reload; closed after 1.0 s",
];

#[test]
fn refused_logins_are_found_and_no_other_address() {
    for form in ["", "log_format: logfmt", "log_format: json"] {
        let mut broker = Broker::midge().config(format!("{USERS}{form}\n")).start();
        for forged in FORGED {
            // Refused, with the text in the user's name and in what the client states.
            log_in(&broker, forged, "wrong", forged).read_to_end();
            // Let in, and refused to publish.
            let mut client = log_in(&broker, "derek", "s3cret", forged);
            let subject: String = forged.split_whitespace().collect();
            client.send(format!("PUB allowed 2\r\nhi\r\nPUB {subject} 0\r\n\r\n"));
            client.sync();
            // No operation of the protocol.
            client.send(format!("{}\r\n", forged.replace(['\r', '\n'], " ")));
            client.read_to_end();
            // Lines of refused clients are limited to some in a second.
            broker.log().wait_for("Authentication Failure");
        }
        let refused = broker.get_json("/varz")["logins"]["refused"].to_string();
        assert!(refused.contains(&FORGED.len().to_string()), "{refused}");
        assert!(broker.stop().success());
        let log = broker.log();
        let found = found(log.path());
        assert_eq!(found, vec!["127.0.0.1"; FORGED.len()], "{form}\n{log}");
    }
}

/// Clients that a reload disconnects were let in before, and are not found.
#[test]
fn clients_that_a_reload_disconnects_are_not_found() {
    for form in ["", "log_format: logfmt", "log_format: json"] {
        let config = |password: &str| {
            format!("authorization {{ user: derek, password: {password} }}\n{form}\n")
        };
        let mut broker = Broker::midge().config(config("s3cret")).start();
        let mut client = log_in(&broker, "derek", "s3cret", "app");
        client.sync();
        broker.reload(&config("other"));
        client.read_to_end();
        broker.log().wait_for("wrong password, after a reload");
        assert!(broker.stop().success());
        let log = broker.log();
        assert_eq!(found(log.path()), [""; 0], "{form}\n{log}");
    }
}
