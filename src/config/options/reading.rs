//! From the entries of a block to what its table stores them in: the one reader of
//! values, for every block.
//!
//! [`Block::read`] is called for the whole file by [`super::apply`], for inner blocks
//! by the readers of their keys; [`set`] also by the flags of the command line.

use std::time::Duration;

use monitor_client::text::without_login;

use super::{
    duration::parse_duration,
    problems::{Problems, wrong_type},
    table::{Block, Key, Kind, NoEffect},
};
use crate::{
    config::syntax::{Entry, Map, Node, Value},
    security::secret::Secret,
};

/// Ports as they are written: -1 is any free one.
pub(super) const PORTS: std::ops::RangeInclusive<i64> = -1..=65_535;

impl<T> Block<T> {
    /// Reads a block that a key has as its value. Returns it as written; what is wrong
    /// is noted in `problems`.
    pub fn read_node<'a>(
        &self,
        into: &mut T,
        node: &'a Node,
        name: &str,
        problems: &mut Problems,
    ) -> Option<&'a Map> {
        let map = problems.map(node, name)?;
        self.read(into, map, problems);
        Some(map)
    }

    /// Reads the entries of a block, in the order in which they were written.
    pub fn read(&self, into: &mut T, map: &Map, problems: &mut Problems) {
        for entry in map.entries_as_written() {
            self.read_entry(into, entry, problems);
        }
    }

    /// Reads one entry of the block.
    pub(super) fn read_entry(&self, into: &mut T, entry: &Entry, problems: &mut Problems) {
        let key = match self.find(&entry.key) {
            Some(key) => key,
            // A key that was used as a variable may have any name.
            None if entry.used => return,
            None => return problems.error(&entry.position, self.unknown_key(&entry.key)),
        };
        match &key.kind {
            Kind::Block(block) => {
                block.read_node(into, &entry.node, key.name, problems);
            }
            Kind::Structure { read, .. } => read(into, entry, problems),
            _ => match set(key, into, &entry.key, &entry.node.value) {
                Ok(None) => {}
                Ok(Some(warning)) => problems.warn(&entry.position, warning),
                Err(text) => problems.error(&entry.position, text),
            },
        }
    }

    fn unknown_key(&self, key: &str) -> String {
        let known = self.keys().flat_map(Key::names);
        let place = match self.place {
            "" => String::new(),
            place => format!(" in {place}"),
        };
        match nearest(&key.to_ascii_lowercase(), known) {
            Some(known) => format!("unknown key {key:?}{place}; did you mean {known:?}?"),
            None => format!("unknown key {key:?}{place}"),
        }
    }
}

/// The entry of a key of this name, in any case.
pub(in crate::config) fn entry_of<'a>(map: &'a Map, names: &[&str]) -> Option<&'a Entry> {
    let mut entries = map.entries();
    entries.find(|entry| names.contains(&&*entry.key.to_ascii_lowercase()))
}

