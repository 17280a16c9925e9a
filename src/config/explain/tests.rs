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
