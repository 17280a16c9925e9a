//! `midge config explain`: the effective configuration, each setting with its value and the
//! place it comes from. Of blocks and lists that are taken over as a whole it shows what the file
//! says, in their whole depth ([`mod@written`]). Secrets are not shown.
//!
//! The command line reads file and flags as for a start and hands over what it has read
//! ([`explain`]); `main` prints the [`Explain`].

mod written;

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
};

use serde::Serialize;

use super::{
    options::{
        Options,
        cluster::ClusterOptions,
        keys::TOP,
        plan::{self, Change},
        reading::nearest,
        table::{Described as _, ReloadKind, Row},
    },
    syntax::{Map, Position, Value},
};
use written::{Described, written};

/// Shown for a value that may hold secrets or is too long for a line.
const HIDDEN: &str = "(not shown)";

/// Shown for a setting that is hidden and not set.
const UNSET: &str = "unset";

/// Where the value of a setting comes from.
#[derive(Clone, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case", tag = "kind")]
pub enum Origin {
    /// A file.
    File {
        /// The file, as it was named.
        file: String,
        /// The line of the key.
        line: u32,
    },
    /// A flag of the command line.
    Flag {
        /// The flag.
        flag: String,
    },
    /// Nobody has set it.
    Default,
    /// It follows from other settings.
    Derived,
}

impl Origin {
    /// The place of a key in a file.
    pub(super) fn at(position: &Position) -> Self {
        Self::File {
            file: position.file.to_string(),
            line: position.line,
        }
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { file, line } => write!(f, "{file}:{line}"),
            Self::Flag { flag } => write!(f, "command line: {flag}"),
            Self::Default => f.write_str("default"),
            Self::Derived => f.write_str("derived from other settings"),
        }
    }
}

/// A setting.
#[derive(Clone, Debug, Serialize)]
pub struct Setting {
    /// The key, after that of its block.
    pub name: String,
    /// Its value as it would be written in a file.
    pub value: String,
    /// Where that comes from.
    pub origin: Origin,
    /// The expected value.
    #[serde(rename = "type")]
    pub form: String,
    /// The default; empty if there is none.
    pub default: String,
    /// `live`, or why it needs a restart.
    pub reload: String,
    /// What it sets.
    pub doc: String,
}

/// The settings that were asked for.
#[derive(Debug)]
pub struct Explain {
    settings: Vec<Setting>,
    /// Whether one key was asked for, which is shown in full.
    is_one: bool,
    json: bool,
}

impl Explain {
    /// What is printed.
    pub fn text(&self) -> String {
        if self.json {
            // A plain tree of texts.
            let text = serde_json::to_string_pretty(&self.settings).unwrap_or_default();
            return text + "\n";
        }
        let settings = self.settings.iter();
        match self.is_one {
            true => settings.map(in_full).collect(),
            false => {
                let heads: Vec<String> = settings
                    .clone()
                    .map(|setting| format!("{}: {}", setting.name, setting.value))
                    .collect();
                let width = heads.iter().map(|head| head.chars().count().min(48)).max();
                let width = width.unwrap_or_default();
                let lines = heads.iter().zip(settings);
                let lines =
                    lines.map(|(head, setting)| format!("{head:width$}  {}\n", setting.origin));
                lines.collect()
            }
        }
    }
}

fn in_full(setting: &Setting) -> String {
    let Setting {
        name,
        value,
        origin,
        form,
        default,
        reload,
        doc,
    } = setting;
    let default = match &**default {
        "" => "none",
        default => default,
    };
    let reload = match &**reload {
        "live" => "takes effect while the broker runs".to_owned(),
        "" => "with its block".to_owned(),
        why => format!("needs a restart: {why}"),
    };
    format!(
        "{name}: {value}\n  from:    {origin}\n  type:    {form}\n  default: {default}\n  reload:  \
         {reload}\n  {doc}\n"
    )
}

