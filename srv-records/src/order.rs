//! The order in which the brokers of a record are tried, as RFC 2782 has it: by priority, and at
//! random by weight among those of one priority.

use crate::Listed;

/// The brokers in that order. `random` returns any number from 0 to its argument, both included.
pub fn in_order(listed: &[Listed], mut random: impl FnMut(u64) -> u64) -> Vec<Listed> {
    let mut left = listed.to_vec();
    // Those without a weight come first, so that each of them has a small chance.
    left.sort_by_key(|listed| (listed.priority, listed.weight > 0));
    let mut ordered = Vec::with_capacity(left.len());
    while let Some(priority) = left.first().map(|listed| listed.priority) {
        let group = left.partition_point(|listed| listed.priority == priority);
        let sum = left[..group].iter().map(|it| u64::from(it.weight)).sum();
        let drawn = random(sum);
        let mut passed = 0;
        let reaches = |listed: &Listed| {
            passed += u64::from(listed.weight);
            passed >= drawn
        };
        let chosen = left[..group].iter().position(reaches).unwrap_or(0);
        ordered.push(left.remove(chosen));
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(host: &str, priority: u16, weight: u16) -> Listed {
        Listed {
            host: host.to_owned(),
            port: 1,
            priority,
            weight,
        }
    }

    fn hosts(ordered: &[Listed]) -> String {
        ordered.iter().map(|listed| &*listed.host).collect()
    }

    #[test]
    fn priority_comes_before_weight() {
        let record = [listed("c", 20, 9), listed("a", 1, 0), listed("b", 10, 0)];
        for highest in [true, false] {
            let ordered = in_order(&record, |sum| if highest { sum } else { 0 });
            assert_eq!(hosts(&ordered), "abc");
        }
        assert_eq!(in_order(&[], |sum| sum), []);
    }

    /// Each number that may be drawn leads to one broker: as many as its weight, and one more for
    /// the first.
    #[test]
    fn the_weight_is_the_share_of_the_numbers() {
        let record = [listed("a", 1, 3), listed("b", 1, 1), listed("z", 1, 0)];
        let first = |drawn: u64| {
            let mut draws = [drawn].into_iter();
            let ordered = in_order(&record, |_| draws.next().unwrap_or(0));
            assert_eq!(ordered.len(), 3, "none is lost");
            hosts(&ordered[..1])
        };
        let all: String = (0..=4).map(first).collect();
        assert_eq!(all, "zaaab");
    }

    #[test]
    fn the_largest_weights_are_no_overflow() {
        let record: Vec<Listed> = (0..2000).map(|_| listed("a", 0, u16::MAX)).collect();
        assert_eq!(in_order(&record, |sum| sum).len(), 2000);
    }
}
