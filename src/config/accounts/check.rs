//! Checks between definitions: named accounts exist, imports have a matching export, and
//! there is no circle of imports.

use super::{AccountConfig, Export, ExportKind, Import, ImportKind};
use crate::{
    config::options::problems::Problems,
    subject::{intersect, is_subset},
};

/// Reports what is wrong with these accounts together.
pub fn check(accounts: &[AccountConfig], problems: &mut Problems) {
    let before = problems.errors.len();
    let find = |name: &str| accounts.iter().find(|account| account.name == name);
    for account in accounts {
        for export in &account.exports {
            for name in export.accounts.iter().filter(|name| find(name).is_none()) {
                let text = format!(
                    "export of {:?} to account {name:?}, which is not defined",
                    export.subject
                );
                problems.error(&export.position, text);
            }
        }
        for import in &account.imports {
            let checked = match find(&import.account) {
                None => Err("which is not defined"),
                Some(source) => check_import(account, import, source),
            };
            if let Err(why) = checked {
                problems.error(
                    &import.position,
                    format!("{}, {why}", describe(account, import)),
                );
            }
        }
        for import in duplicates(account) {
            problems.error(
                &import.position,
                format!("{} twice", describe(account, import)),
            );
        }
    }
    if problems.errors.len() == before
        && let Some((import, text)) = find_cycle(accounts)
    {
        problems.error(&import.position, text);
    }
}

fn describe(account: &AccountConfig, import: &Import) -> String {
    format!(
        "account {:?} imports the {} {:?} from account {:?}",
        account.name,
        import.kind.name(),
        import.export_subject,
        import.account
    )
}

/// Whether `source` exports it, and to this account.
fn check_import(
    account: &AccountConfig,
    import: &Import,
    source: &AccountConfig,
) -> Result<(), &'static str> {
    let is_service = matches!(import.kind, ImportKind::Service { .. });
    let mut exports = source
        .exports
        .iter()
        .filter(|export| matches!(export.kind, ExportKind::Service { .. }) == is_service)
        .filter(|export| is_subset(import.export_subject.as_bytes(), export.subject.as_bytes()))
        .peekable();
    if exports.peek().is_none() {
        return Err("which has no such export");
    }
    match exports.any(|export| is_open_to(export, &account.name, &import.export_subject)) {
        true => Ok(()),
        false => Err("which does not export it to this account"),
    }
}

fn is_open_to(export: &Export, account: &str, subject: &str) -> bool {
    match export.account_token_position {
        0 => export.accounts.is_empty() || export.accounts.iter().any(|name| name == account),
        position => subject.split('.').nth(position - 1) == Some(account),
    }
}

/// Duplicate imports of one account.
fn duplicates(account: &AccountConfig) -> impl Iterator<Item = &Import> {
    let is_same = |one: &Import, other: &Import| {
        one.account == other.account
            && match (&one.kind, &other.kind) {
                (ImportKind::Service { .. }, ImportKind::Service { .. }) => {
                    one.local_subject == other.local_subject
                }
                (ImportKind::Stream { .. }, ImportKind::Stream { .. }) => {
                    one.export_subject == other.export_subject
                }
                _ => false,
            }
    };
    let imports = account.imports.iter().enumerate();
    imports
        .filter(move |(at, import)| {
            account.imports[..*at]
                .iter()
                .any(|other| is_same(import, other))
        })
        .map(|(_, import)| import)
}

/// An import and the account that has it.
#[derive(Clone, Copy)]
struct Step<'a> {
    account: &'a AccountConfig,
    import: &'a Import,
}

impl Step<'_> {
    /// Whether what this import provides is passed on by the other one: unchanged, or as
    /// mapped by the account in between. Mappings apply to requests only.
    fn leads_to(&self, other: &Step<'_>) -> bool {
        let is_service = |import: &Import| matches!(import.kind, ImportKind::Service { .. });
        let export_subject = self.import.export_subject.as_bytes();
        let goes_on =
            |subject: &[u8]| intersect(subject, other.import.local_subject.as_bytes()).is_some();
        self.import.account == other.account.name
            && is_service(self.import) == is_service(other.import)
            && (goes_on(export_subject)
                || is_service(self.import)
                    && mapped(other.account, export_subject).any(|subject| goes_on(&subject)))
    }
}

/// The results of an account's mappings for subjects that match a pattern.
fn mapped<'a>(account: &'a AccountConfig, pattern: &'a [u8]) -> impl Iterator<Item = Vec<u8>> + 'a {
    account.mappings.iter().flat_map(move |mapping| {
        let source = intersect(pattern, mapping.subject.as_bytes());
        let in_clusters = mapping.clusters.iter().flat_map(|(_, ways)| ways);
        let ways = mapping.destinations.iter().chain(in_clusters);
        ways.filter_map(move |way| Some(way.transform.apply_to_pattern(source.as_deref()?)))
    })
}

/// The first import that leads back to itself, with its way.
fn find_cycle(accounts: &[AccountConfig]) -> Option<(&Import, String)> {
    let steps: Vec<Step<'_>> = accounts
        .iter()
        .flat_map(|account| {
            let imports = account.imports.iter();
            imports.map(move |import| Step { account, import })
        })
        .collect();
    let mut done = vec![false; steps.len()];
    for start in 0..steps.len() {
        if let Some(way) = follow(&steps, start, &mut done) {
            let names = way
                .iter()
                .map(|at| describe(steps[*at].account, steps[*at].import));
            let text = format!(
                "imports form a cycle: {}",
                names.collect::<Vec<_>>().join("; ")
            );
            return Some((steps[way[0]].import, text));
        }
    }
    None
}

/// Follows all imports from `start`, without recursion: a configuration may be deep.
/// Returns a circle if there is one.
fn follow(steps: &[Step<'_>], start: usize, done: &mut [bool]) -> Option<Vec<usize>> {
    // Each step with the index of the next one to visit from there.
    let mut way = vec![(start, 0)];
    while let Some((at, next)) = way.last_mut() {
        let (at, candidate) = (*at, *next);
        if done[at] || candidate == steps.len() {
            done[at] = true;
            way.pop();
            continue;
        }
        *next += 1;
        // An account may import its own service: a request goes through that once.
        if at == candidate || !steps[at].leads_to(&steps[candidate]) {
            continue;
        }
        if let Some(seen) = way.iter().position(|(known, _)| *known == candidate) {
            return Some(way[seen..].iter().map(|(at, _)| *at).collect());
        }
        way.push((candidate, 0));
    }
    None
}
