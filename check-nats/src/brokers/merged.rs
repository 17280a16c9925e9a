//! One report of the reports of several brokers: the first line names those that are not OK, each
//! broker has a line of its own, and its metrics carry its name.

use super::{Shared, words};
use crate::{
    metric::BROKERS_ANSWERING, options::Options, report::Report, run::Finished, status::Status,
    text::plural,
};

/// Adds to the report about all brokers how many answered, how they compare, which are not OK, and
/// the report of each. They are in the order of their names in `shared`.
pub fn merge(
    options: &Options,
    shared: &Shared,
    brokers: Vec<Finished>,
    mut whole: Report,
) -> Report {
    say_answering(&mut whole, &brokers);
    if let Some(joint) = &options.mode.joint {
        (joint.compare)(shared, &mut whole);
    }
    for (status, names, text) in grouped(shared.names(), &brokers) {
        whole.say(status, &format!("{}: {text}", words::list(names)));
    }
    let well = brokers
        .iter()
        .filter(|broker| broker.report.status() == Status::Ok);
    match well.count() {
        0 => (),
        well => whole.say(
            Status::Ok,
            &format!("{well} of {} OK", plural(brokers.len(), "broker")),
        ),
    }
    for (name, broker) in shared.names().iter().zip(brokers) {
        whole.add_broker(name, broker.report);
    }
    whole
}

fn say_answering(whole: &mut Report, brokers: &[Finished]) {
    let silent = brokers.iter().filter(|broker| !broker.answered);
    let worst = silent.map(|broker| broker.report.status()).max();
    let asked = brokers.len();
    let answering = brokers.iter().filter(|broker| broker.answered).count();
    let (label, limit) = (BROKERS_ANSWERING.label, Some(asked as f64));
    whole.watch(label, answering as f64, limit, "");
    if let Some(worst) = worst {
        whole.say(
            worst,
            &format!("{answering} of {} answered", plural(asked, "broker")),
        );
    }
}

/// What is not OK, and at which brokers: the same text of several brokers is one entry. Those that
/// did not answer come first: what the others say may be its consequence.
fn grouped<'a>(names: &'a [String], brokers: &[Finished]) -> Vec<(Status, Vec<&'a str>, String)> {
    let mut groups: Vec<(Status, Vec<&str>, String)> = Vec::new();
    let mut all: Vec<_> = names.iter().zip(brokers).collect();
    all.sort_by_key(|(_, broker)| broker.answered);
    for (name, broker) in all {
        let status = broker.report.status();
        if status == Status::Ok {
            continue;
        }
        let text = not_ok(&broker.report);
        let same = groups
            .iter_mut()
            .find(|(known, _, words)| *known == status && *words == text);
        match same {
            Some((_, names, _)) => names.push(name),
            None => groups.push((status, vec![name], text)),
        }
    }
    groups
}

fn not_ok(report: &Report) -> String {
    let statements = report.statements();
    let bad = statements
        .iter()
        .filter(|statement| statement.status != Status::Ok);
    let texts: Vec<&str> = bad.map(|statement| statement.text.as_str()).collect();
    match texts.is_empty() {
        // A report without statements is unknown too.
        true => "nothing was found out".to_owned(),
        false => texts.join(", "),
    }
}
