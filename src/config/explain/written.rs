//! What the blocks and lists of a file say, in their whole depth: each value with its place and the
//! key that describes it. The names of keys tell a secret from what may be shown; where a file has
//! a key that no table knows, its value is not shown.

use monitor_client::text::without_login;

use super::{HIDDEN, Origin};
use crate::{
    config::{
        options::{
            keys::{TOP, tables},
            table::{Described as _, Row, Table},
        },
        syntax::{Entry, Map, Node, Position, Value},
    },
    protocol::nkey::UserSeed,
};

/// Keys of blocks with names of the operator's choice in place of keys: accounts, subjects.
const NAMED: [&str; 2] = ["accounts", "mappings"];

/// Values of one list that are shown in one line.
const SHOWN_MAX: usize = 32;

/// A value of a file.
pub(super) struct Written {
    /// The keys that lead to it, with the numbers of the items of lists.
    pub(super) path: String,
    /// The value, as far as it may be shown.
    pub(super) value: String,
    /// Where it is.
    pub(super) origin: Origin,
    /// Type, default and meaning of its key.
    pub(super) row: Option<Described>,
}

/// What is known of a key.
#[derive(Clone)]
pub(super) struct Described {
    pub(super) form: &'static str,
    pub(super) default: &'static str,
    pub(super) doc: &'static str,
}

/// All values in the blocks and lists of a file.
pub(super) fn written(file: &Map) -> Vec<Written> {
    let secrets = tables().into_iter().flat_map(|table| table.rows);
    let secrets = secrets.filter(|row| row.is_secret);
    let mut walk = Walk {
        secrets: secrets.flat_map(|row| row.names).collect(),
        written: Vec::new(),
    };
    let top = [TOP.table()];
    for entry in file.entries_as_written() {
        if let (Value::Map(_) | Value::Array(_), Some(row)) =
            (&entry.node.value, row_of(&top, &entry.key))
        {
            let place = Place {
                path: row.names[0].to_owned(),
                row: Some(row),
                has_names: has_names(row),
                is_secret: row.is_secret,
            };
            walk.value(&entry.node, &entry.position, &place);
        }
    }
    walk.written
}

/// The row of a key in one of these tables.
fn row_of<'a>(tables: &'a [Table], key: &str) -> Option<&'a Row> {
    let key = key.to_ascii_lowercase();
    let mut rows = tables.iter().flat_map(|table| &table.rows);
    rows.find(|row| row.names.iter().any(|name| *name == key))
}

/// Whether the value of a key is a block with names of the operator's choice in place of keys.
fn has_names(row: &Row) -> bool {
    NAMED.contains(&row.names[0]) && !row.blocks.is_empty()
}

/// Where a value is, and what describes it.
struct Place<'a> {
    path: String,
    row: Option<&'a Row>,
    /// Whether what comes next is a name and not a key.
    has_names: bool,
    /// Whether it, or something that it is in, is not to be shown.
    is_secret: bool,
}

struct Walk {
    /// The names of secrets in any block.
    secrets: Vec<&'static str>,
    written: Vec<Written>,
}

impl Walk {
    fn value(&mut self, node: &Node, position: &Position, place: &Place<'_>) {
        match &node.value {
            Value::Map(map) if !map.is_empty() => {
                for entry in map.entries_as_written() {
                    let inner = self.inner(entry, place);
                    self.value(&entry.node, &entry.position, &inner);
                }
            }
            Value::Array(items) if items.iter().any(is_nested) => {
                for (number, item) in items.iter().enumerate() {
                    let path = format!("{}[{number}]", place.path);
                    self.value(item, &item.position, &Place { path, ..*place });
                }
            }
            value => self.written.push(Written {
                path: place.path.clone(),
                value: shown(value, place.is_secret),
                origin: Origin::at(position),
                row: place.row.map(|row| Described {
                    form: row.form,
                    default: row.usual.default().unwrap_or_default(),
                    doc: row.doc,
                }),
            }),
        }
    }

    /// The place of an entry of a block.
    fn inner<'a>(&self, entry: &Entry, place: &Place<'a>) -> Place<'a> {
        let path = |name: &str| format!("{} {name}", place.path);
        if place.has_names {
            return Place {
                path: path(&entry.key),
                has_names: false,
                ..*place
            };
        }
        let row = place.row.and_then(|row| row_of(&row.blocks, &entry.key));
        let key = entry.key.to_ascii_lowercase();
        Place {
            path: path(row.map_or(&entry.key, |row| row.names[0])),
            row,
            has_names: row.is_some_and(has_names),
            is_secret: place.is_secret
                || row.is_none_or(|row| row.is_secret)
                || self.secrets.contains(&&*key),
        }
    }
}

fn is_nested(node: &Node) -> bool {
    matches!(&node.value, Value::Map(_) | Value::Array(_))
}

/// A value of a file, as far as it may be shown.
fn shown(value: &Value, is_secret: bool) -> String {
    match value {
        _ if is_secret => HIDDEN.to_owned(),
        Value::Array(items) => {
            let begin = items.iter().take(SHOWN_MAX);
            let mut texts: Vec<String> = begin.map(|item| shown(&item.value, false)).collect();
            if items.len() > SHOWN_MAX {
                texts.push(format!("… {} more", items.len() - SHOWN_MAX));
            }
            format!("[{}]", texts.join(", "))
        }
        Value::Bool(value) => value.to_string(),
        Value::DateTime(value) => value.to_rfc3339(),
        Value::Float(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Map(_) => "{}".to_owned(),
        // Where a key may be a public one as well, as that of a user, its name does not tell.
        Value::String(text) if UserSeed::parse(text).is_ok() => HIDDEN.to_owned(),
        Value::String(text) => format!("{:?}", without_login(text)),
    }
}
