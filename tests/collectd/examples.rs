//! The example conf/collectd/nats.conf: each of its commented blocks for notifications works in a real
//! collectd.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::TcpListener,
    sync::mpsc,
    thread,
};

use test_support::{PATIENCE, wait_until};

use crate::{
    broker::{Broker, Ports},
    chain::{Chain, PLUGINS, user},
    collectd::{Collectd, Setup, instance},
};

const EXAMPLE: &str = include_str!("../../conf/collectd/nats.conf");

/// The commented blocks by the name of their plugin, uncommented.
fn examples() -> BTreeMap<&'static str, String> {
    let mut examples = BTreeMap::new();
    let mut lines = EXAMPLE.lines();
    while let Some(line) = lines.next() {
        let Some(plugin) = line.strip_prefix("#LoadPlugin ") else {
            continue;
        };
        let mut block = format!("LoadPlugin {plugin}\n");
        for line in lines.by_ref() {
            let line = line.strip_prefix('#').expect("a commented block");
            block += &format!("{line}\n");
            if line == "</Plugin>" {
                break;
            }
        }
        examples.insert(plugin, block);
    }
    examples
}

/// The example with another value in place of one that it has.
fn with(example: &str, before: &str, after: &str) -> String {
    assert!(example.contains(before), "{before}: {example}");
    example.replace(before, after)
}

/// Takes one mail, and returns its lines.
fn mail_server() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let (sender, mails) = mpsc::channel();
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let mut lines = BufReader::new(stream.try_clone().expect("a clone")).lines();
            let mut answer = |text: &str| {
                // The test may be over.
                let _ = write!(stream, "{text}\r\n");
            };
            answer("220 test");
            let mut mail = None::<String>;
            while let Some(Ok(line)) = lines.next() {
                match &mut mail {
                    Some(text) if line == "." => {
                        let _ = sender.send(std::mem::take(text));
                        mail = None;
                        answer("250 taken");
                    }
                    Some(text) => *text += &format!("{line}\n"),
                    None if line == "DATA" => {
                        mail = Some(String::new());
                        answer("354 go on");
                    }
                    None => answer("250 test"),
                }
            }
        }
    });
    (port, mails)
}

/// A broker that is down, and up again, reaches every receiver.
#[test]
fn the_examples_for_notifications_work() {
    let examples = examples();
    let names: Vec<&str> = examples.keys().copied().collect();
    let expected = [
        "exec",
        "notify_email",
        "notify_nagios",
        "syslog",
        "threshold",
    ];
    assert_eq!(names, expected);
    let chain = Chain::new();
    let (port, mails) = mail_server();
    let nagios = chain.nagios_file().display().to_string();
    let logger = format!(
        "\"{}\" \"{}\"",
        chain.script().display(),
        chain.inbox().display()
    );
    let exec = with(
        &examples["exec"],
        "\"/usr/bin/logger\" \"-t\" \"collectd-nats\"",
        &logger,
    );
    let outputs = [
        format!("PluginDir \"{PLUGINS}\"\n"),
        with(
            &examples["notify_nagios"],
            "/var/lib/nagios4/rw/nagios.cmd",
            &nagios,
        ),
        with(
            &examples["notify_email"],
            "SMTPPort 25",
            &format!("SMTPPort {port}"),
        ),
        with(&exec, "\"nobody\"", &format!("\"{}\"", user())),
        examples["syslog"].clone(),
        examples["threshold"].clone(),
    ];
    let ports = Ports::free();
    let blocks = instance("broker", &ports.url(), "") + &outputs.concat();
    let collectd = Collectd::start(&Setup::new(&blocks));
    let nagios_got = |status: &str, service: &str| {
        let begin = format!("PROCESS_SERVICE_CHECK_RESULT;test;nats-broker/{service};{status};");
        wait_until(&begin, || {
            chain.nagios().iter().any(|line| line.contains(&begin))
        });
    };
    chain.wait_for_state("FAILURE", "bool-up");
    nagios_got("2", "bool-up");
    // Of the threshold.
    chain.wait_for_state("FAILURE", "bool-healthy");
    let mail = mails.recv_timeout(PATIENCE).expect("a mail");
    for part in [
        "[FAILURE] NATS on test",
        "down: http://127.0.0.1",
        "ops@example.net",
    ] {
        assert!(mail.contains(part), "{part}: {mail}");
    }
    let _broker = Broker::start_on(ports);
    chain.wait_for_state("OKAY", "bool-up");
    chain.wait_for_state("OKAY", "bool-healthy");
    nagios_got("0", "bool-up");
    nagios_got("0", "gauge-findings_critical");
    nagios_got("0", "gauge-findings_warning");
    let (status, lines) = collectd.stop();
    assert!(status.success(), "{lines:#?}");
    let errors = lines.with("[error]");
    // That the broker was down, and threshold's own line about it.
    assert!(
        errors.iter().all(|line| line.contains("nats plugin: ")),
        "{errors:#?}"
    );
}

/// Without its comments the file is one that collectd takes.
#[test]
fn the_example_is_taken_by_collectd() {
    let broker = Broker::start();
    let own = EXAMPLE
        .split_once("LoadPlugin nats\n")
        .expect("it loads the plugin")
        .1;
    let blocks = with(own, "http://127.0.0.1:8222", &broker.url());
    let up = "test/nats-broker/bool-up";
    let (status, lines) = Collectd::run_for(&Setup::new(&blocks), &[up]);
    assert!(status.success(), "{lines:#?}");
    assert_eq!(lines.values(up)[0], [1.0], "{lines:#?}");
    assert_eq!(lines.log().len(), 1, "{lines:#?}");
}
