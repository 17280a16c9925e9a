//! Logins at the client port: midge and both nats-servers.

use std::{
    fs::{self, Permissions},
    os::unix::fs::PermissionsExt,
    path::PathBuf,
};

use nkeys::KeyPair;
use serde_json::{Value, json};
use tempfile::TempDir;

use super::plugin::{brokers, check, judge_with};
use data_encoding::BASE64URL_NOPAD;
use test_support::{Broker, pki::Pki};

/// Files with secrets.
struct Files(TempDir);

impl Files {
    fn new() -> Self {
        Self(TempDir::new().expect("a folder"))
    }

    /// Writes one that only its owner can read, and returns its path.
    fn write(&self, name: &str, text: &str) -> String {
        let path: PathBuf = self.0.path().join(name);
        fs::write(&path, text).expect("written");
        fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("own file");
        path.display().to_string()
    }
}

/// The modes that open the client port.
const MODES: [&str; 4] = ["health", "connect", "roundtrip", "lameduck"];

/// Each kind of login leads into each broker that knows it, from a file and from the environment,
/// and no secret is ever shown. The wrong one is UNKNOWN: the broker may serve others.
#[test]
fn every_kind_of_login_is_accepted() {
    let files = Files::new();
    let (user, wrong) = (KeyPair::new_user(), KeyPair::new_user());
    let seed = |pair: &KeyPair| pair.seed().expect("a seed");
    let password = files.write("password", "canary-pass\"word\n");
    let token = files.write("token", "canary-token");
    let nkey = files.write("nkey", &seed(&user));
    let bad = files.write("bad", "canary-bad");
    let bad_nkey = files.write("bad-nkey", &seed(&wrong));
    let users = format!(
        "authorization {{ users: [ {{ user: nagios, password: 'canary-pass\"word' }}, {{ nkey: {} }} ] }}",
        user.public_key()
    );
    let seed_text = seed(&user);
    let rows: [(&str, &[&str], &[(&str, &str)], &[&str], &str); 3] = [
        (
            &users,
            &["--user", "nagios", "--password-file", &password],
            &[
                ("CHECK_NATS_USER", "nagios"),
                ("CHECK_NATS_PASSWORD", "canary-pass\"word"),
            ],
            &["--user", "nagios", "--password-file", &bad],
            "to user \"nagios\" (--password-file /",
        ),
        (
            "authorization { token: canary-token }",
            &["--token-file", &token],
            &[("CHECK_NATS_TOKEN", "canary-token")],
            &["--token-file", &bad],
            "to the token of --token-file /",
        ),
        (
            &users,
            &["--nkey-file", &nkey],
            &[("CHECK_NATS_NKEY", &seed_text)],
            &["--nkey-file", &bad_nkey],
            &format!("to nkey {} (--nkey-file /", wrong.public_key()),
        ),
    ];
    for (config, by_file, by_environment, refused, words) in rows {
        for builder in brokers() {
            let broker = builder.config(config).start();
            for mode in MODES {
                let result = check(&broker, &[by_file, &["--mode", mode, "-vvv"]].concat());
                assert_eq!(result.code, 0, "{result:?}");
                assert!(!result.output.contains("canary"), "{result:?}");
            }
            let (port, monitor) = (
                broker.client_addr().port().to_string(),
                broker.monitor_addr().port().to_string(),
            );
            let arguments = ["-p", &port, "-m", &monitor, "--mode", "roundtrip"];
            judge_with(by_environment, &arguments).expect(0, "message back");
            for format in ["nagios", "json", "text"] {
                let more = ["--mode", "connect", "-vvv", "--format", format];
                let (code, output) =
                    super::plugin::run(&[&["-p", &port, "-m", &monitor], refused, &more].concat());
                assert_eq!(code, 3, "{output}");
                assert!(!output.contains("canary"), "{output}");
            }
            let result = check(&broker, &[refused, &["--mode", "connect"]].concat());
            result
                .expect(3, "answers \"Authorization Violation\"")
                .expect(3, words);
            let none = check(&broker, &["--mode", "connect"]);
            none.expect(
                3,
                "requires a login: give --user and --password-file, --token-file",
            );
            check(&broker, &[]).expect(3, "0 connections");
        }
    }
}

/// A check that has no login does not count as one more refused one.
#[test]
fn without_a_login_nothing_is_tried() {
    let config = "authorization { user: a, password: b }";
    let broker = Broker::midge().config(config).start();
    check(&broker, &["--mode", "connect"]).expect(3, "requires a login");
    let refused = |broker: &Broker| broker.get_json("/varz")["logins"].clone();
    let before = refused(&broker);
    assert!(before.is_object(), "{before}");
    check(&broker, &["--mode", "connect"]).expect(3, "requires a login");
    assert_eq!(refused(&broker), before);
    let files = Files::new();
    let wrong = files.write("wrong", "c");
    check(
        &broker,
        &[
            "--mode",
            "connect",
            "--user",
            "a",
            "--password-file",
            &wrong,
        ],
    )
    .expect(3, "Authorization Violation");
    assert_ne!(refused(&broker), before);
}

/// A JWT as nsc makes it.
fn jwt(issuer: &KeyPair, subject: &KeyPair, name: &str, end: i64, nats: Value) -> String {
    let encode = |value: Value| BASE64URL_NOPAD.encode(value.to_string().as_bytes());
    let mut claims = json!({
        "jti": "X",
        "iat": 1_600_000_000,
        "iss": issuer.public_key(),
        "sub": subject.public_key(),
        "name": name,
        "nats": nats,
    });
    if end != 0 {
        claims["exp"] = end.into();
    }
    let header = encode(json!({ "typ": "JWT", "alg": "ed25519-nkey" }));
    let text = format!("{header}.{}", encode(claims));
    let signature = issuer.sign(text.as_bytes()).expect("a key that signs");
    format!("{text}.{}", BASE64URL_NOPAD.encode(&signature))
}

