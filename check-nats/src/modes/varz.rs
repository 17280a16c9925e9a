//! Mode `varz`: any number that the broker reports.

use monitor_client::{Found, Kind};

use super::{
    Check, Failure,
    need::{Need, must, of},
};
use crate::{
    deadline::Step,
    number::Number,
    range::Unit,
    text::{bytes, quoted},
};

pub(super) static NEEDS: &[Need] = &[of("/varz", Step::Varz, &[must("server_id", Kind::Text)])];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let path = check.options.metric.clone().unwrap_or_default();
    let value: Number = match check.inspect("/varz", &path)? {
        Found::Count(number) => number.into(),
        Found::Negative(number) => number.into(),
        Found::Number(number) => number.into(),
        Found::Absent => {
            let text = format!("/varz has no value {}", quoted(&path));
            return Err(Failure::unknown(text));
        }
        _ => {
            let text = format!("{} of /varz is not a number", quoted(&path));
            return Err(Failure::unknown(text));
        }
    };
    let Some((label, unit)) = check
        .options
        .metrics
        .first()
        .map(|metric| (metric.label.clone(), metric.unit))
    else {
        return Err(Failure::unknown("mode varz has no value"));
    };
    let shown = match unit {
        Unit::Bytes => bytes(value.as_f64()),
        _ => value.to_string(),
    };
    check
        .report
        .state(&label, value, None, &format!("{path} {shown}"));
    Ok(())
}
