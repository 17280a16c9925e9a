//! Refused values and their errors.

use super::*;

#[test]
fn a_wrong_entry_of_a_block_is_refused_at_its_position() {
    refuses("diagnosis {\n  storm_rat: 5\n}", "2:3: unknown key");
    refuses("diagnosis {\n  storm_rate: 0\n}", "2:3: ");
    refuses("diagnosis: 5", "must be a block");
    refuses("monitor: { unix_mode: \"0777\" }", "octal digits");
    refuses("monitor: { unix_mode: \"rw\" }", "octal digits");
    refuses("monitor: { user: u }", "\"password\"");
    refuses("monitor: { password: p }", "\"user\"");
    refuses("monitor: { user: \"a:b\", password: p }", "colon");
    assert_eq!(
        options("diagnosis {\n x: 7\n storm_rate: $x\n}")
            .diagnosis
            .storm_rate,
        7
    );
}

#[test]
fn wrong_types_and_values_are_refused() {
    for (text, expected) in [
        (
            "port: \"4222\"",
            "1:1: \"port\" must be a whole number: write it without quotes",
        ),
        (
            "port: foo",
            "1:1: \"port\" must be a whole number, not a string",
        ),
        ("port: 65536", "must be from -1 to 65535, not 65536"),
        ("port: -2", "must be from -1 to 65535"),
        ("listen: 127.0.0.1", "is not HOST:PORT"),
        ("listen: \"::1:4222\"", "is not HOST:PORT"),
        ("listen: \"a:b\"", "is not HOST:PORT"),
        ("listen: \"a:99999\"", "99999 is not a port"),
        ("listen: 99999", "99999 is not a port"),
        (
            "listen: 4222.5",
            "\"listen\" must be PORT or \"HOST:PORT\", not a number with a fraction",
        ),
        ("http: \"8222\"", "is not HOST:PORT"),
        ("host: 5", "must be a string"),
        ("server_name: \"a b\"", "must not contain blanks"),
        ("client_advertise: \"a:b\"", "is neither HOST nor HOST:PORT"),
        ("client_advertise: \"::1\"", "is neither HOST nor HOST:PORT"),
        (
            "debug: \"true\"",
            "\"debug\" must be true or false, without quotes, not a string",
        ),
        ("debug: 1", "not an integer"),
        ("max_payload: 3g", "must be from 0 to 2147483647"),
        ("max_payload: -1", "must be from 0"),
        ("max_payload: \"1MB\"", "must be a number of bytes"),
        ("max_control_line: 3g", "must be from 0 to 2147483647"),
        ("max_sub_tokens: 0", "must be from 1 to 255"),
        ("max_sub_tokens: 256", "must be from 1 to 255"),
        ("ping_interval: \"1d\"", "is not a duration"),
        ("ping_interval: 1.5", "must be a duration such as \"30s\""),
        ("ping_interval: \"-5s\"", "must not be negative"),
        ("ping_interval: -5", "must not be negative"),
        ("ping_interval: 9e", "is too long a time"),
        ("write_deadline: \"2\"", "is not a duration"),
        (
            "lame_duck_duration: 60",
            "must be a duration such as \"30s\", not an integer",
        ),
        ("lame_duck_duration: \"29s\"", "must be at least 30s"),
        ("lame_duck_grace_period: 5", "must be a duration"),
        (
            "pid_file: [a]",
            "\"pid_file\" must be a string in quotes, not a list",
        ),
    ] {
        refuses(text, expected);
    }
}

#[test]
fn all_errors_are_collected_in_the_order_of_the_file() {
    let errors = read("port: a\n  foo: 1\nhost: 5\nsyslog: {}").map(|_| ());
    let errors = errors.expect_err("four errors");
    let places: Vec<&str> = errors
        .iter()
        .filter_map(|text| text.split(": ").next())
        .collect();
    assert_eq!(places, ["1:1", "2:3", "3:1", "4:1"]);
    let shown = ConfigErrors(vec![
        Diagnostic {
            position: None,
            text: "a".into(),
        },
        Diagnostic {
            position: None,
            text: "b".into(),
        },
    ]);
    assert_eq!(shown.to_string(), "a\nb");
}

