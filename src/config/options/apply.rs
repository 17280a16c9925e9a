//! From the values of a file to [`Options`]: types, bounds, contradictions.

use std::{collections::BTreeMap, fmt, path::Path};

use super::{
    ANY_HOST, Options, federation,
    keys::TOP,
    leafnodes,
    problems::Problems,
    table::{Key, Kind},
    websocket,
};
use crate::{
    config::{
        accounts::check_system_account,
        syntax::{self, Entry, Environment, Map, Position, Value},
    },
    security::{certname_pattern::CertnamePattern, users::User},
};

/// Pairs of patterns of certnames that are warned of.
const RIVALS_NAMED: usize = 20;

/// A larger `max_payload` is worth a warning.
const LARGE_PAYLOAD: usize = 8 * 1024 * 1024;

/// A message to the operator about the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Where it was written; `None` for the command line.
    pub position: Option<Position>,
    /// The message.
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
            if let Some(key) = TOP.find(&entry.key) {
                self.note(entry, key);
            }
            TOP.read_entry(&mut self.options, entry, &mut self.problems);
        }
        self.options.settle();
        self.check_together();
        self.check_monitor_login();
    }

    /// Notes what a key decides, for the rules over more than one key.
    fn note(&mut self, entry: &Entry, key: &'static Key<Options>) {
        match key.kind {
            Kind::NoEffect(_) => self.note_store(entry),
            Kind::Block(_) | Kind::Refused { .. } => {}
            _ => self.note_contradictions(entry, key),
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

    /// Of two keys for one setting the one written later wins.
    fn note_contradictions(&mut self, entry: &Entry, key: &'static Key<Options>) {
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
                "max_payload is {max_payload}: messages of more than 8 MB delay everything else on \
                 their connection; send large data in parts"
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
        if let Err(text) = self.options.check_log() {
            let position = self.decided_at(["log_format", "log_file"]);
            self.error(&position, text);
        }
        if let Err(text) = check_system_account(&self.options) {
            let position = self.decided_at(["system_account", "accounts"]);
            self.error(&position, text);
        }
        if let Err(text) = federation::check(&self.options) {
            let position = self.decided_at(["federation", "accounts"]);
            self.error(&position, text);
        }
        if let Err(text) = leafnodes::check(&self.options) {
            let position = self.decided_at(["leafnodes", "accounts"]);
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
        if let Err(text) = websocket::check(&self.options) {
            let position = self.decided_at(["websocket", "authorization"]);
            self.error(&position, text);
        }
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
        let mut others = authorization.users.iter();
        if let Some(guest) = &authorization.no_auth_user
            && !others.any(|user| user.name == *guest && user.certnames().is_none())
        {
            errors.push(format!("no_auth_user {guest:?} is not in a list of users"));
        }
        if authorization.sole.is_some() && !authorization.users.is_empty() {
            errors.push(
                "authorization cannot have a user or a token when accounts have users".into(),
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
        for text in self.rival_certnames() {
            self.warn(&position, text);
        }
    }

    /// Texts about pairs of patterns of certnames of which the file's order decides.
    fn rival_certnames(&self) -> Vec<String> {
        let users = &self.options.authorization.users;
        let patterns: Vec<&CertnamePattern> = users.iter().filter_map(User::certnames).collect();
        let pairs = patterns.iter().enumerate().flat_map(|(at, first)| {
            let later = patterns[at + 1..].iter();
            later
                .filter(move |later| *later != first && first.rivals(later))
                .map(move |later| (first, later))
        });
        let texts = pairs.take(RIVALS_NAMED).map(|(first, later)| {
            let (first, later) = (first.text(), later.text());
            format!(
                "the certificates {first:?} and {later:?} are equally specific, and some names match \
                 both: for those the first one in the file counts, {first:?}"
            )
        });
        texts.collect()
    }

    /// A user without a password could not log in.
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
