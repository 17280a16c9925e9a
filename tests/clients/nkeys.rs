//! Logins by nkey: real clients with a seed, and valid and invalid signatures, with the
//! same result as a real nats-server.

use std::process::Command;

use async_nats::ConnectOptions;
use aws_lc_rs::signature::Ed25519KeyPair;
use data_encoding::{BASE64, BASE64URL_NOPAD};
use futures_util::StreamExt;
use test_support::{Broker, BrokerBuilder, PATIENCE, RawClient, tools};
use tokio::time::timeout;

/// Keys as the nkeys library of Python writes them: those whose Ed25519 seed is
/// 32 times the byte 1, 2 or 3.
const KEYS: [&str; 3] = [
    "UCFIRY65OQE7DFP5KLNS2PF2LVZMUZYJX4OZIEQ36N2IQANUB5XVZ45L",
    "UCATS5YOVB6ROX2WUNKGNQ2MP3GMXDMKSG2O4N5CLX3A6W4PZGZZJPJO",
    "UDWUSKGGFDI4FRXK5EBTRECZSVQSSWJHHJOGH6JWG3AUMFFMQ435C2U4",
];

/// The seed of the first of them.
const SEED: &str = "SUAACAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAIBAEAQCAN7EY";

/// The seed of the third, which is no user's key.
const UNKNOWN_SEED: &str = "SUAAGAYDAMBQGAYDAMBQGAYDAMBQGAYDAMBQGAYDAMBQGAYDAMBQGA6BEM";

/// A user by key in the global account, one in another account, one with a
/// password.
fn config() -> String {
    format!(
        "authorization {{ users: [ {{ nkey: {}, permissions: {{ publish: \"ok.>\", \
         subscribe: [\"ok.>\", \"_INBOX.>\"] }} }}, {{ user: u, password: p }} ] }}\n\
         accounts {{ A {{ users: [ {{ nkey: {} }} ] }} }}\n",
        KEYS[0], KEYS[1]
    )
}

fn sign(seed: u8, nonce: &str) -> Vec<u8> {
    let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).expect("a key");
    pair.sign(nonce.as_bytes()).as_ref().to_vec()
}

/// The result of a CONNECT with these fields: the account, or the error.
fn outcome(client: &mut RawClient, fields: &str) -> String {
    client.send(format!(
        "CONNECT {{\"verbose\":false,\"protocol\":1,{fields}}}\r\nPING\r\n"
    ));
    let mut result = Vec::new();
    while let Some(frame) = client.next_frame() {
        let line = String::from_utf8_lossy(&frame.line).into_owned();
        if let Some(json) = line.strip_prefix("INFO ") {
            let info: serde_json::Value = serde_json::from_str(json).expect("JSON");
            result.push(format!("in {}", info["remote_account"]));
            assert!(info.get("nonce").is_none(), "only the first INFO has one");
            break;
        }
        result.push(line);
    }
    result.join(" ")
}

/// The fields of a CONNECT, by the nonce.
type Fields<'a> = Box<dyn Fn(&str) -> String + 'a>;

