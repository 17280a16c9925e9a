//! Tests of the sublist.

use std::{cell::Cell, thread};

use proptest::prelude::*;

use super::*;

thread_local! {
    /// Comparisons of names and subscriptions on this thread.
    static STEPS: Cell<usize> = const { Cell::new(0) };
}

/// Counts one comparison.
pub(super) fn count_step() {
    STEPS.set(STEPS.get() + 1);
}

/// The number of comparisons that `work` makes.
fn steps_of(work: impl FnOnce()) -> usize {
    let before = STEPS.get();
    work();
    STEPS.get() - before
}

struct Sub {
    subject: Vec<u8>,
    queue: Option<Vec<u8>>,
    slot: Slot,
}

impl Entry for Sub {
    fn subject(&self) -> &[u8] {
        &self.subject
    }
    fn queue(&self) -> Option<&[u8]> {
        self.queue.as_deref()
    }
    fn memory(&self) -> usize {
        100
    }
    fn slot(&self) -> &Slot {
        &self.slot
    }
}

static POOL: Pool = Pool::new(1 << 30);

fn sub(subject: &str, queue: Option<&str>) -> Arc<Sub> {
    Arc::new(Sub {
        subject: subject.into(),
        queue: queue.map(Into::into),
        slot: Slot::default(),
    })
}

#[test]
fn members_with_different_patterns_form_one_queue_group() {
    let list = Sublist::new(&POOL);
    for subject in ["a.*", "a.>", "a.b"] {
        list.insert(sub(subject, Some("q")));
    }
    list.insert(sub("a.b", Some("other")));
    let found = list.lookup(b"a.b");
    assert_eq!(found.plain.len(), 0);
    let mut sizes: Vec<_> = found.queues.iter().map(Vec::len).collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [1, 3]);
}

#[test]
fn removal_leaves_nothing_behind() {
    let list = Sublist::new(&POOL);
    let subs: Vec<_> = ["a", "a.*", "a.>", "*.b.>", "x.y.z"]
        .iter()
        .flat_map(|subject| [sub(subject, None), sub(subject, Some("q"))])
        .collect();
    subs.iter().for_each(|entry| list.insert(entry.clone()));
    assert_eq!(list.stats().subscriptions, 10);
    let before = list.generation();
    list.remove(&subs);
    assert!(list.generation() > before);
    let index = list.index.read();
    assert!(index.literals.is_empty() && index.wildcards.is_empty());
    assert_eq!(index.inserts, index.removes);
    assert_eq!((list.share.bytes(), list.share.count()), (0, 0));
}

/// Memory is released when many subscriptions are removed.
#[test]
fn tables_shrink_after_removals() {
    let list = Sublist::new(&POOL);
    let subs: Vec<_> = (0..50_000)
        .map(|number| match number % 2 {
            0 => sub(&format!("a.{number}"), None),
            _ => sub(&format!("a.{number}.*"), None),
        })
        .collect();
    subs.iter().for_each(|entry| list.insert(entry.clone()));
    let grown = list.share.bytes() + list.table_memory();
    assert!(
        (subs.len() * 300..subs.len() * 1500).contains(&grown),
        "{grown}"
    );
    subs[10..].chunks(512).for_each(|some| list.remove(some));
    let left = list.share.bytes() + list.table_memory();
    assert!(left < grown / 50, "{left} of {grown}");
}

fn pattern() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![Just("a"), Just("b"), Just("*"), Just("c*")],
        1..4,
    )
    .prop_flat_map(|tokens| {
        any::<bool>().prop_map(move |open| {
            let mut subject = tokens.join(".");
            if open {
                subject.push_str(".>");
            }
            subject
        })
    })
}

fn published() -> impl Strategy<Value = String> {
    proptest::collection::vec(
        prop_oneof![
            Just("a"),
            Just("b"),
            Just("*"),
            Just(">"),
            Just("c*"),
            Just("")
        ],
        1..5,
    )
    .prop_map(|tokens| tokens.join("."))
}

proptest! {
    /// The index finds exactly what trying every pattern finds, also after removals.
    #[test]
    fn lookup_equals_matching_every_pattern(
        patterns in proptest::collection::vec((pattern(), proptest::option::of("[pq]"), any::<bool>()), 0..40),
        subjects in proptest::collection::vec(published(), 1..10),
    ) {
        let list = Sublist::new(&POOL);
        let subs: Vec<_> = patterns
            .iter()
            .map(|(subject, queue, keep)| (sub(subject, queue.as_deref()), *keep))
            .collect();
        subs.iter().for_each(|(entry, _)| list.insert(entry.clone()));
        list.remove(subs.iter().filter(|(_, keep)| !keep).map(|(entry, _)| entry));
        for subject in &subjects {
            let found = list.lookup(subject.as_bytes());
            let mut got: Vec<_> = found
                .plain
                .iter()
                .chain(found.queues.iter().flatten())
                .map(Arc::as_ptr)
                .collect();
            let mut expected: Vec<_> = subs
                .iter()
                .filter(|(entry, keep)| *keep && subject::matches(&entry.subject, subject.as_bytes()))
                .map(|(entry, _)| Arc::as_ptr(entry))
                .collect();
            got.sort_unstable();
            expected.sort_unstable();
            prop_assert_eq!(got, expected, "{}", subject);
        }
        list.remove(subs.iter().filter(|(_, keep)| *keep).map(|(entry, _)| entry));
        prop_assert_eq!(list.share.bytes(), 0);
    }
}

