//! Mode `ceilings`: how full each limited resource is, and when it is exhausted at its
//! present growth. Only midge reports this. Certificates, which expire as well, are in mode
//! `cert`.

use monitor_client::{Ceiling, Kind, Memz};

use super::{
    Check, Failure,
    need::{Need, must, of_midge},
};
use crate::{
    deadline::Step,
    metric::{CEILING_TIME, CEILING_USED},
    text::{bytes, decimal, duration, quoted},
};

/// A resource that is exhausted later than this counts as never exhausted.
const TIME_MAX: f64 = 365.0 * 86_400.0;

pub(super) static NEEDS: &[Need] = &[of_midge(
    "/memz",
    Step::Memz,
    "only midge reports its limits",
    &[
        must("server_id", Kind::Text),
        must("ceilings", Kind::List),
        must("ceilings.*.name", Kind::Text),
        // For a missing validity period it can be negative.
        must("ceilings.*.used", Kind::Number),
        must("ceilings.*.limit", Kind::Number),
        must("ceilings.*.unit", Kind::Text),
    ],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let answer: Memz = check.ask("/memz")?;
    let mut ceilings = answer.ceilings;
    ceilings.retain(|ceiling| ceiling.limit > 0.0 && ceiling.unit != "seconds");
    for ceiling in &ceilings {
        check.report.detail(1, &sentence(ceiling));
    }
    let fullest = ceilings.iter().max_by(|a, b| used(a).total_cmp(&used(b)));
    let Some(fullest) = fullest else {
        return Err(Failure::unknown(format!(
            "{} reports no limits",
            check.place("/memz")
        )));
    };
    let report = &mut check.report;
    report.state(CEILING_USED.label, used(fullest), None, &sentence(fullest));
    let next = ceilings.iter().min_by(|a, b| left(a).total_cmp(&left(b)));
    let (time, phrase) = match next.map(|next| (left(next), next)) {
        Some((time, next)) if time < TIME_MAX => (
            time,
            format!("{} full in {}", quoted(&next.name), duration(time)),
        ),
        _ => (TIME_MAX, "no limit is close".to_owned()),
    };
    check.report.state(CEILING_TIME.label, time, None, &phrase);
    Ok(())
}

/// Percent of it that are in use.
fn used(ceiling: &Ceiling) -> f64 {
    // Thousandths are enough, and end the digits of perfdata.
    (ceiling.used / ceiling.limit * 1e5).round() / 1e3
}

/// Seconds until it is full.
fn left(ceiling: &Ceiling) -> f64 {
    ceiling.exhausted_in.map_or(TIME_MAX, |time| time.max(0.0))
}

fn sentence(ceiling: &Ceiling) -> String {
    let amount = |value: f64| match &*ceiling.unit {
        "bytes" => bytes(value),
        _ => decimal(value),
    };
    let holder = match &*ceiling.holder {
        "" => String::new(),
        holder => format!(", most by {}", quoted(holder)),
    };
    format!(
        "{} {}% used ({} of {}{holder})",
        quoted(&ceiling.name),
        decimal(used(ceiling)),
        amount(ceiling.used),
        amount(ceiling.limit),
    )
}