/// Logins with all kinds of signatures and keys, and their results.
fn outcomes(broker: &Broker) -> Vec<(String, String)> {
    let url = |bytes: &[u8]| BASE64URL_NOPAD.encode(bytes);
    let key = |key: &str, signature: &str| format!("\"nkey\":{key:?},\"sig\":{signature:?}");
    let cases: Vec<(&str, Fields<'_>)> = vec![
        (
            "right",
            Box::new(|nonce| key(KEYS[0], &url(&sign(1, nonce)))),
        ),
        (
            "padded",
            Box::new(|nonce| key(KEYS[0], &BASE64.encode(&sign(1, nonce)))),
        ),
        (
            "of an account",
            Box::new(|nonce| key(KEYS[1], &url(&sign(2, nonce)))),
        ),
        (
            "another's signature",
            Box::new(|nonce| key(KEYS[0], &url(&sign(2, nonce)))),
        ),
        (
            "of another nonce",
            Box::new(|_| key(KEYS[0], &url(&sign(1, "abcdefghijklmno")))),
        ),
        (
            "no signature",
            Box::new(|_| format!("\"nkey\":{:?}", KEYS[0])),
        ),
        ("empty signature", Box::new(|_| key(KEYS[0], ""))),
        (
            "short signature",
            Box::new(|nonce| key(KEYS[0], &url(&sign(1, nonce)[..63]))),
        ),
        (
            "long signature",
            Box::new(|nonce| key(KEYS[0], &url(&[sign(1, nonce), vec![0; 2000]].concat()))),
        ),
        ("no base64", Box::new(|_| key(KEYS[0], "!§$%&"))),
        (
            "unknown key",
            Box::new(|nonce| key(KEYS[2], &url(&sign(3, nonce)))),
        ),
        (
            "short key",
            Box::new(|nonce| key(&KEYS[0][..10], &url(&sign(1, nonce)))),
        ),
        (
            "odd key",
            Box::new(|nonce| key("U\\u0000 \u{fffd}", &url(&sign(1, nonce)))),
        ),
        (
            "lower case",
            Box::new(|nonce| key(&KEYS[0].to_lowercase(), &url(&sign(1, nonce)))),
        ),
        (
            "the name of a user",
            Box::new(|nonce| key("u", &url(&sign(1, nonce)))),
        ),
        (
            "key as a user",
            Box::new(|_| format!("\"user\":{:?}", KEYS[0])),
        ),
        (
            "key and a user",
            Box::new(|nonce| {
                key(KEYS[0], &url(&sign(1, nonce))) + ",\"user\":\"u\",\"pass\":\"p\""
            }),
        ),
        (
            "user and an unsigned key",
            Box::new(|_| format!("\"user\":\"u\",\"pass\":\"p\",\"nkey\":{:?}", KEYS[0])),
        ),
        (
            "a user",
            Box::new(|_| "\"user\":\"u\",\"pass\":\"p\"".into()),
        ),
        ("nothing", Box::new(|_| "\"name\":\"n\"".into())),
        (
            "signature only",
            Box::new(|nonce| format!("\"sig\":{:?}", url(&sign(1, nonce)))),
        ),
    ];
    let run = |(name, fields): (&str, Fields<'_>)| {
        let mut client = broker.connect();
        let nonce = client.info()["nonce"].as_str().expect("a nonce").to_owned();
        assert_eq!(nonce.len(), 15, "{nonce}");
        (name.to_owned(), outcome(&mut client, &fields(&nonce)))
    };
    cases.into_iter().map(run).collect()
}

#[test]
fn signatures_and_keys_of_all_kinds_have_nats_servers_outcome() {
    let midge = Broker::midge().config(config()).start();
    let reference = Broker::nats_server().config(config()).start();
    let (ours, theirs) = (outcomes(&midge), outcomes(&reference));
    assert_eq!(ours, theirs);
    let is_in = |(name, outcome): &&(String, String)| {
        outcome
            .starts_with("PONG in")
            .then_some(name.clone())
            .is_some()
    };
    let admitted: Vec<&str> = ours.iter().filter(is_in).map(|(name, _)| &**name).collect();
    assert_eq!(
        admitted,
        [
            "right",
            "padded",
            "of an account",
            "key and a user",
            "a user"
        ]
    );
}

/// A client that needs no proof, and brokers without keys.
#[test]
fn no_auth_user_may_be_a_key_and_without_keys_there_is_no_nonce() {
    let config = format!("no_auth_user: {}\n{}", KEYS[1], config());
    let run = |builder: BrokerBuilder| {
        let broker = builder.config(config.clone()).start();
        let fields = [
            "\"name\":\"n\"".to_owned(),
            format!("\"nkey\":{:?}", KEYS[1]),
            format!("\"nkey\":{:?}", KEYS[0]),
            "\"user\":\"x\"".to_owned(),
        ];
        fields.map(|fields| outcome(&mut broker.connect(), &fields))
    };
    let ours = run(Broker::midge());
    assert_eq!(ours, run(Broker::nats_server()));
    assert!(
        ours[0].contains("\"A\"") && ours[1].contains("\"A\""),
        "{ours:?}"
    );
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = builder
            .config("authorization { user: u, password: p }\n")
            .start();
        assert!(broker.connect().info().get("nonce").is_none());
        // A key is ignored there.
        let fields = format!("\"user\":\"u\",\"pass\":\"p\",\"nkey\":{:?}", KEYS[0]);
        assert!(outcome(&mut broker.connect(), &fields).contains("in \"$G\""));
    }
}

