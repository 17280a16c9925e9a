//! From the samples of all rounds to figures, ratios and verdicts.

use serde::Serialize;

use crate::{
    failure::Result,
    sample::{Metric, Sample},
    scenario::{Bound, Goal, Scenario},
};

/// What one broker did in one scenario, round by round.
pub(crate) struct Series {
    pub(crate) label: String,
    pub(crate) rounds: Vec<Result<Sample>>,
}

/// Median, least and greatest of some figures.
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
    /// A round failed, so there is no figure to trust.
    Failed,
    Missed,
    /// Nothing to compare with.
    NotJudged,
    Reached,
}

/// A goal and what came of it.
pub(crate) struct Judgement {
    pub(crate) goal: &'static Goal,
    /// The figure or the ratio that the goal is about.
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

    /// The figures of all rounds that did not fail.
    pub(crate) fn spread(&self, metric: Metric) -> Option<Spread> {
        let samples = self.rounds.iter().flatten();
        Spread::of(samples.filter_map(|sample| sample.figure(metric)))
    }

    /// This divided by `peer`, round by round.
    pub(crate) fn ratio(&self, peer: &Self, metric: Metric) -> Option<Spread> {
        let figure = |round: &Result<Sample>| round.as_ref().ok()?.figure(metric);
        let pairs = self.rounds.iter().zip(&peer.rounds);
        Spread::of(pairs.filter_map(|(own, other)| Some(figure(own)? / figure(other)?)))
    }
}

impl Spread {
    /// None of no figures.
    pub(crate) fn of(figures: impl Iterator<Item = f64>) -> Option<Self> {
        let mut figures: Vec<f64> = figures.collect();
        figures.sort_unstable_by(f64::total_cmp);
        let (min, max) = (*figures.first()?, *figures.last()?);
        let middle = figures.len() / 2;
        let median = if figures.len() % 2 == 1 {
            figures[middle]
        } else {
            (figures[middle - 1] + figures[middle]) / 2.0
        };
        Some(Self { median, min, max })
    }
}

/// Judges the scenario's goals: midge against the first peer, if any.
pub(crate) fn judge(scenario: &Scenario, midge: &Series, peer: Option<&Series>) -> Vec<Judgement> {
    let judge_one = |goal: &'static Goal| {
        let (value, failed, reached): (_, _, fn(f64, f64) -> bool) = match goal.bound {
            Bound::RatioAtMost(_) => (
                peer.and_then(|peer| midge.ratio(peer, goal.metric)),
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
