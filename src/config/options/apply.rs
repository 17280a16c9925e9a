//! From the values of a file to [`Options`]: types, bounds, contradictions.

use std::{collections::BTreeMap, fmt, path::Path, time::Duration};

use super::{
    ANY_HOST, Options,
    block::Problems,
    duration::parse_duration,
    keys::{KEYS, Key, Kind, PORTS, find_key},
    unsupported::{IGNORED, REFUSED, is_false, is_hollow},
};
use crate::{
    config::{
        accounts::check_system_account,
        syntax::{self, Entry, Environment, Map, Position, Value},
    },
    security::users::User,
};

/// A larger `max_payload` is worth a warning.
const LARGE_PAYLOAD: usize = 8 * 1024 * 1024;

/// Something to tell the operator about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it was written; `None` for the command line.
    pub position: Option<Position>,
    /// What is to be said.
    pub text: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.position {
            Some(position) => write!(f, "{position}: {}", self.text),
            None => f.write_str(&self.text),
        }
    }
}

/// Everything that is wrong with a configuration; shown one per line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(pub Vec<Diagnostic>);

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let lines: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&lines.join("\n"))
    }
}

impl std::error::Error for ConfigErrors {}

/// Reads a configuration file. The warnings do not keep the broker from
/// starting; errors are collected over the whole file.
pub fn load(
    path: &Path,
    environment: Environment,
) -> Result<(Options, Vec<Diagnostic>), ConfigErrors> {
    let map = syntax::parse_file(path, environment).map_err(|error| {
        ConfigErrors(vec![Diagnostic {
            position: Some(error.position),
            text: error.text,
        }])
    })?;
    let mut reading = Reading {
        options: Options {
            host: ANY_HOST.into(),
            host_is_safe_default: false,
            config_file: Some(path.into()),
            config_digest: syntax::digest(&map),
            ..Options::default()
        },
        file: Position {
            file: path.display().to_string().into(),
            line: 0,
            column: 0,
        },
        decided: BTreeMap::new(),
        problems: Problems::default(),
    };
    reading.all(&map);
    let Problems { errors, warnings } = reading.problems;
    match errors.is_empty() {
        true => Ok((reading.options, warnings)),
        false => Err(ConfigErrors(errors)),
    }
}

/// Stores a value under a key. Returns a warning if there is one; the error says
/// what is wrong with the value.
pub(in crate::config) fn set_key(
    options: &mut Options,
    key: &Key,
    value: &Value,
) -> Result<Option<String>, String> {
    let name = key.name;
    let expected = |what: &str| format!("{name:?} must be {what}, not {}", value.type_name());
    let mut warning = None;
    match (&key.kind, value) {
        (Kind::Address(set), Value::Integer(port)) => set(options, None, port_in_range(*port)?),
        (Kind::Address(set), Value::String(text)) => {
            let (host, port) = parse_address(text)?;
            set(options, Some(host), port);
        }
        (Kind::Address(_), _) => return Err(expected("PORT or \"HOST:PORT\"")),
        (Kind::Block(_) | Kind::Structure(_), _) => return Err(expected("a block: { … }")),
        (Kind::Bool(set), Value::Bool(value)) => set(options, *value),
        (Kind::Bool(_), _) => return Err(expected("true or false, without quotes")),
        (Kind::Duration { min, set, .. }, Value::String(text)) => {
            set(options, at_least(*min, name, parse_duration(text)?)?);
        }
        (Kind::Duration { min, seconds, set }, Value::Integer(count)) if *seconds => {
            warning = Some(seconds_warning(name, *count));
            let time = u64::try_from(*count).map(Duration::from_secs);
            let time = time.map_err(|_| format!("{name:?} must not be negative"))?;
            let nanoseconds = i64::try_from(time.as_nanos());
            nanoseconds.map_err(|_| format!("{name:?} is too long a time"))?;
            set(options, at_least(*min, name, time)?);
        }
        (Kind::Duration { .. }, _) => return Err(expected("a duration such as \"30s\"")),
        (Kind::Integer(range, set), Value::Integer(number)) => {
            if !range.contains(number) {
                let (low, high) = (range.start(), range.end());
                return Err(format!(
                    "{name:?} must be from {low} to {high}, not {number}"
                ));
            }
            set(options, *number);
        }
        (Kind::Integer(..), _) => return Err(expected("an integer, without quotes")),
        (Kind::Text(set), Value::String(text)) => set(options, text)?,
        (Kind::Text(_), _) => return Err(expected("a string; put it into quotes")),
    }
    // Whoever asks for some kind of traces asks for traces.
    options.trace |= options.trace_verbose || options.trace_headers;
    Ok(warning)
}

