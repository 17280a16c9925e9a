//! What a key of the configuration is: one row of a table, the same in every block.
//!
//! A row defines a key's name, the type of its value and the field it sets, its default,
//! its meaning, and what a reload does with it. The reader of files ([`super::reading`]),
//! the plan of a reload ([`super::plan`]), the flags, the example file, the manual page and
//! the docs are generated from the rows, so a new key is one row and the field that it
//! sets.
//!
//! A table is generic over what its block is read into: [`super::Options`] at the
//! top, [`super::cluster::ClusterOptions`] in `cluster`, a struct of the reader's
//! own where several keys together make one value.

use std::{ops::RangeInclusive, time::Duration};

use super::problems::Problems;
use crate::{
    config::syntax::{Entry, Value},
    security::secret::Secret,
};

/// The keys of one block.
pub struct Block<T: 'static> {
    /// Its name in the tests.
    pub name: &'static str,
    /// The heading over its keys in the docs.
    pub title: &'static str,
    /// How an error about an unknown key calls it; empty at the top of the file.
    pub place: &'static str,
    /// The keys, under the headings of the example file.
    pub sections: &'static [Section<T>],
}

/// Keys that belong together.
pub struct Section<T: 'static> {
    /// The heading; empty if the block has only one section.
    pub title: &'static str,
    /// The keys.
    pub keys: &'static [Key<T>],
}

/// A key of the configuration.
pub struct Key<T: 'static> {
    /// Its name.
    pub name: &'static str,
    /// Other names for it. Names are in lower case and match any case.
    pub aliases: &'static [&'static str],
    /// The type of its value and the field that stores it.
    pub kind: Kind<T>,
    /// Its default, or an example, as it would be written.
    pub usual: Usual,
    /// What it sets, in a sentence or some.
    pub doc: &'static str,
    /// What a reload does with it.
    pub reload: Reload<T>,
}

/// The value of a key in the example file.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Usual {
    /// The default.
    Default(&'static str),
    /// The key has no default: an example.
    Example(&'static str),
}

impl Usual {
    /// The default, if there is one.
    pub fn default(self) -> Option<&'static str> {
        match self {
            Self::Default(text) => Some(text),
            Self::Example(_) => None,
        }
    }
}

/// Reads a value with rules of its own, and reports what is wrong.
pub type Read<T> = fn(&mut T, &Entry, &mut Problems);

/// The type of a key's value, and the field that stores it.
pub enum Kind<T: 'static> {
    /// `port` or `host:port`; the host is empty if none was written before a colon.
    Address(fn(&mut T, Option<String>, i64)),
    /// A block whose keys are stored in the same place.
    Block(&'static Block<T>),
    /// A boolean.
    Bool(fn(&mut T, bool)),
    /// A duration; integers are seconds if `seconds`.
    Duration {
        /// The shortest one.
        min: Duration,
        /// Whether an integer counts seconds.
        seconds: bool,
        /// Stores it.
        set: fn(&mut T, Duration),
    },
    /// A number within bounds.
    Integer(RangeInclusive<i64>, fn(&mut T, i64)),
    /// Seconds, with or without a fraction, or a duration.
    Seconds(fn(&mut T, Duration)),
    /// A password or token; plain text or a bcrypt hash.
    Secret(fn(&mut T, Secret)),
    /// A number of bytes within bounds.
    Size(RangeInclusive<i64>, fn(&mut T, i64)),
    /// A value with a reader of its own.
    Structure {
        /// The expected value, in words.
        form: &'static str,
        /// Reads and stores it.
        read: Read<T>,
        /// The tables of the blocks in it.
        blocks: &'static [&'static dyn Described],
    },
    /// A string; the error says what is wrong with it.
    Text(fn(&mut T, &str) -> Result<(), String>),
    /// A key of nats-server that is accepted and has no effect.
    NoEffect(NoEffect),
    /// A key of nats-server that is refused, because a broker that ignored it would
    /// not do what the file asks for.
    Refused {
        /// Whether a value asks for nothing, so that nothing is missing.
        asks_for_nothing: fn(&Value) -> bool,
        /// The text that follows its name: why, and what to do.
        why: &'static str,
    },
}

/// A key that is accepted and has no effect.
pub struct NoEffect {
    /// The expected value, for the error message.
    pub expected: &'static str,
    /// Whether a value is of that kind.
    pub accepts: fn(&Value) -> bool,
    /// Whether a value of that kind asks for nothing, so that nothing is missing.
    pub asks_for_nothing: fn(&Value) -> bool,
    /// Why it has no effect.
    pub reason: &'static str,
}

/// How a setting is changed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReloadKind {
    /// While the broker runs.
    Live,
    /// With the next start: why.
    Restart(&'static str),
}

