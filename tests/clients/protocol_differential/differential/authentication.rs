//! Accepted and refused logins, and permissions: the answers and whether the connection
//! closes. Other tests cover the login methods themselves.

use super::{Case, case, framing::QUIET, one};

const USER: &str = "authorization { user: derek, password: \"s3cret\" }\n";
const TOKEN: &str = "authorization { token: \"t0ken\" }\n";
const NO_AUTH_USER: &str =
    "authorization { users: [ { user: u, password: p } ] }\nno_auth_user: u\n";
const USERS: &str = "authorization { users: [ { user: a, password: b }, { user: c, password: d }, \
                     { user: open }, { user: ws, password: x, allowed_connection_types: [WEBSOCKET] } ] }\n";

/// A bcrypt hash of "s3cret", with the lowest cost.
const HASH: &str = "$2b$04$abcdefghijklmnopqrstuuLZYjhNQAOdpbzt4WxWlUHjv1wsyH5DG";

const PERMISSIONS: &str = "authorization { users: [ { user: u, password: p, permissions: { publish: { allow: [\"ok.>\", \"_INBOX.>\"], deny: \"ok.no\" }, subscribe: { allow: [\"ok.>\", \"_INBOX.>\", \"q.x grp\"], deny: \"ok.no\" } } } ] }\n";

/// One with its own permissions and one without, beside default ones.
const DEFAULTS: &str = "authorization { default_permissions: { publish: \"ok.>\", subscribe: { deny: \"no.>\" } }, users: [ { user: own, password: p, permissions: { publish: \"own.>\" } }, { user: none, password: p } ] }\n";

/// The same list of connection types in several spellings.
const TYPES: &str = "authorization { users: [ { user: std, password: p, allowed_connection_types: [STANDARD] }, { user: lower, password: p, allowed_connection_types: [\"websocket\", \"standard\"] }, { user: leaf, password: p, allowed_connection_types: [LEAFNODE, MQTT] } ] }\n";

/// All cases of this table.
pub fn cases() -> Vec<Case> {
    let mut cases = logins();
    cases.extend(permissions());
    cases
}

