//! What differs between two sets of options, and what of it a running broker can
//! take over. `server::reload` asks and acts.

use super::{Diagnosis, Monitor, Options, written::Written};

/// How a setting is changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReloadKind {
    /// While the broker runs.
    Effect,
    /// With the next start.
    Restart,
}

/// One setting that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its name: the key's, behind that of its block.
    pub name: &'static str,
    /// The old and the new value as they are shown. Empty where the value may
    /// hold secrets.
    pub values: Option<(String, String)>,
    /// What it takes.
    pub takes: ReloadKind,
}

/// Compares field by field. Every field of [`Options`] is named here, so that a
/// new one cannot be forgotten: `shown` fields are told with their values,
/// `hidden` ones by name only, `ignored` ones follow from others.
macro_rules! compare {
    (
        $old:ident, $new:ident;
        effect shown { $($effect:ident),* $(,)? }
        effect hidden { $($hidden:ident),* $(,)? }
        restart shown { $($restart:ident),* $(,)? }
        ignored { $($ignored:ident),* $(,)? }
    ) => {{
        // Fails to compile when a field is missing.
        let Options { $($effect: _,)* $($hidden: _,)* $($restart: _,)* $($ignored: _,)* } = $old;
        let mut changes = Vec::new();
        $(if $old.$effect != $new.$effect {
            changes.push(shown(stringify!($effect), &$old.$effect, &$new.$effect, ReloadKind::Effect));
        })*
        $(if $old.$hidden != $new.$hidden {
            changes.push(Change {
                name: stringify!($hidden),
                values: None,
                takes: ReloadKind::Effect,
            });
        })*
        $(if $old.$restart != $new.$restart {
            changes.push(shown(
                stringify!($restart), &$old.$restart, &$new.$restart, ReloadKind::Restart,
            ));
        })*
        // What needs a restart stays as it is.
        let mut merged = $new.clone();
        $(merged.$restart = $old.$restart.clone();)*
        (changes, merged)
    }};
}

/// What differs, and the options that are in force once all has been taken over
/// that can be.
pub fn changes(old: &Options, new: &Options) -> (Vec<Change>, Options) {
    let (mut changes, mut merged) = compare! {
        old, new;
        effect shown {
            client_advertise, max_connections, max_subscriptions, max_sub_tokens, max_payload,
            max_pending, max_memory, max_control_line, max_closed_clients, ping_interval, ping_max,
            write_deadline, lame_duck_duration, lame_duck_grace_period, debug, trace,
            trace_verbose, logtime, logtime_utc, log_file, log_size_limit, log_max_num,
            max_traced_msg_len, auth_timeout, pid_file, syslog, remote_syslog, trace_headers,
            no_fast_producer_stall, server_tags, server_metadata,
        }
        effect hidden { tls, authorization, monitor_login, accounts, mappings }
        restart shown {
            host, port, server_name, http_host, http_port, http_base_path, https, no_header_support,
            ports_file_dir, system_account, no_system_account, allow_non_tls,
        }
        ignored { host_is_safe_default, config_file, config_digest, cluster, monitor, diagnosis }
    };
    compare_monitors(&old.monitor, &new.monitor, &mut changes);
    merged.monitor = old.monitor.clone();
    compare_diagnoses(&old.diagnosis, &new.diagnosis, &mut changes);
    merged.diagnosis = old.diagnosis.clone();
    compare_clusters(old, new, &mut changes, &mut merged);
    (changes, merged)
}

/// Of the cluster, all but its name and where it listens can change.
fn compare_clusters(old: &Options, new: &Options, changes: &mut Vec<Change>, merged: &mut Options) {
    merged.cluster = old.cluster.clone();
    let (Some(before), Some(after)) = (&old.cluster, &new.cluster) else {
        if old.cluster.is_some() != new.cluster.is_some() {
            let there = |options: &Options| match &options.cluster {
                Some(_) => "there".to_owned(),
                None => "not there".to_owned(),
            };
            changes.push(Change {
                name: "cluster",
                values: Some((there(old), there(new))),
                takes: ReloadKind::Restart,
            });
        }
        return;
    };
    let mut taken = after.clone();
    late(changes, "cluster name", &before.name, &after.name);
    late(changes, "cluster host", &before.host, &after.host);
    late(changes, "cluster port", &before.port, &after.port);
    taken.name.clone_from(&before.name);
    taken.host.clone_from(&before.host);
    taken.port = before.port;
    if taken != *before {
        // It holds passwords.
        changes.push(Change {
            name: "cluster",
            values: None,
            takes: ReloadKind::Effect,
        });
    }
    merged.cluster = Some(taken);
}

/// The keys of the block `monitor` that hold no secrets.
fn compare_monitors(old: &Monitor, new: &Monitor, changes: &mut Vec<Change>) {
    // Fails to compile when a field is missing.
    let texts =
        |Monitor {
             unix,
             unix_mode,
             hosts,
         }: &Monitor| { (unix.clone(), format!("{unix_mode:04o}"), hosts.join(",")) };
    let (old, new) = (texts(old), texts(new));
    late(changes, "monitor unix", &old.0, &new.0);
    late(changes, "monitor unix_mode", &old.1, &new.1);
    late(changes, "monitor hosts", &old.2, &new.2);
}

