//! The hubs in `leafnodes`.

use std::time::Duration;

use super::*;
use crate::config::options::leafnodes::{LeafnodesOptions, remotes::RemoteOptions};

fn block(text: &str) -> LeafnodesOptions {
    let options = options(text);
    options.leafnodes.expect("a block")
}

fn remote(text: &str) -> RemoteOptions {
    let mut block = block(&format!("leafnodes {{ remotes: [ {{ {text} }} ] }}"));
    block.remotes.remove(0)
}

#[test]
fn urls_as_people_write_them() {
    let shown = |text: &str| {
        let remote = remote(text);
        let urls = remote.urls.iter();
        let text = |it: &crate::config::options::leafnodes::remotes::RemoteUrl| {
            let login = format!("{}:{}", it.url.user, it.url.password.reveal());
            (it.url.to_string(), login, it.is_tls)
        };
        urls.map(text).collect::<Vec<_>>()
    };
    let expect = |url: &str, login: &str, tls| (url.to_owned(), login.to_owned(), tls);
    assert_eq!(
        shown("url: \"nats-leaf://site:s%40cret@hub1.example.net:7423\""),
        [expect("hub1.example.net:7423", "site:s@cret", false)]
    );
    assert_eq!(
        shown("urls: [\"tls://hub1.example.net\", \"nats://token@[::1]\", \"hub2:1\"]"),
        [
            expect("hub1.example.net:7422", ":", true),
            expect("[::1]:7422", "token:", false),
            expect("hub2:1", ":", false)
        ]
    );
}

#[test]
fn every_key_has_its_effect() {
    let remote = remote(
        "url: a, local: \"$G\", deny_imports: x.y, deny_export: [a.>, b], hub: true, dont_randomize: \
         true, first_info_timeout: 3s, dial_timeout: 4s, isolate: true, request_isolation: true, \
         ignore_discovered_servers: true, disabled: true, creds: \"/c\", tls { insecure: true }",
    );
    let subjects = |patterns: &[crate::security::permissions::Pattern]| -> Vec<String> {
        patterns.iter().map(|it| it.subject.clone()).collect()
    };
    assert_eq!(subjects(&remote.deny_imports), ["x.y"]);
    assert_eq!(subjects(&remote.deny_exports), ["a.>", "b"]);
    assert!(remote.is_hub && remote.no_randomize && remote.isolates);
    assert!(remote.asks_for_isolation && remote.ignores_discovered && remote.disabled);
    assert_eq!(remote.first_info_timeout, Duration::from_secs(3));
    assert_eq!(remote.dial_timeout, Some(Duration::from_secs(4)));
    assert_eq!(remote.credentials, Some("/c".into()));
    let tls = remote.tls().expect("a block");
    assert_eq!(
        (tls.insecure, &tls.known_hosts[..]),
        (true, &["a".to_owned()][..])
    );
    let block = block("leafnodes { reconnect: 5s, dial_timeout: 6s, remotes: [] }");
    assert_eq!(block.reconnect, Duration::from_secs(5));
    assert_eq!(block.dial_timeout, Duration::from_secs(6));
}

#[test]
fn what_is_wrong_is_named_without_secrets() {
    let seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
    for (text, words) in [
        ("", "a remote needs \"urls\""),
        ("url: \"ws://u:geheim@h:1\"", "h:1 is not served"),
        ("url: \"wss://h/leafnode\"", "is not served"),
        ("url: \"http://u:geheim@h:1\"", "is no hub"),
        ("url: \"nats://u:geheim@h:x\"", "is not HOST:PORT"),
        ("url: 5", "must be a string"),
        ("url: a, nkey: geheim", "\"nkey\" holds no seed"),
        ("url: a, deny_imports: \"a..b\"", "invalid deny_imports"),
        ("url: a, account: NOBODY", "\"NOBODY\" of a remote"),
        ("url: a, proxy { url: \"http://p\" }", "without a proxy"),
        ("url: a, foo: 1", "unknown"),
    ] {
        let text = format!("leafnodes {{ remotes: [ {{ {text} }} ] }}");
        refuses(&text, words);
        let errors = read(&text).expect_err("it is wrong");
        assert!(!errors.concat().contains("geheim"), "{errors:?}");
    }
    let both = format!("leafnodes {{ remotes: [ {{ url: a, nkey: {seed}, creds: x }} ] }}");
    refuses(&both, "either \"credentials\" or \"nkey\"");
    let errors = read(&both).expect_err("it is wrong");
    assert!(!errors.concat().contains(seed), "{errors:?}");
    refuses(
        "leafnodes { remotes: [ { url: a }, { url: \"nats://a:7422\" } ] }",
        "duplicate remote a:7422 (account $G)",
    );
    options("leafnodes { remotes: [ { url: \"x:1@a\" }, { url: \"y:1@a\" } ] }");
}
