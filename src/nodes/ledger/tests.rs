use std::net::SocketAddr;

use super::*;
use crate::nodes::NodeList;

struct Fleet {
    local: Local,
    remotes: Remotes,
    ledger: Ledger,
    now: MonotonicMillis,
}

fn fleet() -> Fleet {
    let mut remotes = Remotes::default();
    remotes.keep(&[("M".into(), "nats2".into())]);
    Fleet {
        local: Local::default(),
        remotes,
        ledger: Ledger::default(),
        now: MonotonicMillis(1000),
    }
}

impl Fleet {
    fn here(&mut self, names: &[&str]) {
        let address = SocketAddr::from(([192, 0, 2, 1], 7));
        let names = names.iter().map(|name| ((*name).to_owned(), address));
        self.local.take(names, self.now);
    }

    fn there(&mut self, names: &[&str]) {
        let present = names
            .iter()
            .map(|name| ((*name).to_owned(), "192.0.2.2:8".to_owned()));
        let list = NodeList {
            server_id: "M".into(),
            full: true,
            present: present.collect(),
            ..NodeList::default()
        };
        self.remotes.take_in(list, self.now);
    }

    fn expect(&mut self, names: &[&str]) {
        self.ledger
            .expect(&names.iter().map(|name| Arc::from(*name)).collect());
    }

    /// Some seconds later.
    fn note(&mut self, seconds: u64, learn_for: Option<u64>) -> View {
        self.note_those_of("*.net", seconds, learn_for)
    }

    fn note_those_of(&mut self, pattern: &str, seconds: u64, learn_for: Option<u64>) -> View {
        self.now = MonotonicMillis(self.now.0 + seconds * 1000);
        let certificates = [CertnamePattern::parse(pattern).expect("a pattern")];
        let learning = learn_for.map(|keep| Learning {
            certificates: &certificates,
            keep: Duration::from_secs(keep),
        });
        let seen = Seen {
            own_name: &"nats1".into(),
            local: &self.local,
            remotes: &self.remotes,
            now: self.now,
            time: DateTime::from_timestamp_millis(self.now.0 as i64).expect("a time"),
        };
        self.ledger.note(&seen, learning.as_ref());
        self.ledger.view(self.now, Duration::from_secs(10))
    }
}

fn missing(view: &View) -> Vec<&str> {
    view.missing().map(|node| &*node.name).collect()
}

#[test]
fn a_node_is_missing_that_is_nowhere_for_a_while() {
    let mut fleet = fleet();
    fleet.expect(&["a", "b", "c"]);
    fleet.here(&["a"]);
    fleet.there(&["b"]);
    let view = fleet.note(0, None);
    assert_eq!((view.present, view.missing, view.nodes.len()), (2, 0, 3));
    let view = fleet.note(10, None);
    assert_eq!(missing(&view), ["c"]);
    assert!(view.nodes[2].last.is_none(), "it was never seen");
    // b moves to this broker; a leaves.
    fleet.there(&[]);
    fleet.here(&["b"]);
    let view = fleet.note(1, None);
    assert_eq!((view.present, missing(&view)), (1, vec!["c"]));
    let view = fleet.note(10, None);
    assert_eq!(missing(&view), ["a", "c"]);
    let last = view.nodes[0].last.clone().expect("a was seen");
    assert_eq!((&*last.member, &*last.address), ("nats1", "192.0.2.1:7"));
    assert_eq!(view.nodes[0].absent, Some(Duration::from_secs(10)));
    fleet.here(&["a", "b", "c"]);
    assert_eq!(fleet.note(1, None).present, 3);
    fleet.expect(&["a"]);
    assert_eq!(
        fleet.note(1, None).nodes.len(),
        1,
        "the others are not expected any more"
    );
}

#[test]
fn nodes_are_learned_and_forgotten() {
    let mut fleet = fleet();
    fleet.here(&["a.net", "alice.mcollective"]);
    fleet.there(&["b.net"]);
    let view = fleet.note(0, Some(100));
    assert_eq!((view.nodes.len(), view.learned, view.present), (2, 2, 2));
    fleet.there(&[]);
    let view = fleet.note(20, Some(100));
    assert_eq!(missing(&view), Vec::<&str>::new(), "not for long yet");
    assert_eq!(missing(&fleet.note(20, Some(100))), ["b.net"]);
    assert_eq!(fleet.note(100, Some(100)).nodes.len(), 1, "it is forgotten");
    assert_eq!(
        fleet.note(1, None).nodes.len(),
        0,
        "nobody is learned any more"
    );
}

#[test]
fn learned_nodes_can_be_taken_out() {
    let names = |view: &View| -> Vec<String> {
        let names = view.nodes.iter().map(|node| node.name.to_string());
        names.collect()
    };
    let mut fleet = fleet();
    fleet.expect(&["listed.net"]);
    fleet.here(&["a.net", "b.net", "db.net"]);
    fleet.note(0, Some(100));
    fleet.here(&["a.net"]);
    fleet.note(1, Some(100));
    for name in ["a.net", "b.net", "listed.net", "else"] {
        fleet.ledger.forget(name);
    }
    let view = fleet.note(1, Some(100));
    assert_eq!(
        names(&view),
        ["a.net", "db.net", "listed.net"],
        "neither who is here nor who is listed is forgotten"
    );
    let view = fleet.note_those_of("d*.net", 1, Some(100));
    assert_eq!(
        names(&view),
        ["db.net", "listed.net"],
        "a narrower pattern counts at once"
    );
}

#[test]
fn it_is_noted_who_comes_and_goes() {
    let mut fleet = fleet();
    fleet.expect(&["a.net"]);
    for (here, changed, what) in [
        (&["a.net"][..], true, "it came"),
        (&["a.net"], false, "it stays"),
        (&["a.net", "b.net"], true, "another is learned"),
        (&["b.net"], true, "one went, as many as before are here"),
        (&["b.net"], false, "nothing"),
        (&["a.net"], true, "one for the other"),
    ] {
        fleet.here(here);
        fleet.note(1, Some(100));
        assert_eq!(fleet.ledger.take_changed(), changed, "{what}");
    }
    fleet.note(200, Some(100));
    assert!(fleet.ledger.take_changed(), "b is forgotten");
    fleet.there(&["a.net"]);
    fleet.here(&[]);
    fleet.note(1, Some(100));
    assert!(fleet.ledger.take_changed(), "a moved");
}

#[test]
fn what_an_earlier_run_saw_counts() {
    let mut fleet = fleet();
    fleet.expect(&["a.net"]);
    let last = |seconds: i64| Last {
        at: DateTime::from_timestamp_millis(seconds * 1000).expect("a time"),
        member: "old".into(),
        address: "192.0.2.9:9".into(),
    };
    for name in ["a.net", "b.net", "c.net"] {
        fleet.ledger.recall(name, last(-5));
    }
    fleet.here(&["c.net"]);
    fleet.note(0, Some(100));
    let view = fleet.note(10, Some(100));
    assert_eq!(missing(&view), ["a.net", "b.net"]);
    assert_eq!(view.nodes[1].last, Some(last(-5)));
    assert_eq!(fleet.ledger.seen().count(), 3);
}

#[test]
fn learned_nodes_are_bounded() {
    let mut fleet = fleet();
    let many: Vec<String> = (0..NODES_MAX)
        .map(|number| format!("{number}.net"))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    fleet.here(&many);
    fleet.there(&["x.net", "y.net"]);
    let view = fleet.note(0, Some(100));
    assert_eq!((view.nodes.len(), view.left_out), (NODES_MAX, 2));
}