/// nats.py and nats.js log in with a seed, within their permissions.
#[test]
fn real_clients_log_in_with_a_seed() {
    const PYTHON: &str = "
import asyncio, sys, nats
async def main():
    client = await nats.connect(sys.argv[1], nkeys_seed_str=sys.argv[2], allow_reconnect=False)
    subscription = await client.subscribe('ok.a')
    await client.publish('ok.a', b'hello')
    print((await subscription.next_msg(10)).data.decode())
    await client.close()
asyncio.run(main())
";
    const NODE: &str = "
const { connect, nkeyAuthenticator } = require('@nats-io/transport-node');
(async () => {
  const [url, seed] = process.argv.slice(1);
  const authenticator = nkeyAuthenticator(new TextEncoder().encode(seed));
  const client = await connect({ servers: url, authenticator, reconnect: false });
  const subscription = client.subscribe('ok.a', { max: 1 });
  client.publish('ok.a', 'hello');
  for await (const message of subscription) console.log(message.string());
  await client.close();
})();
";
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = builder.config(config()).start();
        let mut python = Command::new(tools::python_with_nats());
        python.args(["-c", PYTHON]);
        let mut node = Command::new(tools::node_with_nats());
        node.args(["-e", NODE])
            .env("NODE_PATH", tools::node_modules());
        for mut command in [python, node] {
            let output = command.args([&*broker.client_url(), SEED]).output();
            let output = output.expect("start the client");
            let error = String::from_utf8_lossy(&output.stderr);
            assert_eq!(
                String::from_utf8_lossy(&output.stdout),
                "hello\n",
                "{error}"
            );
        }
    }
}

/// async-nats logs in with a seed, within its permissions, and with a password; with
/// another seed or password it is refused.
#[tokio::test]
async fn async_nats_logs_in_with_a_seed_and_with_a_password() {
    let with_seed = |seed: &str| ConnectOptions::with_nkey(seed.to_owned());
    let with_password =
        |text: &str| ConnectOptions::with_user_and_password("u".into(), text.to_owned());
    for builder in [Broker::midge(), Broker::nats_server()] {
        let broker = builder.config(config()).start();
        for options in [with_seed(SEED), with_password("p")] {
            let client = options.connect(broker.client_url()).await;
            let client = client.expect("gets in");
            let mut subscriber = client.subscribe("ok.a").await.expect("subscribe");
            for subject in ["no.a", "ok.a"] {
                let sent = client.publish(subject, "hello".into()).await;
                sent.expect("publish");
            }
            let message = timeout(PATIENCE, subscriber.next()).await;
            let message = message.expect("in time").expect("a message");
            assert_eq!(message.payload, "hello");
        }
        for options in [with_seed(UNKNOWN_SEED), with_password("q")] {
            let refused = options.connect(broker.client_url()).await;
            let error = refused.expect_err("is refused").to_string();
            assert!(error.contains("authorization"), "{error}");
        }
    }
}

/// Monitoring shows the key; a seed sent in its place is in no log and no answer, and a
/// seed in the configuration is refused without being printed.
#[test]
fn keys_are_shown_and_seeds_never() {
    let mut broker = Broker::midge().flag("-DV").config(config()).start();
    let mut client = broker.connect();
    let nonce = client.info()["nonce"].as_str().expect("a nonce").to_owned();
    let signature = BASE64URL_NOPAD.encode(&sign(1, &nonce));
    outcome(
        &mut client,
        &format!("\"nkey\":{:?},\"sig\":{signature:?}", KEYS[0]),
    );
    let connections = broker.get_json("/connz?auth=1");
    assert_eq!(connections["connections"][0]["authorized_user"], KEYS[0]);

    let mut careless = broker.connect();
    let refused = outcome(&mut careless, &format!("\"nkey\":{SEED:?},\"sig\":\"x\""));
    assert_eq!(refused, "-ERR 'Authorization Violation'");
    let mut unknown = broker.connect();
    outcome(
        &mut unknown,
        &format!("\"nkey\":{:?},\"sig\":\"x\"", KEYS[2]),
    );
    broker.log().wait_for_count("unknown nkey", 2);
    let mut paths = broker.endpoints();
    paths.push("/connz?auth=1&state=any".into());
    for text in paths.iter().map(|path| broker.get(path).body) {
        assert!(
            !text.contains(&SEED[..20]) && !text.contains(&signature),
            "{text}"
        );
    }
    broker.stop();
    let log = broker.final_log();
    assert!(
        log.contains(KEYS[2]),
        "the log names the refused key: {log}"
    );
    assert!(
        !log.contains(&SEED[..20]) && !log.contains(&signature),
        "{log}"
    );

    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("seed.conf");
    let text = format!("authorization {{ users: [ {{ nkey: {SEED} }} ] }}\n");
    std::fs::write(&file, text).expect("write the configuration");
    let output = Command::new(tools::midge())
        .arg("-t")
        .arg("-c")
        .arg(&file)
        .output();
    let error = String::from_utf8_lossy(&output.expect("run midge").stderr).into_owned();
    assert!(
        error.contains("seed.conf:1:") && error.contains("is a seed"),
        "{error}"
    );
    assert!(!error.contains(SEED), "{error}");
}
