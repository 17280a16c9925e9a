//! Accounts as the configuration defines them: `accounts`, `mappings` and
//! `system_account`.
//!
//! [`read()`] makes typed definitions of a block and [`check()`] compares them with each other:
//! an import without an export, or a circle of imports, is reported with its line. The
//! module `account` builds the accounts from definitions that passed.

mod check;
mod latency;
mod mapping;
mod read;
mod sharing;
#[cfg(test)]
mod tests;

pub use check::check;
pub use mapping::MAPPING;
pub use read::{ACCOUNT, check_system_account, read, read_global_mappings};

use std::time::Duration;

use super::{
    options::{Options, table::FieldAccess},
    syntax::Position,
};
use crate::subject::transform::{Renaming, Transform};

pub use crate::security::users::GLOBAL_ACCOUNT;

/// The system account unless the configuration names another.
pub const DEFAULT_SYSTEM_ACCOUNT: &str = "$SYS";

/// Default for how long a reply to an imported service may take.
pub const RESPONSE_THRESHOLD: Duration = Duration::from_secs(2 * 60);

/// What a reload compares of accounts: their definitions and their users, regardless of
/// their position in the file.
pub const ACCOUNTS_ACCESS: FieldAccess<Options> = FieldAccess {
    same: |one, other| {
        let users = |it: &Options| {
            let users = it.authorization.users.iter();
            let users = users.filter(|user| user.account != GLOBAL_ACCOUNT);
            users.cloned().collect::<Vec<_>>()
        };
        placeless(&one.accounts) == placeless(&other.accounts) && users(one) == users(other)
    },
    copy: |to, from| {
        to.accounts.clone_from(&from.accounts);
        to.authorization.clone_from(&from.authorization);
    },
    written: None,
};

/// What a reload compares of the mappings of the global account.
pub const MAPPINGS_ACCESS: FieldAccess<Options> = FieldAccess {
    same: |one, other| {
        let mappings = |it: &Options| {
            let mut mappings = it.mappings.clone();
            mappings.iter_mut().for_each(Mapping::forget_place);
            mappings
        };
        mappings(one) == mappings(other)
    },
    copy: |to, from| to.mappings.clone_from(&from.mappings),
    written: None,
};

fn placeless(accounts: &[AccountConfig]) -> Vec<AccountConfig> {
    let mut accounts = accounts.to_vec();
    for account in &mut accounts {
        let exports = account.exports.iter_mut().map(|it| &mut it.position);
        let imports = account.imports.iter_mut().map(|it| &mut it.position);
        exports.chain(imports).for_each(|it| *it = nowhere());
        account.mappings.iter_mut().for_each(Mapping::forget_place);
    }
    accounts
}

fn nowhere() -> Position {
    Position {
        file: "".into(),
        line: 0,
        column: 0,
    }
}

impl Mapping {
    fn forget_place(&mut self) {
        self.position = nowhere();
    }
}

/// One account.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AccountConfig {
    /// Its name.
    pub name: String,
    /// Limits of its connections.
    pub limits: AccountLimits,
    /// Its exports to other accounts.
    pub exports: Vec<Export>,
    /// Its imports from other accounts.
    pub imports: Vec<Import>,
    /// Mappings of subjects that its clients publish to.
    pub mappings: Vec<Mapping>,
    /// Which of its messages with a header `traceparent` are traced.
    pub tracing: Option<MessageTracing>,
}

/// Tracing of messages with a header `traceparent`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MessageTracing {
    /// The subject of the trace events.
    pub dest: String,
    /// Percent of these messages, 1 to 100.
    pub sampling: u8,
}

/// Limits of one account; `None` is unlimited.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AccountLimits {
    /// Connections of clients.
    pub max_connections: Option<usize>,
    /// Subscriptions of one connection.
    pub max_subscriptions: Option<usize>,
    /// Bytes of one message.
    pub max_payload: Option<usize>,
    /// Leafnode connections to this broker.
    pub max_leafs: Option<usize>,
}

/// An export of an account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Export {
    /// Where it was written.
    pub position: Position,
    /// The subject, wildcards included.
    pub subject: String,
    /// Messages or answers.
    pub kind: ExportKind,
    /// The accounts that may import it; empty for all.
    pub accounts: Vec<String>,
    /// Token of the subject, counted from 1, that must be the importer's name;
    /// 0 for none.
    pub account_token_position: usize,
}

impl Export {
    /// How its latency is measured, if it is a service whose latency is.
    pub fn latency(&self) -> Option<&ServiceLatency> {
        match &self.kind {
            ExportKind::Service { latency, .. } => latency.as_ref(),
            ExportKind::Stream => None,
        }
    }
}

/// Messages or answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ExportKind {
    /// Others subscribe to the messages.
    Stream,
    /// Others send requests.
    Service {
        /// How many replies a request may have.
        response: ResponseKind,
        /// How long a reply may take.
        threshold: Duration,
        /// Whether traces of a message go on in this account.
        allow_trace: bool,
        /// Whether and how its latency is measured.
        latency: Option<ServiceLatency>,
    },
}

/// How the latency of a service is measured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServiceLatency {
    /// Which requests.
    pub sampling: LatencySampling,
    /// The subject that the measurements are published to, in the account of the service.
    pub subject: String,
}

/// Which requests are measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LatencySampling {
    /// Those whose headers say that they are traced.
    Headers,
    /// So many of a hundred, and those whose headers say that they are traced.
    Percent(u8),
}

/// How many replies a request may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ResponseKind {
    /// One.
    Singleton,
    /// Any number, until they pause for longer than the threshold or one is
    /// empty.
    Stream,
}

/// An import from another account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Import {
    /// Where it was written.
    pub position: Position,
    /// Messages or answers.
    pub kind: ImportKind,
    /// The exporting account.
    pub account: String,
    /// The subject there, wildcards included.
    pub export_subject: String,
    /// The subject here, wildcards included.
    pub local_subject: String,
}

/// Messages or answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ImportKind {
    /// Requests that clients of this account send.
    Service {
        /// From the subject here to the one there.
        request: Transform,
        /// Whether the responder gets all details of the requester.
        share: bool,
    },
    /// Messages that clients of this account subscribe to.
    Stream {
        /// Between the subjects of both accounts.
        subjects: Renaming,
        /// Whether traces of a message go on in this account.
        allow_trace: bool,
    },
}

impl ImportKind {
    /// The word for it in the configuration.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Service { .. } => "service",
            Self::Stream { .. } => "stream",
        }
    }
}

/// The mapping of a published subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapping {
    /// Where it was written.
    pub position: Position,
    /// The published subject, wildcards included.
    pub subject: String,
    /// Where its messages go, by chance in proportion to the weights; what is
    /// missing from 100 is lost.
    pub destinations: Vec<Destination>,
    /// The same for brokers in the clusters of these names.
    pub clusters: Vec<(String, Vec<Destination>)>,
}

/// One way that messages of a mapping may go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    /// The subject as it was written.
    pub subject: String,
    /// The destinations of the subject.
    pub transform: Transform,
    /// Messages of a hundred.
    pub weight: u8,
}