/// Removing a subscription costs the same, however many there are and in whatever order they go.
#[test]
fn removal_costs_the_same_among_many_subscriptions() {
    const COUNT: usize = 20_000;
    for subject in ["a.b", "a.*"] {
        for queue in [None, Some("q")] {
            let list = Sublist::new(&POOL);
            let subs: Vec<_> = (0..COUNT).map(|_| sub(subject, queue)).collect();
            subs.iter().for_each(|entry| list.insert(entry.clone()));
            let (oldest, others) = subs.split_at(COUNT / 4);
            let (newest_first, others) = others.split_at(COUNT / 4);
            let steps = steps_of(|| {
                list.remove(oldest);
                list.remove(newest_first.iter().rev());
                for half in [0, 1] {
                    list.remove(others.iter().skip(half).step_by(2));
                }
            });
            // Itself, and the name of its group.
            assert!(steps <= 2 * COUNT, "{steps} for {subject} {queue:?}");
            assert!(list.is_empty());
            assert_eq!(list.share.bytes(), 0);
        }
    }
}

/// A removed subscription is not mistaken for the one that moved to its index, and neither is one
/// that was never added.
#[test]
fn a_removed_subscription_is_not_found_at_its_old_index() {
    let list = Sublist::new(&POOL);
    let subs: Vec<_> = (0..3).map(|_| sub("a", None)).collect();
    subs.iter().for_each(|entry| list.insert(entry.clone()));
    let never = sub("a", None);
    list.remove([&subs[0], &subs[0], &never]);
    assert_eq!(list.stats().subscriptions, 2);
    let found = list.lookup(b"a").plain;
    assert!(!found.iter().any(|known| Arc::ptr_eq(known, &subs[0])));
    list.remove([&subs[2], &subs[1]]);
    assert!(list.is_empty());
    assert_eq!((list.share.bytes(), list.share.count()), (0, 0));
}

/// However many queue groups a subject has, adding and removing one costs the same, and so does
/// combining those of several patterns.
#[test]
fn queue_groups_cost_the_same_however_many_there_are() {
    const COUNT: usize = 10_000;
    let list = Sublist::new(&POOL);
    let names: Vec<String> = (0..COUNT).map(|number| format!("q{number}")).collect();
    let patterns = ["a.b", "a.*", "a.>"];
    let subs: Vec<_> = patterns
        .iter()
        .flat_map(|pattern| names.iter().map(|name| sub(pattern, Some(name))))
        .collect();
    // Each is compared with a few names while there are few, and then with those whose hashes share
    // a prefix.
    let most = subs.len() * 3;
    let steps = steps_of(|| subs.iter().for_each(|entry| list.insert(entry.clone())));
    assert!(steps < most, "{steps} to come");
    let steps = steps_of(|| {
        let found = list.lookup(b"a.b");
        assert_eq!(found.queues.len(), COUNT);
        assert!(found.queues.iter().all(|members| {
            members.len() == patterns.len()
                && members
                    .iter()
                    .all(|member| member.queue == members[0].queue)
        }));
    });
    assert!(steps < most, "{steps} to find");
    let steps = steps_of(|| subs.chunks(512).for_each(|some| list.remove(some)));
    assert!(steps < most, "{steps} to leave");
    assert!(list.is_empty());
    assert_eq!((list.share.bytes(), list.share.count()), (0, 0));
}

/// A small stack is enough for all operations on deep patterns, dropping them included.
#[test]
fn deep_patterns_need_no_stack() {
    const DEPTH: usize = 50_000;
    /// A quarter of the smallest stack that the broker gives a thread.
    const STACK_LEN: usize = 64 * 1024;
    let work = || {
        let list = Sublist::new(&POOL);
        let (words, stars) = ("a.".repeat(DEPTH), "*.".repeat(DEPTH));
        let subs: Vec<_> = [
            format!("{words}*"),
            format!("{stars}a"),
            format!("{words}a.>"),
            format!("{stars}>"),
        ]
        .iter()
        .flat_map(|pattern| [sub(pattern, None), sub(pattern, Some("q"))])
        .collect();
        subs.iter().for_each(|entry| list.insert(entry.clone()));
        let mut visited = 0;
        list.for_each(|_| visited += 1);
        assert_eq!(visited, subs.len());
        let found = list.lookup(format!("{words}a").as_bytes());
        assert_eq!((found.plain.len(), found.queues.len()), (3, 1));
        list.remove(&subs[..4]);
        let found = list.lookup(format!("{words}a.a").as_bytes());
        assert_eq!((found.plain.len(), found.queues.len()), (2, 1));
        list.remove(&subs);
        assert!(list.is_empty());
        assert_eq!((list.share.bytes(), list.share.count()), (0, 0));
        // Dropped with its content.
        subs.iter().for_each(|entry| list.insert(entry.clone()));
    };
    let thread = thread::Builder::new().stack_size(STACK_LEN).spawn(work);
    thread.expect("a thread").join().expect("all done");
}
