//! A row of the table of flags; parsing and `--help` are generated from the table, which is
//! in [`super::list`]. The text of a flag for a key is that of the key's row.

use super::{list::FLAGS, login::LoginPart, tls::TlsFlag};
use crate::config::options::{Options, cluster::CLUSTER, keys::TOP};

/// A flag of the command line.
pub(super) struct Flag {
    /// Its names without dashes. One or two dashes may precede each.
    pub(super) names: &'static [&'static str],
    /// What it does.
    pub(super) action: Action,
    /// How its value is called in the help; empty for a boolean.
    pub(super) value: &'static str,
    /// Its heading in the help.
    pub(super) group: Group,
    /// What it does, in a few words; empty for the text of its key.
    pub(super) doc: &'static str,
}

/// What a flag does.
pub(super) enum Action {
    /// Compares with this file.
    Against,
    /// Sets something of the cluster that has a form of its own.
    Cluster(fn(&mut Options, &str) -> Result<(), String>),
    /// Sets a key of the block `cluster`.
    ClusterKey(&'static str),
    /// Names the configuration file.
    Config,
    /// Compares the file with the running broker.
    Diff,
    /// Names the form of the output.
    Format,
    /// Prints the help.
    Help,
    /// Sets a part of the one login there is.
    Login(LoginPart),
    /// Nothing, with a warning: why.
    Ignored(&'static str),
    /// Sets keys of the configuration file.
    Set(&'static [&'static str]),
    /// Sends a signal to a running broker.
    Signal,
    /// Tests the configuration file.
    Test,
    /// Sets something of the block `tls`.
    Tls(TlsFlag),
    /// Prints the version.
    Version,
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Group {
    Server,
    Cluster,
    Tls,
    Logging,
    Ignored,
    Common,
}

impl Group {
    pub(super) const ALL: [(Group, &'static str); 6] = [
        (Group::Server, "Server options"),
        (Group::Cluster, "Cluster options"),
        (Group::Tls, "TLS options"),
        (Group::Logging, "Logging options"),
        (Group::Ignored, "Options without effect"),
        (Group::Common, "Common options"),
    ];
}

impl Flag {
    /// Whether the flag has no value or is followed by `=true` or `=false`.
    pub(super) fn is_boolean(&self) -> bool {
        self.value.is_empty()
    }

    /// What it does; for a flag of one key the text of the key's row.
    pub(super) fn doc(&self) -> String {
        let (doc, usual) = match self.action {
            Action::Set([name]) if self.doc.is_empty() => match TOP.find(name) {
                Some(key) => (key.doc, key.usual.default()),
                None => return String::new(),
            },
            Action::ClusterKey(name) => match CLUSTER.find(name) {
                Some(key) => (key.doc, key.usual.default()),
                None => return String::new(),
            },
            _ => return self.doc.into(),
        };
        let doc = doc.replace('`', "");
        match usual {
            Some(usual) => format!("{} ({})", doc.trim_end_matches('.'), usual.replace('"', "")),
            None => doc.trim_end_matches('.').into(),
        }
    }
}

/// The flag of a name without dashes.
pub(super) fn find_flag(name: &str) -> Option<&'static Flag> {
    FLAGS.iter().find(|flag| flag.names.contains(&name))
}

/// The help text.
pub(super) fn help(program: &str) -> String {
    let mut text = format!(
        "Usage: {program} [options]\n       {program} top [options] [URL]    what is wrong with a broker, live ({program} top --help)\n       {program} config explain [KEY] [options]    each setting, its value and where it comes from\n       {program} config nats-context [options]    the context of the system account for the command nats\n"
    );
    for (group, title) in Group::ALL {
        text.push_str(&format!("\n{title}:\n"));
        for flag in FLAGS.iter().filter(|flag| flag.group == group) {
            let names: Vec<String> = flag.names.iter().map(|name| dashed(name)).collect();
            let head = format!("{} {}", names.join(", "), flag.value);
            text.push_str(&format!("    {head:<36} {}\n", flag.doc()));
        }
    }
    text
}

/// A flag's name with the dashes it is usually written with.
pub(super) fn dashed(name: &str) -> String {
    let long = name.len() > 3 || name == "net" || name == "pid" || name == "log";
    format!("{}{name}", if long { "--" } else { "-" })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::options::table::Kind;

    /// A flag without a value sets only booleans, one with a value none.
    #[test]
    fn flags_fit_the_keys_they_set() {
        for flag in FLAGS {
            let Action::Set(keys) = flag.action else {
                continue;
            };
            for name in keys {
                let key = TOP.find(name).unwrap_or_else(|| panic!("{name} is no key"));
                let boolean = matches!(key.kind, Kind::Bool(_));
                assert_eq!(boolean, flag.is_boolean(), "{name}");
            }
        }
        for flag in FLAGS {
            if let Action::ClusterKey(name) = flag.action {
                let key = CLUSTER.find(name);
                let key = key.unwrap_or_else(|| panic!("{name} is no key of the cluster"));
                let boolean = matches!(key.kind, Kind::Bool(_));
                assert_eq!(boolean, flag.is_boolean(), "{name}");
            }
            assert!(!flag.doc().is_empty(), "{:?} says nothing", flag.names);
        }
    }

    #[test]
    fn no_name_is_used_twice() {
        let mut names: Vec<&str> = FLAGS.iter().flat_map(|flag| flag.names).copied().collect();
        let count = names.len();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), count);
    }

    #[test]
    fn the_help_names_every_flag() {
        let help = help("midge");
        for name in FLAGS.iter().flat_map(|flag| flag.names) {
            assert!(help.contains(&dashed(name)), "{name}");
        }
    }
}
