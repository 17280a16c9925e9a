//! `/pathz?subject=S`: who would get a message to a subject, and who would not, and why. Nothing is
//! sent: the message goes through the code that delivers, as [`account::survey`](crate::account::survey).
//!
//! The publisher is the user `user`, the connection `cid` with the permissions it has, or somebody
//! without restrictions in `account` (the global account, if nothing is given). A user whose rules
//! name `{{certname}}` needs `certname` as well. With `routed` the message comes from another broker,
//! whose answer named this one. `limit` is the number of rows listed.

use std::sync::{Arc, atomic::Ordering};

use monitor_client::{PathWay, Pathz, text::quoted};

use super::{super::Monitor, page::Page, pathz_text, query::Query, refusal::Refusal};
use crate::{
    account::{Account, GLOBAL_ACCOUNT, survey::survey},
    client::{is_reserved, is_served},
    connection::{Connection, Kind},
    protocol::message_trace::survey::{Surveyed, WayStep},
    security::{
        permissions::{Permissions, TemplateValues},
        users::{Authorization, SoleLogin, User},
    },
    subject,
    telemetry::MonotonicMillis,
};

/// What the answer says if nothing is asked.
const NO_SUBJECT: &str = "no subject is given: ask for /pathz?subject=orders.create&user=NAME (or \
                          account=NAME, or cid=NUMBER)";

/// Accounts that notes name.
const NOTES_MAX: usize = 20;

/// Who would publish.
struct Publisher {
    account: Arc<Account>,
    user: String,
    connection: Option<Arc<Connection>>,
    /// What it may do; `None` permits everything.
    permissions: Option<Arc<Permissions>>,
    /// Whether the connection was asked with this very subject as a reply.
    may_respond: bool,
}

/// The answer.
///
/// # Errors
///
/// A parameter is wrong, or names nobody.
pub fn answer(monitor: &Monitor, query: &Query) -> Result<Pathz, Refusal> {
    let page = Page::parse(query)?;
    let mut pathz = Pathz {
        server_id: monitor.server.id.clone(),
        server_name: monitor.server.name.clone(),
        now: monitor.now_text(),
        ..Pathz::default()
    };
    let subject = query.bytes("subject");
    if subject.is_empty() {
        pathz.permission = NO_SUBJECT.into();
        return Ok(pathz);
    }
    check(monitor, subject)?;
    let publisher = publisher(monitor, query, subject)?;
    pathz.subject = String::from_utf8_lossy(subject).into_owned();
    pathz.account.clone_from(&publisher.account.name);
    pathz.user.clone_from(&publisher.user);
    pathz.cid = publisher.connection.as_ref().map_or(0, |it| it.cid);
    (pathz.permitted, pathz.permission) = publisher.judge(subject);
    if !pathz.permitted {
        return Ok(pathz);
    }
    let accounts = &monitor.server.broker.accounts;
    let broker = &monitor.server.broker;
    let is_served = |account: &str, subject: &[u8]| {
        let account = accounts.find(account);
        account.is_some_and(|account| is_served(broker, &account, subject))
    };
    let sender = publisher.connection.as_ref();
    let sender = sender.map(|it| (it, it.echo.load(Ordering::Relaxed)));
    let Surveyed {
        ways,
        receivers,
        receivers_max,
        left_out,
        incomplete,
    } = survey(
        &publisher.account,
        subject,
        sender,
        query.boolean("routed")?,
        page.limit,
        is_served,
    );
    pathz.notes = notes(monitor, &ways);
    pathz.ways = ways;
    pathz.receivers = receivers;
    pathz.receivers_max = receivers_max;
    pathz.left_out = left_out;
    pathz.incomplete = incomplete;
    Ok(pathz)
}

/// The answer as text for people.
///
/// # Errors
///
/// As [`answer`].
pub fn page(monitor: &Monitor, query: &Query) -> Result<String, Refusal> {
    Ok(pathz_text::text(&answer(monitor, query)?))
}

fn check(monitor: &Monitor, subject: &[u8]) -> Result<(), Refusal> {
    let max = monitor.server.broker.limits.current().max_control_line;
    if subject.len() > max {
        return Err(Refusal::bad_request(format!(
            "'subject' has {} bytes; no client can publish to more than {max} (max_control_line)",
            subject.len()
        )));
    }
    match subject::is_publishable(subject) {
        true => Ok(()),
        false => Err(Refusal::bad_request(format!(
            "'subject' {} is not one that a message is published to: tokens with dots between them, \
             without wildcards and blanks",
            quoted(subject)
        ))),
    }
}

/// Who is asked about.
fn publisher(monitor: &Monitor, query: &Query, subject: &[u8]) -> Result<Publisher, Refusal> {
    let [user, account, cid] = ["user", "account", "cid"].map(|name| query.text(name));
    let given = [&user, &account, &cid];
    if given.iter().filter(|it| !it.is_empty()).count() > 1 {
        return Err(Refusal::bad_request(
            "give one of 'user', 'account' and 'cid'".into(),
        ));
    }
    if !cid.is_empty() {
        return of_connection(monitor, query.unsigned("cid")?, subject);
    }
    if !user.is_empty() {
        return of_user(monitor, &user, &query.text("certname"));
    }
    let name = match &*account {
        "" => GLOBAL_ACCOUNT,
        name => name,
    };
    Ok(Publisher {
        account: account_called(monitor, name)?,
        user: String::new(),
        connection: None,
        permissions: None,
        may_respond: false,
    })
}

