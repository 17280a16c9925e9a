//! The report as text: a block per scenario during the run, a table of the goals at the end.

use std::fmt::Write;

use crate::{
    compare::{Judgement, Series, Spread, Verdict},
    plan::{Plan, ScenarioResult},
    sample::Metric,
    scenario::Bound,
    sys,
};

/// Width of the column of brokers' names, and of each value.
const NAME: usize = 26;
const VALUE: usize = 10;

/// The size of the runs, the machine and the brokers.
pub(crate) fn heading(plan: &Plan) -> String {
    let mut text = format!(
        "rounds: {}, of {} s each; {} cores, {}\n",
        plan.rounds,
        plan.seconds,
        sys::cores(),
        sys::kernel(),
    );
    for program in &plan.programs {
        let path = program.path.display();
        text += &format!("{}: {path} ({})\n", program.label, program.version);
    }
    if plan.divisor > 1 {
        text += &format!(
            "a quick run: large numbers of connections and subscriptions divided by {}\n",
            plan.divisor
        );
    }
    if plan.connections_max < 10_000 / plan.divisor {
        text += &format!(
            "at most {} connections: the hard limit of open files is low\n",
            plan.connections_max
        );
    }
    text
}

/// The block of one scenario: values by broker, ratios, failures, goals.
pub(crate) fn scenario(result: &ScenarioResult) -> String {
    let ScenarioResult {
        scenario,
        series,
        goals,
    } = result;
    let mut text = format!(
        "\n{}: {}, per {}\n",
        scenario.name, scenario.what, scenario.unit
    );
    let mut metrics: Vec<Metric> = series.iter().flat_map(Series::metrics).collect();
    metrics.sort_unstable();
    metrics.dedup();
    let mut heading = cell("", NAME);
    for metric in &metrics {
        heading += &right(metric.heading());
    }
    text += &line(&heading);
    for broker in series {
        let mut row = cell(&format!("  {}", broker.label), NAME);
        for metric in &metrics {
            row += &right(
                &broker
                    .spread(*metric)
                    .map_or_else(String::new, |it| short(it.median)),
            );
        }
        text += &line(&row);
    }
    if let Some((midge, peers)) = series.split_first() {
        for peer in peers {
            text += &ratios(midge, peer, &metrics);
        }
    }
    text += &failures(series);
    for judgement in goals {
        text += &line(&format!("  goal: {}", judgement_text(judgement)));
    }
    text
}

/// The table of all goals and a last line that counts them.
pub(crate) fn summary(results: &[ScenarioResult]) -> String {
    let mut text = String::from("\nGoals\n");
    for result in results {
        for goal in &result.goals {
            let name = cell(&format!("  {}", result.scenario.name), 18);
            text += &line(&format!("{name}{}", judgement_text(goal)));
        }
    }
    let count = |verdict| {
        let judgements = results.iter().flat_map(|result| &result.goals);
        judgements.filter(|goal| goal.verdict == verdict).count()
    };
    let failed_runs: usize = results.iter().map(ScenarioResult::failed_runs).sum();
    text += &format!(
        "{} reached, {} missed, {} not judged; {failed_runs} runs FAILED\n",
        count(Verdict::Reached),
        count(Verdict::Missed),
        count(Verdict::NotJudged) + count(Verdict::Failed),
    );
    text
}

fn ratios(midge: &Series, peer: &Series, metrics: &[Metric]) -> String {
    let mut text = cell(&format!("  ÷ {}", peer.label), NAME);
    let mut spreads = cell("    lowest–highest pair", NAME);
    for metric in metrics {
        let ratio = metric
            .has_ratio()
            .then(|| midge.ratio(peer, *metric))
            .flatten();
        text += &right(&ratio.map_or_else(String::new, |it| short(it.median)));
        spreads += &right(&ratio.map_or_else(String::new, range));
    }
    line(&text) + &line(&spreads)
}

fn failures(series: &[Series]) -> String {
    let mut text = String::new();
    for broker in series {
        for (round, result) in broker.rounds.iter().enumerate() {
            if let Err(failure) = result {
                let round = round + 1;
                text += &line(&format!(
                    "  FAILED: {} in round {round}: {failure}",
                    broker.label
                ));
            }
        }
    }
    text
}

fn judgement_text(judgement: &Judgement) -> String {
    let metric = judgement.goal.metric.heading();
    let (what, sign, limit) = match judgement.goal.bound {
        Bound::AtLeast(limit) => ("", "≥", limit),
        Bound::AtMost(limit) => ("", "≤", limit),
        Bound::RatioAtMost(limit) => (" ratio", "≤", limit),
        Bound::AboveAtMost(limit) => (" above", "≤", limit),
    };
    let mut text = cell(&format!("{metric}{what} {sign} {limit}"), 22);
    text += match judgement.verdict {
        Verdict::Failed => "FAILED",
        Verdict::Missed => "MISSED",
        Verdict::NotJudged => "not judged",
        Verdict::Reached => "reached",
    };
    if let Some(value) = judgement.value {
        write!(text, ", {} ({})", short(value.median), range(value)).expect("writes to a String");
    }
    text
}

fn range(spread: Spread) -> String {
    format!("{}–{}", short(spread.min), short(spread.max))
}

/// Three significant digits, with a suffix for thousands and millions.
fn short(value: f64) -> String {
    let (scaled, letter) = match value.abs() {
        size if size >= 999_500.0 => (value / 1e6, "M"),
        size if size >= 9_999.5 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    let decimals = match scaled.abs() {
        size if size >= 99.95 => 0,
        size if size >= 9.995 => 1,
        size if size >= 0.9995 => 2,
        _ => 3,
    };
    format!("{scaled:.decimals$}{letter}")
}

fn cell(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

fn right(text: &str) -> String {
    format!(" {text:>VALUE$}")
}

fn line(text: &str) -> String {
    format!("{}\n", text.trim_end())
}
