//! Requests to one member for its counts, in rounds.

use std::collections::BTreeSet;

/// Number of accounts that a member is asked about at a time; its queue of requests is longer.
const ROUND_MAX: usize = 256;

/// Requests to one member. They are sent in rounds, each of which ends with a request that every
/// member answers after the others: an account that was requested and not answered by then has no
/// connections there, since a nats-server does not answer in that case. The first round has only
/// its end: a member that still announces its interest does not answer yet.
#[derive(Default)]
pub(in crate::route) struct CountRequests {
    pub(super) round: u64,
    /// Whether the end of the round has not been answered.
    pub(super) is_open: bool,
    /// Accounts requested in this round and not answered yet.
    pub(super) requested: BTreeSet<String>,
    /// Accounts for later rounds.
    pub(super) queued: BTreeSet<String>,
    /// The member announced its stop: its connections do not count any more, and clients cannot use
    /// it.
    pub(super) has_stopped: bool,
}

impl CountRequests {
    /// Begins the next round, if there is anything to request and none is open. Returns whether it
    /// did.
    pub(super) fn begin_round(&mut self) -> bool {
        if self.is_open || self.queued.is_empty() {
            return false;
        }
        self.round += 1;
        self.is_open = true;
        while self.requested.len() < ROUND_MAX
            && let Some(name) = self.queued.pop_first()
        {
            self.requested.insert(name);
        }
        true
    }

    /// Ends this round; returns the accounts that were not answered.
    pub(super) fn end_round(&mut self, round: &[u8]) -> BTreeSet<String> {
        if !self.is_open || round != self.round.to_string().as_bytes() {
            return BTreeSet::new();
        }
        self.is_open = false;
        std::mem::take(&mut self.requested)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An account that is not answered by the end of its round has no connections; the end of
    /// another round has no effect.
    #[test]
    fn requests_are_sent_in_rounds() {
        let mut requests = CountRequests::default();
        assert!(!requests.begin_round());
        let names = (0..=ROUND_MAX).map(|number| format!("A{number:04}"));
        requests.queued.extend(names);
        assert!(requests.begin_round() && !requests.begin_round());
        assert_eq!(requests.requested.len(), ROUND_MAX);
        requests.requested.remove("A0000");
        assert!(requests.end_round(b"0").is_empty());
        assert!(requests.end_round(b"x").is_empty());
        let unanswered = requests.end_round(b"1");
        assert_eq!(unanswered.len(), ROUND_MAX - 1);
        assert!(!unanswered.contains("A0000") && requests.end_round(b"1").is_empty());
        assert!(requests.begin_round());
        assert_eq!(requests.end_round(b"2").len(), 1);
        assert!(!requests.begin_round());
    }
}
