use std::{ffi::OsString, fs};

use tempfile::TempDir;

use crate::config::{Invocation, parse};

/// What `config explain` prints with these arguments.
fn explained(arguments: &[&str]) -> Result<String, String> {
    let arguments = ["midge", "config", "explain"].iter().chain(arguments);
    let parsed = parse(arguments.map(OsString::from)).map_err(|error| error.to_string())?;
    match parsed.invocation {
        Invocation::Explain(explain) => Ok(explain.text()),
        other => panic!("{other:?}"),
    }
}

/// The line of a setting.
fn line<'a>(text: &'a str, name: &str) -> &'a str {
    let begin = format!("{name}: ");
    let line = text.lines().find(|line| line.starts_with(&begin));
    line.unwrap_or_else(|| panic!("{name} is not in {text}"))
}

#[test]
fn each_setting_has_its_value_and_its_place() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("midge.conf");
    let included = folder.path().join("more.conf");
    fs::write(
        &file,
        "listen: \"127.0.0.1:4333\"\ninclude more.conf\ntrace_verbose: true\n\
         authorization { user: u, password: s3cret }\nmonitor { token: s3cret }\n\
         cluster { port: 6222\n name: fleet\n routes: [\"nats://u:s3cret@a:1\"] }\n",
    )
    .expect("it can be written");
    fs::write(&included, "\nmax_payload: 77\n").expect("it can be written");
    let (file, included) = (file.display().to_string(), included.display().to_string());
    let text = explained(&["-c", &file, "-D", "--max_traced_msg_len=5"]).expect("it is valid");
    assert!(!text.contains("s3cret"), "{text}");
    for (name, value, origin) in [
        ("host", "\"127.0.0.1\"", format!("{file}:1")),
        ("port", "4333", format!("{file}:1")),
        ("max_payload", "77", format!("{included}:2")),
        ("debug", "true", "command line: -D".into()),
        (
            "max_traced_msg_len",
            "5",
            "command line: --max_traced_msg_len".into(),
        ),
        ("trace_verbose", "true", format!("{file}:3")),
        ("trace", "true", "derived from other settings".into()),
        ("ping_max", "2", "default".into()),
        ("authorization", "(not shown)", format!("{file}:4")),
        ("monitor token", "(not shown)", format!("{file}:5")),
        ("cluster port", "6222", format!("{file}:6")),
        ("cluster name", "\"fleet\"", format!("{file}:7")),
        ("cluster routes", "(not shown)", format!("{file}:8")),
        ("cluster no_advertise", "false", "default".into()),
        ("authorization password", "(not shown)", format!("{file}:4")),
        ("authorization user", "\"u\"", format!("{file}:4")),
    ] {
        let line = line(&text, name);
        assert!(line.starts_with(&format!("{name}: {value} ")), "{line}");
        assert!(line.ends_with(&format!("  {origin}")), "{line}: {origin}");
    }
}

/// Blocks and lists in their whole depth, and none of their secrets.
#[test]
fn blocks_are_shown_to_the_bottom() {
    let folder = TempDir::new().expect("a folder");
    let (file, included) = (
        folder.path().join("a.conf"),
        folder.path().join("users.conf"),
    );
    fs::write(
        &file,
        r#"authorization { include users.conf }
accounts {
  users {
    users: [
      { user: one, pass: s3cret }
      { nkey: UDXU4RCSJNZOIQHZNWXHXORDPRTGNJAHAHFRGZNEEJCPQTT2M7NLCNF4 }
    ]
    exports: [
      { service: "help.>", accounts: [B, C] }
      { stream: "news.*" }
    ]
    mappings: { "old.password": "new.password", "x": [ { destination: "y", weight: 50 } ] }
  }
  B { imports: [{ service: { account: users, subject: "help.me" }, to: help }] }
}
federation { password: s3cret, unknown: { a: [1, 2] } }
"#,
    )
    .expect("it can be written");
    fs::write(
        &included,
        r#"users: [
  {
    user: derek
    password: s3cret
    permissions {
      publish { allow: ["a.>", b], deny: c }
      subscribe: "d"
      allow_responses { max: 2, expires: "1m" }
    }
  }
]
"#,
    )
    .expect("it can be written");
    let map = crate::config::syntax::parse_file(&file, &|_| None).expect("it can be read");
    let (file, included) = (file.display().to_string(), included.display().to_string());
    let found: Vec<String> = super::written::written(&map)
        .into_iter()
        .map(|it| format!("{}: {} {}", it.path, it.value, it.origin))
        .collect();
    let text = found.join("\n");
    assert!(!text.contains("s3cret"), "{text}");
    for (file, line, expected) in [
        (&included, 3, "authorization users[0] user: \"derek\""),
        (&included, 4, "authorization users[0] password: (not shown)"),
        (
            &included,
            6,
            "authorization users[0] permissions publish allow: [\"a.>\", \"b\"]",
        ),
        (
            &included,
            6,
            "authorization users[0] permissions publish deny: \"c\"",
        ),
        (
            &included,
            7,
            "authorization users[0] permissions subscribe: \"d\"",
        ),
        (
            &included,
            8,
            "authorization users[0] permissions allow_responses expires: \"1m\"",
        ),
        (&file, 5, "accounts users users[0] user: \"one\""),
        (&file, 5, "accounts users users[0] password: (not shown)"),
        (&file, 9, "accounts users exports[0] service: \"help.>\""),
        (
            &file,
            9,
            "accounts users exports[0] accounts: [\"B\", \"C\"]",
        ),
        (&file, 10, "accounts users exports[1] stream: \"news.*\""),
        (
            &file,
            12,
            "accounts users mappings old.password: \"new.password\"",
        ),
        (&file, 12, "accounts users mappings x[0] weight: 50"),
        (
            &file,
            14,
            "accounts B imports[0] service subject: \"help.me\"",
        ),
        (&file, 14, "accounts B imports[0] to: \"help\""),
        // What nobody knows may be anything.
        (&file, 16, "federation password: (not shown)"),
        (&file, 16, "federation unknown a: (not shown)"),
    ] {
        let expected = format!("{expected} {file}:{line}");
        assert!(found.contains(&expected), "{expected} is not in\n{text}");
    }
}

