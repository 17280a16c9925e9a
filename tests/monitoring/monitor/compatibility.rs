//! Names, types, parameters and error texts equal those of nats-server 2.15, except for
//! the differences listed here with their reasons.

use std::collections::BTreeMap;

use serde_json::Value;

use test_support::mesh::{self, Kind};
use test_support::{Broker, wait_until};

/// Fields that only one of the two has, by the path in the answer, with the reason. A
/// path covers everything below it.
const ONLY_IN_MIDGE: &[(&str, &str, &str)] = &[
    ("/varz", "midge", "midge's own version"),
    ("/varz", "logins", "nats-server counts no logins"),
    (
        "/varz",
        "permission_violations",
        "nats-server counts no violations",
    ),
    ("/varz", "written_msgs", "nats-server tells no loss"),
    ("/varz", "written_bytes", "nats-server tells no loss"),
    ("/varz", "dropped_msgs", "nats-server tells no loss"),
    ("/varz", "dropped_bytes", "nats-server tells no loss"),
    (
        "/connz",
        "connections.written_msgs",
        "nats-server tells no loss",
    ),
    (
        "/connz",
        "connections.written_bytes",
        "nats-server tells no loss",
    ),
    (
        "/connz?auth=1&subs=1",
        "connections.written_msgs",
        "nats-server tells no loss",
    ),
    (
        "/connz?auth=1&subs=1",
        "connections.written_bytes",
        "nats-server tells no loss",
    ),
    (
        "/connz?subs=detail",
        "connections.written_msgs",
        "nats-server tells no loss",
    ),
    (
        "/connz?subs=detail",
        "connections.written_bytes",
        "nats-server tells no loss",
    ),
    (
        "/connz?state=closed",
        "connections.written_msgs",
        "nats-server tells no loss",
    ),
    (
        "/connz?state=closed",
        "connections.written_bytes",
        "nats-server tells no loss",
    ),
    (
        "/connz?state=closed&auth=1&subs=detail",
        "connections.written_msgs",
        "nats-server tells no loss",
    ),
    (
        "/connz?state=closed&auth=1&subs=detail",
        "connections.written_bytes",
        "nats-server tells no loss",
    ),
    (
        "/accstatz",
        "account_statz.dropped_msgs",
        "nats-server tells no loss",
    ),
    (
        "/accstatz",
        "account_statz.dropped_bytes",
        "nats-server tells no loss",
    ),
    (
        "/accstatz",
        "account_statz.no_interest_msgs",
        "nats-server tells no loss",
    ),
    (
        "/accstatz?unused=1",
        "account_statz.dropped_msgs",
        "nats-server tells no loss",
    ),
    (
        "/accstatz?unused=1",
        "account_statz.dropped_bytes",
        "nats-server tells no loss",
    ),
    (
        "/accstatz?unused=1",
        "account_statz.no_interest_msgs",
        "nats-server tells no loss",
    ),
    (
        "/connz?state=closed&auth=1&subs=detail",
        "connections.subscriptions_list_detail.max",
        "nats-server forgets it at the close",
    ),
];
const ONLY_IN_NATS_SERVER: &[(&str, &str, &str)] =
    &[("/varz", "feature_flags", "switches of JetStream")];

const QUERIES: &[&str] = &[
    "/varz",
    "/connz",
    "/connz?auth=1&subs=1",
    "/connz?subs=detail",
    "/connz?state=closed",
    "/connz?state=closed&auth=1&subs=detail",
    "/connz?cid=999999",
    "/subsz",
    "/subsz?subs=1&test=full.a",
    "/healthz",
    "/accountz",
    "/accountz?acc=$G",
    "/accstatz",
    "/accstatz?unused=1",
    "/routez",
    "/leafz",
    "/gatewayz",
    "/jsz",
];