fn logins() -> Vec<Case> {
    let login = |name: &str, config: &str, bytes: &str| {
        one(
            format!("login: {name}"),
            format!("{bytes}SUB a 1\r\nPUB a 1\r\nx\r\n"),
        )
        .config(config)
    };
    let bcrypt = format!("authorization {{ user: derek, password: \"{HASH}\" }}\n");
    let bcrypt_token = format!("authorization {{ token: \"{HASH}\" }}\n");
    vec![
        login(
            "right user",
            USER,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cret\"}\r\n",
        ),
        login(
            "wrong password",
            USER,
            "CONNECT {\"user\":\"derek\",\"pass\":\"x\"}\r\n",
        ),
        login(
            "wrong user",
            USER,
            "CONNECT {\"user\":\"x\",\"pass\":\"s3cret\"}\r\n",
        ),
        login("no credentials", USER, "CONNECT {}\r\n"),
        login(
            "token for a user",
            USER,
            "CONNECT {\"auth_token\":\"s3cret\"}\r\n",
        ),
        login(
            "right token",
            TOKEN,
            "CONNECT {\"auth_token\":\"t0ken\"}\r\n",
        ),
        login("wrong token", TOKEN, "CONNECT {\"auth_token\":\"x\"}\r\n"),
        login("empty token", TOKEN, "CONNECT {\"auth_token\":\"\"}\r\n"),
        login("no CONNECT", USER, ""),
        login("PING first", USER, "PING\r\n"),
        login("PONG first", USER, "PONG\r\n"),
        login("bad verb first", USER, "FOO\r\n"),
        login(
            "second login wrong",
            USER,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cret\"}\r\nCONNECT {\"pass\":\"x\"}\r\n",
        ),
        login(
            "second login right",
            USER,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cret\"}\r\nCONNECT {\"verbose\":false}\r\n",
        ),
        login(
            "protocol before credentials",
            USER,
            "CONNECT {\"protocol\":5}\r\n",
        ),
        login(
            "INFO after login",
            USER,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cret\",\"protocol\":1}\r\nPING\r\n",
        ),
        login("first byte of a verb", USER, "P"),
        login("CONNECT in pieces of nothing", USER, "C\r\n"),
        login(
            "account asked for",
            USER,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cret\",\"account\":\"A\"}\r\n",
        ),
        login(
            "wrong credentials and bad protocol",
            USER,
            "CONNECT {\"user\":\"x\",\"protocol\":5}\r\n",
        ),
        login(
            "bcrypt",
            &bcrypt,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cret\"}\r\n",
        ),
        login(
            "bcrypt, wrong",
            &bcrypt,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cre\"}\r\n",
        ),
        login(
            "bcrypt, the hash itself",
            &bcrypt,
            &format!("CONNECT {{\"user\":\"derek\",\"pass\":\"{HASH}\"}}\r\n"),
        ),
        login(
            "bcrypt, twice in one write",
            &bcrypt,
            "CONNECT {\"user\":\"derek\",\"pass\":\"s3cret\"}\r\nSUB a 2\r\nCONNECT {}\r\nPING\r\n",
        ),
        login(
            "bcrypt token",
            &bcrypt_token,
            "CONNECT {\"auth_token\":\"s3cret\"}\r\n",
        ),
        login(
            "list of users, first",
            USERS,
            "CONNECT {\"user\":\"a\",\"pass\":\"b\"}\r\n",
        ),
        login(
            "list of users, second",
            USERS,
            "CONNECT {\"user\":\"c\",\"pass\":\"d\"}\r\n",
        ),
        login(
            "list of users, other's password",
            USERS,
            "CONNECT {\"user\":\"a\",\"pass\":\"d\"}\r\n",
        ),
        login(
            "list of users, unknown",
            USERS,
            "CONNECT {\"user\":\"x\",\"pass\":\"d\"}\r\n",
        ),
        login("list of users, none", USERS, "CONNECT {}\r\n"),
        login(
            "user without a password",
            USERS,
            "CONNECT {\"user\":\"open\"}\r\n",
        ),
        login(
            "user without a password, with one",
            USERS,
            "CONNECT {\"user\":\"open\",\"pass\":\"x\"}\r\n",
        ),
        login(
            "user of other connection types",
            USERS,
            "CONNECT {\"user\":\"ws\",\"pass\":\"x\"}\r\n",
        ),
        login(
            "empty list of users",
            "authorization { users: [] }",
            "CONNECT {}\r\n",
        ),
        login(
            "timeout alone asks for nothing",
            "authorization { timeout: 1 }",
            "CONNECT {}\r\n",
        ),
        login(
            "second login as another user",
            USERS,
            "CONNECT {\"user\":\"a\",\"pass\":\"b\"}\r\nSUB x 1\r\nCONNECT {\"user\":\"c\",\"pass\":\"d\"}\r\nPUB x 0\r\n\r\n",
        ),
        login(
            "connection types, the one",
            TYPES,
            "CONNECT {\"user\":\"std\",\"pass\":\"p\"}\r\n",
        ),
        login(
            "connection types, in small letters",
            TYPES,
            "CONNECT {\"user\":\"lower\",\"pass\":\"p\"}\r\n",
        ),
        login(
            "connection types, others",
            TYPES,
            "CONNECT {\"user\":\"leaf\",\"pass\":\"p\"}\r\n",
        ),
        login("no_auth_user", NO_AUTH_USER, QUIET),
        login("no_auth_user without CONNECT", NO_AUTH_USER, ""),
        login(
            "no_auth_user with wrong credentials",
            NO_AUTH_USER,
            "CONNECT {\"user\":\"u\",\"pass\":\"x\"}\r\n",
        ),
        login(
            "no_auth_user with an unknown user",
            NO_AUTH_USER,
            "CONNECT {\"user\":\"x\"}\r\n",
        ),
        login(
            "no_auth_user with a token",
            NO_AUTH_USER,
            "CONNECT {\"auth_token\":\"x\"}\r\n",
        ),
        login(
            "no_auth_user with its own credentials",
            NO_AUTH_USER,
            "CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\n",
        ),
        case("login: none in time beside no_auth_user")
            .config(NO_AUTH_USER.replace("users:", "timeout: 0.3, users:"))
            .closed(0),
        case("login: none in time")
            .config("authorization { user: u, password: p, timeout: 0.3 }\n")
            .closed(0),
    ]
}

/// A subscription, and a message to it with these headers.
fn traced(headers: &str) -> String {
    let headers = format!("NATS/1.0\r\n{headers}\r\n\r\n");
    let len = headers.len();
    format!(
        "SUB ok.> 1\r\nHPUB ok.a {len} {}\r\n{headers}x\r\n",
        len + 1
    )
}