fn at_least(min: Duration, name: &str, time: Duration) -> Result<Duration, String> {
    match time < min {
        true => Err(format!("{name:?} must be at least {min:?}")),
        false => Ok(time),
    }
}

fn seconds_warning(name: &str, count: i64) -> String {
    let minutes = count / 1_000_000;
    if minutes > 0 && count % 1_000_000 == 0 {
        return format!(
            "{name:?} is {count} seconds: without quotes, {minutes}m means {minutes} million; \
             write \"{minutes}m\" in quotes for minutes"
        );
    }
    format!("{name:?} should be a duration with its unit: write \"{count}s\"")
}

pub(super) fn port_in_range(port: i64) -> Result<i64, String> {
    match PORTS.contains(&port) {
        true => Ok(port),
        false => Err(format!("{port} is not a port: write 0 to 65535, or -1")),
    }
}

/// `HOST:PORT`; an IPv6 host in brackets, an empty host for the default.
pub(super) fn parse_address(text: &str) -> Result<(String, i64), String> {
    let shown = harmless(text);
    let wrong = || format!("{shown:?} is not HOST:PORT; an IPv6 host needs brackets");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bare.is_none() && host.contains([':', '[', ']']) {
        return Err(wrong());
    }
    let number: i64 = port.parse().map_err(|_| wrong())?;
    Ok((bare.unwrap_or(host).into(), port_in_range(number)?))
}

/// What of a wrong address may be shown: no login before an `@`, and nothing that
/// is no number where a port should be, because it may be a password to which
/// the host is missing.
pub(super) fn harmless(address: &str) -> String {
    let address = address.rsplit_once('@').map_or(address, |(_, rest)| rest);
    match address.rsplit_once(':') {
        Some((host, port)) if !port.bytes().all(|byte| byte.is_ascii_digit()) => {
            format!("{host}:…")
        }
        _ => address.to_owned(),
    }
}

/// The state while one file is applied.
struct Reading {
    options: Options,
    /// The file as a whole.
    file: Position,
    /// Which key decided a setting, and where.
    decided: BTreeMap<&'static str, (String, Position)>,
    problems: Problems,
}

impl Reading {
    fn all(&mut self, map: &Map) {
        if map.is_empty() {
            let file = self.file.clone();
            self.warn(&file, "the configuration has no values".into());
        }
        for entry in map.entries_as_written() {
            self.entry(entry);
        }
        self.check_together();
        self.check_monitor_login();
    }

