//! Logins that are refused or accepted, and permissions: the answers and
//! whether the connection ends. What the methods check is tested elsewhere.

use super::{Case, case, framing::QUIET, one};

const USER: &str = "authorization { user: derek, password: \"s3cret\" }\n";
const TOKEN: &str = "authorization { token: \"t0ken\" }\n";
const PERMISSIONS: &str = "authorization { users: [ { user: u, password: p, permissions: { publish: { allow: [\"ok.>\", \"_INBOX.>\"], deny: \"ok.no\" }, subscribe: { allow: [\"ok.>\", \"_INBOX.>\", \"q.x grp\"], deny: \"ok.no\" } } } ] }\n";

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
        case("login: none in time")
            .config("authorization { user: u, password: p, timeout: 0.3 }\n")
            .closed(0),
    ]
}

fn permissions() -> Vec<Case> {
    let user = |bytes: &str| {
        one(
            format!("permissions: {bytes:?}"),
            format!("CONNECT {{\"user\":\"u\",\"pass\":\"p\",\"pedantic\":false,\"headers\":true}}\r\n{bytes}"),
        )
        .config(PERMISSIONS)
    };
    vec![
        user("SUB ok.a 1\r\nPUB ok.a 1\r\nx\r\n"),
        user("SUB no.a 1\r\nPUB no.a 1\r\nx\r\nPING\r\n"),
        user("SUB > 1\r\nSUB * 2\r\nSUB ok.> 3\r\nSUB ok.* 4\r\nPUB ok.a 1\r\nx\r\nPUB ok.no 1\r\ny\r\n"),
        user("SUB ok.no 1\r\nSUB ok.no q 2\r\nSUB no.a q 3\r\n"),
        user("SUB q.x 1\r\nSUB q.x grp 2\r\nSUB q.x other 3\r\n"),
        user("PUB no.\"quoted\"\\ü 1\r\nx\r\nSUB no.\"quoted\"\\ü \"q\" 1\r\n"),
        user("HPUB no.a 12 12\r\nNATS/1.0\r\n\r\n\r\n"),
        user("PUB no.a ok.r 1\r\nx\r\nPUB ok.a no.r 1\r\nx\r\n"),
        user("SUB no.a 1\r\nSUB ok.a 1\r\nPUB ok.a 1\r\nx\r\n"),
        case("permissions: denied publish reaches nobody")
            .config(format!("authorization {{ users: [ {{ user: u, password: p, permissions: {{ publish: \"ok\" }} }}, {{ user: w, password: w }} ] }}\n"))
            .send(0, format!("CONNECT {{\"user\":\"w\",\"pass\":\"w\",\"verbose\":false}}\r\nSUB > 1\r\n"))
            .sync(0)
            .send(1, "CONNECT {\"user\":\"u\",\"pass\":\"p\"}\r\nPUB no 1\r\nx\r\nPUB ok 1\r\ny\r\n")
            .sync(1),
        one("no_auth_user", format!("{QUIET}SUB a 1\r\nPUB a 1\r\nx\r\n")).config("authorization { users: [ { user: u, password: p } ] }\nno_auth_user: u\n"),
        one("no_auth_user with wrong credentials", "CONNECT {\"user\":\"u\",\"pass\":\"x\"}\r\n").config("authorization { users: [ { user: u, password: p } ] }\nno_auth_user: u\n"),
    ]
}