#[test]
fn fields_and_types_match_nats_server() {
    let (midge, nats) = (Broker::midge().start(), Broker::nats_server().start());
    let clients: Vec<_> = [&midge, &nats].into_iter().map(occupy).collect();
    for query in QUERIES {
        let ours = fields(&midge.get_json(query));
        let theirs = fields(&nats.get_json(query));
        let declared = |list: &[(&str, &str, &str)], path: &str| {
            list.iter().any(|(declared_query, field, _)| {
                query == declared_query
                    && (path == *field || path.starts_with(&format!("{field}.")))
            })
        };
        for (path, kind) in &ours {
            match theirs.get(path) {
                Some(expected) => assert_eq!(kind, expected, "{query}: type of {path}"),
                None => assert!(
                    declared(ONLY_IN_MIDGE, path),
                    "{query}: only midge has {path}"
                ),
            }
        }
        for path in theirs.keys().filter(|path| !ours.contains_key(*path)) {
            assert!(
                declared(ONLY_IN_NATS_SERVER, path),
                "{query}: only nats-server has {path}"
            );
        }
        assert_declarations_hold(query, &ours, &theirs);
    }
    drop(clients);
}

/// A declared difference that no longer exists must be removed from the list.
fn assert_declarations_hold(
    query: &str,
    ours: &BTreeMap<String, &'static str>,
    theirs: &BTreeMap<String, &'static str>,
) {
    for (has, lacks, list) in [
        (ours, theirs, ONLY_IN_MIDGE),
        (theirs, ours, ONLY_IN_NATS_SERVER),
    ] {
        for (_, field, _) in list.iter().filter(|(declared, ..)| *declared == query) {
            assert!(
                has.contains_key(*field) && !lacks.contains_key(*field),
                "{query}: {field} is no difference"
            );
        }
    }
}

/// One client with everything that an entry can show, and one that has disconnected.
fn occupy(broker: &Broker) -> test_support::RawClient {
    let hello = "CONNECT {\"verbose\":false,\"name\":\"n\",\"lang\":\"l\",\"version\":\"1\",\
                 \"user\":\"u\"}\r\nSUB full.* group 1\r\nSUB other 2\r\nUNSUB 2 9\r\n";
    let mut gone = broker.connect();
    gone.send(hello);
    gone.sync();
    drop(gone);
    let mut client = broker.connect();
    client.send(hello);
    client.send("PUB full.a 3\r\nabc\r\n");
    client.sync();
    wait_until("the closed connection is listed", || {
        let closed = broker.get_json("/connz?state=closed");
        let closed = closed["connections"].as_array().expect("a list");
        closed.iter().any(|entry| entry["name"] == "n")
    });
    client
}

/// The paths of all fields with the types of their values; elements of a list
/// share the path of the list.
fn fields(answer: &Value) -> BTreeMap<String, &'static str> {
    let mut found = BTreeMap::new();
    collect(answer, "", &mut found);
    found
}

fn collect(value: &Value, path: &str, found: &mut BTreeMap<String, &'static str>) {
    match value {
        Value::Object(members) => {
            for (name, member) in members {
                let path = if path.is_empty() {
                    name.clone()
                } else {
                    format!("{path}.{name}")
                };
                found.insert(path.clone(), kind(member));
                collect(member, &path, found);
            }
        }
        Value::Array(elements) => elements
            .iter()
            .for_each(|element| collect(element, path, found)),
        _ => {}
    }
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "null",
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    }
}

/// Invalid requests get the same status and error text.
#[test]
fn invalid_parameters_give_nats_servers_errors() {
    let (midge, nats) = (Broker::midge().start(), Broker::nats_server().start());
    for query in [
        "/connz?limit=abc",
        "/connz?limit=1_0",
        "/connz?limit=%00",
        "/connz?limit=%22",
        "/connz?limit=%C3%A9",
        "/connz?limit=99999999999999999999",
        "/connz?offset=-99999999999999999999",
        "/connz?auth=yes",
        "/connz?subs=2",
        "/connz?cid=-1",
        "/connz?cid=%2B5",
        "/connz?cid=99999999999999999999",
        "/connz?state=x",
        "/connz?sort=foo",
        "/connz?sort=stop",
        "/connz?sort=reason&state=any",
        "/subsz?subs=detail",
        "/subsz?limit=x",
        "/subsz?test=foo.*",
        "/subscriptionsz?test=a..b",
        "/accountz?acc=nope",
        "/accstatz?unused=x",
        "/routez?subs=x",
        "/leafz?subs=x",
        "/gatewayz?accs=x",
        "/jsz?offset=x",
        "/jsz?leader-only=1",
        "/gatewayz?subs=x",
        "/healthz?details=1&stream=s",
        "/healthz?js-enabled-only=x",
        "/healthz?stream=s",
        "/healthz?account=a&consumer=c",
        "/varz/",
        "/nope",
    ] {
        let (ours, theirs) = (midge.get(query), nats.get(query));
        assert_eq!(
            (ours.status, ours.header("content-type"), &ours.body),
            (theirs.status, theirs.header("content-type"), &theirs.body),
            "{query}"
        );
    }
}

