//! Secrets of the configuration, the arguments and the environment stay where
//! they are.

use crate::support::{Broker, http};

/// What must not be found anywhere.
const CANARIES: [&str; 5] = [
    "canary-token-1f0e",
    "canary-password-2b7d",
    "canary-environment-3c5a",
    "canary-client-4d9b",
    "canary-wrong-5e8c",
];

/// Every path is asked, with everything it can show, and searched; so are the
/// log and the events.
#[test]
fn no_answer_log_or_event_holds_a_secret() {
    let [token, password, environment, client_password, wrong] = CANARIES;
    let broker = Broker::midge()
        .config(format!(
            "monitor {{\n unix: m.sock\n token: $SECRET_TOKEN\n user: ann\n password: \
             \"{password}\"\n}}\n"
        ))
        .env("SECRET_TOKEN", token)
        .env("UNUSED_SECRET", environment)
        .flag("-DV")
        .start();
    let mut client = broker.connect();
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"name\":\"n\",\"user\":\"u\",\"pass\":\"{client_password}\",\
         \"auth_token\":\"{client_password}\"}}\r\nSUB > 1\r\n"
    ));
    client.sync();
    let refused = http::send(
        broker.monitor_addr(),
        &format!(
            "GET /varz HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {wrong}\r\n\
             Connection: close\r\n\r\n"
        ),
    );
    assert_eq!(refused.status, 401);
    let socket = broker.folder().join("m.sock");
    let ask = |path: &str| http::request_unix(&socket, "GET", path);
    let index = ask("/").body;
    let mut paths: Vec<String> = index
        .split("href=\"")
        .skip(1)
        .filter_map(|link| link.split('"').next())
        .map(|link| link.trim_start_matches("./").trim_start_matches('/'))
        .filter(|name| name.chars().all(|c| c.is_ascii_alphanumeric()))
        .map(|name| format!("/{name}"))
        .collect();
    assert!(paths.len() >= 12, "{paths:?}");
    paths.extend(
        [
            "/",
            "/connz?auth=1&subs=detail&state=any",
            "/subsz?subs=1",
            "/accountz?acc=$G",
            "/accstatz?unused=1",
            "/metrics?connections=200",
        ]
        .map(String::from),
    );
    let mut shown: Vec<(String, String)> = paths
        .into_iter()
        .map(|path| {
            let answer = ask(&path);
            assert_eq!(answer.status, 200, "{path}");
            (path, answer.body)
        })
        .collect();
    let post = |path: &str| http::request_unix(&socket, "POST", path).body;
    shown.push((
        "reload".into(),
        post("/reload?dry_run=1") + &post("/reload"),
    ));
    shown.push(("log".into(), broker.log()));
    for (place, text) in shown {
        for canary in CANARIES {
            assert!(!text.contains(canary), "{canary} is in {place}: {text}");
        }
    }
}
