//! The complete results as JSON: the values of every round, not only the medians.

use std::io::Write;

use serde_json::{Value, json};

use crate::{
    compare::{Judgement, Series},
    failure::{During, Failure, Result},
    plan::{Plan, ScenarioResult},
    scenario::Bound,
    sys,
};

/// Writes plan and results. Keys of values include the unit; a round is an object of values or
/// `{"failed": reason}`.
pub(crate) fn write(mut file: impl Write, plan: &Plan, results: &[ScenarioResult]) -> Result<()> {
    let document = json!({
        "machine": {"cores": sys::cores(), "kernel": sys::kernel()},
        "rounds": plan.rounds,
        "seconds": plan.seconds,
        "populations_divided_by": plan.divisor,
        "brokers": plan.programs.iter().map(|program| json!({
            "label": program.label,
            "path": program.path,
            "version": program.version,
        })).collect::<Vec<_>>(),
        "scenarios": results.iter().map(scenario).collect::<Vec<_>>(),
    });
    let text = format!("{document:#}\n");
    file.write_all(text.as_bytes())
        .during("cannot write the JSON file")
}

fn scenario(result: &ScenarioResult) -> Value {
    let (midge, peers) = match result.series.split_first() {
        Some((midge, peers)) => (Some(midge), peers),
        None => (None, &[] as &[Series]),
    };
    let ratios = midge.into_iter().flat_map(|midge| {
        peers
            .iter()
            .map(|peer| json!({"peer": peer.label, "midge_to_peer": ratios(midge, peer)}))
    });
    json!({
        "name": result.scenario.name,
        "what": result.scenario.what,
        "unit": result.scenario.unit,
        "brokers": result.series.iter().map(series).collect::<Vec<_>>(),
        "ratios": ratios.collect::<Vec<_>>(),
        "goals": result.goals.iter().map(goal).collect::<Vec<_>>(),
    })
}

fn series(series: &Series) -> Value {
    let rounds = series.rounds.iter().map(|round| match round {
        Ok(sample) => json!(sample),
        Err(Failure(reason)) => json!({"failed": reason}),
    });
    json!({"label": series.label, "rounds": rounds.collect::<Vec<_>>()})
}

fn ratios(midge: &Series, peer: &Series) -> Value {
    let spreads = midge
        .metrics()
        .into_iter()
        .filter(|metric| metric.has_ratio())
        .filter_map(|metric| Some((metric, midge.ratio(peer, metric)?)));
    json!(spreads.collect::<std::collections::BTreeMap<_, _>>())
}

fn goal(judgement: &Judgement) -> Value {
    let bound = match judgement.goal.bound {
        Bound::AtLeast(_) => "at_least",
        Bound::AtMost(_) => "at_most",
        Bound::RatioAtMost(_) => "ratio_at_most",
        Bound::AboveAtMost(_) => "above_at_most",
    };
    json!({
        "metric": judgement.goal.metric,
        "bound": bound,
        "limit": judgement.goal.bound.limit(),
        "value": judgement.value,
        "verdict": judgement.verdict,
    })
}