    fn entry(&mut self, entry: &Entry) {
        let name = entry.key.to_ascii_lowercase();
        let value = &entry.node.value;
        if let (Some(Kind::Block(keys)), Value::Map(map)) =
            (find_key(&name).map(|key| &key.kind), value)
        {
            for entry in map.entries_as_written() {
                self.entry_of_block(&name, keys, entry);
            }
        } else if let Some(key) = find_key(&name) {
            self.note_contradictions(entry, key);
            if let Kind::Structure(read) = key.kind {
                return read(&mut self.options, &entry.node, &mut self.problems);
            }
            match set_key(&mut self.options, key, value) {
                Ok(None) => {}
                Ok(Some(warning)) => self.warn(&entry.position, warning),
                Err(text) => self.error(&entry.position, text),
            }
        } else if let Some(ignored) = IGNORED.iter().find(|i| i.names.contains(&&*name)) {
            if !(ignored.accepts)(value) {
                let (expected, found) = (ignored.expected, value.type_name());
                let text = format!("{name:?} must be {expected}, not {found}");
                self.error(&entry.position, text);
            } else {
                self.note_store(entry);
                if (ignored.asks_for_nothing)(value) {
                    return;
                }
                let text = format!("{name:?} has no effect: {}", ignored.reason);
                self.warn(&entry.position, text);
            }
        } else if let Some(refused) = REFUSED.iter().find(|r| r.names.contains(&&*name)) {
            let asks_for_nothing = match &*name {
                "proxy_protocol" => is_false(value),
                _ => is_hollow(value),
            };
            if asks_for_nothing {
                return;
            }
            let advice = refused.advice;
            let text = format!("{name:?} is not supported by this version of midge: {advice}");
            self.error(&entry.position, text);
        } else if !entry.used {
            self.error(&entry.position, unknown_key(&entry.key));
        }
    }

    /// Streams are not served, but a folder for them that is written in two places is
    /// a mistake there too.
    fn note_store(&mut self, entry: &Entry) {
        let is_store = |key: &str| ["store", "store_dir", "storedir"].contains(&key);
        let inner = match &entry.node.value {
            Value::Map(map) => map
                .entries()
                .find(|inner| is_store(&inner.key.to_ascii_lowercase())),
            _ => None,
        };
        let found = inner.unwrap_or(entry);
        if !is_store(&found.key.to_ascii_lowercase()) {
            return;
        }
        let decision = (entry.key.clone(), found.position.clone());
        if let Some((earlier, position)) = self.decided.insert("store_dir", decision) {
            let text = format!("\"store_dir\" is written twice, also in {earlier:?} ({position})");
            self.error(&found.position, text);
        }
    }

    /// An entry of the block `block`, which has its own table of keys.
    fn entry_of_block(&mut self, block: &str, keys: &'static [Key], entry: &Entry) {
        let name = entry.key.to_ascii_lowercase();
        let Some(key) = keys.iter().find(|key| key.name == name) else {
            if !entry.used {
                let names: Vec<&str> = keys.iter().map(|key| key.name).collect();
                let text = format!(
                    "unknown key {:?} in {block:?}; known are {}",
                    entry.key,
                    names.join(", ")
                );
                self.error(&entry.position, text);
            }
            return;
        };
        match set_key(&mut self.options, key, &entry.node.value) {
            Ok(None) => {}
            Ok(Some(warning)) => self.warn(&entry.position, warning),
            Err(text) => self.error(&entry.position, text),
        }
    }

    /// Of two keys for one setting the one written later wins.
    fn note_contradictions(&mut self, entry: &Entry, key: &'static Key) {
        for setting in key.settings(&entry.node.value) {
            let decision = (entry.key.clone(), entry.position.clone());
            if let Some((earlier, position)) = self.decided.insert(setting, decision) {
                let text = format!(
                    "{:?} overrides the {setting} of {earlier:?} ({position}): \
                     the one written later counts",
                    entry.key
                );
                self.warn(&entry.position, text);
            }
        }
    }

    /// Rules over more than one key.
    fn check_together(&mut self) {
        let Options {
            max_payload,
            max_pending,
            lame_duck_duration,
            lame_duck_grace_period,
            ..
        } = self.options;
        if max_payload > LARGE_PAYLOAD {
            let position = self.decided_at(["max_payload", "max_payload"]);
            let text = format!(
                "max_payload is {max_payload}: messages of more than 8 MB hold up all that share a \
                 connection with them; send large things in parts"
            );
            self.warn(&position, text);
        }
        if max_payload > max_pending {
            let position = self.decided_at(["max_payload", "max_pending"]);
            let text = format!(
                "max_payload ({max_payload}) must not exceed max_pending ({max_pending}): \
                 a message of that size could never be delivered"
            );
            self.error(&position, text);
        }
        if let Err(text) = check_system_account(&self.options) {
            let position = self.decided_at(["system_account", "accounts"]);
            self.error(&position, text);
        }
        if lame_duck_grace_period >= lame_duck_duration {
            let position = self.decided_at(["lame_duck_grace_period", "lame_duck_duration"]);
            let text = format!(
                "lame_duck_grace_period ({lame_duck_grace_period:?}) must be shorter than \
                 lame_duck_duration ({lame_duck_duration:?})"
            );
            self.error(&position, text);
        }
        self.check_users();
    }

