//! Which connections get a place, and which are cut for it.

use parking_lot::Mutex;
use tokio::time::Instant;

use super::*;

const HOLD: Duration = Duration::from_secs(60);

/// Reserves places and records which ones are lost.
struct Port {
    places: Arc<Places>,
    lost: Arc<Mutex<Vec<(&'static str, Lost)>>>,
}

impl Port {
    fn new(max: usize, reserved: usize) -> Self {
        Self {
            places: Places::new("test", max, reserved),
            lost: Arc::default(),
        }
    }

    fn take(&self, name: &'static str, source: u8, is_member: bool) -> Place {
        let lost = self.lost.clone();
        let source = Source::of(IpAddr::from([127, 0, 0, source]));
        let cut = move |why| lost.lock().push((name, why));
        self.places.take(source, is_member, HOLD, cut)
    }

    fn lost(&self) -> Vec<&'static str> {
        let mut lost = self.lost.lock();
        lost.drain(..).map(|(name, _)| name).collect()
    }
}

#[tokio::test]
async fn of_the_source_with_most_places_the_longest_silent_makes_way() {
    let port = Port::new(3, 0);
    let few = port.take("few", 1, false);
    let first = port.take("first", 2, false);
    let _second = port.take("second", 2, false);
    first.mark_active();
    let _new = port.take("new", 3, false);
    assert_eq!(port.lost(), ["second"]);
    // All have one: the longest silent of all.
    let _newer = port.take("newer", 4, false);
    assert_eq!(port.lost(), ["few"]);
    drop(few);
    assert_eq!(port.places.view().taken, 3);
    assert_eq!(port.places.view().silent, 2);
    drop(first);
    let _fits = port.take("fits", 5, false);
    assert_eq!(port.lost(), [""; 0]);
}

#[tokio::test]
async fn members_keep_places_of_their_own() {
    let port = Port::new(2, 2);
    let guests: Vec<Place> = (0..9).map(|_| port.take("stranger", 1, false)).collect();
    assert_eq!(port.lost().len(), 7);
    let members: Vec<Place> = (0..2).map(|_| port.take("member", 2, true)).collect();
    assert_eq!(port.lost(), [""; 0], "there is room for them");
    let more: Vec<Place> = (10..99).map(|n| port.take("stranger", n, false)).collect();
    assert!(port.lost().iter().all(|name| *name == "stranger"));
    // Many at a member's address share with other sources.
    let _member = port.take("member", 2, true);
    assert_eq!(port.lost(), ["member"], "the member has most places");
    drop((guests, members, more));
    assert_eq!(port.places.view().taken, 1);
    assert_eq!(port.places.state.lock().parties.len(), 1);
}

#[tokio::test]
async fn no_place_is_held_indefinitely() {
    let port = Port::new(2, 0);
    let place = port.take("late", 1, false);
    place.mark_active();
    port.places.expire(Instant::now());
    assert_eq!(port.lost(), [""; 0]);
    port.places.expire(Instant::now() + HOLD);
    assert_eq!(*port.lost.lock(), [("late", Lost::Late)]);
    drop(place);
    let view = port.places.view();
    assert_eq!((view.taken, view.silent, view.late), (0, 0, 1));
    assert!(!port.places.cut_one());
}

#[tokio::test]
async fn nothing_is_left_of_many_places() {
    let port = Port::new(64, 8);
    for round in 0..1000u32 {
        let source = u8::try_from(round % 200).expect("it fits");
        let place = port.take("crowd", source, round.is_multiple_of(7));
        if round.is_multiple_of(3) {
            place.mark_active();
            std::mem::forget(place);
        }
        assert!(port.places.view().taken <= 72);
    }
    while port.places.cut_one() {}
    let state = port.places.state.lock();
    assert!(state.held.is_empty() && state.parties.is_empty());
    assert!(state.non_members.is_empty() && state.members.is_empty());
    assert_eq!(state.non_members_len, 0);
}
