//! A stream of messages through a broker (or a relay): this thread publishes, a second one
//! receives, and the amount in flight is limited.

use std::{
    thread,
    time::{Duration, Instant},
};

use crate::{
    failure::{Failure, Result, fail},
    inbox::Inbox,
    publisher::Publisher,
    receivers::{Progress, Receivers, Tally},
};

/// Bytes in flight to all receivers together: enough that the broker always reads full buffers, but
/// not so much that it must disconnect a receiver.
const WINDOW_ALL: usize = 256 * 1024 * 1024;
/// Minimum and maximum of bytes in flight to one receiver.
const WINDOW_EACH: (usize, usize) = (256 * 1024, 4 * 1024 * 1024);

/// Publishers, their receivers, and the limit of messages in flight.
pub(crate) struct Flow {
    publishers: Vec<Publisher>,
    receivers: Receivers,
    /// The number of messages sent, and the limit of those in flight.
    sent: u64,
    window: u64,
}

/// The result of one run.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run {
    pub(crate) published: u64,
    pub(crate) delivered: u64,
    pub(crate) seconds: f64,
}

impl Run {
    /// Deliveries per second.
    pub(crate) fn rate(&self) -> f64 {
        self.delivered as f64 / self.seconds
    }
}

impl Flow {
    pub(crate) fn new(
        publishers: Vec<Publisher>,
        inboxes: Vec<Inbox>,
        tally: Tally,
        payload: usize,
    ) -> Result<Self> {
        let (least, most) = WINDOW_EACH;
        let window = (WINDOW_ALL / inboxes.len().max(1)).clamp(least, most);
        // Plus a rough size of the protocol line.
        let messages = window / (payload + 24);
        Ok(Self {
            publishers,
            receivers: Receivers::new(inboxes, tally)?,
            sent: 0,
            window: messages as u64,
        })
    }

    /// Publishes for `seconds` as fast as the window allows, and waits until everything was
    /// received.
    pub(crate) fn run(&mut self, seconds: f64) -> Result<Run> {
        self.run_beside(seconds, || Ok(()))
    }

    /// The same, calling `beside` before every chunk.
    pub(crate) fn run_beside(
        &mut self,
        seconds: f64,
        mut beside: impl FnMut() -> Result<()>,
    ) -> Result<Run> {
        let window = self.window;
        self.drive(|publishers, progress, mut sent| {
            let end = Instant::now() + Duration::from_secs_f64(seconds);
            while Instant::now() < end {
                beside()?;
                sent += send_round(publishers, progress, sent, window)?;
            }
            Ok(sent)
        })
    }

    /// Calls `send` to publish; it gets the count sent so far and returns the new one. Meanwhile
    /// the receivers run, until everything was received.
    pub(crate) fn drive(
        &mut self,
        send: impl FnOnce(&mut [Publisher], &Progress, u64) -> Result<u64>,
    ) -> Result<Run> {
        let progress = Progress::new(self.receivers.received());
        let published_before = self.published();
        let sent_before = self.sent;
        let start = Instant::now();
        let receivers = &mut self.receivers;
        let publishers = &mut self.publishers;
        let (sent, end) = thread::scope(|scope| {
            let receiver = scope.spawn(|| receivers.run(&progress));
            let sent = send(publishers, &progress, sent_before);
            match &sent {
                Ok(sent) => progress.set_goal(*sent),
                Err(_) => progress.give_up(),
            }
            let end = receiver
                .join()
                .unwrap_or_else(|_| fail!("the receiving thread panicked"));
            both(sent, end)
        })?;
        self.sent = sent;
        Ok(Run {
            published: self.published() - published_before,
            delivered: (sent - sent_before) * self.receivers.deliveries_per_tally(),
            seconds: end.saturating_duration_since(start).as_secs_f64(),
        })
    }

    /// Checks that no more was received than published.
    pub(crate) fn check_no_extra(&mut self) -> Result<()> {
        self.receivers.check_no_extra()
    }

    /// The receiving connections.
    pub(crate) fn inboxes(&mut self) -> &mut [Inbox] {
        &mut self.receivers.inboxes
    }

    fn published(&self) -> u64 {
        self.publishers.iter().map(Publisher::sent).sum()
    }
}

/// Sends one chunk per publisher when the window permits it; returns the count sent.
fn send_round(
    publishers: &mut [Publisher],
    progress: &Progress,
    sent: u64,
    window: u64,
) -> Result<u64> {
    let round = publishers.first().map_or(0, Publisher::next_deliveries);
    progress.await_received((sent + round).saturating_sub(window.max(round)))?;
    for publisher in publishers {
        publisher.send_chunk()?;
    }
    Ok(round)
}

/// Combines both results; of two failures it keeps both texts.
fn both<A, B>(sent: Result<A>, received: Result<B>) -> Result<(A, B)> {
    match (sent, received) {
        (Ok(sent), Ok(received)) => Ok((sent, received)),
        (Err(failure), Ok(_)) | (Ok(_), Err(failure)) => Err(failure),
        (Err(Failure(sender)), Err(Failure(receiver))) => {
            fail!("sender: {sender}; receiver: {receiver}")
        }
    }
}