/// Explains the settings of these options, or those of one key or block. `file` is what the
/// configuration file has, `flags` what the command line sets.
///
/// # Errors
///
/// There is no such key.
pub(super) fn explain(
    options: &Options,
    file: Option<&Map>,
    flags: &[(String, String)],
    key: Option<&str>,
    json: bool,
) -> Result<Explain, String> {
    let rows = rows();
    let mut origins = BTreeMap::new();
    if let Some(map) = file {
        note_file(map, &rows, &mut origins);
    }
    for (name, flag) in flags {
        let flag = flag.clone();
        origins.insert(name.clone(), Origin::Flag { flag });
    }
    let differing = differing(options);
    let effective = plan::effective(options).into_iter().map(|change| {
        let Change {
            name,
            values,
            takes,
        } = change;
        let is_default = !differing.contains(&name);
        let origin = origins.get(&name).cloned();
        let setting = Setting {
            value: match values {
                Some((value, _)) => value,
                None if is_default => UNSET.to_owned(),
                None => HIDDEN.to_owned(),
            },
            origin: origin.unwrap_or(match is_default {
                true => Origin::Default,
                false => Origin::Derived,
            }),
            reload: reload_text(Some(takes)),
            ..described(&rows, &name)
        };
        Setting { name, ..setting }
    });
    let mut settings: Vec<Setting> = effective.collect();
    // What blocks and lists that are taken over as a whole say in the file.
    let known: HashSet<String> = settings.iter().map(|it| it.name.clone()).collect();
    let written = file.map(written).unwrap_or_default().into_iter();
    settings.extend(written.filter(|it| !known.contains(&it.path)).map(|it| {
        let row = it.row;
        let text = |of: fn(&Described) -> &str| row.as_ref().map_or("", of).to_owned();
        Setting {
            value: it.value,
            origin: it.origin,
            form: text(|row| row.form),
            default: text(|row| row.default),
            reload: reload_text(rows.get(&it.path).and_then(|row| row.reload)),
            doc: text(|row| row.doc),
            name: it.path,
        }
    }));
    let Some(key) = key else {
        return Ok(Explain {
            settings,
            is_one: false,
            json,
        });
    };
    let name = find(&rows, key);
    let begin = match &name {
        Ok(name) => name.clone(),
        Err(_) => plain(key),
    };
    let is_wanted = |it: &Setting| is_in(&plain(&it.name), &begin);
    let is_listed = settings.iter().any(|it| plain(&it.name) == begin);
    let own = match name {
        Ok(name) if !is_listed => Some(unlisted(&rows, &origins, &settings, &name)),
        Err(error) if !settings.iter().any(is_wanted) => return Err(error),
        Ok(_) | Err(_) => None,
    };
    let inner = settings.iter().filter(|it| is_wanted(it)).cloned();
    let wanted: Vec<Setting> = own.into_iter().chain(inner).collect();
    Ok(Explain {
        settings: wanted,
        is_one: true,
        json,
    })
}

/// A name for comparisons: in lower case, with blanks for dots.
fn plain(name: &str) -> String {
    name.trim().to_ascii_lowercase().replace('.', " ")
}

/// Whether a name is that of a block, or of something in it.
fn is_in(name: &str, block: &str) -> bool {
    let rest = name.strip_prefix(block);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with([' ', '[']))
}

/// A key without a setting of its own: it sets what another key sets as well, or it is a block.
fn unlisted(
    rows: &BTreeMap<String, Row>,
    origins: &BTreeMap<String, Origin>,
    settings: &[Setting],
    name: &str,
) -> Setting {
    let block = name.rsplit_once(' ').map_or("", |(block, _)| block);
    let sets = rows.get(name).map_or("", |row| row.sets);
    let sets = format!("{block} {sets}");
    let same = settings.iter().find(|it| it.name == sets.trim_start());
    let origin = origins.get(name).cloned();
    let (value, origin) = match (same, origin) {
        (Some(same), _) => (same.value.clone(), same.origin.clone()),
        (None, Some(origin)) => ("{…}".to_owned(), origin),
        (None, None) => (UNSET.to_owned(), Origin::Default),
    };
    Setting {
        value,
        origin,
        ..described(rows, name)
    }
}