#[test]
fn a_part_of_a_block_can_be_asked_for() {
    let folder = TempDir::new().expect("a folder");
    let file = folder.path().join("a.conf");
    fs::write(
        &file,
        "accounts {\n A { users: [{ user: u, password: s3cret }, { user: v, password: s3cret }] }\n\
         B { users: [{ user: w, password: s3cret }] }\n}\n",
    )
    .expect("it can be written");
    let file = file.display().to_string();
    let text = explained(&["accounts.A", "-c", &file]).expect("it is there");
    assert!(
        !text.contains("s3cret") && !text.contains("\"w\""),
        "{text}"
    );
    let begin =
        format!("accounts A users[0] user: \"u\"\n  from:    {file}:2\n  type:    string\n");
    assert!(text.starts_with(&begin), "{text}");
    let text = explained(&["accounts a users[1].user", "-c", &file]).expect("it is there");
    assert!(
        text.starts_with("accounts A users[1] user: \"v\""),
        "{text}"
    );
    assert_eq!(text.matches("from:").count(), 1, "{text}");
    let all = explained(&["-c", &file]).expect("it is valid");
    line(&all, "accounts B users[0] user");
    assert!(explained(&["accounts.C", "-c", &file]).is_err());
}

/// How a remote logs in at its hub is not shown: a user, who may be a token, a password, a seed.
#[test]
fn logins_of_remotes_are_not_shown() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let file = folder.path().join("midge.conf");
    let seed = "SUAMK2FG4MI6UE3ACF3FK3OIQBCEIEZV7NSWFFEW63UXMRLFM2XLAXK4GY";
    let text = format!(
        "leafnodes {{ remotes: [ {{ url: \"nats-leaf://s3cret@h:1\" }}, {{ urls: \
         [\"nats-leaf://u:s3cret@h:1\"], nkey: {seed} }} ] }}\n"
    );
    fs::write(&file, text).expect("it can be written");
    let text = explained(&["-c", &file.display().to_string()]).expect("it is valid");
    assert!(text.contains("leafnodes remotes[1] nkey"), "{text}");
    assert!(!text.contains("s3cret") && !text.contains(seed), "{text}");
}

#[test]
fn one_key_is_shown_with_its_meaning() {
    let text = explained(&["max_payload"]).expect("a key");
    assert!(
        text.starts_with("max_payload: 1MB\n  from:    default\n  type:    size\n"),
        "{text}"
    );
    assert!(
        text.contains("takes effect while the broker runs"),
        "{text}"
    );
    let text = explained(&["port", "--port", "4333"]).expect("a key");
    assert!(
        text.starts_with("port: 4333\n  from:    command line: "),
        "{text}"
    );
    assert!(
        text.contains("needs a restart: the client port is opened"),
        "{text}"
    );
    for name in ["monitor.unix", "monitor unix"] {
        assert!(
            explained(&[name])
                .expect("a key")
                .starts_with("monitor unix: unset")
        );
    }
    // By another name of it, and one that sets what others set.
    assert!(
        explained(&["LOGFILE"])
            .expect("a key")
            .starts_with("log_file: unset")
    );
    assert!(
        explained(&["http_port"])
            .expect("a key")
            .starts_with("http_port: ")
    );
    let json = explained(&["max_payload", "--format", "json"]).expect("a key");
    let json: serde_json::Value = serde_json::from_str(&json).expect("JSON");
    assert_eq!(json[0]["origin"]["kind"], "default", "{json}");
    assert_eq!(json[0]["reload"], "live", "{json}");
    let wrong = explained(&["max_paylod"]).expect_err("no key");
    assert!(wrong.contains("did you mean \"max_payload\"?"), "{wrong}");
}

/// Every key that does something can be asked for, and has a text.
#[test]
fn every_key_is_explained() {
    for table in crate::config::options::keys::tables().iter().take(1) {
        for row in table.rows.iter().filter(|row| row.is_served) {
            let text = explained(&[row.names[0]]).unwrap_or_else(|error| panic!("{error}"));
            assert!(text.contains(row.doc), "{}: {text}", row.names[0]);
        }
    }
}
