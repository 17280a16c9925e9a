//! Logs that grew without limit, stopped after a rotation, or did not name the client.

use std::{fs, path::Path};

use crate::{both, client, login, publish};
use test_support::{Broker, wait_until};

/// The files in the directory of a log, with their sizes.
fn files(folder: &Path) -> Vec<(String, u64)> {
    let entries = fs::read_dir(folder).expect("the folder");
    let mut files: Vec<(String, u64)> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some((name, entry.metadata().ok()?.len()))
        })
        .collect();
    files.sort();
    files
}

/// Makes the broker log some kilobytes.
fn chatter(broker: &Broker) {
    let mut client = client(broker, "chatter");
    client.send(publish("chatter.of.some.length", 100).repeat(50));
    client.sync();
}

/// A log used 88 GB of a disk. With a limit each file ends there and a new one begins;
/// after a manual rotation with the signal, the limit still applies.
#[test]
fn nats_server_1438_the_log_size_limit_applies_after_a_manual_rotation() {
    for builder in both() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.log");
        let config = format!(
            "log_file: {:?}\nlogfile_size_limit: 20000\ntrace: true\n",
            file.display().to_string()
        );
        let broker = builder.config(config).start();
        let size = || fs::metadata(&file).map_or(0, |file| file.len());
        let rotated = || files(folder.path()).len();
        wait_until("it has rotated the log", || {
            chatter(&broker);
            rotated() > 1
        });
        fs::rename(&file, folder.path().join("by-hand")).expect("move the log");
        broker.signal(libc::SIGUSR1);
        wait_until("it has begun a new file", || size() > 0);
        let before = rotated();
        wait_until("it continues to rotate", || {
            chatter(&broker);
            rotated() > before + 1
        });
        assert!(size() < 60_000);
    }
}

/// Rotated files were kept forever. At most the configured number must be kept.
#[test]
fn nats_server_3851_old_logs_beyond_the_limit_are_removed() {
    for builder in both() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.log");
        let config = format!(
            "log_file: {:?}\nlogfile_size_limit: 10000\nlogfile_max_num: 3\ntrace: true\n",
            file.display().to_string()
        );
        let broker = builder.config(config).start();
        let mut names = std::collections::BTreeSet::new();
        wait_until("eight files were begun", || {
            chatter(&broker);
            names.extend(files(folder.path()).into_iter().map(|(name, _)| name));
            names.len() >= 8
        });
        wait_until("three files remain", || files(folder.path()).len() <= 3);
        assert!(file.exists());
    }
}

/// After the signal to open a new file no traces were logged any more.
#[test]
fn nats_streaming_622_traces_continue_after_the_log_was_reopened() {
    for builder in both() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("b.log");
        let text = || fs::read_to_string(&file).unwrap_or_default();
        let broker = builder
            .flag("-DV")
            .flag("-l")
            .flag(file.display().to_string())
            .start();
        for round in 0..3 {
            let mut sender = client(&broker, "sender");
            sender.send(publish(&format!("round.{round}"), 2));
            sender.sync();
            wait_until("it is traced", || {
                text().contains(&format!("[PUB round.{round} 2]"))
            });
            fs::rename(&file, folder.path().join(format!("old.{round}"))).expect("move the log");
            broker.signal(libc::SIGUSR1);
            wait_until("it has begun a new file", || text().contains("re-opened"));
        }
    }
}

/// With many clients in one account the line about a disconnect did not identify the
/// client: it had an address and a number. It must have the client's name, the account,
/// and the user.
#[test]
fn nats_server_4596_the_log_line_of_a_disconnect_names_the_client() {
    let config = "debug: true\naccounts { SHOP { users: [ { user: till, password: t } ] } }\n";
    for builder in both() {
        let broker = builder.config(config).start();
        let fields = ",\"name\":\"till-12\",\"user\":\"till\",\"pass\":\"t\",\"lang\":\"c\"";
        let mut client = login(&broker, fields);
        client.sync();
        drop(client);
        let words = ["Client connection closed", "till-12", "SHOP/user:till"];
        broker.log().wait_for_line(&words);
    }
}
