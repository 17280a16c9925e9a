//! Only requests addressed to this machine are answered, and only GET and HEAD.

use std::{fs, path::Path};

use test_support::{Broker, endpoints, http};

/// A foreign host name that resolves to this machine is refused (DNS rebinding).
#[test]
fn requests_for_other_hosts_are_refused() {
    let broker = Broker::midge().start();
    let address = broker.monitor_addr();
    for host in [
        "evil.example",
        "evil.example:8222",
        "0.0.0.0",
        "nats",
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
        "192.0.2.1:8222",
        &own_name(),
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

/// The name that this machine has for itself.
fn own_name() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").expect("the host name");
    name.trim().to_owned()
}

/// The log names each refused host once, and the option.
#[test]
fn a_refused_host_is_logged_once() {
    let broker = Broker::midge().start();
    let ask = |host: &str| http::request(broker.monitor_addr(), "GET", "/varz", host).status;
    for _ in 0..3 {
        assert_eq!(ask("nats.example.net:8222"), 421);
    }
    assert_eq!(ask("other.example.net"), 421);
    let line = "Monitoring request refused: The host \"other.example.net\" is not this machine: \
                list it in the option \"hosts\" of the block \"monitor\"";
    broker.log().wait_for(line);
    let first = "refused: The host \"nats.example.net:8222\"";
    broker.log().wait_for_count(first, 1);
}

/// Who asks for JSON gets refusals as JSON. Others do not: tools that ignore the status would take
/// it for an answer full of zeros.
#[test]
fn refusals_are_json_for_who_asks_for_it() {
    let broker = Broker::midge().start();
    let ask = |path: &str, host: &str, accept: &str| {
        http::send(
            broker.monitor_addr(),
            &format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n{accept}Connection: close\r\n\r\n"),
        )
    };
    let json = "Accept: application/json, */*;q=0.5\r\n";
    for (path, host, status, text) in [
        ("/varz", "evil.example", 421, "\"hosts\""),
        ("/nope", "localhost", 404, ""),
        ("/connz?limit=x", "localhost", 400, "limit"),
    ] {
        let refused = ask(path, host, json);
        assert_eq!(refused.status, status);
        assert_eq!(refused.header("content-type"), Some("application/json"));
        let value: serde_json::Value = serde_json::from_str(&refused.body).expect("JSON");
        assert_eq!(value["error"]["code"], status);
        let description = value["error"]["description"].as_str().expect("a text");
        assert!(description.contains(text), "{description}");
        for other in ["", "Accept: */*\r\n", "Accept: text/html\r\n"] {
            let refused = ask(path, host, other);
            assert_eq!(
                refused.header("content-type"),
                Some("text/plain; charset=utf-8")
            );
            assert_eq!(refused.body, description);
        }
    }
}

/// A page of another site may not send requests nor read answers.
#[test]
fn cross_site_requests_are_refused() {
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

/// The rules apply to every path: an endpoint, one that changes something, or an unknown
/// one.
#[test]
fn every_path_applies_the_request_rules() {
    let broker = Broker::midge().start();
    let ask = |method: &str, path: &str, headers: &str| {
        let answer = http::send(
            broker.monitor_addr(),
            &format!("{method} {path} HTTP/1.1\r\n{headers}Connection: close\r\n\r\n"),
        );
        // Whatever the answer is, no other page may read it.
        assert!(
            answer
                .headers
                .iter()
                .all(|(name, _)| !name.starts_with("access-control-")),
            "{method} {path}: {answer:?}"
        );
        for (name, value) in [
            ("x-content-type-options", "nosniff"),
            ("cache-control", "no-store"),
        ] {
            assert_eq!(answer.header(name), Some(value), "{method} {path}");
        }
        let policy = answer.header("content-security-policy");
        assert!(policy.is_some_and(|policy| policy.starts_with("default-src 'none'")));
        answer
    };
    let endpoints = broker.endpoints();
    let actions = endpoints::ACTIONS.map(String::from);
    let all = endpoints
        .iter()
        .chain(&actions)
        .map(String::as_str)
        .chain(["/nope"]);
    for path in all {
        for method in ["GET", "HEAD", "POST", "OPTIONS"] {
            let has_body = method != "HEAD";
            let foreign = ask(method, path, "Host: evil.example\r\n");
            assert_eq!(foreign.status, 421, "{method} {path}");
            let says_option =
                |body: &str| body.contains("\"hosts\"") && body.contains("\"monitor\"");
            assert!(!has_body || says_option(&foreign.body), "{foreign:?}");
            for sender in [
                "Sec-Fetch-Site: cross-site\r\n",
                "Origin: https://evil.example\r\n",
                "Origin: null\r\n",
            ] {
                let refused = ask(method, path, &format!("Host: localhost\r\n{sender}"));
                assert_eq!(refused.status, 403, "{method} {path} {sender}");
                assert!(!has_body || says_option(&refused.body), "{refused:?}");
            }
        }
    }
    let own = "Host: localhost\r\n";
    for path in &endpoints {
        assert_eq!(ask("GET", path, own).status, 200, "{path}");
        assert_eq!(ask("HEAD", path, own).status, 200, "{path}");
        for method in ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"] {
            assert_eq!(ask(method, path, own).status, 405, "{method} {path}");
        }
    }
    for path in &actions {
        for method in ["GET", "HEAD", "POST", "PUT"] {
            let refused = ask(method, path, own);
            assert_eq!(refused.status, 403, "{method} {path}");
            let says_option = refused.body.contains("\"unix\"");
            assert!(method == "HEAD" || says_option, "{refused:?}");
        }
    }
}

/// README's table of paths has each endpoint that answers with data.
#[test]
fn the_readme_lists_every_path() {
    let broker = Broker::midge().start();
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let readme = fs::read_to_string(readme).expect("the README");
    let rows: Vec<&str> = readme
        .lines()
        .filter(|line| line.starts_with("| `/"))
        .collect();
    for path in broker.endpoints() {
        let is_page = path == "/" || path.contains('.');
        let is_listed = rows.iter().any(|row| row.contains(&format!("`{path}`")));
        assert!(is_page || is_listed, "{path}");
    }
}