/// The rows of all keys and of those in their blocks, by name.
fn rows() -> BTreeMap<String, Row> {
    let mut rows = BTreeMap::new();
    for mut row in TOP.table().rows {
        let name = row.names[0];
        for inner in row.blocks.drain(..).flat_map(|table| table.rows) {
            rows.insert(format!("{name} {}", inner.names[0]), inner);
        }
        rows.insert(name.to_owned(), row);
    }
    rows
}

/// The name of a key that is written as `a`, `a b` or `a.b`, perhaps by another name of it.
fn find(rows: &BTreeMap<String, Row>, key: &str) -> Result<String, String> {
    let key = plain(key);
    let (block, last) = match key.rsplit_once(' ') {
        Some((block, last)) => (format!("{block} "), last),
        None => (String::new(), &*key),
    };
    let fits = |(name, row): &(&String, &Row)| {
        let prefix = name
            .rsplit_once(' ')
            .map_or(0, |(block, _)| block.len() + 1);
        name[..prefix] == block[..] && row.names.contains(&last)
    };
    if let Some((name, _)) = rows.iter().find(fits) {
        return Ok(name.clone());
    }
    let names = rows.values().flat_map(|row| row.names.iter().copied());
    Err(match nearest(last, names) {
        Some(known) => format!("there is no key {key:?}; did you mean {known:?}?"),
        None => format!("there is no key {key:?}; docs/configuration.md lists them"),
    })
}

fn described(rows: &BTreeMap<String, Row>, name: &str) -> Setting {
    let row = rows.get(name);
    let text =
        |of: fn(&Row) -> &'static str| row.map_or_else(String::new, |row| of(row).to_owned());
    Setting {
        name: name.to_owned(),
        value: String::new(),
        origin: Origin::Default,
        form: text(|row| row.form),
        default: text(|row| row.usual.default().unwrap_or_default()),
        reload: reload_text(row.and_then(|row| row.reload)),
        doc: text(|row| row.doc),
    }
}

fn reload_text(kind: Option<ReloadKind>) -> String {
    match kind {
        Some(ReloadKind::Live) => "live".to_owned(),
        Some(ReloadKind::Restart(why)) => why.to_owned(),
        None => String::new(),
    }
}

/// Names of the settings that differ from their defaults.
fn differing(options: &Options) -> Vec<String> {
    let default = Options {
        cluster: options.cluster.as_ref().map(|_| ClusterOptions::default()),
        ..Options::default()
    };
    let (changes, _) = plan::changes(&default, options);
    changes.into_iter().map(|change| change.name).collect()
}

/// Notes where the keys of a file are, by the settings that they decide.
fn note_file(map: &Map, rows: &BTreeMap<String, Row>, origins: &mut BTreeMap<String, Origin>) {
    for entry in map.entries_as_written() {
        let Ok(name) = find(rows, &entry.key) else {
            continue;
        };
        let origin = Origin::at(&entry.position);
        let decided = TOP
            .find(&entry.key)
            .map(|key| key.settings(&entry.node.value));
        let sets = rows.get(&name).map(|row| row.sets);
        for name in decided.unwrap_or_default().iter().copied().chain(sets) {
            origins.insert(name.to_owned(), origin.clone());
        }
        let Value::Map(inner) = &entry.node.value else {
            continue;
        };
        for entry in inner.entries_as_written() {
            let Ok(inner) = find(rows, &format!("{name} {}", entry.key)) else {
                continue;
            };
            let origin = Origin::at(&entry.position);
            let row = rows.get(&inner);
            if let Some(row) = row {
                origins.insert(format!("{name} {}", row.sets), origin.clone());
            }
            if matches!(entry.node.value, Value::Integer(_) | Value::String(_))
                && row.is_some_and(|row| row.names[0] == "listen")
            {
                origins.insert(format!("{name} port"), origin.clone());
            }
        }
    }
}

#[cfg(test)]
mod tests;
