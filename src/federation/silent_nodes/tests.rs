//! Which nodes are silent, of what came since the last sample.

use super::*;
use crate::federation::answers::Batch;

fn agents(name: &str) -> Agents {
    Agents {
        target: format!("mcollective.broadcast.agent.{name}"),
        others: Vec::new(),
    }
}

/// What is new: requests to one agent, and who has answered.
fn news(requests: u32, share: f64, heard: &[&str]) -> News {
    let batch = Batch {
        requests,
        expected: f64::from(requests) * share,
        first: MonotonicMicros(1_000_000),
    };
    let asked = (requests > 0).then(|| (agents("a"), batch));
    let mut new = News::default();
    new.asked = asked.into_iter().collect();
    new.heard = heard.iter().map(|name| (*name).into()).collect();
    new
}

fn node(name: &str, cid: u64, start: u64) -> Node {
    Node {
        name: name.to_owned(),
        cid,
        start: MonotonicMicros(start),
    }
}

/// Three nodes of which the third has connected late.
fn nodes(_: &Agents) -> Vec<Node> {
    vec![
        node("web1", 1, 1),
        node("web2", 2, 1),
        node("web3", 3, 1_000_000),
    ]
}

fn update(silent: &SilentNodes, new: &News) -> NodesView {
    silent.update(new, nodes, |_| true, HashSet::new);
    silent.view()
}

fn names(view: &NodesView) -> Vec<&str> {
    view.named.iter().map(|node| &*node.name).collect()
}

#[test]
fn a_node_is_silent_after_enough_requests_until_it_answers() {
    let silent = SilentNodes::default();
    let view = update(&silent, &news(19, 1.0, &["web1"]));
    assert_eq!((view.asked, view.unanswered, view.silent), (2, 1, 0));
    let view = update(&silent, &news(1, 1.0, &["web1"]));
    assert_eq!(names(&view), ["web2"]);
    assert_eq!((view.asked, view.unanswered, view.silent), (2, 1, 1));
    let found = &view.named[0];
    assert_eq!(
        (found.requests, found.since, found.cid),
        (20, MonotonicMillis(1000), 2)
    );
    // Nothing new changes nothing.
    assert_eq!(names(&update(&silent, &News::default())), ["web2"]);
    let view = update(&silent, &news(0, 1.0, &["web2"]));
    assert_eq!((view.unanswered, view.silent), (0, 0));
    // It begins anew.
    assert_eq!(update(&silent, &news(19, 1.0, &["web1"])).silent, 0);
}

#[test]
fn requests_whose_answers_are_shared_count_for_less() {
    let silent = SilentNodes::default();
    for _ in 0..59 {
        assert_eq!(update(&silent, &news(1, 1.0 / 3.0, &["web1"])).silent, 0);
    }
    let view = update(&silent, &news(1, 1.0 / 3.0, &["web1"]));
    assert_eq!(names(&view), ["web2"]);
    assert_eq!(view.named[0].requests, 60);
}

#[test]
fn nodes_that_leave_are_forgotten_and_lost_answers_forgive_all() {
    let silent = SilentNodes::default();
    assert_eq!(update(&silent, &news(20, 1.0, &["web1"])).silent, 1);
    silent.update(&News::default(), nodes, |cid| cid != 2, HashSet::new);
    assert_eq!(silent.view().unanswered, 0);
    assert_eq!(update(&silent, &news(20, 1.0, &["web1"])).silent, 1);
    let mut lost = news(20, 1.0, &[]);
    lost.lost = true;
    assert_eq!(update(&silent, &lost).unanswered, 0);
}

#[test]
fn several_connections_of_one_name_are_one_node() {
    let silent = SilentNodes::default();
    let twice = |_: &Agents| vec![node("web1", 1, 1), node("web1", 2, 1)];
    silent.update(&news(19, 1.0, &["web9"]), twice, |_| true, HashSet::new);
    let view = silent.view();
    assert_eq!((view.unanswered, view.silent), (1, 0));
    silent.update(&news(1, 1.0, &["web9"]), twice, |_| true, HashSet::new);
    assert_eq!(silent.view().silent, 1);
}

#[test]
fn refused_answers_are_looked_for_once() {
    let silent = SilentNodes::default();
    let none = |_: &Agents| Vec::new();
    let unexpected = || panic!("nobody is silent");
    silent.update(&news(19, 1.0, &["web1"]), nodes, |_| true, unexpected);
    let of_web2 = || HashSet::from([2]);
    silent.update(&news(1, 1.0, &["web1"]), nodes, |_| true, of_web2);
    let view = silent.view();
    assert_eq!(view.denied, 1);
    assert!(view.named[0].denied);
    silent.update(&News::default(), none, |_| true, || panic!("it is known"));
    assert_eq!(silent.view().denied, 1);
}

#[test]
fn the_table_has_a_limit_and_names_few() {
    let many = |len: usize| {
        move |_: &Agents| -> Vec<Node> {
            let name = |n: u64| format!("{n:0>len$}");
            (0..NODES_MAX as u64 + 9)
                .map(|n| node(&name(n), n, 1))
                .collect()
        }
    };
    let silent = SilentNodes::default();
    silent.update(&news(20, 1.0, &["x"]), many(6), |_| true, HashSet::new);
    let view = silent.view();
    assert_eq!((view.unanswered, view.silent), (NODES_MAX, NODES_MAX));
    assert_eq!(view.named.len(), NAMED_MAX);
    assert_eq!(view.named[0].name, "000000");
    let full = silent.memory();
    silent.update(&News::default(), nodes, |cid| cid < 9, HashSet::new);
    assert_eq!(silent.view().unanswered, 9);
    assert!(silent.memory() < full / 100);
    let silent = SilentNodes::default();
    silent.update(&news(20, 1.0, &["x"]), many(200), |_| true, HashSet::new);
    assert!(silent.table.lock().bytes <= NAMES_BYTES_MAX);
    assert!(silent.view().unanswered < NODES_MAX);
    silent.update(&News::default(), nodes, |_| false, HashSet::new);
    assert_eq!(silent.table.lock().bytes, 0);
}

#[test]
fn refused_publishes_to_the_subject_of_answers_are_known() {
    let events = EventLog::default();
    let subject = "choria.federation.prod.collective";
    for (cid, kind, text) in [
        (
            1,
            EventKind::PermissionViolation,
            format!("Permissions Violation for Publish to \"{subject}\" (1 violation)"),
        ),
        (
            2,
            EventKind::PermissionViolation,
            "Permissions Violation for Publish to \"a\"".to_owned(),
        ),
        (
            3,
            EventKind::PermissionViolation,
            format!("Permissions Violation for Subscription to \"{subject}\""),
        ),
        (4, EventKind::Federation, format!("Publish to {subject}")),
    ] {
        events.record(kind, cid, "web", &text);
    }
    assert_eq!(denied_to_publish(&events, subject), HashSet::from([1]));
}
