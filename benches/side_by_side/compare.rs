//! Computes values, ratios and verdicts from the samples of all rounds.

use serde::Serialize;

use crate::{
    failure::Result,
    sample::{Metric, Sample},
    scenario::{Bound, Goal, Scenario},
};

/// The results of one broker in one scenario, by round.
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) rounds: Vec<Result<Sample>>,
}

/// Median, minimum and maximum of some values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

/// Whether a goal was reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Verdict {
    /// A round failed, so the values are not reliable.
    Failed,
    Missed,
    /// There is nothing to compare with.
    NotJudged,
    Reached,
}

/// A goal and its result.
pub(crate) struct Judgement {
    pub(crate) goal: &'static Goal,
    /// The value or ratio that the goal concerns.
    pub(crate) value: Option<Spread>,
    pub(crate) verdict: Verdict,
}

impl Series {
    /// Whether a round failed.
    pub(crate) fn failed(&self) -> bool {
        self.rounds.iter().any(Result::is_err)
    }

    /// The metrics that were measured.
    pub(crate) fn metrics(&self) -> Vec<Metric> {
        let samples = self.rounds.iter().flatten();
        let mut metrics: Vec<Metric> = samples.flat_map(Sample::metrics).collect();
        metrics.sort_unstable();
        metrics.dedup();
        metrics
    }

    /// The spread over all rounds that did not fail.
    pub(crate) fn spread(&self, metric: Metric) -> Option<Spread> {
        let samples = self.rounds.iter().flatten();
        Spread::of(samples.filter_map(|sample| sample.value(metric)))
    }

    /// The ratio to `peer`, by round.
    pub(crate) fn ratio(&self, peer: &Self, metric: Metric) -> Option<Spread> {
        self.compare(peer, metric, |own, other| own / other)
    }

    /// How much above `peer`, by round.
    pub(crate) fn difference(&self, peer: &Self, metric: Metric) -> Option<Spread> {
        self.compare(peer, metric, |own, other| own - other)
    }

    fn compare(
        &self,
        peer: &Self,
        metric: Metric,
        compare: impl Fn(f64, f64) -> f64,
    ) -> Option<Spread> {
        let value = |round: &Result<Sample>| round.as_ref().ok()?.value(metric);
        let pairs = self.rounds.iter().zip(&peer.rounds);
        Spread::of(pairs.filter_map(|(own, other)| Some(compare(value(own)?, value(other)?))))
    }
}

impl Spread {
    /// `None` if there are no values.
    pub(crate) fn of(values: impl Iterator<Item = f64>) -> Option<Self> {
        let mut values: Vec<f64> = values.collect();
        values.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*values.first()?, *values.last()?);
        let middle = values.len() / 2;
        let median = if values.len() % 2 == 1 {
            values[middle]
        } else {
            (values[middle - 1] + values[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }
}

/// Evaluates the scenario's goals: midge compared with the first peer, if any.
pub(crate) fn judge(scenario: &Scenario, midge: &Series, peer: Option<&Series>) -> Vec<Judgement> {
    let judge_one = |goal: &'static Goal| {
        let (value, failed, reached): (_, _, fn(f64, f64) -> bool) = match goal.bound {
            Bound::RatioAtMost(_) => (
                peer.and_then(|peer| midge.ratio(peer, goal.metric)),
                midge.failed() || peer.is_some_and(Series::failed),
                |value, bound| value <= bound,
            ),
            Bound::AboveAtMost(_) => (
                peer.and_then(|peer| midge.difference(peer, goal.metric)),
                midge.failed() || peer.is_some_and(Series::failed),
                |value, bound| value <= bound,
            ),
            Bound::AtMost(_) => (midge.spread(goal.metric), midge.failed(), |value, bound| {
                value <= bound
            }),
            Bound::AtLeast(_) => (midge.spread(goal.metric), midge.failed(), |value, bound| {
                value >= bound
            }),
        };
        let verdict = match value {
            _ if failed => Verdict::Failed,
            None => Verdict::NotJudged,
            Some(spread) if reached(spread.median, goal.bound.limit()) => Verdict::Reached,
            Some(_) => Verdict::Missed,
        };
        Judgement {
            goal,
            value,
            verdict,
        }
    };
    scenario.goals.iter().map(judge_one).collect()
}
