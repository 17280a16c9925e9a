//! The answer of `/pathz` as text for people.

use std::fmt::Write;

use monitor_client::{PathQueue, PathSubscription, PathWay, Pathz, text::plural};

use super::explainz::printable;

/// The page.
pub(super) fn text(pathz: &Pathz) -> String {
    let name = printable(&pathz.server_name);
    if pathz.subject.is_empty() {
        return format!("{name}: {}\n", pathz.permission);
    }
    let mut text = format!(
        "{name}: a message to {} from {} reaches {}\n",
        printable(&pathz.subject),
        publisher(pathz),
        receivers(pathz)
    );
    let _ = writeln!(text, "permission: {}", printable(&pathz.permission));
    let mut depths: Vec<usize> = Vec::new();
    for way in &pathz.ways {
        let from = way.from.and_then(|from| usize::try_from(from).ok());
        let depth = from
            .and_then(|from| depths.get(from))
            .map_or(0, |it| it + 1);
        depths.push(depth);
        let is_mapped = |other: &PathWay| other.from == Some(way.id) && other.step == "mapping";
        let is_end = !pathz.ways.iter().any(is_mapped);
        add_way(&mut text, way, &"  ".repeat(depth), is_end);
    }
    if pathz.left_out > 0 {
        let _ = writeln!(text, "({} not listed)", plural(pathz.left_out, "row"));
    }
    if pathz.incomplete {
        text += "(there are more ways than are followed: the counts are too low)\n";
    }
    for note in &pathz.notes {
        let _ = writeln!(text, "note: {}", printable(note));
    }
    text
}

fn publisher(pathz: &Pathz) -> String {
    let account = printable(&pathz.account);
    match (pathz.cid, &*pathz.user) {
        (0, "") => format!("account {account}"),
        (0, user) => format!("user {} (account {account})", printable(user)),
        (cid, "") => format!("cid {cid} (account {account})"),
        (cid, user) => format!("cid {cid}, user {} (account {account})", printable(user)),
    }
}

fn receivers(pathz: &Pathz) -> String {
    match (pathz.receivers, pathz.receivers_max) {
        (0, 0) => "nobody".into(),
        (least, most) if least == most => plural(least, "receiver"),
        (least, most) => format!("{least} to {}", plural(most, "receiver")),
    }
}

/// `is_end`: the message is not mapped to elsewhere.
fn add_way(text: &mut String, way: &PathWay, indent: &str, is_end: bool) {
    let share = match way.weight {
        100 => String::new(),
        weight => format!(" ({weight} % of the messages)"),
    };
    let place = match &*way.subject {
        "" => "nowhere".into(),
        subject => format!(
            "{} in account {}",
            printable(subject),
            printable(&way.account)
        ),
    };
    let rule = match &*way.rule {
        "" => String::new(),
        rule => format!("{}: ", printable(rule)),
    };
    let _ = writeln!(text, "\n{indent}{rule}{place}{share}");
    let mut line = |written: std::fmt::Arguments<'_>| {
        let _ = writeln!(text, "{indent}  {written}");
    };
    if way.served_by_broker {
        line(format_args!("the broker itself answers"));
    }
    if way.pruned > 0 {
        line(format_args!(
            "{} not followed: the path would be endless or too long",
            plural(way.pruned, "import")
        ));
    }
    for subscription in &way.subscriptions {
        line(format_args!(
            "{}",
            subscription_text(subscription, "gets it")
        ));
    }
    let listed = way.subscriptions.len() as u64;
    let counted = way.delivered + way.withheld;
    if counted > listed {
        line(format_args!(
            "{} in all: {} get it, {} do not",
            plural(counted, "subscription"),
            way.delivered,
            way.withheld
        ));
    }
    for queue in &way.queues {
        line(format_args!("{}", queue_text(queue)));
        for member in &queue.members {
            line(format_args!(
                "  {}",
                subscription_text(member, "may get it")
            ));
        }
        for peer in &queue.peers {
            let verdict = match peer.candidate {
                true => "may get it",
                false => "does not get it",
            };
            line(format_args!(
                "  broker {}, {}, {verdict}",
                printable(&peer.name),
                plural(peer.weight, "member")
            ));
        }
    }
    for member in &way.members {
        let verdict = match member.gets {
            true => "gets it for its subscribers".into(),
            false => format!("does not get it: {}", member.reason),
        };
        line(format_args!("broker {} {verdict}", printable(&member.name)));
    }
    let is_empty = counted == 0 && way.queues.is_empty() && way.members.is_empty();
    if is_end && is_empty && !way.served_by_broker && !way.subject.is_empty() {
        line(format_args!("nobody has subscribed to it"));
    }
}

