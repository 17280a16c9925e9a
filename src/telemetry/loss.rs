//! Lost messages: published but never written to a socket, by reason.
//!
//! A broker with at-most-once delivery must report how often a message was not delivered. Outbound
//! queues count the messages they drop, publishers those without a subscriber; the registry adds
//! both up for monitoring.

use std::ops::AddAssign;

/// Why a message was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LossReason {
    /// It was queued for a connection that ended normally.
    Closed,
    /// There was no subscription for its subject.
    NoInterest,
    /// It was a request to another account, which has too many replies outstanding.
    RepliesFull,
    /// It was queued for a slow consumer that was disconnected.
    SlowConsumer,
    /// Its control line is longer than the peer in the cluster accepts.
    TooLong,
    /// It was queued for a socket that failed.
    WriteError,
}

impl LossReason {
    /// All reasons, in the order of their names.
    pub const ALL: [Self; 6] = [
        Self::Closed,
        Self::NoInterest,
        Self::RepliesFull,
        Self::SlowConsumer,
        Self::TooLong,
        Self::WriteError,
    ];

    /// The name in answers: stable, lower case.
    pub fn name(self) -> &'static str {
        match self {
            Self::Closed => "closed",
            Self::NoInterest => "no_interest",
            Self::RepliesFull => "replies_full",
            Self::SlowConsumer => "slow_consumer",
            Self::TooLong => "too_long",
            Self::WriteError => "write_error",
        }
    }
}

/// Messages and bytes.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Lost {
    /// Messages; one that was written in part counts as lost.
    pub msgs: u64,
    /// Bytes: for queued messages as they would have been written to the socket, otherwise headers
    /// and payload.
    pub bytes: u64,
}

/// What was lost, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Loss([Lost; LossReason::ALL.len()]);

impl Loss {
    /// Counts a loss.
    pub fn add(&mut self, reason: LossReason, msgs: u64, bytes: u64) {
        let lost = &mut self.0[reason as usize];
        lost.msgs += msgs;
        lost.bytes += bytes;
    }

    /// What was lost for this reason.
    pub fn of(&self, reason: LossReason) -> Lost {
        self.0[reason as usize]
    }

    /// What was lost since `earlier`.
    pub fn since(&self, earlier: &Self) -> Self {
        let mut new = Self::default();
        for reason in LossReason::ALL {
            let (now, before) = (self.of(reason), earlier.of(reason));
            let msgs = now.msgs.saturating_sub(before.msgs);
            new.add(reason, msgs, now.bytes.saturating_sub(before.bytes));
        }
        new
    }

    /// What was thrown out of a queue or did not get into one, for whatever reason.
    pub fn dropped(&self) -> Lost {
        LossReason::ALL
            .into_iter()
            .filter(|reason| !matches!(reason, LossReason::NoInterest | LossReason::RepliesFull))
            .map(|reason| self.of(reason))
            .fold(Lost::default(), |sum, lost| Lost {
                msgs: sum.msgs + lost.msgs,
                bytes: sum.bytes + lost.bytes,
            })
    }
}

impl AddAssign for Loss {
    fn add_assign(&mut self, other: Self) {
        for reason in LossReason::ALL {
            let lost = other.of(reason);
            self.add(reason, lost.msgs, lost.bytes);
        }
    }
}