    fn check_users(&mut self) {
        let authorization = &self.options.authorization;
        let mut names: Vec<&str> = authorization.users.iter().map(|user| &*user.name).collect();
        names.sort_unstable();
        let twice = names.windows(2).find(|pair| pair[0] == pair[1]);
        let mut errors = Vec::new();
        if let Some([name, _]) = twice {
            errors.push(format!("the user {name:?} is written twice"));
        }
        if let Some(user) = &authorization.no_auth_user
            && names.binary_search(&&**user).is_err()
        {
            errors.push(format!("no_auth_user {user:?} is not in a list of users"));
        }
        if authorization.sole.is_some() && !authorization.users.is_empty() {
            errors.push(
                "authorization cannot have a user or a token beside users of accounts".into(),
            );
        }
        let of_system = |user: &User| user.account == self.options.system_account;
        let only_system = !names.is_empty()
            && authorization.users.iter().all(of_system)
            && !self.options.no_system_account
            && self.options.accounts.len() == 1;
        let admits_unauthenticated = only_system
            && authorization.no_auth_user.is_none()
            && !self.decided.contains_key("authorization");
        let maps = self.options.tls.as_ref().is_some_and(|tls| tls.map);
        self.options.authorization.admits_unauthenticated = admits_unauthenticated;
        self.options.authorization.maps_certificates = maps;
        let position = self.decided_at(["authorization", "no_auth_user"]);
        for text in errors {
            self.error(&position, text);
        }
    }

    /// A user without a password would let nobody in.
    fn check_monitor_login(&mut self) {
        if self.options.monitor_login.is_half() {
            let position = self.file.clone();
            let text = "\"monitor\" needs both \"user\" and \"password\", or neither";
            self.error(&position, text.into());
        }
    }

    fn decided_at(&self, settings: [&str; 2]) -> Position {
        let decided = settings.iter().find_map(|name| self.decided.get(name));
        decided.map_or(&self.file, |(_, position)| position).clone()
    }

    fn error(&mut self, position: &Position, text: String) {
        self.problems.error(position, text);
    }

    fn warn(&mut self, position: &Position, text: String) {
        self.problems.warn(position, text);
    }
}

fn unknown_key(key: &str) -> String {
    let known = KEYS
        .iter()
        .flat_map(|known| known.aliases.iter().chain([&known.name]))
        .chain(IGNORED.iter().flat_map(|ignored| ignored.names))
        .chain(REFUSED.iter().flat_map(|refused| refused.names));
    let name = key.to_ascii_lowercase();
    // Nobody mistypes the first letter; short words would be near to anything.
    let nearest = known
        .filter(|known| known.chars().next() == name.chars().next())
        .map(|known| (distance(&name, known), *known))
        .min()
        .filter(|(distance, _)| *distance <= 1 + name.len() / 4);
    match nearest {
        Some((_, known)) => format!("unknown key {key:?}; did you mean {known:?}?"),
        None => format!("unknown key {key:?}"),
    }
}

/// Least number of characters to add, remove or replace to make `b` of `a`.
/// Long keys are cut: nothing known is near them.
fn distance(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let mut row: Vec<usize> = (0..=a.len()).collect();
    for (line, letter) in b.chars().enumerate() {
        let mut corner = row[0];
        row[0] = line + 1;
        for column in 0..a.len() {
            let replaced = corner + usize::from(a[column] != letter);
            corner = row[column + 1];
            row[column + 1] = replaced.min(corner + 1).min(row[column] + 1);
        }
    }
    row[a.len()]
}
