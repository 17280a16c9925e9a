//! How `peer` drives a client that is in, reads what it sends, and ends its connection.

use std::{sync::Arc, time::Duration};

use tokio::time::Instant;

use super::{Active, Awaited, Standing, leave};
use crate::{
    broker::Broker,
    client::{
        back_pressure,
        base::{Base, close},
        login::{LogsIn, settle},
        trace::Trace,
    },
    connection::{
        CloseReason, Connection, Subscription, Wake,
        buffers::ThreadBuffers,
        reading::{Input, Large, Reader},
    },
    peer::{End, Ends, HeldFor, Link, Peer, Turn, batch},
    telemetry::slow::Incident,
};

impl Peer for Active {
    fn link(&self) -> &Link {
        &self.base.link
    }

    fn link_mut(&mut self) -> &mut Link {
        &mut self.base.link
    }

    fn is_out_of_date(&self, _: Wake) -> bool {
        self.base.is_out_of_date()
    }

    fn keep_up_to_date(&mut self, buffers: &mut ThreadBuffers) {
        self.adopt_settings(buffers);
    }

    fn begin_turn(&mut self) {
        let base = &mut self.base;
        base.trace = Trace::of(&base.connection, base.limits.trace);
        base.trace
            .set_delivery_trace(&base.connection, &base.limits);
    }

    fn end_turn(&mut self) {
        self.cache.end_turn();
    }

    fn awaits_decision(&self) -> bool {
        self.awaited.is_some()
    }

    async fn decide(&mut self) -> Turn {
        let mut turn = Turn::default();
        while let Some(awaited) = self.awaited.take() {
            turn = match *awaited {
                Awaited::Login(pending) => settle(self, pending).await,
                Awaited::Again(check) => self.settle_again(check).await,
            };
        }
        turn
    }

    async fn pause(&mut self, turn: &Turn) -> bool {
        back_pressure::pause(self, turn).await
    }

    fn continue_held(&mut self, buffers: &mut ThreadBuffers) {
        self.send_rest(buffers);
    }

    fn has_to_halt(&self) -> bool {
        Active::has_to_halt(self)
    }

    async fn halt(&mut self) -> bool {
        self.halt_and_export().await
    }

    /// Answers that wait hold the rest of the batch in any case.
    fn set_held(&mut self, held: HeldFor) {
        self.base.link.held = match held {
            HeldFor::Nobody if !self.unanswered.is_empty() => HeldFor::Others,
            held => held,
        };
        if !self.base.link.is_held() {
            self.held_time = Duration::ZERO;
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.standing, Standing::MustLogIn { .. })
    }

    fn write_deadline(&self) -> Duration {
        self.base.limits.write_deadline
    }

    fn own_deadline(&self) -> Option<Instant> {
        self.cache.next_check()
    }

    fn when_due(&mut self, now: Instant) -> Result<(), End> {
        self.cache.expire(&self.account, now);
        Ok(())
    }

    fn before_ping(&mut self) {
        self.cache.clear();
        let base = &self.base;
        base.trace.out(&base.connection, format_args!("PING"));
    }

    fn end(&mut self, buffers: &mut ThreadBuffers, end: End) {
        self.end_login(buffers, end);
    }
}

impl Reader for Active {
    fn connection(&self) -> &Arc<Connection> {
        &self.base.connection
    }

    fn input(&mut self) -> &mut Input {
        &mut self.base.link.input
    }

    fn handle_read_batch(&mut self, buffers: &mut ThreadBuffers, bytes: &[u8]) {
        batch::handle_read_batch(self, buffers, bytes);
    }

    fn handle_large(&mut self, buffers: &mut ThreadBuffers, large: Large) {
        batch::handle_large(self, buffers, large);
    }

    fn end_broken(&mut self, buffers: &mut ThreadBuffers, text: &str) {
        self.end(buffers, End::violation(format!("read error: {text}")));
    }

    fn must_pause(&self, buffers: &ThreadBuffers) -> bool {
        !buffers.congested.is_empty()
            || self.awaited.is_some()
            || self.base.link.is_held()
            || self.base.broker.registry.budget.is_overdrawn()
    }
}

impl Ends for Active {
    type Left = (Self, Vec<Arc<Subscription>>);

    fn broker(&self) -> &Arc<Broker> {
        &self.base.broker
    }

    async fn leave(self) -> Self::Left {
        let subscriptions = self.base.connection.subscriptions.lock().drain();
        leave(&self.account, &subscriptions).await;
        if let Some(permission_cache) = &self.permission_cache {
            permission_cache.clear();
        }
        (self, subscriptions)
    }

    fn ended((active, subscriptions): Self::Left, reason: CloseReason, _: Option<&Incident>) {
        let Base {
            broker, connection, ..
        } = &active.base;
        let spoke = match active.standing {
            Standing::Silent { spoke, tried } => {
                // Only now: it is open no more.
                if let Some(tried) = tried {
                    *connection.identity.lock() = *tried;
                }
                spoke
            }
            Standing::MustLogIn { spoke } => spoke,
            // Leave before the connection counts as closed, so that an observer of that
            // count finds the place free.
            Standing::Member { membership, .. } => {
                drop(membership);
                true
            }
        };
        close(broker, connection, &subscriptions, spoke, reason);
    }
}
