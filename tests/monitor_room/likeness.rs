//! Names, types, parameters and error texts are those of nats-server 2.15,
//! apart from what is listed here with its reason.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::support::{Broker, wait_until};

/// Fields of which only one of the two knows, by the path in the answer, and
/// why. A path covers everything below it.
const ONLY_IN_MIDGE: &[(&str, &str, &str)] = &[
    ("/varz", "midge", "midge's own version"),
    ("/varz", "logins", "nats-server counts no logins"),
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
const ONLY_IN_NATS_SERVER: &[(&str, &str, &str)] = &[
    ("/varz", "feature_flags", "switches of JetStream"),
    (
        "/accountz?acc=$G",
        "account_detail.imports",
        "there are no services to import",
    ),
];

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
fn fields_and_their_types_are_those_of_nats_server() {
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

/// A declared difference that is none any more must go from the list.
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

/// One client with everything an entry can show, and one that has gone.
fn occupy(broker: &Broker) -> crate::support::RawClient {
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
    wait_until("the closed connection is remembered", || {
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

/// What is wrong with a request is told with the same status and the same words.
#[test]
fn wrong_parameters_are_refused_in_nats_servers_words() {
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

/// What is odd but not wrong is taken, and changes the page in the same way.
#[test]
fn odd_parameters_are_taken_as_nats_server_takes_them() {
    let (midge, nats) = (Broker::midge().start(), Broker::nats_server().start());
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
