//! Reading: what a client sends becomes operations; publishes are gathered into subject
//! batches, everything else is handed to the verbs.

use super::{
    active::{Active, Standing},
    back_pressure::{HOLD_MAX, PRODUCED_MAX, must_hold},
};
use crate::{
    connection::{
        CloseReason,
        buffers::ThreadBuffers,
        payload::{Origin, OutOfMemory},
        reading::{Input, Large},
    },
    peer::{
        End, HeldFor, Peer,
        batch::{Gathered, Messages, UNENDED},
    },
    protocol::{
        error::{ClientError, quoted},
        parse::{Op, Parsed, Publish, parse, parse_repeated_publish},
    },
};

/// Where in a batch the subject of a subject batch begins and ends.
pub(super) type Place = (usize, usize);

impl Messages for Active {
    type Target = Place;

    const MESSAGES_REPLACE_PINGS: bool = true;

    fn begin_batch(&mut self, buffers: &mut ThreadBuffers) {
        buffers.publisher = self.base.connection.cid;
        if let Standing::Silent { spoke, .. } = &mut self.standing {
            *spoke = true;
        }
    }

    #[inline]
    fn handle_operation(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Place>,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<bool, End> {
        let rest = &bytes[*at..];
        let subject = gathered.target().map(|&(start, end)| &bytes[start..end]);
        if let Some(subject) = subject
            && let Some(publish) = parse_repeated_publish(rest, subject)
        {
            return self.handle_publish(buffers, gathered, bytes, at, &publish);
        }
        match parse(rest, self.base.limits.max_control_line) {
            Ok(Parsed::Op(Op::Publish(publish), _)) => {
                if subject != Some(publish.subject) {
                    gathered.deliver(self, buffers, bytes);
                    if self.base.link.is_held() {
                        return Ok(true);
                    }
                }
                self.handle_publish(buffers, gathered, bytes, at, &publish)
            }
            Ok(Parsed::Op(op, len)) => {
                // What was published before must be on its way before anything
                // else happens: a PONG promises it.
                gathered.deliver(self, buffers, bytes);
                if self.base.link.is_held() {
                    return Ok(true);
                }
                *at += len;
                self.act(buffers, op)?;
                Ok(!self.awaits_decision())
            }
            Ok(Parsed::Incomplete) => Ok(false),
            Err(error) => Err(End::from(error).quoting(rest, self.is_member())),
        }
    }

    fn len_max(&mut self, target: Place, bytes: &[u8]) -> Option<usize> {
        Some(self.publishes_max(&bytes[target.0..target.1]))
    }

    fn deliver_gathered(
        &mut self,
        buffers: &mut ThreadBuffers,
        target: Place,
        bytes: &[u8],
        flush: bool,
    ) {
        self.deliver_publishes(buffers, bytes, &bytes[target.0..target.1], flush);
    }

    fn deliver_large(&mut self, buffers: &mut ThreadBuffers, large: Large) -> Result<(), End> {
        self.publish_large(buffers, large)
    }
}

impl Active {
    /// Holds the rest of the batch if a subject batch produced more than others are to
    /// wait for.
    #[inline]
    pub(super) fn check_whether_to_hold(&mut self, buffers: &mut ThreadBuffers) {
        buffers.cost += self.cache.take_cost();
        if buffers.is_spent() && !self.base.link.is_held() {
            self.base.link.held = HeldFor::Others;
        }
        if buffers.appended > PRODUCED_MAX
            && !buffers.congested.peers().is_empty()
            && self.held_time < HOLD_MAX
            && must_hold(buffers)
        {
            self.base.link.held = HeldFor::Peers;
        }
    }

    /// Adds a publish to the subject batch. `false`: its payload is incomplete; if it is
    /// large, all available bytes have been consumed nevertheless.
    #[inline]
    fn handle_publish(
        &mut self,
        buffers: &mut ThreadBuffers,
        gathered: &mut Gathered<Place>,
        bytes: &[u8],
        at: &mut usize,
        publish: &Publish<'_>,
    ) -> Result<bool, End> {
        if publish.total_len >= self.base.limits.large_payload {
            self.admit_large(publish, &bytes[*at..])?;
        }
        if publish.header_len.is_some() && !self.options.headers {
            return Err(End::violation("HPUB without header support"));
        }
        let rest = &bytes[*at..];
        let whole_len = publish.whole_len();
        if rest.len() < whole_len {
            let origin = Origin::Client;
            let begun = self
                .base
                .link
                .input
                .begin_large(rest, publish.line_len, whole_len, origin);
            if begun.map_err(|OutOfMemory| out_of_memory(publish))? {
                gathered.deliver(self, buffers, bytes);
                *at = bytes.len();
            }
            return Ok(false);
        }
        self.base.link.input.expect_small();
        if !rest[..whole_len].ends_with(b"\r\n") {
            return Err(End::unknown_operation(UNENDED));
        }
        self.gather(buffers, gathered, bytes, *at, publish);
        *at += whole_len;
        Ok(true)
    }

    /// Counts a publish of which these bytes are there and whose payload is close to the
    /// largest; refuses it if it is larger.
    #[cold]
    fn admit_large(&self, publish: &Publish<'_>, received: &[u8]) -> Result<(), End> {
        let too_large = publish.total_len > self.base.limits.max_payload;
        // One that waits for its end is looked at again.
        if too_large
            || received.len() >= publish.whole_len()
            || Input::is_large(publish.whole_len())
        {
            let tally = &self.base.broker.telemetry.large;
            tally.count(
                publish.subject,
                publish.total_len as u64,
                self.base.connection.cid,
            );
        }
        match too_large {
            false => Ok(()),
            true => {
                self.trace_too_large(publish, &received[publish.line_len..]);
                let end = End::with_error(CloseReason::MaxPayload, ClientError::MaxPayload);
                Err(end.with(format!(
                    "payload of {} bytes for {}, max_payload is {}",
                    publish.total_len,
                    quoted(publish.subject),
                    self.base.limits.max_payload
                )))
            }
        }
    }
}

/// The client gets no `-ERR`, like one that is cut for a full queue: an unknown error may
/// keep a client from reconnecting.
#[cold]
fn out_of_memory(publish: &Publish<'_>) -> End {
    let detail = format!(
        "a payload of {} bytes for {}: all payloads that are being read take as much memory as \
         they may",
        publish.total_len,
        quoted(publish.subject)
    );
    End::without_error(CloseReason::NoRoomForPayload, detail)
}
