//! What differs between two sets of options, and what of it a running broker can
//! take over. `server::reload` asks and acts.

use super::Options;

/// How a setting is changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Takes {
    /// While the broker runs.
    Effect,
    /// With the next start.
    Restart,
}

/// One setting that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// Its name: the key's.
    pub name: &'static str,
    /// The old and the new value as they are shown. Empty where the value may
    /// hold secrets.
    pub values: Option<(String, String)>,
    /// What it takes.
    pub takes: Takes,
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
            changes.push(shown(stringify!($effect), &$old.$effect, &$new.$effect, Takes::Effect));
        })*
        $(if $old.$hidden != $new.$hidden {
            changes.push(Change {
                name: stringify!($hidden),
                values: None,
                takes: Takes::Effect,
            });
        })*
        $(if $old.$restart != $new.$restart {
            changes.push(shown(
                stringify!($restart), &$old.$restart, &$new.$restart, Takes::Restart,
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
            ports_file_dir, diagnosis, system_account, no_system_account, allow_non_tls,
            monitor,
        }
        ignored { host_is_safe_default, config_file, config_digest, cluster }
    };
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
                takes: Takes::Restart,
            });
        }
        return;
    };
    let mut taken = after.clone();
    let mut keep = |name, old: &dyn std::fmt::Debug, new: &dyn std::fmt::Debug| {
        let (old, new) = (text(&old), text(&new));
        if old != new {
            changes.push(Change {
                name,
                values: Some((old, new)),
                takes: Takes::Restart,
            });
        }
    };
    keep("cluster name", &before.name, &after.name);
    keep("cluster host", &before.host, &after.host);
    keep("cluster port", &before.port, &after.port);
    taken.name.clone_from(&before.name);
    taken.host.clone_from(&before.host);
    taken.port = before.port;
    if taken != *before {
        // It holds passwords.
        changes.push(Change {
            name: "cluster",
            values: None,
            takes: Takes::Effect,
        });
    }
    merged.cluster = Some(taken);
}

fn shown<T: std::fmt::Debug>(name: &'static str, old: &T, new: &T, takes: Takes) -> Change {
    Change {
        name,
        values: Some((text(old), text(new))),
        takes,
    }
}

/// A value as somebody reads it: what is not set is `unset`, and what is set is
/// itself.
fn text(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    let inner = text
        .strip_prefix("Some(")
        .and_then(|it| it.strip_suffix(')'));
    match (&*text, inner) {
        ("None", _) => "unset".into(),
        (_, Some(inner)) => inner.to_owned(),
        _ => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            [("max_payload", Takes::Effect), ("port", Takes::Restart)]
        );
        assert_eq!((merged.port, merged.max_payload), (old.port, 77));
        assert!(super::changes(&old, &old).0.is_empty());
    }
}
