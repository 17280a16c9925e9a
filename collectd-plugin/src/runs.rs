//! The runs of the broker that answers for an instance: a restart is logged once, and so is that
//! another broker answers at the same address, which a load balancer or a moved address causes.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use crate::daemon::Level;

/// Runs that are remembered.
const RUNS_MAX: usize = 8;

/// A broker that started this long before it answered first was there before: clocks and polls are
/// not exact.
const TOLERANCE: Duration = Duration::from_secs(2);

/// After this time with one broker, another one is logged again.
const STEADY: Duration = Duration::from_secs(600);

/// One run of a broker, as its answer describes it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Run {
    /// Id of the broker, new at each start.
    pub(crate) id: String,
    /// Name of the broker.
    pub(crate) name: String,
    /// Its start, as it reported it.
    pub(crate) start: String,
    /// Time since then by its own clock; `None` if that was set back.
    pub(crate) uptime: Option<Duration>,
}

/// The runs that an instance has seen.
#[derive(Debug, Default)]
pub(crate) struct Runs {
    /// The last ones, the present one at the end.
    seen: VecDeque<Run>,
    /// When the present one answered first, and last.
    times: Option<(Instant, Instant)>,
    /// Whether it was logged that several brokers answer.
    is_logged: bool,
}

impl Runs {
    /// Takes the run that has answered; returns the line to log, if there is one.
    pub(crate) fn note(&mut self, run: Run, now: Instant) -> Option<(Level, String)> {
        let (since, last) = self.times.unwrap_or((now, now));
        let Some(before) = self
            .seen
            .back()
            .filter(|before| before.id != run.id)
            .cloned()
        else {
            self.times = Some((since, now));
            if self.seen.is_empty() {
                self.seen.push_back(run);
            }
            return None;
        };
        let known = self.seen.iter().position(|seen| seen.id == run.id);
        if let Some(index) = known {
            self.seen.remove(index);
        }
        // A restart is younger than the last answer of the run before.
        let away = now.duration_since(last) + TOLERANCE;
        let is_other = known.is_some() || run.uptime.is_some_and(|uptime| uptime > away);
        if now.duration_since(since) >= STEADY {
            self.is_logged = false;
        }
        self.times = Some((now, now));
        let line = match is_other {
            true if self.is_logged => None,
            true => {
                self.is_logged = true;
                Some((Level::Warning, other_broker(&before, &run)))
            }
            false => Some((Level::Notice, restart(&before, &run))),
        };
        if self.seen.len() == RUNS_MAX {
            self.seen.pop_front();
        }
        self.seen.push_back(run);
        line
    }
}

fn restart(before: &Run, run: &Run) -> String {
    format!(
        "the broker was restarted at {}: server id {} is now {}",
        run.start, before.id, run.id
    )
}

fn other_broker(before: &Run, run: &Run) -> String {
    format!(
        "another broker answers at this address: {} (id {}, started at {}), before it was {} (id \
         {}). If several share the address, give each one its own instance and URL: the rates of \
         this one are wrong",
        run.name, run.id, run.start, before.name, before.id
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    const INTERVAL: Duration = Duration::from_secs(10);

    fn run(id: &str, uptime: u64) -> Run {
        Run {
            id: id.to_owned(),
            name: format!("name-{id}"),
            start: format!("start-{id}"),
            uptime: Some(Duration::from_secs(uptime)),
        }
    }

    /// The lines of these runs, one poll each.
    fn lines(runs: &mut Runs, now: &mut Instant, polls: Vec<Run>) -> Vec<(Level, String)> {
        let mut lines = Vec::new();
        for run in polls {
            *now += INTERVAL;
            lines.extend(runs.note(run, *now));
        }
        lines
    }

    #[test]
    fn each_restart_is_logged_once() {
        let (mut runs, mut now) = (Runs::default(), Instant::now());
        let polls = vec![
            run("A", 900),
            run("A", 910),
            run("B", 3),
            run("B", 13),
            run("C", 1),
        ];
        let lines = lines(&mut runs, &mut now, polls);
        let texts: Vec<_> = lines.iter().map(|(_, text)| text.as_str()).collect();
        let restarts = [
            "the broker was restarted at start-B: server id A is now B",
            "the broker was restarted at start-C: server id B is now C",
        ];
        assert_eq!(texts, restarts);
        assert!(lines.iter().all(|(level, _)| *level == Level::Notice));
    }

    #[test]
    fn a_restart_with_a_wrong_clock_is_a_restart() {
        let (mut runs, mut now) = (Runs::default(), Instant::now());
        let unknown = Run {
            uptime: None,
            ..run("B", 0)
        };
        let lines = lines(&mut runs, &mut now, vec![run("A", 900), unknown]);
        assert!(lines[0].1.contains("restarted"), "{lines:?}");
    }

    #[test]
    fn brokers_that_answer_in_turn_are_one_line() {
        let (mut runs, mut now) = (Runs::default(), Instant::now());
        let polls = (0..100).map(|index| {
            let uptime = 1000 + 10 * index;
            run(if index % 2 == 0 { "A" } else { "B" }, uptime)
        });
        let lines = lines(&mut runs, &mut now, polls.collect());
        assert_eq!(lines.len(), 1, "{lines:?}");
        let (level, text) = &lines[0];
        assert_eq!(*level, Level::Warning);
        for part in [
            "name-B (id B, started at start-B)",
            "before it was name-A (id A)",
        ] {
            assert!(text.contains(part), "{text}");
        }
    }

    /// Also if they started a moment ago, so that the first change looks like a restart.
    #[test]
    fn young_brokers_that_answer_in_turn_are_two_lines() {
        let (mut runs, mut now) = (Runs::default(), Instant::now());
        let polls = (0..100).map(|index| run(if index % 2 == 0 { "A" } else { "B" }, 10 * index));
        let lines = lines(&mut runs, &mut now, polls.collect());
        assert_eq!(lines.len(), 2, "{lines:?}");
    }

    #[test]
    fn an_address_that_moves_is_logged_each_time() {
        let (mut runs, mut now) = (Runs::default(), Instant::now());
        for (id, expected) in [("A", 0), ("B", 1), ("A", 1), ("B", 1)] {
            let polls = vec![run(id, 100_000); 100];
            assert_eq!(lines(&mut runs, &mut now, polls).len(), expected, "{id}");
        }
    }
}