/// Unusual but valid parameters are accepted with the same effect.
#[test]
fn unusual_parameters_are_parsed_like_nats_server() {
    let (midge, nats) = (Broker::midge().start(), Broker::nats_server().start());
    // The connection of the readiness probe may still be open.
    midge.wait_for_connections(0);
    nats.wait_for_connections(0);
    let page = |broker: &Broker, query: &str| {
        let answer = broker.get_json(query);
        ["num_connections", "total", "offset", "limit"].map(|name| answer[name].clone())
    };
    for query in [
        "/connz?limit=-5&offset=-7",
        "/connz?limit=0",
        "/connz?limit=%2B5",
        "/connz?limit=1;offset=2",
        "/connz?limit=%zz",
        "/connz?limit=3&limit=4",
        "/connz?offset=9223372036854775807",
        "/connz?state=OPEN&subs=DETAIL&unknown=1",
        "/connz?sort=start",
        "/connz?cid=999999",
        "/connz?user=nobody",
        "/connz?mqtt_client=nobody",
        "/connz?acc=nope",
    ] {
        assert_eq!(page(&midge, query), page(&nats, query), "{query}");
    }
    for query in [
        "/healthz?details=true&js-server-only=1",
        "/healthz?account=a&stream=s",
    ] {
        assert_eq!(midge.get(query).body, nats.get(query).body, "{query}");
    }
}

/// Values that no parameter expects, or at the limits of the accepted range.
const EXTREMES: &[&str] = &[
    "9223372036854775807",
    "-9223372036854775808",
    "9223372036854775808",
    "18446744073709551615",
    "18446744073709551616",
    "-1",
    "1e9",
    "0x10",
    "NaN",
    "1.0",
    "1_000",
    "%2B1",
    "%00",
    "%FF%FE",
    "%C3%28",
    "%F0%9F%98%80",
    "%E2%80%A8",
    "%C2%AD",
    "%0d%0aX:y",
    "%",
    "%zz",
    "..",
    "*",
    "a.%3E",
    "detail",
    "DETAIL",
    "yes",
    "true",
    "",
];

/// Every parameter of every endpoint that nats-server has.
const PARAMETERS: &[(&str, &str)] = &[
    ("/varz", "callback"),
    (
        "/connz",
        "sort auth subs offset limit cid state user acc mqtt_client",
    ),
    ("/subsz", "subs offset limit acc test"),
    ("/routez", "subs"),
    ("/gatewayz", "accs gw_name acc_name subs"),
    ("/leafz", "subs acc"),
    ("/accountz", "acc"),
    ("/accstatz", "unused"),
    (
        "/jsz",
        "acc accounts streams consumers direct-consumers config leader-only offset limit raft \
         stream-leader-only",
    ),
    (
        "/healthz",
        "js-enabled-only js-server-only js-meta-only js-enabled account stream consumer details",
    ),
];

/// Those that only midge has.
const OWN_PARAMETERS: &[(&str, &str)] = &[
    ("/metrics", "connections prefix exporter detailed"),
    ("/slowz", "limit offset"),
    ("/eventsz", "since type limit"),
    ("/topz", "sort window n"),
    ("/latencyz", "x"),
    ("/memz", "x"),
    ("/explainz", "format"),
    ("/healthz", "probe"),
    ("/", "x"),
];

