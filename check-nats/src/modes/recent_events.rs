//! Events of a broker that name who is behind a count. Only midge has them.

use std::collections::BTreeMap;

use monitor_client::{EventInfo, Eventsz, Kind};

use super::{
    Check, Failure,
    culprit::Culprit,
    need::{Need, for_names, must},
};
use crate::{baseline::Span, deadline::Step, text::quoted};

/// Events that are looked through, the latest ones.
const EVENTS_MAX: usize = 1024;

/// The events, only to name who they are about.
pub(super) const EVENTS_NEED: Need = for_names(
    "/eventsz",
    Step::Eventsz,
    &[must("server_id", Kind::Text), must("events", Kind::List)],
);

/// Those that events of these kinds (names, separated by commas) are about in the span, the
/// most frequent first.
///
/// # Errors
/// As [`Check::ask`].
pub(super) fn culprits(
    check: &mut Check,
    kinds: &str,
    span: &Span,
) -> Result<Vec<Culprit>, Failure> {
    in_span(check, kinds, span).map(|events| by_subject(events.iter()))
}

/// The events of these kinds in the span.
///
/// # Errors
/// As [`Check::ask`].
pub(super) fn in_span(
    check: &mut Check,
    kinds: &str,
    span: &Span,
) -> Result<Vec<EventInfo>, Failure> {
    let path = format!("/eventsz?type={kinds}&limit={EVENTS_MAX}");
    let mut events = check.ask::<Eventsz>(&path)?.events;
    events.retain(|event| span.includes(&event.time));
    Ok(events)
}

/// Those that events are about, the most frequent first.
pub(super) fn by_subject<'a>(events: impl Iterator<Item = &'a EventInfo>) -> Vec<Culprit> {
    let mut subjects: BTreeMap<&str, (usize, &str)> = BTreeMap::new();
    for event in events {
        let (times, last) = subjects.entry(&event.subject).or_default();
        *times += 1;
        *last = &event.text;
    }
    let mut subjects: Vec<_> = subjects.into_iter().collect();
    subjects.sort_by_key(|(_, (times, _))| std::cmp::Reverse(*times));
    let culprit = |(subject, (times, last)): (&str, (usize, &str))| Culprit {
        name: quoted(subject),
        line: match times {
            1 => format!("{}: {last}", quoted(subject)),
            times => format!("{}, {times} times, the last: {last}", quoted(subject)),
        },
    };
    subjects.into_iter().map(culprit).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_gathered_by_whom_they_are_about() {
        let event = |subject: &str, text: &str| EventInfo {
            subject: subject.into(),
            text: text.into(),
            ..EventInfo::default()
        };
        let events = [
            event("a", "one"),
            event("b", "two"),
            event("b", "three"),
            event("c\"", "four"),
        ];
        let lines: Vec<String> = by_subject(events.iter())
            .into_iter()
            .map(|culprit| culprit.line)
            .collect();
        assert_eq!(
            lines,
            [
                "\"b\", 2 times, the last: three",
                "\"a\": one",
                "\"c'\": four"
            ]
        );
    }
}
