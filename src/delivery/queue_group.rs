//! Dividing a batch among the members of a queue group.

use std::sync::Arc;

use super::batch::{Pick, SubjectBatch};
use crate::{
    connection::{Subscription, buffers::ThreadBuffers},
    sublist::Entry,
    telemetry::MonotonicMillis,
};

/// Divides the messages of a batch among the members of a queue group, in turn from a
/// random one on; `excludes` are passed over. So many members are `elsewhere` and
/// take their turns. Returns the indexes of theirs and of those that no member
/// took, ascending.
pub fn deliver_to_queue_group(
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    members: &[Arc<Subscription>],
    elsewhere: usize,
    excludes: impl Fn(&Subscription) -> bool,
    now: MonotonicMillis,
    flush: bool,
) -> Vec<usize> {
    if buffers.survey().is_some() {
        return survey_queue_group(buffers, batch, members, elsewhere > 0, excludes, now);
    }
    let turns = members.len() + elsewhere;
    let start = fastrand::usize(..turns);
    buffers.cost += turns.min(batch.messages.len()) + batch.cost();
    let (mut undelivered, mut export_subject) = (Vec::new(), Vec::new());
    for first in 0..turns.min(batch.messages.len()) {
        let picked = (first..batch.messages.len()).step_by(turns);
        let Some(member) = members.get((start + first) % turns) else {
            export_subject.extend(picked);
            continue;
        };
        let pick = Pick { first, step: turns };
        let taken = match excludes(member) {
            true => {
                member.note_no_echo(buffers);
                0
            }
            false => member.deliver(buffers, batch, pick, now, flush),
        };
        undelivered.extend(picked.skip(taken));
    }
    // A member did not take its share.
    deliver_rest(
        buffers,
        batch,
        members,
        &mut undelivered,
        excludes,
        now,
        flush,
    );
    undelivered.extend(export_subject);
    undelivered.sort_unstable();
    undelivered
}

/// Asks all members whether they could take the message of a survey.
#[cold]
fn survey_queue_group(
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    members: &[Arc<Subscription>],
    are_elsewhere: bool,
    excludes: impl Fn(&Subscription) -> bool,
    now: MonotonicMillis,
) -> Vec<usize> {
    let name = members.first().and_then(|first| first.queue());
    if let Some(survey) = buffers.survey() {
        survey.begin_queue(name.unwrap_or_default());
    }
    let mut is_taken = false;
    for member in members {
        match excludes(member) {
            true => member.note_no_echo(buffers),
            false => is_taken |= member.deliver(buffers, batch, Pick::ALL, now, false) > 0,
        }
    }
    if let Some(survey) = buffers.survey() {
        survey.end_queue();
    }
    // A member elsewhere may take it, too.
    match is_taken && !are_elsewhere {
        true => Vec::new(),
        false => (0..batch.messages.len()).collect(),
    }
}

/// Delivers messages of a batch one by one, each to one member that accepts it; those that
/// no member accepts are left.
pub fn deliver_rest(
    buffers: &mut ThreadBuffers,
    batch: &SubjectBatch<'_>,
    members: &[Arc<Subscription>],
    left: &mut Vec<usize>,
    excludes: impl Fn(&Subscription) -> bool,
    now: MonotonicMillis,
    flush: bool,
) {
    if left.is_empty() {
        return;
    }
    let members = members.iter().filter(|member| !excludes(member));
    let mut able: Vec<&Arc<Subscription>> = members.collect();
    let mut turn = fastrand::usize(..able.len().max(1));
    left.retain(|index| {
        while !able.is_empty() {
            let at = turn % able.len();
            buffers.cost += 1;
            if able[at].deliver(buffers, batch, Pick::one(*index), now, flush) == 1 {
                turn = at + 1;
                return false;
            }
            // A member that did not accept one message accepts no later one either.
            able.swap_remove(at);
        }
        true
    });
}
