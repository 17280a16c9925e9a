//! Operator mode (JWT) is not supported. Each of its keys is refused at the start and at
//! a reload with one line that names the place, the key and the remedy. Clients that send
//! a JWT get the same result as at a real nats-server without operators.

use std::{
    fs,
    path::Path,
    process::{Command, Output},
};

use test_support::{Broker, RawClient, tools, wait_for, wait_until};

/// The public key of an account, as `nsc` writes it.
const ACCOUNT: &str = "AAAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQDPYC";

/// The seed of the user in `nkeys.rs` beside this file.
const SEED: &str = "SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY";
const USER: &str = "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L";

/// Used as a JWT.
const JWT: &str = "eyJ0eXAiOiJKV1QiLCJhbGciOiJlZDI1NTE5LW5rZXkifQ.eyJjYW5hcnkiOjF9.c2ln";

/// Every key of nats-server 2.15 that belongs to operator mode, with a realistic value;
/// `%` is a JWT, `@` the key of an account.
const KEYS: &[(&str, &str)] = &[
    ("operator", "\"/etc/nats/operator.jwt\""),
    ("operator", "%"),
    ("operators", "[ \"/etc/nats/a.jwt\", \"/etc/nats/b.jwt\" ]"),
    ("root", "\"/etc/nats/operator.jwt\""),
    ("roots", "[ \"/etc/nats/operator.jwt\" ]"),
    ("root_operator", "\"/etc/nats/operator.jwt\""),
    ("root_operators", "[ % ]"),
    (
        "trusted",
        "OAAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQDZUE",
    ),
    (
        "trusted_keys",
        "[ OAAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQDZUE ]",
    ),
    ("resolver", "MEMORY"),
    (
        "resolver",
        "{ type: full, dir: \"/var/lib/nats/jwt\", limit: 1000 }",
    ),
    (
        "account_resolver",
        "URL(https://jwt.example.net/jwt/v1/accounts/)",
    ),
    ("accounts_resolver", "\"MEM\""),
    ("resolver_tls", "{ ca_file: \"ca.pem\" }"),
    ("resolver_preload", "{ @: % }"),
    ("resolver_pinned_accounts", "[ @ ]"),
    ("default_sentinel", "%"),
    ("system_account", "@"),
    ("system", "@"),
];

fn filled(value: &str) -> String {
    value.replace('%', JWT).replace('@', ACCOUNT)
}

fn midge(arguments: &[&str]) -> Output {
    let output = Command::new(tools::midge()).args(arguments).output();
    output.expect("run midge")
}

/// Asserts that `result` has exactly one line about this line of the file, and that it
/// names the key and the remedy.
fn assert_one_line(result: &str, place: &str, key: &str, file: &Path) {
    let lines: Vec<&str> = result
        .lines()
        .filter(|line| line.contains(&file.display().to_string()))
        .collect();
    assert_eq!(lines.len(), 1, "{key}: {result}");
    let line = lines[0];
    let begin = format!("{}:{place}:", file.display());
    assert!(line.contains(&begin), "{key}: {line}");
    let named = if key == "system" {
        "system_account"
    } else {
        key
    };
    assert!(line.contains(named), "{key}: {line}");
    assert!(line.contains("operator mode (JWT) is not served"), "{line}");
    assert!(line.contains("write "), "what to do: {line}");
    assert!(!result.contains(JWT), "{key}: {result}");
}

#[test]
fn each_key_is_refused_at_the_start() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("jwt.conf");
    let path = file.display().to_string();
    for (key, value) in KEYS {
        let text = format!("port: -1\nhttp: -1\n{key}: {}\n", filled(value));
        fs::write(&file, text).expect("write the configuration");
        for flags in [&["-c", &*path][..], &["-t", "-c", &path]] {
            let output = midge(flags);
            assert_eq!(output.status.code(), Some(1), "{key}: {output:?}");
            let result = String::from_utf8_lossy(&output.stderr);
            assert_one_line(&result, "3:1", key, &file);
        }
    }
}

