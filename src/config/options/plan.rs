//! The plan of a reload: the differences between two sets of options, and which of them a
//! running broker can adopt, according to the table. Called by `server::reload`, which acts
//! on it.

use monitor_client::control::{self, Reloaded};

use super::{
    Options,
    keys::TOP,
    table::{Block, FieldAccess, Reload, ReloadKind},
};

/// One setting that differs.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Change {
    /// The key, after that of its block.
    pub name: String,
    /// The old and the new value as they would be written in a file. Empty where the
    /// value may hold secrets or is too long for a line.
    pub values: Option<(String, String)>,
    /// What the change needs to take effect.
    pub takes: ReloadKind,
}

/// These changes as the answer of `/reload` has them.
pub fn answer(changes: &[Change]) -> Reloaded {
    let mut answer = Reloaded::default();
    for Change {
        name,
        values,
        takes,
    } in changes
    {
        let (before, after) = values.clone().unwrap_or_default();
        let mut change = control::Change {
            name: name.clone(),
            before,
            after,
            why: String::new(),
        };
        match takes {
            ReloadKind::Live => answer.applied.push(change),
            ReloadKind::Restart(why) => {
                change.why = (*why).to_owned();
                answer.needs_restart.push(change);
            }
        }
    }
    answer
}

/// Two sets of settings that are compared.
pub struct Plan<'a, T> {
    /// The options in force.
    pub old: &'a T,
    /// The options read from the file.
    pub new: &'a T,
    /// Those that are in force once all has been taken over that can be; begins as
    /// those that were read.
    pub merged: &'a mut T,
    /// The block of the keys, followed by a blank.
    prefix: String,
    /// Whether settings are listed that do not differ.
    lists_all: bool,
    changes: &'a mut Vec<Change>,
}

/// Each setting, with its value twice.
pub(in crate::config) fn effective(options: &Options) -> Vec<Change> {
    compared(options, options, true).0
}

/// What differs, and the options that are in force once all has been taken over
/// that can be.
pub fn changes(old: &Options, new: &Options) -> (Vec<Change>, Options) {
    compared(old, new, false)
}

fn compared(old: &Options, new: &Options, lists_all: bool) -> (Vec<Change>, Options) {
    let (mut changes, mut merged) = (Vec::new(), new.clone());
    let mut plan = Plan {
        old,
        new,
        merged: &mut merged,
        prefix: String::new(),
        lists_all,
        changes: &mut changes,
    };
    plan.compare(&TOP);
    (changes, merged)
}

impl<T> Plan<'_, T> {
    /// Compares the keys of a block that is stored in the same place.
    pub fn block(&mut self, name: &str, block: &Block<T>) {
        let before = std::mem::replace(&mut self.prefix, format!("{name} "));
        self.compare(block);
        self.prefix = before;
    }

    /// Compares the keys of a block that has a place of its own. Returns what of it is
    /// in force in the end.
    pub fn inner<B: Clone>(&mut self, name: &str, block: &Block<B>, old: &B, new: &B) -> B {
        let mut merged = new.clone();
        let mut plan = Plan {
            old,
            new,
            merged: &mut merged,
            prefix: format!("{}{name} ", self.prefix),
            lists_all: self.lists_all,
            changes: self.changes,
        };
        plan.compare(block);
        merged
    }

    /// Notes that something differs and waits for a restart.
    pub fn waits(&mut self, name: &str, why: &'static str, values: (String, String)) {
        self.changes.push(Change {
            name: format!("{}{name}", self.prefix),
            values: Some(values),
            takes: ReloadKind::Restart(why),
        });
    }

    fn compare(&mut self, block: &Block<T>) {
        for key in block.keys() {
            match &key.reload {
                Reload::Live(field) => self.setting(key.name, field, ReloadKind::Live),
                Reload::Restart(why, field) => {
                    self.setting(key.name, field, ReloadKind::Restart(why));
                    // Settings that need a restart stay unchanged.
                    (field.copy)(self.merged, self.old);
                }
                Reload::PerKey(compare) => compare(self),
                Reload::As(_) | Reload::WithBlock | Reload::Nothing => {}
            }
        }
    }

    fn setting(&mut self, name: &str, field: &FieldAccess<T>, takes: ReloadKind) {
        if !self.lists_all && (field.same)(self.old, self.new) {
            return;
        }
        self.changes.push(Change {
            name: format!("{}{name}", self.prefix),
            values: field
                .written
                .map(|written| (written(self.old), written(self.new))),
            takes,
        });
    }
}