/// Each endpoint with each parameter at each extreme, once and twice.
fn extremes(parameters: &[(&str, &str)]) -> Vec<String> {
    let long = "x".repeat(6000);
    let values = || EXTREMES.iter().copied().chain([long.as_str()]);
    parameters
        .iter()
        .flat_map(|(path, names)| names.split_whitespace().map(move |name| (path, name)))
        .flat_map(|(path, name)| {
            let queries = move |value: &str| {
                [
                    format!("{path}?{name}={value}"),
                    format!("{path}?{name}={value}&{name}=2"),
                ]
            };
            values().flat_map(queries)
        })
        .collect()
}

/// The status and the error text are always nats-server's.
#[test]
fn extreme_parameters_give_nats_servers_answers() {
    let (midge, nats) = (Broker::midge().start(), Broker::nats_server().start());
    for query in extremes(PARAMETERS) {
        let (ours, theirs) = (midge.get(&query), nats.get(&query));
        let shown = &query[..query.len().min(100)];
        assert_eq!(ours.status, theirs.status, "{shown}");
        // For errors nats-server does not set the content type.
        match ours.status {
            200 => assert_eq!(
                ours.header("content-type"),
                theirs.header("content-type"),
                "{shown}"
            ),
            _ => assert_eq!(ours.body, theirs.body, "{shown}"),
        }
    }
    assert_is_well(&midge);
}

/// Parameters that only midge has are harmless too.
#[test]
fn extreme_midge_parameters_are_harmless() {
    let midge = Broker::midge().start();
    for query in extremes(OWN_PARAMETERS) {
        let status = midge.get(&query).status;
        let shown = &query[..query.len().min(100)];
        assert!([200, 400].contains(&status), "{status}: {shown}");
    }
    assert_is_well(&midge);
}

fn assert_is_well(midge: &Broker) {
    let memory = midge.get_json("/varz")["mem"].as_u64().expect("a number");
    assert!(memory < 100 << 20, "{memory} bytes in use");
}

/// Fields that only one of the two has in a cluster, with the reason.
const DECLARED_IN_CLUSTERS: &[(&str, &str)] = &[
    (
        "routes.remote_version",
        "told so that a mesh of mixed versions shows",
    ),
    (
        "routes.subscriptions_list_detail.account",
        "nats-server leaves out whose it is",
    ),
    ("cluster.tls_timeout", "nothing without TLS of routes"),
    ("midge", "midge's own version"),
    ("written_msgs", "nats-server tells no loss"),
    ("written_bytes", "nats-server tells no loss"),
    ("dropped_msgs", "nats-server tells no loss"),
    ("dropped_bytes", "nats-server tells no loss"),
    ("feature_flags", "switches of JetStream"),
    ("logins", "nats-server does not count logins"),
    (
        "permission_violations",
        "nats-server does not count violations",
    ),
];

/// Members of a cluster are shown with the same fields.
#[test]
fn clusters_show_the_same_fields() {
    let pairs = [Kind::Midge, Kind::Nats].map(|kind| mesh::start(&[kind, kind]));
    let clients = pairs.each_ref().map(|members| {
        let mut far = members[1].client();
        far.send("SUB far.* crew 1\r\nSUB far.a 2\r\n");
        far.sync();
        wait_until("the interest has arrived", || members[0].knows("far.a"));
        let mut near = members[0].client();
        near.send("PUB far.a 2\r\nhi\r\n");
        near.sync();
        far.next_message();
        // Measured by the first ping.
        wait_until("the round trip is known", || {
            let routes = members[0].routes();
            routes.iter().all(|route| route["rtt"].is_string())
        });
        (far, near)
    });
    for query in ["/routez", "/routez?subs=1", "/routez?subs=detail", "/varz"] {
        let [ours, theirs] = pairs.each_ref().map(|members| {
            let mut found = fields(&members[0].broker.get_json(query));
            found.retain(|path, _| {
                let declared = DECLARED_IN_CLUSTERS.iter();
                !declared.clone().any(|(known, _)| {
                    path.split_at_checked(known.len())
                        .is_some_and(|(head, rest)| {
                            head == *known && (rest.is_empty() || rest.starts_with('.'))
                        })
                })
            });
            // Each of the pooled routes and those of one account have their own.
            found.remove("routes.account");
            found
        });
        assert_eq!(ours, theirs, "{query}: midge, then nats-server");
    }
    drop(clients);
}