fn permissions() -> Vec<Case> {
    let user = |bytes: &str| {
        one(
            format!("permissions: {bytes:?}"),
            format!("CONNECT {{\"user\":\"u\",\"pass\":\"p\",\"pedantic\":false,\"headers\":true}}\r\n{bytes}"),
        )
        .config(PERMISSIONS)
    };
    let default = |name: &str| {
        let operations = "SUB ok.a 1\r\nSUB no.a 2\r\nSUB > 3\r\nPUB ok.a 1\r\nx\r\nPUB own.a 1\r\ny\r\nPUB no.a 1\r\nz\r\n";
        one(
            format!("permissions: default ones, {name}"),
            format!("CONNECT {{\"user\":\"{name}\",\"pass\":\"p\"}}\r\n{operations}"),
        )
        .config(DEFAULTS)
    };
    let responder = |rules: &str| {
        case(format!("permissions: responses, {rules}"))
            .config(format!("authorization {{ users: [ {{ user: u, password: p, permissions: {{ subscribe: \"q\", {rules} }} }}, {{ user: w, password: w }} ] }}\n"))
            .send(0, "CONNECT {\"user\":\"u\",\"pass\":\"p\",\"verbose\":false}\r\nSUB q 1\r\nPUB r 1\r\n0\r\nPUB free 1\r\n0\r\n")
            .sync(0)
            .send(1, "CONNECT {\"user\":\"w\",\"pass\":\"w\",\"verbose\":false}\r\nSUB r 1\r\nPUB q r 1\r\nx\r\n")
            .sync(1)
            .send(0, "PUB r 1\r\n1\r\nPUB r 1\r\n2\r\nPUB free 1\r\n3\r\n")
            .sync(0)
            .sync(1)
    };
    vec![
        default("own"),
        default("none"),
        responder("allow_responses: true"),
        responder("allow_responses: false"),
        responder("allow_responses: { max: -1 }"),
        responder("allow_responses: true, publish: free"),
        responder("allow_responses: true, publish: { deny: r }"),
        user("SUB ok.a 1\r\nPUB ok.a 1\r\nx\r\n"),
        user("SUB no.a 1\r\nPUB no.a 1\r\nx\r\nPING\r\n"),
        user("SUB > 1\r\nSUB * 2\r\nSUB ok.> 3\r\nSUB ok.* 4\r\nPUB ok.a 1\r\nx\r\nPUB ok.no 1\r\ny\r\n"),
        user("SUB ok.no 1\r\nSUB ok.no q 2\r\nSUB no.a q 3\r\n"),
        user("SUB q.x 1\r\nSUB q.x grp 2\r\nSUB q.x other 3\r\n"),
        user("PUB no.\"quoted\"\\ü 1\r\nx\r\nSUB no.\"quoted\"\\ü \"q\" 1\r\n"),
        user("HPUB no.a 12 12\r\nNATS/1.0\r\n\r\n\r\n"),
        user("PUB no.a ok.r 1\r\nx\r\nPUB ok.a no.r 1\r\nx\r\n"),
        user(&traced("Nats-Trace-Dest: no.a")),
        user(&traced("Nats-Trace-Dest:no.a ")),
        user(&traced("a: b\r\nNats-Trace-Dest: ok.no")),
        user(&traced("Nats-Trace-Dest:\r\nNats-Trace-Dest: no.a")),
        user(&traced("Nats-Trace-Dest: trace disabled")),
        user("SUB no.a 1\r\nSUB ok.a 1\r\nPUB ok.a 1\r\nx\r\n"),
        case("permissions: denied publish reaches nobody")
            .config("authorization { users: [ { user: u, password: p, permissions: { publish: \"ok\" } }, { user: w, password: w } ] }\n")
            .send(0, "CONNECT {\"user\":\"w\",\"pass\":\"w\",\"verbose\":false}\r\nSUB > 1\r\n")
            .sync(0)
            .send(1, "CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\nPUB no 1\r\nx\r\nPUB ok 1\r\ny\r\n")
            .sync(1),
        case("permissions: responses")
            .config("authorization { users: [ { user: u, password: p, permissions: { subscribe: \"q\", allow_responses: { max: 2 } } }, { user: w, password: w } ] }\n")
            .send(0, "CONNECT {\"user\":\"u\",\"pass\":\"p\",\"verbose\":false}\r\nSUB q 1\r\nPUB r 1\r\n0\r\n")
            .sync(0)
            .send(1, "CONNECT {\"user\":\"w\",\"pass\":\"w\",\"verbose\":false}\r\nSUB r 1\r\nPUB q r 1\r\nx\r\n")
            .sync(1)
            .send(0, "PUB r 1\r\n1\r\nPUB r 1\r\n2\r\nPUB r 1\r\n3\r\n")
            .sync(0)
            .sync(1),
    ]
}