/// What a reload does with a key.
pub enum Reload<T: 'static> {
    /// It takes effect while the broker runs.
    Live(FieldAccess<T>),
    /// It takes effect with the next start; the text gives the reason.
    Restart(&'static str, FieldAccess<T>),
    /// Each key of the block has its own rule; compares them.
    PerKey(fn(&mut super::plan::Plan<'_, T>)),
    /// It sets what the key of this name sets as well.
    As(&'static str),
    /// It is taken over with its block, which is taken over as a whole.
    WithBlock,
    /// It has no effect.
    Nothing,
}

/// How a setting is compared, carried over and shown.
pub struct FieldAccess<T: 'static> {
    /// Whether both are the same.
    pub same: fn(&T, &T) -> bool,
    /// Gives the first one the setting of the second.
    pub copy: fn(&mut T, &T),
    /// The value as it would be written in a file; `None` for what may hold secrets
    /// or is too long for a line.
    pub written: Option<fn(&T) -> String>,
}

/// A setting that is a field and is shown as it is written in a file; `bytes` is one
/// that counts bytes, `hidden` one that is not shown.
macro_rules! field {
    (bytes $field:ident) => {
        $crate::config::options::table::FieldAccess {
            written: Some(|it| $crate::config::options::written::bytes(&it.$field)),
            ..$crate::config::options::table::field!(hidden $field)
        }
    };
    (hidden $($field:ident).+) => {
        $crate::config::options::table::FieldAccess {
            same: |one, other| one.$($field).+ == other.$($field).+,
            copy: |to, from| to.$($field).+.clone_from(&from.$($field).+),
            written: None,
        }
    };
    ($($field:ident).+) => {
        $crate::config::options::table::FieldAccess {
            written: Some(|it| {
                $crate::config::options::written::Written::written(&it.$($field).+)
            }),
            ..$crate::config::options::table::field!(hidden $($field).+)
        }
    };
}
pub(crate) use field;

impl<T> Block<T> {
    /// All keys, in the order of the example file.
    pub fn keys(&self) -> impl Iterator<Item = &'static Key<T>> + use<T> {
        self.sections.iter().flat_map(|section| section.keys)
    }

    /// The key of a name or alias, in any case.
    pub fn find(&self, name: &str) -> Option<&'static Key<T>> {
        let name = name.to_ascii_lowercase();
        self.keys().find(|key| key.names().any(|it| it == name))
    }
}

impl<T> Key<T> {
    /// The name, and the others.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<T> {
        [self.name].into_iter().chain(self.aliases.iter().copied())
    }

    /// Whether the key does something.
    pub fn is_served(&self) -> bool {
        !matches!(self.reload, Reload::Nothing)
    }
}

impl<T> Kind<T> {
    /// The expected value, in words.
    pub fn form(&self) -> &'static str {
        match self {
            Self::Address(_) => "port or host:port",
            Self::Block(_) => "block",
            Self::Bool(_) => "boolean",
            Self::Duration { .. } => "duration",
            Self::Integer(..) => "integer",
            Self::Seconds(_) => "seconds or duration",
            Self::Secret(_) | Self::Text(_) => "string",
            Self::Size(..) => "size",
            Self::Structure { form, .. } => form,
            Self::NoEffect(NoEffect { expected, .. }) => expected,
            Self::Refused { .. } => "",
        }
    }
}

/// A table without the place that its keys are stored in, for what only describes it.
pub trait Described: Sync {
    /// The table.
    fn table(&self) -> Table;
}

/// A table of keys as the docs show it.
pub struct Table {
    /// Its name in the tests.
    pub name: &'static str,
    /// The heading over its keys.
    pub title: &'static str,
    /// Its keys.
    pub rows: Vec<Row>,
}

/// A key as the docs show it.
pub struct Row {
    /// Its heading.
    pub section: &'static str,
    /// Its names, the first one first.
    pub names: Vec<&'static str>,
    /// The expected value.
    pub form: &'static str,
    /// Its default, or an example.
    pub usual: Usual,
    /// What it sets, or why it is not served.
    pub doc: &'static str,
    /// What a reload does with it; `None` where the keys in its value define it, or the
    /// enclosing block.
    pub reload: Option<ReloadKind>,
    /// Whether the key does something.
    pub is_served: bool,
    /// The key whose setting it sets: its own, but for one of several ways to say the same.
    pub sets: &'static str,
    /// Whether its value is a secret.
    pub is_secret: bool,
    /// The tables of the blocks in its value.
    pub blocks: Vec<Table>,
}

impl<T> Described for Block<T> {
    fn table(&self) -> Table {
        let rows = self.sections.iter().flat_map(|section| {
            let keys = section.keys.iter();
            keys.map(|key| row(self, section.title, key))
        });
        Table {
            name: self.name,
            title: self.title,
            rows: rows.collect(),
        }
    }
}

fn row<T>(block: &Block<T>, section: &'static str, key: &Key<T>) -> Row {
    let same = match key.reload {
        Reload::As(name) => block.find(name).unwrap_or(key),
        _ => key,
    };
    Row {
        section,
        names: key.names().collect(),
        form: key.kind.form(),
        usual: key.usual,
        doc: match key.kind {
            Kind::NoEffect(NoEffect { reason, .. }) => reason,
            Kind::Refused { why, .. } => why,
            _ => key.doc,
        },
        reload: match same.reload {
            Reload::Live(_) => Some(ReloadKind::Live),
            Reload::Restart(why, _) => Some(ReloadKind::Restart(why)),
            _ => None,
        },
        is_served: key.is_served(),
        sets: same.name,
        is_secret: matches!(key.kind, Kind::Secret(_)),
        blocks: match key.kind {
            Kind::Block(inner) => vec![inner.table()],
            Kind::Structure { blocks, .. } => blocks.iter().map(|inner| inner.table()).collect(),
            _ => Vec::new(),
        },
    }
}

/// Every table once, those of inner blocks after the enclosing one.
pub fn all_tables(top: &dyn Described) -> Vec<Table> {
    let mut tables: Vec<Table> = Vec::new();
    let mut waiting = vec![top.table()];
    while let Some(mut table) = waiting.pop() {
        let inner = table.rows.iter_mut().flat_map(|row| row.blocks.drain(..));
        let inner: Vec<Table> = inner.collect();
        waiting.extend(inner.into_iter().rev());
        if tables.iter().all(|known| known.name != table.name) {
            tables.push(table);
        }
    }
    tables
}