fn of_connection(monitor: &Monitor, cid: u64, subject: &[u8]) -> Result<Publisher, Refusal> {
    let broker = &monitor.server.broker;
    let connection = broker.registry.find(cid);
    let Some(connection) = connection.filter(|found| found.kind == Kind::Client) else {
        return Err(Refusal::bad_request(format!("no client has the cid {cid}")));
    };
    let identity = connection.identity.lock().clone();
    if identity.account.is_empty() {
        return Err(Refusal::bad_request(format!("cid {cid} has not logged in")));
    }
    let guard = connection.guard.lock().clone();
    let grants = guard.as_ref().and_then(|guard| guard.grants.as_ref());
    let now = MonotonicMillis::now();
    let is_granted = grants.is_some_and(|grants| grants.permits(subject, now));
    Ok(Publisher {
        account: account_called(monitor, &identity.account)?,
        user: identity.user,
        connection: Some(connection),
        permissions: guard.map(|guard| guard.permissions.clone()),
        may_respond: is_granted,
    })
}

fn of_user(monitor: &Monitor, name: &str, certname: &str) -> Result<Publisher, Refusal> {
    let options = monitor.server.options();
    let Authorization { users, sole, .. } = &options.authorization;
    let user: Option<&User> = users.iter().find(|user| user.name == name);
    let is_sole = matches!(sole, Some(SoleLogin::User { name: known, .. }) if known == name);
    // Without any login everybody is in the global account, whatever user he names.
    let is_anybody = users.is_empty() && sole.is_none();
    if user.is_none() && !is_sole && !is_anybody {
        return Err(Refusal::bad_request(format!(
            "the configuration has no user {}",
            quoted(name.as_bytes())
        )));
    }
    let names = TemplateValues {
        user: name,
        certname,
    };
    let rules = user.and_then(|user| user.permissions.as_ref());
    let permissions = rules.map(|rules| rules.for_login(names)).transpose();
    let permissions = permissions.map_err(|why| {
        Refusal::bad_request(format!(
            "the permissions of this user depend on who logs in: {why}; give 'certname', or ask \
             about a connection with 'cid'"
        ))
    })?;
    Ok(Publisher {
        account: account_called(monitor, user.map_or(GLOBAL_ACCOUNT, |user| &user.account))?,
        user: name.to_owned(),
        connection: None,
        permissions: permissions.map(Arc::new),
        may_respond: false,
    })
}

fn account_called(monitor: &Monitor, name: &str) -> Result<Arc<Account>, Refusal> {
    monitor.server.broker.accounts.find(name).ok_or_else(|| {
        let name = quoted(name.as_bytes());
        Refusal::bad_request(format!("there is no account {name}"))
    })
}

impl Publisher {
    /// Whether it may publish to `subject`, and what decides that.
    fn judge(&self, subject: &[u8]) -> (bool, String) {
        if is_reserved(subject, self.account.is_system) {
            return (false, "only brokers publish to such subjects".into());
        }
        let Some(permissions) = &self.permissions else {
            let text = match (&self.connection, &*self.user) {
                (None, "") => "no user was asked about: permissions are not looked at",
                _ => "the user has no restrictions",
            };
            return (true, text.into());
        };
        match permissions.judge_publish(subject) {
            Ok(Some(rule)) => (true, format!("allowed by publish.allow {rule}")),
            Ok(None) => (true, "allowed: no rule of publish.deny matches".into()),
            Err(_) if self.may_respond => (
                true,
                "allowed as a reply to a request that the client received (allow_responses)".into(),
            ),
            Err(rule) => {
                let why = match rule {
                    Some(rule) => format!("denied by publish.deny {rule}"),
                    None => "denied: no rule of publish.allow matches".into(),
                };
                let unless = match permissions.responses() {
                    Some(_) => {
                        "; it may be published as a reply to a request that the client \
                                received (allow_responses)"
                    }
                    None => "",
                };
                (false, why + unless)
            }
        }
    }
}

/// Accounts that import the stream and have no subscription to it.
fn notes(monitor: &Monitor, ways: &[PathWay]) -> Vec<String> {
    let accounts = &monitor.server.broker.accounts;
    let mut notes = Vec::new();
    // What came from another account does not go on to a third.
    let own = [WayStep::Publish, WayStep::Mapping].map(WayStep::name);
    let is_own = |way: &&PathWay| own.contains(&&*way.step) && !way.subject.is_empty();
    for way in ways.iter().filter(is_own) {
        let Some(account) = accounts.find(&way.account) else {
            continue;
        };
        let is_mapped =
            |other: &PathWay| other.from == Some(way.id) && other.step == WayStep::Mapping.name();
        if ways.iter().any(is_mapped) {
            continue;
        }
        for importer in accounts.all() {
            if notes.len() == NOTES_MAX {
                return notes;
            }
            let imports = importer.imports();
            let subject = way.subject.as_bytes();
            let local = imports.and_then(|imports| imports.imported_as(&account, subject));
            let Some(local) = local else {
                continue;
            };
            if importer.sublist.lookup(&local).is_empty() {
                notes.push(format!(
                    "account {} imports this stream as {}, and nobody there has subscribed to it at \
                     this broker",
                    importer.name,
                    String::from_utf8_lossy(&local)
                ));
            }
        }
    }
    notes
}