fn queue_text(queue: &PathQueue) -> String {
    format!(
        "queue group {}: {} ({} of {} here)",
        printable(&queue.queue),
        queue.rule,
        queue.candidates,
        plural(queue.candidates + queue.withheld, "member")
    )
}

fn subscription_text(subscription: &PathSubscription, verdict: &str) -> String {
    let name = match &*subscription.name {
        "" => String::new(),
        name => format!(" {}", printable(name)),
    };
    let account = match &*subscription.account {
        "" => String::new(),
        account => format!(" of account {}", printable(account)),
    };
    let verdict = match subscription.gets {
        true => verdict.to_owned(),
        false => format!("does not get it: {}", printable(&subscription.reason)),
    };
    let renamed = match subscription.account.is_empty() {
        true => String::new(),
        false => format!(" as {}", printable(&subscription.subject)),
    };
    format!(
        "cid {}{name}{account}, subscribed to {}, {verdict}{renamed}",
        subscription.cid,
        printable(&subscription.subscribed)
    )
}

#[cfg(test)]
mod tests {
    use monitor_client::{PathMember, PathPeer};

    use super::*;

    #[test]
    fn the_text_says_who_gets_it_and_why_others_do_not() {
        let subscription = |cid, gets, reason: &str| PathSubscription {
            cid,
            name: "app\x1b[2J".into(),
            subscribed: "orders.*".into(),
            subject: "orders.new".into(),
            gets,
            reason: reason.into(),
            ..PathSubscription::default()
        };
        let pathz = Pathz {
            server_name: "east".into(),
            subject: "orders.new".into(),
            account: "A".into(),
            user: "alice".into(),
            permitted: true,
            permission: "allowed by publish.allow \"orders.>\"".into(),
            receivers: 2,
            receivers_max: 3,
            ways: vec![
                PathWay {
                    account: "A".into(),
                    subject: "orders.new".into(),
                    weight: 100,
                    ..PathWay::default()
                },
                PathWay {
                    id: 1,
                    from: Some(0),
                    rule: "mapping orders.* to v2.$1".into(),
                    account: "A".into(),
                    subject: "v2.new".into(),
                    weight: 30,
                    delivered: 1,
                    withheld: 1,
                    subscriptions: vec![
                        subscription(7, true, ""),
                        subscription(8, false, "it is closed"),
                    ],
                    queues: vec![PathQueue {
                        queue: "q".into(),
                        rule: "one of all members".into(),
                        candidates: 1,
                        members: vec![subscription(9, true, "")],
                        peers: vec![PathPeer {
                            name: "west".into(),
                            weight: 2,
                            candidate: true,
                        }],
                        ..PathQueue::default()
                    }],
                    members: vec![PathMember {
                        name: "north".into(),
                        gets: true,
                        ..PathMember::default()
                    }],
                    ..PathWay::default()
                },
            ],
            ..Pathz::default()
        };
        let text = text(&pathz);
        for part in [
            "east: a message to orders.new from user alice (account A) reaches 2 to 3 receivers",
            "permission: allowed by publish.allow \"orders.>\"",
            "\n\norders.new in account A\n",
            "\n  mapping orders.* to v2.$1: v2.new in account A (30 % of the messages)\n",
            "cid 7 app\\u{1b}[2J, subscribed to orders.*, gets it",
            "cid 8 app\\u{1b}[2J, subscribed to orders.*, does not get it: it is closed",
            "queue group q: one of all members (1 of 1 member here)",
            "cid 9 app\\u{1b}[2J, subscribed to orders.*, may get it",
            "broker west, 2 members, may get it",
            "broker north gets it for its subscribers",
        ] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
