//! Loss: messages that were published and never reached a socket, by reason.
//!
//! A broker that promises "at most once" must say how often it was not once.
//! Outbound queues book what they throw away, publishers what reached nobody;
//! the registry adds both up for whoever shows them.

use std::ops::AddAssign;

/// Why a message was lost.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum LossReason {
    /// It waited for a connection that ended in an ordinary way.
    Closed,
    /// Nobody had subscribed to its subject.
    NoInterest,
    /// It was a request to another account, which waits for too many replies.
    RepliesFull,
    /// It waited for a reader that was cut because it was too slow.
    SlowConsumer,
    /// Its control line is longer than its peer in the cluster takes.
    TooLong,
    /// It waited for a socket that failed.
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

    /// The name that answers show: stable, lower case.
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
    /// Messages; one that was written in part is lost.
    pub msgs: u64,
    /// Bytes: of what waited in a queue as they would have gone to the socket, of
    /// what reached nobody headers and payload.
    pub bytes: u64,
}

/// What was lost, by reason.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Loss([Lost; LossReason::ALL.len()]);

impl Loss {
    /// Books a loss.
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