/// The output of `nsc generate config --mem-resolver`, in an included file as in its
/// manual: each key is reported with its line in that file, all in one run.
#[test]
fn an_included_file_of_nsc_is_refused_key_by_key() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let (file, included) = (
        folder.path().join("server.conf"),
        folder.path().join("resolver.conf"),
    );
    fs::write(&file, "port: -1\ninclude resolver.conf\n").expect("write the configuration");
    let text = format!(
        "// Operator \"OP\"\noperator: {JWT}\n\nsystem_account: {ACCOUNT}\n\nresolver: MEMORY\n\n\
         resolver_preload: {{\n  // Account \"SYS\"\n  {ACCOUNT}: {JWT}\n}}\n"
    );
    fs::write(&included, text).expect("write the configuration");
    let output = midge(&["-c", &file.display().to_string()]);
    assert_eq!(output.status.code(), Some(1));
    let result = String::from_utf8_lossy(&output.stderr);
    for (line, key) in [
        (2, "operator"),
        (4, "system_account"),
        (6, "resolver"),
        (8, "resolver_preload"),
    ] {
        let place = format!("resolver.conf:{line}:1: ");
        let reported: Vec<&str> = result
            .lines()
            .filter(|result| result.contains(&place))
            .collect();
        assert_eq!(reported.len(), 1, "{key}: {result}");
        assert!(reported[0].contains(key), "{key}: {result}");
        assert!(
            reported[0].contains("operator mode (JWT)"),
            "{key}: {result}"
        );
    }
    assert!(!result.contains(JWT), "{result}");
}

/// At a reload no key changes anything: the broker reports the line and keeps its
/// settings and its clients.
#[test]
fn each_key_is_refused_at_a_reload() {
    let broker = Broker::midge().config("ping_max: 3\n").start();
    let file = broker.folder().join("broker.conf");
    let digest = broker.get_json("/varz")["config_digest"].clone();
    let mut client = RawClient::connect_quietly(broker.client_addr());
    for (key, value) in KEYS {
        let before = broker.log().so_far();
        let text = format!("ping_max: 4\n{key}: {}\n", filled(value));
        fs::write(&file, text).expect("write the configuration");
        broker.signal(libc::SIGHUP);
        let result = wait_for("the reload is logged", || {
            let result = broker.log().so_far().since(&before);
            let reported = result.already_has("Failed to reload server configuration: ");
            (reported && result.is_whole()).then(|| result.to_string())
        });
        let place = if *key == "accounts" { "2:17" } else { "2:1" };
        assert_one_line(&result, place, key, &file);
        assert!(client.sync().is_empty());
    }
    let varz = broker.get_json("/varz");
    assert_eq!(varz["config_digest"], digest);
    assert_eq!(varz["ping_max"], 3, "nothing of the file was taken over");
    broker.log().assert_lacks(JWT);
    fs::write(&file, "ping_max: 4\n").expect("write the configuration");
    broker.signal(libc::SIGHUP);
    wait_until("a file without them is loaded", || {
        broker.get_json("/varz")["ping_max"] == 4
    });
}

/// nats-server has no flag for operator mode; flags that an operator may try are refused
/// by name.
#[test]
fn no_flag_enables_operator_mode() {
    for flag in [
        "operator",
        "resolver",
        "creds",
        "jwt",
        "nkey",
        "trusted_keys",
    ] {
        let dashed = format!("--{flag}");
        let output = midge(&[&dashed, "x"]);
        let result = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(1), "{flag}: {result}");
        assert!(
            result.contains(&dashed) || result.contains(&format!("-{flag}")),
            "{result}"
        );
    }
}

/// The result of a CONNECT with these fields: the lines up to the PONG or the close.
fn outcome(broker: &Broker, fields: &str) -> Vec<String> {
    let mut client = broker.connect();
    client.send(format!("CONNECT {{\"verbose\":false{fields}}}\r\nPING\r\n"));
    let mut result = Vec::new();
    while let Some(frame) = client.next_frame() {
        let line = String::from_utf8_lossy(&frame.line).into_owned();
        let is_last = line == "PONG";
        result.push(line);
        if is_last {
            break;
        }
    }
    result
}

