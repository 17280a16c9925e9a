//! Words about brokers: lists of their names, and pairs between which something is missing.
//! The comparisons of the modes `cluster` and `roundtrip` and the first line use them.

/// Names in one list; the rest is counted.
const NAMED_MAX: usize = 8;

/// `n1, n2, n3`, or `n1, …, n8 and 3 more`.
pub fn list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    let names: Vec<&str> = names.into_iter().collect();
    let shown = names[..names.len().min(NAMED_MAX)].join(", ");
    match names.len().saturating_sub(NAMED_MAX) {
        0 => shown,
        more => format!("{shown} and {more} more"),
    }
}

/// Pairs (from, to) between which something is missing, in as few phrases as name them all:
/// `between n1 and n2, n3` where it is missing both ways, else `from n1 to n2`. The numbers
/// are those of `names`.
pub fn pairs(missing: &[(usize, usize)], names: &[String]) -> Vec<String> {
    let mut left = Left(vec![vec![false; names.len()]; names.len()]);
    for (from, to) in missing {
        left.0[*from][*to] = true;
    }
    let mut phrases = Vec::new();
    while let Some(group) = left.largest_group() {
        phrases.push(group.phrase(names));
        left.remove(&group);
    }
    phrases
}

/// What one broker has in common with others: all pairs of it in one direction, or in both.
struct Group {
    way: Way,
    own: usize,
    others: Vec<usize>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Way {
    Both,
    From,
    To,
}

/// The pairs that no phrase names yet: by from and to.
struct Left(Vec<Vec<bool>>);

impl Left {
    /// The group with the most pairs; of equal ones the first.
    fn largest_group(&self) -> Option<Group> {
        let mut largest: Option<Group> = None;
        for way in [Way::Both, Way::From, Way::To] {
            for own in 0..self.0.len() {
                let others: Vec<usize> = (0..self.0.len())
                    .filter(|other| self.is_missing(way, own, *other))
                    .collect();
                if others.len() > largest.as_ref().map_or(0, |group| group.others.len()) {
                    largest = Some(Group { way, own, others });
                }
            }
        }
        largest
    }

    /// Pairs that are missing both ways belong to a group of both ways only, so that no phrase
    /// names half of them.
    fn is_missing(&self, way: Way, own: usize, other: usize) -> bool {
        let (from, to) = (self.0[own][other], self.0[other][own]);
        match way {
            Way::Both => from && to,
            Way::From => from && !to,
            Way::To => to && !from,
        }
    }

    fn remove(&mut self, group: &Group) {
        for other in &group.others {
            self.0[group.own][*other] = false;
            self.0[*other][group.own] = false;
        }
    }
}

impl Group {
    fn phrase(&self, names: &[String]) -> String {
        let own = &names[self.own];
        let others = list(self.others.iter().map(|other| names[*other].as_str()));
        match self.way {
            Way::Both => format!("between {own} and {others}"),
            Way::From => format!("from {own} to {others}"),
            Way::To => format!("from {others} to {own}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn names(count: usize) -> Vec<String> {
        (1..=count).map(|number| format!("n{number}")).collect()
    }

    #[test]
    fn a_broker_that_is_cut_off_is_named_first() {
        let both_ways = [(0, 2), (2, 0), (1, 2), (2, 1)];
        assert_eq!(pairs(&both_ways, &names(3)), ["between n3 and n1, n2"]);
        assert_eq!(pairs(&[(0, 2)], &names(3)), ["from n1 to n3"]);
        assert_eq!(pairs(&[(0, 2), (1, 2)], &names(3)), ["from n1, n2 to n3"]);
        assert_eq!(
            pairs(&[(0, 1), (1, 0), (0, 2)], &names(3)),
            ["between n1 and n2", "from n1 to n3"]
        );
        assert!(pairs(&[], &names(3)).is_empty());
    }

    #[test]
    fn a_long_list_is_counted() {
        let names = names(10);
        let text = list(names.iter().map(String::as_str));
        assert_eq!(text, "n1, n2, n3, n4, n5, n6, n7, n8 and 2 more");
    }

    proptest! {
        /// Each missing pair is in exactly one phrase, and no other is.
        #[test]
        fn the_phrases_name_all_pairs(
            chosen in proptest::collection::btree_set((0_usize..6, 0_usize..6), 0..30)
        ) {
            let missing: Vec<_> = chosen.into_iter().filter(|(from, to)| from != to).collect();
            let names = names(6);
            let number = |name: &str| name[1..].parse::<usize>().unwrap() - 1;
            let mut named = Vec::new();
            for phrase in pairs(&missing, &names) {
                let both_ways = phrase.starts_with("between ");
                let words = phrase.trim_start_matches("between ").trim_start_matches("from ");
                let (left, right) = words.split_once(if both_ways { " and " } else { " to " }).unwrap();
                for from in left.split(", ").map(number) {
                    for to in right.split(", ").map(number) {
                        named.push((from, to));
                        if both_ways {
                            named.push((to, from));
                        }
                    }
                }
            }
            named.sort_unstable();
            prop_assert_eq!(named, missing);
        }
    }
}
