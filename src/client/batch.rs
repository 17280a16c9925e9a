//! Reading: a batch of bytes becomes operations, publishes are gathered into
//! runs, everything else is handed to the session's verbs.

use std::{sync::Arc, time::Duration};

use super::{
    back_pressure::{HOLD_MAX, MADE_MAX, must_hold},
    end::End,
    publish::RunInProgress,
    session::Session,
};
use crate::{
    connection::{
        CloseReason, Connection,
        buffers::ThreadBuffers,
        payload::{NoRoom, Origin},
        reading::{Input, Large, Reader},
    },
    protocol::{
        error::{ClientError, quoted},
        parse::{Op, Parsed, Publish, parse, parse_repeated_publish},
    },
    telemetry::MonotonicMicros,
};

/// Whether the rest of what was read waits.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Held {
    /// It does not.
    No,
    /// For peers of the cluster that have not taken what it had made so far.
    ForPeers,
    /// For the turns of others: it goes on in the next turn.
    ForOthers,
}

impl Reader for Session {
    fn connection(&self) -> &Arc<Connection> {
        &self.connection
    }

    fn input(&mut self) -> &mut Input {
        &mut self.input
    }

    fn must_pause(&self, buffers: &ThreadBuffers) -> bool {
        !buffers.congested.is_empty()
            || self.pending_login.is_some()
            || self.held != Held::No
            || self.context.registry.budget.is_overdrawn()
    }

    fn handle_large(&mut self, buffers: &mut ThreadBuffers, large: Large) {
        let result = self.publish_large(buffers, large);
        // Nothing of it is left; whether more is read shows the thread's buffers.
        self.set_held(Held::No);
        if let Err(end) = result {
            self.end(buffers, end);
        }
    }

    fn handle_batch(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]) {
        self.spoke = true;
        buffers.read_at = MonotonicMicros::now();
        buffers.publisher = self.connection.cid;
        if self.unauthenticated.is_some() {
            if let Err(end) = self.admit(buffers, bytes) {
                self.end(buffers, end);
            }
            return;
        }
        let mut batch = RunInProgress::new();
        let mut at = 0;
        let mut result = Ok(());
        while at < bytes.len() && result.is_ok() && self.held == Held::No {
            match self.handle_operation(buffers, &mut batch, bytes, &mut at) {
                Ok(true) => {}
                Ok(false) => break,
                Err(end) => result = Err(end),
            }
        }
        let held = self.held;
        // What came before an error is still delivered.
        let counted = batch.deliver_last(self, buffers, bytes);
        self.set_held(held);
        self.connection.in_msgs.add(counted.msgs);
        self.connection.in_bytes.add(counted.bytes);
        if counted.msgs > 0 {
            self.keepalive.busy();
            self.connection.active(buffers.read_at.millis());
        }
        match result {
            Ok(()) => self.input.keep(&bytes[at..]),
            Err(end) => self.end(buffers, end),
        }
    }
}

impl Session {
    /// Handles the operation at `at` and moves on. `false`: it is not complete.
    #[inline]
    fn handle_operation(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        let rest = &bytes[*at..];
        if let Some(subject) = batch.subject(bytes)
            && let Some(publish) = parse_repeated_publish(rest, subject)
        {
            return self.handle_publish(buffers, batch, bytes, at, &publish);
        }
        match parse(rest, self.limits.max_control_line) {
            Ok(Parsed::Op(Op::Publish(publish), _)) => {
                if batch.subject(bytes) != Some(publish.subject) {
                    batch.deliver(self, buffers, bytes);
                    if self.held != Held::No {
                        return Ok(true);
                    }
                }
                self.handle_publish(buffers, batch, bytes, at, &publish)
            }
            Ok(Parsed::Op(op, len)) => {
                // What was published before must be on its way before anything
                // else happens: a PONG promises it.
                batch.deliver(self, buffers, bytes);
                if self.held != Held::No {
                    return Ok(true);
                }
                *at += len;
                self.act(buffers, op)?;
                Ok(self.pending_login.is_none())
            }
            Ok(Parsed::Incomplete) => Ok(false),
            Err(error) => Err(End::from(error).quoting(rest, self.connected)),
        }
    }