fn credentials(jwt: &str, user: &KeyPair) -> String {
    format!(
        "-----BEGIN NATS USER JWT-----\n{jwt}\n------END NATS USER JWT------\n\n\
         ************************* IMPORTANT *************************\n\
         NKEY Seed printed below can be used to sign and prove identity.\n\n\
         -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
        user.seed().expect("a seed")
    )
}

/// A nats-server in operator mode takes the JWT of a credentials file.
#[test]
fn credentials_are_accepted_in_operator_mode() {
    let (operator, account, user) = (
        KeyPair::new_operator(),
        KeyPair::new_account(),
        KeyPair::new_user(),
    );
    let of_operator = jwt(
        &operator,
        &operator,
        "O",
        0,
        json!({ "type": "operator", "version": 2 }),
    );
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1,
        "wildcards": true, "conn": -1, "leaf": -1,
    });
    let of_account = json!({ "limits": limits, "type": "account", "version": 2 });
    let of_account = jwt(&operator, &account, "A", 0, of_account);
    let of_user = |end: i64| {
        let claims = json!({
            "pub": {}, "sub": {}, "subs": -1, "data": -1, "payload": -1,
            "type": "user", "version": 2,
        });
        jwt(&account, &user, "nagios", end, claims)
    };
    let config = format!(
        "operator: {of_operator}\nresolver: MEMORY\nresolver_preload: {{ {}: {of_account} }}\n",
        account.public_key()
    );
    let files = Files::new();
    let text = credentials(&of_user(0), &user);
    let valid = files.write("nagios.creds", &text);
    let expired = files.write("old.creds", &credentials(&of_user(1_600_000_100), &user));
    let seedless = files.write("seedless.creds", text.split("*****").next().expect("a JWT"));
    for builder in [Broker::nats_server(), Broker::nats_server_29()] {
        let broker = builder.config(config.clone()).start();
        for mode in MODES {
            let result = check(&broker, &["--creds", &valid, "--mode", mode]);
            assert_eq!(result.code, 0, "{result:?}");
        }
        let (port, monitor) = (
            broker.client_addr().port().to_string(),
            broker.monitor_addr().port().to_string(),
        );
        let arguments = ["-p", &port, "-m", &monitor];
        judge_with(&[("CHECK_NATS_CREDS", &text)], &arguments).expect(0, "0 connections");
        check(&broker, &["--creds", &expired, "--mode", "connect"])
            .expect(3, "to the credentials of user \"nagios\" (--creds /")
            .expect(3, "they expired on 2020-09-13 12:28:20 UTC: renew them");
        check(&broker, &["--creds", &seedless, "--mode", "connect"]).expect(3, "holds no seed");
    }
    let plain = Broker::midge().start();
    check(&plain, &["--creds", &valid, "--mode", "connect"]).expect(
        3,
        "sends nothing to be signed by the credentials of user \"nagios\"",
    );
}

/// The certificate is the login.
#[test]
fn a_certificate_can_be_the_login() {
    let pki = Pki::new(&["broker", "nagios"]);
    let config = |user: &str| {
        format!(
            "tls {{ cert_file: {:?}, key_file: {:?}, ca_file: {:?}, verify_and_map: true }}\n\
             authorization {{ users: [ {{ user: {user:?} }} ] }}\n",
            pki.text("broker.pem"),
            pki.text("broker.key"),
            pki.text("ca.pem")
        )
    };
    let (ca, certificate, key) = (
        pki.text("ca.pem"),
        pki.text("nagios.pem"),
        pki.text("nagios.key"),
    );
    let own = ["--cacert", &ca, "--cert", &certificate, "--key", &key];
    for builder in brokers() {
        let broker = builder.config(config("CN=nagios")).start();
        for mode in MODES {
            let result = check(&broker, &[&own[..], &["--mode", mode]].concat());
            assert_eq!(result.code, 0, "{result:?}");
        }
    }
    for builder in brokers() {
        let broker = builder.config(config("CN=other")).start();
        check(&broker, &[&own[..], &["--mode", "connect"]].concat()).expect(
            3,
            "\"Authorization Violation\" to a client without a login and the certificate",
        );
    }
}

#[test]
fn files_with_secrets_are_checked() {
    let files = Files::new();
    let broker = Broker::midge().config("authorization { token: t }").start();
    let token = files.write("token", "t\n");
    let connect = ["--mode", "connect", "--token-file"];
    let quiet = check(&broker, &[&connect[..], &[&token, "-v"]].concat());
    assert!(
        quiet.code == 0 && !quiet.output.contains("can read"),
        "{quiet:?}"
    );
    fs::set_permissions(&token, Permissions::from_mode(0o644)).expect("own file");
    let warned = check(&broker, &[&connect[..], &[&token, "-v"]].concat());
    assert!(
        warned.code == 0
            && warned
                .output
                .contains("every user of this host can read it"),
        "{warned:?}"
    );
    let (empty, two) = (
        files.write("empty", ""),
        files.write("two", "canary\ncanary\n"),
    );
    for (file, words) in [
        ("/no/such", "--token-file /no/such: there is no such file"),
        (&*empty, "is empty"),
        (&two, "more than one line"),
    ] {
        let result = check(&broker, &[&connect[..], &[file]].concat());
        result.expect(3, words);
        assert!(!result.output.contains("canary"), "{result:?}");
    }
    let result = check(&broker, &["--mode", "connect", "--nkey-file", &token]);
    result.expect(3, "holds no seed of an nkey");
}