#[test]
fn unknown_keys_are_refused_with_a_hint() {
    for (text, expected) in [
        (
            "prot: 5",
            "1:1: unknown key \"prot\"; did you mean \"port\"?",
        ),
        ("MaxPayload: 5", "did you mean \"max_payload\"?"),
        ("autorization {}", "did you mean \"authorization\"?"),
        ("xyz: 5", "unknown key \"xyz\""),
        ("include: a", "unknown key \"include\""),
    ] {
        refuses(text, expected);
    }
    let error = read("qqqqqq: 5").map(|_| ()).expect_err("unknown");
    assert_eq!(error, ["1:1: unknown key \"qqqqqq\""]);
    refuses(&format!("{}: 5", "x".repeat(100_000)), "unknown key");
}

#[test]
fn a_key_used_as_a_variable_may_have_any_name() {
    assert_eq!(options("my_port: 5\nport: $my_port").port, 5);
    refuses(
        "my_port: 5\nport: $my_port\nmy_port: 6",
        "3:1: unknown key \"my_port\"",
    );
}

#[test]
fn what_midge_does_not_serve_is_refused_by_name() {
    for key in TOP.keys() {
        let Kind::Refused { why, .. } = key.kind else {
            continue;
        };
        assert!(why.starts_with("is not supported by this version of midge: "));
        for name in key.names() {
            refuses(&format!("{name}: 5"), &format!("1:1: {name:?} {why}"));
        }
    }
}

/// They are labels of a metric and in each answer about the broker.
#[test]
fn descriptions_have_a_limit() {
    let list = |count: usize, item: &dyn Fn(usize) -> String| {
        let items: Vec<String> = (0..count).map(item).collect();
        items.join(", ")
    };
    let tags = |count| format!("server_tags: [{}]", list(count, &|at| format!("t{at}")));
    let pairs = |count| {
        let pairs = list(count, &|at| format!("k{at}: v"));
        format!("server_metadata {{ {pairs} }}")
    };
    assert_eq!(options(&tags(64)).server_tags.len(), 64);
    assert_eq!(options(&pairs(64)).server_metadata.len(), 64);
    let long = "x".repeat(4097);
    for text in [
        tags(65),
        pairs(65),
        format!("server_tags: {long}"),
        format!("server_metadata {{ a: {long} }}"),
    ] {
        refuses(&text, "64 entries and 4096 bytes");
    }
}

#[test]
fn wrong_logins_are_refused() {
    for (text, expected) in [
        ("user: u, token: t", "cannot have a user and a token"),
        ("user: u, users: []", "cannot have a user and a list"),
        ("token: t, users: []", "cannot have a token and a list"),
        ("password: p", "a password without a user"),
        ("user: 5", "1:17: \"user\" must be a string"),
        ("token: \"$2a$11$x\"", "\"token\" begins like a bcrypt hash"),
        ("timeout: a", "is not a duration"),
        ("timeout: -1", "must be a time"),
        ("foo: 1", "unknown key \"foo\" in authorization"),
        ("auth_callout {}", "\"auth_callout\" is not supported"),
        ("proxy_required: true", "is not supported"),
        ("users: 5", "\"users\" must be a list"),
        ("users: [5]", "\"user\" must be a block"),
        ("users: [{password: p}]", "a user needs a name"),
        (
            "users: [{user: u, foo: 1}]",
            "unknown key \"foo\" in a user",
        ),
        (
            "users: [{user: u, clients: [x]}]",
            "unknown connection type \"x\"",
        ),
        (
            "users: [{user: u}, {user: u}]",
            "the user \"u\" is written twice",
        ),
    ] {
        refuses(&format!("authorization {{ {text} }}"), expected);
    }
    refuses("authorization: 5", "must be a block");
    refuses("no_auth_user: u", "\"u\" is not in a list of users");
    for secret in [
        "authorization { password: hidden }",
        "authorization { token: \"$2a$11$hidden\" }",
    ] {
        let errors = read(secret).map(|_| ()).expect_err("refused");
        assert!(!format!("{errors:?}").contains("hidden"), "{errors:?}");
    }
}