    /// Holds the rest of the batch if a subject batch made more than others are to wait for.
    #[inline]
    pub(super) fn look_whether_to_hold(&mut self, buffers: &mut ThreadBuffers) {
        buffers.cost += self.cache.take_cost();
        if buffers.is_spent() && self.held == Held::No {
            self.held = Held::ForOthers;
        }
        if buffers.appended > MADE_MAX
            && !buffers.congested.peers().is_empty()
            && self.held_for < HOLD_MAX
            && must_hold(buffers)
        {
            self.held = Held::ForPeers;
        }
    }

    /// Whether what is left of the batch waits; answers that wait hold it in any case.
    pub(super) fn set_held(&mut self, held: Held) {
        self.held = match held {
            Held::No if !self.unanswered.is_empty() => Held::ForOthers,
            held => held,
        };
        if self.held == Held::No {
            self.held_for = Duration::ZERO;
        }
    }

    /// Handles what was read before a login was decided, or before the batch was
    /// held.
    pub(super) fn resume(&mut self, buffers: &mut ThreadBuffers) {
        self.held = Held::No;
        self.tell_rest(buffers);
        if self.held != Held::No {
            return;
        }
        let held = self.input.take_kept();
        if !held.is_empty() {
            self.handle_batch(buffers, &held);
        }
    }

    /// Takes a publish into the subject batch. `false`: its payload is not complete; if
    /// it is large, everything there is has been consumed all the same.
    #[inline]
    fn handle_publish(
        &mut self,
        buffers: &mut ThreadBuffers,
        batch: &mut RunInProgress,
        bytes: &[u8],
        at: &mut usize,
        publish: &Publish<'_>,
    ) -> Result<bool, End> {
        if publish.total_len >= self.limits.large_payload {
            self.admit_large(publish, bytes.len() - *at)?;
        }
        if publish.header_len.is_some() && !self.options.headers {
            return Err(End::protocol_violation("HPUB without header support"));
        }
        let rest = &bytes[*at..];
        let whole_len = publish.whole_len();
        if rest.len() < whole_len {
            let origin = Origin::Client;
            let begun = self
                .input
                .begin_large(rest, publish.line_len, whole_len, origin);
            if begun.map_err(|NoRoom| no_room(publish))? {
                batch.deliver(self, buffers, bytes);
                *at = bytes.len();
            }
            return Ok(false);
        }
        self.input.expect_small();
        if !rest[..whole_len].ends_with(b"\r\n") {
            return Err(End::unknown_operation(
                "a payload does not end where its size says",
            ));
        }
        batch.add(self, buffers, bytes, *at, publish);
        *at += whole_len;
        Ok(true)
    }

    /// Counts a publish of which `received` bytes are there and whose payload
    /// is close to the largest; refuses it if it is larger.
    #[cold]
    fn admit_large(&self, publish: &Publish<'_>, received: usize) -> Result<(), End> {
        let too_large = publish.total_len > self.limits.max_payload;
        // One that waits for its end is looked at again.
        if too_large || received >= publish.whole_len() || Input::is_large(publish.whole_len()) {
            let tally = &self.context.telemetry.large;
            tally.count(
                publish.subject,
                publish.total_len as u64,
                self.connection.cid,
            );
        }
        match too_large {
            false => Ok(()),
            true => Err(End {
                refused: None,
                reason: CloseReason::MaxPayload,
                error: Some(ClientError::MaxPayload),
                detail: format!(
                    "payload of {} bytes for {}, max_payload is {}",
                    publish.total_len,
                    quoted(publish.subject),
                    self.limits.max_payload
                ),
            }),
        }
    }
}

/// The client is told nothing, as one that is cut for a full queue: what it does not
/// know may keep it from coming back.
#[cold]
fn no_room(publish: &Publish<'_>) -> End {
    End {
        refused: None,
        reason: CloseReason::NoRoomForPayload,
        error: None,
        detail: format!(
            "a payload of {} bytes for {}, and those that are being read take all that they may",
            publish.total_len,
            quoted(publish.subject)
        ),
    }
}