fn compare_diagnoses(old: &Diagnosis, new: &Diagnosis, changes: &mut Vec<Change>) {
    macro_rules! compare {
        ($($field:ident),* $(,)?) => {
            // Fails to compile when a field is missing.
            let Diagnosis { $($field: _),* } = old;
            $(late(changes, concat!("diagnosis ", stringify!($field)), &old.$field, &new.$field);)*
        };
    }
    compare!(
        interval,
        appear_after,
        clear_after,
        incident_window,
        growth_window,
        exhausted_within,
        queue_full_within,
        config_check,
        worker_delay,
        route_rtt,
        route_silence,
        route_losses,
        storm_rate,
        ceiling_warning,
        ceiling_critical,
        slow_percent,
        payload_percent,
        login_failures,
        violations,
        no_responders,
        no_interest,
        leak_subscriptions,
        certificate_warning,
        certificate_critical,
        crl_warning,
        crl_critical,
        handshake_failures,
        stale_peers,
        restarts,
        starts_file,
    );
}

/// Notes what differs and waits for a restart.
fn late<T: Written + PartialEq>(changes: &mut Vec<Change>, name: &'static str, old: &T, new: &T) {
    if old != new {
        changes.push(shown(name, old, new, ReloadKind::Restart));
    }
}

fn shown<T: Written>(name: &'static str, old: &T, new: &T, takes: ReloadKind) -> Change {
    Change {
        name,
        values: Some((old.written(), new.written())),
        takes,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::keys::{KEYS, Kind};

    #[test]
    fn what_needs_a_restart_stays_in_force() {
        let old = Options::default();
        let new = Options {
            port: 4333,
            max_payload: 77,
            ..Options::default()
        };
        let (changes, merged) = changes(&old, &new);
        let told: Vec<_> = changes.iter().map(|c| (c.name, c.takes)).collect();
        assert_eq!(
            told,
            [
                ("max_payload", ReloadKind::Effect),
                ("port", ReloadKind::Restart)
            ]
        );
        assert_eq!((merged.port, merged.max_payload), (old.port, 77));
        assert!(super::changes(&old, &old).0.is_empty());
    }

    const BASE: &str = "accounts { a { users: [ { user: a, password: b } ] } }\n";

    /// Values that are right for one key or another.
    const VALUES: &[&str] = &[
        "true",
        "false",
        "7",
        "70000000",
        "-1",
        "0",
        "\"61s\"",
        "\"2h\"",
        "\"90m\"",
        "\"1500ms\"",
        "\"a\"",
        "\"a b\\\"c\"",
        "\"a,B\"",
        "\"0600\"",
        "\"a:5\"",
        "\"[::1]:5\"",
        "\"tcp://a:5\"",
        "\"udp://[::1]:5\"",
        "\"unix:///a\"",
    ];

    fn load(text: &str) -> Option<Options> {
        let folder = tempfile::TempDir::new().expect("a folder");
        let path = folder.path().join("conf");
        std::fs::write(&path, format!("{BASE}{text}")).expect("room for a file");
        let read = crate::config::load(&path, &|_| None);
        read.ok().map(|(options, _)| options)
    }

    /// The line of a file that sets what is told under this name.
    fn line(name: &str, value: &str) -> String {
        match (name, value) {
            ("http_host", host) => match host.trim_matches('"') {
                host if host.contains(':') => format!("http: \"[{host}]:8222\""),
                host => format!("http: \"{host}:8222\""),
            },
            ("https", "true") => "https_port: 8222".into(),
            ("https", _) => "http_port: 8222".into(),
            (name, value) => match name.split_once(' ') {
                Some((block, key)) => format!("{block} {{ {key}: {value} }}"),
                None => format!("{name}: {value}"),
            },
        }
    }

    /// Whatever a key is set to, what is told of it can be written into a file and
    /// means the same there.
    #[test]
    fn values_are_told_as_they_are_written() {
        let base = load("").expect("it is valid");
        let told = |text: &str| {
            let options = load(text)?;
            let (changes, _) = changes(&base, &options);
            assert!(changes.iter().all(|change| change.name != "accounts"));
            for Change { name, values, .. } in &changes {
                let Some((_, new)) = values else { continue };
                let line = line(name, new);
                let again = load(&line).unwrap_or_else(|| panic!("{text}: told as {line}"));
                let (differences, _) = super::changes(&again, &options);
                let differs = differences.iter().any(|it| it.name == *name);
                assert!(!differs, "{text}: told as {line}, which is {differences:?}");
            }
            (!changes.is_empty()).then_some(())
        };
        let mut untold = Vec::new();
        for key in KEYS {
            let (block, keys) = match key.kind {
                Kind::Block(keys) => (Some(key.name), keys),
                Kind::Structure(_) => continue,
                _ => (None, std::slice::from_ref(key)),
            };
            for key in keys {
                let text = |value: &&&str| match block {
                    Some(block) => format!("{block} {{ {}: {value} }}", key.name),
                    None => format!("{}: {value}", key.name),
                };
                let is_login = ["user", "password", "token"].contains(&key.name);
                let count = VALUES
                    .iter()
                    .filter(|value| told(&text(value)).is_some())
                    .count();
                if count == 0 && !is_login {
                    untold.push(key.name);
                }
            }
        }
        assert!(untold.is_empty(), "{untold:?}");
        for text in [
            "server_tags: [a, \"b c\"]",
            "server_metadata { \"a b\": \"c: d\" }",
            "host: \"::1\"",
        ] {
            assert!(told(text).is_some(), "{text}");
        }
    }
}