/// Stores a value under a key that was written as `name`. Returns a warning if there is
/// one; the error says what is wrong with the value.
pub(in crate::config) fn set<T>(
    key: &Key<T>,
    into: &mut T,
    name: &str,
    value: &Value,
) -> Result<Option<String>, String> {
    let expected = |what: &str| wrong_type(name, what, value);
    match (&key.kind, value) {
        (Kind::Address(set), Value::Integer(port)) => set(into, None, port_in_range(*port)?),
        (Kind::Address(set), Value::String(text)) => {
            let (host, port) = parse_address(text)?;
            set(into, Some(host), port);
        }
        (Kind::Address(_), _) => return Err(expected("PORT or \"HOST:PORT\"")),
        (Kind::Block(_) | Kind::Structure { .. }, _) => return Err(expected("a block: { … }")),
        (Kind::Bool(set), Value::Bool(value)) => set(into, *value),
        (Kind::Bool(_), _) => return Err(expected("true or false, without quotes")),
        (Kind::Duration { min, set, .. }, Value::String(text)) => {
            set(into, at_least(*min, name, parse_duration(text)?)?);
        }
        (Kind::Duration { min, seconds, set }, Value::Integer(count)) if *seconds => {
            let time = u64::try_from(*count).map(Duration::from_secs);
            let time = time.map_err(|_| format!("{name:?} must not be negative"))?;
            let nanoseconds = i64::try_from(time.as_nanos());
            nanoseconds.map_err(|_| format!("{name:?} is too long a time"))?;
            set(into, at_least(*min, name, time)?);
            return Ok(Some(seconds_warning(name, *count)));
        }
        (Kind::Duration { .. }, _) => return Err(expected("a duration such as \"30s\"")),
        (Kind::Integer(range, set) | Kind::Size(range, set), Value::Integer(number)) => {
            if !range.contains(number) {
                let (low, high) = (range.start(), range.end());
                return Err(format!(
                    "{name:?} must be from {low} to {high}, not {number}"
                ));
            }
            set(into, *number);
        }
        (Kind::Integer(..), Value::String(text)) if text.parse::<i64>().is_ok() => {
            return Err(format!(
                "{name:?} must be a whole number: write it without quotes"
            ));
        }
        (Kind::Integer(..), _) => return Err(expected("a whole number")),
        (Kind::Size(..), _) => {
            return Err(expected("a number of bytes such as 64MB, without quotes"));
        }
        (Kind::Seconds(set), _) => set(into, seconds(name, value)?),
        (Kind::Secret(set), Value::String(text)) => {
            set(
                into,
                Secret::new(text).map_err(|why| format!("{name:?} {why}"))?,
            );
        }
        (Kind::Text(set), Value::String(text)) => set(into, text)?,
        (Kind::Secret(_) | Kind::Text(_), _) => {
            return Err(expected("a string in quotes"));
        }
        (Kind::NoEffect(key), value) => return no_effect(key, name, value),
        (
            Kind::Refused {
                asks_for_nothing, ..
            },
            value,
        ) if asks_for_nothing(value) => {}
        (Kind::Refused { why, .. }, _) => return Err(format!("{name:?} {why}")),
    }
    Ok(None)
}

fn no_effect(key: &NoEffect, name: &str, value: &Value) -> Result<Option<String>, String> {
    if !(key.accepts)(value) {
        return Err(wrong_type(name, key.expected, value));
    }
    let is_missed = !(key.asks_for_nothing)(value);
    Ok(is_missed.then(|| format!("{name:?} has no effect: {}", key.reason)))
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

/// Seconds, with or without a fraction, or a duration such as `"2s"`.
fn seconds(name: &str, value: &Value) -> Result<Duration, String> {
    let seconds = match value {
        Value::Integer(seconds) => *seconds as f64,
        Value::Float(seconds) => *seconds,
        Value::String(text) => return parse_duration(text),
        _ => {
            return Err(wrong_type(
                name,
                "seconds or a duration such as \"2s\"",
                value,
            ));
        }
    };
    // A duration beyond the range of nanoseconds cannot be added to a clock.
    let time = Duration::try_from_secs_f64(seconds).ok();
    let time = time.filter(|time| i64::try_from(time.as_nanos()).is_ok());
    time.ok_or_else(|| format!("{name:?} must be a time, not {seconds} seconds"))
}

/// Checks that it can be a port as it is written.
pub(super) fn port_in_range(port: i64) -> Result<i64, String> {
    match PORTS.contains(&port) {
        true => Ok(port),
        false => Err(format!("{port} is not a port: write 0 to 65535, or -1")),
    }
}

/// `HOST:PORT`; an IPv6 host in brackets, an empty host for the default.
pub(super) fn parse_address(text: &str) -> Result<(String, i64), String> {
    let shown = without_login(text);
    let wrong = || format!("{shown:?} is not HOST:PORT; an IPv6 address needs brackets");
    let (host, port) = text.rsplit_once(':').ok_or_else(wrong)?;
    let bare = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
    if bare.is_none() && host.contains([':', '[', ']']) {
        return Err(wrong());
    }
    let number: i64 = port.parse().map_err(|_| wrong())?;
    Ok((bare.unwrap_or(host).into(), port_in_range(number)?))
}

/// The known name that is most like this one, if one is near.
pub(in crate::config) fn nearest(
    name: &str,
    known: impl Iterator<Item = &'static str>,
) -> Option<&'static str> {
    // The first letter is rarely mistyped; short words would be near to anything.
    let (distance, nearest) = known
        .filter(|known| known.chars().next() == name.chars().next())
        .map(|known| (distance(name, known), known))
        .min()?;
    (distance <= 1 + name.len() / 4).then_some(nearest)
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
