//! Values accepted with a warning.

use super::*;

#[test]
fn what_has_no_effect_gives_a_warning() {
    for (text, expected) in [
        (
            "jetstream: true",
            "\"jetstream\" has no effect: streams are not served",
        ),
        ("jetstream: enabled", "streams are not served"),
        ("jetstream { store_dir: a }", "streams are not served"),
        // There a block turns it on by being there.
        ("jetstream {}", "streams are not served"),
        ("jetstream { limits: [] }", "streams are not served"),
        ("ocsp {}", "no OCSP response"),
        ("ocsp_cache {}", "midge does not use OCSP"),
        ("store_dir: a", "streams are not served"),
        ("default_js_domain { A: b }", "streams are not served"),
        ("prof_port: 5", "no profiling port"),
        ("disable_sublist_cache: true", "has no effect"),
        ("connect_error_reports: 5", "has no effect"),
        ("reconnect_error_reports: 5", "has no effect"),
        ("prof_block_rate: 5", "no profiling port"),
        ("write_timeout: retry", "is closed"),
        ("ocsp: true", "no OCSP response"),
        ("ocsp_cache: true", "midge does not use OCSP"),
        (
            "proxies { trusted: [ { key: a } ] }",
            "does not trust what a proxy says",
        ),
        ("feature_flags { a: true }", "has no effect"),
    ] {
        let warnings = warnings(text);
        assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
        assert!(warnings[0].starts_with("1:1: "), "{warnings:?}");
        assert!(warnings[0].contains(expected), "{text}: {warnings:?}");
    }
    let warnings_of_large = warnings("max_payload: 9MB");
    assert!(
        matches!(&warnings_of_large[..], [one] if one.contains("more than 8 MB")),
        "{warnings_of_large:?}"
    );
    for text in [
        "max_payload: 8MB",
        "jetstream: false",
        "jetstream: disabled",
        "jetstream { enabled: false }",
        "store_dir: \"\"",
        "prof_port: 0",
        "feature_flags {}",
        "default_js_domain {}",
        "ocsp_cache: false",
        "gateway {}",
        "mqtt {}",
        "write_timeout: close",
        "proxy_protocol: false",
        "ocsp: false",
        "proxies { trusted: [] }",
        "leafnodes {}",
        "leafnodes { remotes: [] }",
        "websocket {}",
        "operator: []",
    ] {
        assert!(warnings(text).is_empty(), "{text}");
    }
    for text in [
        "jetstream: 5",
        "prof_port: a",
        "server_tags: [5]",
        "server_metadata {a: 5}",
        "ocsp: 5",
        "write_timeout: never",
        "feature_flags {a: b}",
    ] {
        refuses(text, "must be");
    }
}

#[test]
fn seconds_without_a_unit_give_a_warning() {
    let (options, warnings) = read("write_deadline: 5").expect("it is valid");
    assert_eq!(options.write_deadline, seconds(5));
    assert_eq!(
        warnings,
        ["1:1: \"write_deadline\" should be a duration with its unit: write \"5s\""]
    );
    let (options, warnings) = read("ping_interval: 2m").expect("it is valid");
    assert_eq!(options.ping_interval, seconds(2_000_000));
    assert!(
        warnings[0].contains("write \"2m\" in quotes for minutes"),
        "{warnings:?}"
    );
}

#[test]
fn of_contradicting_keys_the_later_wins_with_a_warning() {
    for (text, port) in [
        ("listen: \"a:1\"\nport: 2", 2),
        ("port: 2\nlisten: \"a:1\"", 1),
        ("PORT: 1\nport: 2", 2),
        ("port: 2\nPORT: 1", 1),
    ] {
        let (options, warnings) = read(text).expect(text);
        assert_eq!(options.port, port, "{text}");
        assert_eq!(warnings.len(), 1, "{text}: {warnings:?}");
        assert!(warnings[0].starts_with("2:1: "), "{warnings:?}");
        assert!(
            warnings[0].contains("(1:1): the one written later counts"),
            "{warnings:?}"
        );
    }
    let (options, warnings) = read("http: \"a:1\"\nhttp_port: 2").expect("it is valid");
    assert_eq!(options.http_listen(), Some(("a", 2)));
    assert_eq!(warnings.len(), 1);
    assert_eq!(options.http_host.as_deref(), Some("a"));
    assert_eq!(warnings_count("net: a\nhost: b"), 1);
    assert_eq!(warnings_count("listen: 5\nhost: b"), 0);
    assert_eq!(warnings_count("port: 5\nport: 6"), 0);
}

fn warnings_count(text: &str) -> usize {
    warnings(text).len()
}

#[test]
fn a_file_without_values_gives_a_warning() {
    for text in ["", "# nothing\n", "{}"] {
        let warnings = warnings(text);
        assert_eq!(warnings.len(), 1);
        assert!(
            warnings[0].ends_with("the configuration has no values"),
            "{warnings:?}"
        );
    }
}

#[test]
fn permissions_in_the_old_place_count_unless_the_cluster_has_its_own() {
    let with = |own: &str, of_login: &str| {
        format!(
            "cluster {{\n port: -1\n {own}\n authorization {{ user: a, password: b\n {of_login} }}\n }}"
        )
    };
    let permissions = |text: &str| {
        let (options, _) = read(text).expect(text);
        options.cluster.expect("a cluster").permissions
    };
    let own = permissions(&with(
        "permissions { import: { deny: foo }, export: bar }",
        "",
    ));
    for name in ["permissions", "default_permission", "default_permissions"] {
        let old = with(
            "",
            &format!("{name} {{ import: {{ deny: foo }}, export: bar }}"),
        );
        assert_eq!(permissions(&old), own, "{name}");
        let warnings = warnings(&old);
        let text = format!("5:2: {name:?} belongs into the block \"cluster\" itself");
        assert_eq!(warnings, [text]);
    }
    let own_text = "permissions { import: { deny: foo }, export: bar }";
    assert_eq!(
        permissions(&with(own_text, "permissions { import: a }")),
        own
    );
    let after = format!(
        "cluster {{ port: -1, authorization {{ user: a, permissions {{ import: a }} }}\n {own_text} }}"
    );
    assert_eq!(permissions(&after), own);
    refuses(
        &with("", "permissions { import: a, allow_responses: true }"),
        "5:2: a cluster's permissions have no \"allow_responses\"",
    );
}
