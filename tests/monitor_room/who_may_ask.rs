//! Only requests addressed to this machine are answered, and only GET and HEAD.

use crate::support::{Broker, http};

/// A name of somebody else's that leads here is not answered (DNS rebinding).
#[test]
fn requests_for_other_hosts_are_refused() {
    let broker = Broker::midge().start();
    let address = broker.monitor_addr();
    for host in [
        "evil.example",
        "evil.example:8222",
        "192.0.2.1",
        "localhost.evil.example",
        "",
    ] {
        let refused = http::request(address, "GET", "/connz", host);
        assert_eq!(refused.status, 421, "{host}");
        assert_eq!(
            refused.header("content-type"),
            Some("text/plain; charset=utf-8")
        );
        assert!(
            refused.body.contains(&format!("{host:?}")),
            "{}",
            refused.body
        );
    }
    for host in [
        "localhost",
        "localhost:8222",
        "127.0.0.1",
        "127.1.2.3:9",
        "[::1]:8222",
    ] {
        assert_eq!(
            http::request(address, "GET", "/connz", host).status,
            200,
            "{host}"
        );
    }
    let foreign =
        "GET http://evil.example/varz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n";
    assert_eq!(http::send(address, foreign).status, 421);
    assert_eq!(
        http::send(address, "GET /varz HTTP/1.0\r\n\r\n").status,
        200
    );
    let nameless = "GET /varz HTTP/1.1\r\nConnection: close\r\n\r\n";
    assert_eq!(http::send(address, nameless).status, 400);
}

/// No page of another site may ask, and none may read an answer.
#[test]
fn other_sites_may_neither_ask_nor_read() {
    let broker = Broker::midge().start();
    let ask = |headers: &str| {
        http::send(
            broker.monitor_addr(),
            &format!("GET /varz HTTP/1.1\r\nHost: localhost\r\n{headers}Connection: close\r\n\r\n"),
        )
    };
    assert_eq!(ask("Sec-Fetch-Site: cross-site\r\n").status, 403);
    assert_eq!(ask("Sec-Fetch-Site: same-origin\r\n").status, 200);
    let link = "Sec-Fetch-Site: cross-site\r\nSec-Fetch-Mode: navigate\r\n";
    assert_eq!(ask(link).status, 200);
    for foreign in ["http://evil.example", "https://evil.example:8222", "null"] {
        let refused = ask(&format!("Origin: {foreign}\r\n"));
        assert_eq!(refused.status, 403, "{foreign}");
        assert!(refused.body.contains("monitor"), "{}", refused.body);
    }
    let answer = ask("Origin: http://localhost:3000\r\n");
    assert_eq!(answer.status, 200);
    assert_eq!(answer.header("access-control-allow-origin"), None);
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
}

/// Methods that could change something are refused; HEAD is GET without body.
#[test]
fn only_get_and_head_are_answered() {
    let broker = Broker::midge().start();
    let ask = |method| http::request(broker.monitor_addr(), method, "/healthz", "localhost");
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "BREW"] {
        let refused = ask(method);
        assert_eq!(refused.status, 405, "{method}");
        assert_eq!(refused.header("allow"), Some("GET, HEAD"));
    }
    let head = ask("HEAD");
    assert_eq!((head.status, head.body.as_str()), (200, ""));
    assert_eq!(head.header("content-length"), Some("15"));
}
