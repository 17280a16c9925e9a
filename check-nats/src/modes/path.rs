//! Mode `path`: who would get a message to a subject. The broker is asked; nothing is sent. Only
//! midge can tell.

use std::fmt::Write;

use monitor_client::{Kind, PathSubscription, PathWay, Pathz, text::query_value};

use super::{
    Check, Failure, Status,
    need::{Need, must, of_midge},
};
use crate::{
    deadline::Step,
    metric::RECEIVERS,
    text::{plural, quoted, quoted_subject},
};

/// The mode's name.
pub const NAME: &str = "path";

/// Lines with `-v`.
const NAMED_MAX: usize = 20;

/// What is asked about.
#[derive(Clone, Debug, Default)]
pub struct PathQuery {
    /// The subject.
    pub subject: String,
    /// The user who publishes; empty for anybody.
    pub user: String,
    /// The account that anybody publishes in; empty for the user's, or the global one.
    pub account: String,
}

pub(super) static NEEDS: &[Need] = &[of_midge(
    "/pathz",
    Step::Pathz,
    "only midge tells who would get a message",
    &[
        must("server_id", Kind::Text),
        must("permitted", Kind::Flag),
        must("permission", Kind::Text),
        must("receivers", Kind::Count),
        must("receivers_max", Kind::Count),
        must("ways", Kind::List),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let query = check.options.path.clone();
    let answer: Pathz = check.ask(&path(&query))?;
    let subject = quoted_subject(&answer.subject);
    let from = match &*answer.user {
        "" => format!("account {}", quoted(&answer.account)),
        user => format!("user {}", quoted(user)),
    };
    let report = &mut check.report;
    if !answer.permitted {
        let text = format!("{from} may not publish to {subject}: {}", answer.permission);
        report.total(RECEIVERS.label, Some(0.0));
        report.say(Status::Critical, &text);
        return Ok(());
    }
    let (least, most) = (answer.receivers, answer.receivers_max);
    let count = match least == most {
        true => plural(least, "receiver"),
        false => format!("{least} to {}", plural(most, "receiver")),
    };
    let phrase = format!("a message to {subject} from {from} reaches {count}");
    report.state(RECEIVERS.label, least, None, &phrase);
    if let Some(expected) = check.options.expect
        && least < expected as u64
    {
        let text = format!("{} expected", plural(expected, "receiver"));
        report.advise(Status::Critical, &text, RECEIVERS.remedy);
    }
    report.detail(1, &format!("permission: {}", answer.permission));
    for line in answer.ways.iter().flat_map(lines).take(NAMED_MAX) {
        report.detail(1, &line);
    }
    for note in &answer.notes {
        report.detail(1, note);
    }
    Ok(())
}

/// One line for each row of a way.
fn lines(way: &PathWay) -> Vec<String> {
    let place = quoted_subject(&way.subject);
    let subscription = |row: &PathSubscription| {
        let verdict = match row.gets {
            true => "gets it".to_owned(),
            false => format!("does not get it: {}", row.reason),
        };
        format!("{place}: cid {} {} {verdict}", row.cid, quoted(&row.name))
    };
    let plain = way.subscriptions.iter().map(subscription);
    let queues = way.queues.iter().map(|queue| {
        format!(
            "{place}: queue group {}: {} ({} here, {} of other brokers)",
            quoted(&queue.queue),
            queue.rule,
            queue.candidates,
            queue.peers.iter().map(|peer| peer.weight).sum::<u64>()
        )
    });
    let members = way.members.iter().map(|member| {
        let verdict = match member.gets {
            true => "gets it".to_owned(),
            false => format!("does not get it: {}", member.reason),
        };
        format!("{place}: broker {} {verdict}", quoted(&member.name))
    });
    plain.chain(queues).chain(members).collect()
}

/// The path with its query.
fn path(query: &PathQuery) -> String {
    let mut path = format!("/pathz?subject={}", query_value(&query.subject));
    for (name, value) in [("user", &query.user), ("account", &query.account)] {
        if !value.is_empty() {
            let _ = write!(path, "&{name}={}", query_value(value));
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_is_escaped() {
        let query = PathQuery {
            subject: "orders.$é&a".into(),
            account: "A B".into(),
            ..PathQuery::default()
        };
        assert_eq!(
            path(&query),
            "/pathz?subject=orders.%24%C3%A9%26a&account=A%20B"
        );
    }
}