/// A JWT changes nothing: beside valid credentials it is ignored, alone it is no
/// credential.
#[test]
fn a_client_with_a_jwt_gets_nats_servers_result() {
    let configs = [
        "",
        "authorization { token: t }\n",
        "authorization { user: u, password: p }\n",
        "authorization { users: [ { user: u, password: p } ] }\n",
        "authorization { users: [ { user: u, password: p } ] }\nno_auth_user: u\n",
        &format!("authorization {{ users: [ {{ nkey: {USER} }} ] }}\n"),
        &format!(
            "accounts {{ A {{ users: [ {{ user: u, password: p }}, {{ nkey: {USER} }} ] }} }}\n"
        ),
    ];
    let jwt = format!(",\"jwt\":{JWT:?}");
    let cases = [
        jwt.clone(),
        format!("{jwt},\"sig\":\"c2ln\""),
        format!("{jwt},\"user\":\"u\",\"pass\":\"p\""),
        format!("{jwt},\"user\":\"u\",\"pass\":\"x\""),
        format!("{jwt},\"auth_token\":\"t\""),
        format!("{jwt},\"nkey\":{USER:?},\"sig\":\"c2ln\""),
        ",\"jwt\":\"\"".to_owned(),
        ",\"jwt\":null".to_owned(),
        ",\"jwt\":1".to_owned(),
        format!(",\"jwt\":\"{}\"", "x".repeat(2000)),
    ];
    for config in configs {
        let brokers = [Broker::midge(), Broker::nats_server()];
        let [midge, peer] = brokers.map(|broker| broker.config(config).start());
        for fields in &cases {
            let (ours, theirs) = (outcome(&midge, fields), outcome(&peer, fields));
            assert_eq!(ours, theirs, "{config:?}: {fields}");
        }
    }
}

/// A real client with a `.creds` file: the log says what it sent and what to do,
/// monitoring counts it, and the JWT appears in neither.
#[test]
fn a_client_with_a_creds_file_is_refused_with_the_reason() {
    const PYTHON: &str = "
import asyncio, sys, nats
async def main():
    try:
        await nats.connect(sys.argv[1], user_credentials=sys.argv[2], allow_reconnect=False)
        print('in')
    except Exception as error:
        print(repr(error))
asyncio.run(main())
";
    let broker = Broker::midge()
        .flag("-DV")
        .config(format!(
            "authorization {{ users: [ {{ nkey: {USER} }} ] }}\n"
        ))
        .start();
    let creds = broker.folder().join("user.creds");
    fs::write(
        &creds,
        format!(
            "-----BEGIN NATS USER JWT-----\n{JWT}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{SEED}\n------END USER NKEY SEED------\n"
        ),
    )
    .expect("write the credentials");
    let output = Command::new(tools::python_with_nats())
        .args(["-c", PYTHON, &broker.client_url()])
        .arg(&creds)
        .output()
        .expect("start the client");
    let result = String::from_utf8_lossy(&output.stdout);
    assert!(result.contains("Authorization Violation"), "{output:?}");
    wait_until("it is logged and counted", || {
        broker.log().so_far().already_has(
            "authentication error: it logs in with a JWT (a .creds file), but operator mode",
        ) && broker.get_json("/varz")["logins"]["refused"]["jwt"] == 1
    });
    let log = broker.log().so_far();
    assert!(log.lacks(JWT) && log.lacks(SEED), "{log}");
}

/// A client that shows a token of Choria: the log does not speak of files that it does not have.
#[test]
fn a_token_of_choria_is_called_one() {
    let part = |text: &str| data_encoding::BASE64URL_NOPAD.encode(text.as_bytes());
    let claims = part(r#"{"purpose":"choria_server","public_key":"00ff"}"#);
    let token = format!("{}.{claims}.c2lnbmVk", part(r#"{"alg":"EdDSA"}"#));
    for (config, fields) in [
        (
            "authorization { users: [ { user: a, password: b } ] }, no_auth_user: a",
            format!("\"auth_token\":{token:?}"),
        ),
        (
            "authorization { token: s3cret }",
            format!("\"auth_token\":{token:?}"),
        ),
        (
            "authorization { user: a, password: b }",
            format!("\"jwt\":{token:?},\"sig\":\"c2ln\""),
        ),
    ] {
        let broker = Broker::midge().config(config).start();
        let mut client = broker.connect();
        client.send(format!("CONNECT {{{fields}}}\r\n"));
        client.read_to_end();
        broker.log().wait_for("it shows a token of Choria");
        wait_until("it is counted", || {
            broker.get_json("/varz")["logins"]["refused"]["choria_token"] == 1
        });
        broker.log().assert_lacks(&claims);
    }
}