#[test]
fn rules_over_two_keys_are_checked_at_load() {
    refuses(
        "max_payload: 2MB\nmax_pending: 1MB",
        "1:1: max_payload (2097152) must not exceed max_pending (1048576)",
    );
    refuses(
        "port: 1\nmax_pending: 1KB",
        "2:1: max_payload (1048576) must not exceed",
    );
    assert_eq!(
        options("max_payload: 1MB\nmax_pending: 1MB").max_pending,
        1_048_576
    );
    refuses(
        "lame_duck_grace_period: \"2m\"",
        "1:1: lame_duck_grace_period (120s) must be shorter",
    );
    refuses(
        "lame_duck_duration: \"30s\"\nlame_duck_grace_period: \"30s\"",
        "2:1: lame_duck_grace_period",
    );
}

#[test]
fn what_a_federation_cannot_be() {
    for (text, expected) in [
        (
            "federation: 5",
            "1:13: \"federation\" must be a block { … }, not an integer",
        ),
        (
            "federation { upstream: \"a:1\" }",
            "1:1: \"federation\" needs the \"name\" of the site",
        ),
        (
            "federation { name: a }",
            "1:1: \"federation\" needs \"upstream\": the brokers",
        ),
        (
            "federation {\n name: \"a.b\", upstream: \"a:1\" }",
            "2:2: \"name\" in \"federation\" is of letters, digits, - and _; it is not \"a.b\"",
        ),
        (
            "federation { name: a, upstream: [\n \"wss://u:secret@b:1\" ] }",
            "2:2: wss://…@b:1 is no broker: write brokers as tls://host:port",
        ),
        (
            "federation { name: a, upstream: [\n \"nats://u:secret@b:x\" ] }",
            "2:2: \"b:…\" is not HOST:PORT: write brokers as tls://host:port",
        ),
        (
            "federation { name: a, upstream: [\n \"srv://a..b\" ] }",
            "2:2: \"a..b\": no name of a record",
        ),
        (
            "federation { name: a,\n upstream: [\"tls://b:1\"] }",
            "2:2: tls:// in \"upstream\" needs a block \"tls\" beside it",
        ),
        (
            "federation { name: a, upstream: \"b:1\",\n collectives: [] }",
            "2:2: \"collectives\" needs a name",
        ),
        (
            "federation { name: a, upstream: \"b:1\", collectives: [\n \"a.>\" ] }",
            "2:2: \"collectives\" in \"federation\" is of letters",
        ),
        (
            "federation { name: a, upstream: \"b:1\", account: C }",
            "1:1: the \"account\" of \"federation\" is \"C\", which is not in \"accounts\"",
        ),
        (
            "federation { name: a, upstream: \"b:1\", account: \"$SYS\" }",
            "1:1: the \"account\" of \"federation\" is \"$SYS\", the system account",
        ),
        (
            "federation {\n gateway: a }",
            "2:2: unknown key \"gateway\" in \"federation\"",
        ),
    ] {
        refuses(text, expected);
    }
}

#[test]
fn what_a_cluster_cannot_be() {
    for (text, expected) in [
        (
            "cluster: 5",
            "1:10: \"cluster\" must be a block { … }, not an integer",
        ),
        (
            "cluster {\n  name: \"a b\" }",
            "2:3: a cluster's name must not",
        ),
        (
            "cluster {\n  routes: [\n a:b ] }",
            "3:2: \"a:…\" is not HOST:PORT",
        ),
        (
            "cluster {\n  routes: [\n \"nats-route://a:b@c@host\" ] }",
            "3:2: \"host\" is not HOST:PORT",
        ),
        (
            "cluster {\n  routes: [a:1] }",
            "2:3: the cluster needs a port",
        ),
        (
            "cluster {\n  gateway: a }",
            "2:3: unknown key \"gateway\" in \"cluster\"",
        ),
        (
            "cluster { authorization {\n token: a } }",
            "2:2: \"token\" is not possible here",
        ),
        (
            "cluster {\n port: 70000 }",
            "2:2: \"port\" must be from -1 to 65535, not 70000",
        ),
        // A key that is used as a variable is a key all the same.
        (
            "cluster {\n queue_policy: bogus, permissions { import: $queue_policy } }",
            "2:2: \"queue_policy\" must be",
        ),
        (
            "cluster {\n connect_retries: bogus, permissions { import: $connect_retries } }",
            "2:2: \"connect_retries\" must be",
        ),
    ] {
        refuses(text, expected);
    }
    // A hash cannot be sent as a password to brokers known only from other members.
    let hash = "$2a$11$abcdefghijklmnopqrstuudjoshsIZ5vIFeg3JkRnFnUOCrm..Sui";
    let hashed = |routes: &str, more: &str| {
        warnings(&format!(
            "cluster {{ port: 1, routes: [{routes}]\n authorization {{ user: u, password: \"{hash}\" }}\n {more} }}"
        ))
    };
    for (routes, more, expected) in [
        ("", "", true),
        ("\"nats://h:1\", \"nats://other:p@h:1\"", "", true),
        ("\"nats://h:1\", \"nats://u:p@h:1\"", "", false),
        (
            "",
            "tls { cert_file: c, key_file: k, ca_file: a, verify_and_map: true }",
            false,
        ),
    ] {
        let found = hashed(routes, more);
        let is_reported = found
            .iter()
            .any(|it| it.to_string().contains("the password is a hash"));
        assert_eq!(is_reported, expected, "{routes}: {found:?}");
    }
    let found = warnings("cluster { port: 1, compression: s2_fast, pool_size: 3 }");
    assert_eq!(found.len(), 1, "{found:?}");
}

/// A duration that overflows the system's clock would cause a panic when a client connects.
#[test]
fn times_without_end_are_refused() {
    for block in [
        "authorization { token: t, timeout: % }",
        "cluster { port: -1, authorization { timeout: % } }",
        "tls { timeout: % }",
    ] {
        for time in ["9223372036854775807", "9300000000.5", "-1"] {
            let text = block.replace('%', time);
            refuses(&text, "\"timeout\" must be a time");
        }
    }
}

#[test]
fn users_by_certificate_and_nodes_that_make_no_sense_are_refused() {
    let user = |text: &str| format!("authorization {{ users: [ {{ {text} }} ] }}");
    for more in ["user: x", "password: p", &format!("nkey: {KEY}")] {
        let text = user(&format!("certificate: \"*.a\", {more}"));
        refuses(&text, "has neither a name nor a password nor an nkey");
    }
    refuses(&user("certificate: \"CN=a\""), "is no certname");
    refuses(
        &user("certificate: \"*.a\" }, { certificate: \"*.a\""),
        "is written twice",
    );
    refuses("nodes {}", "expects no node");
    refuses("nodes { learn: \"1h\" }", "needs \"certificates\"");
    refuses("nodes { expected: [\"a b\"] }", "is no certname");
    refuses(
        "nodes { expected: [a], missing_after: \"0s\" }",
        "missing_after",
    );
    refuses(
        "nodes { expected: [a], certificates: \"**\" }",
        "two * in a row",
    );
}

/// A public key of a user.
const KEY: &str = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L";
