//! Mode `varz`: any number that the broker reports.

use serde_json::Value;

use super::{Check, Failure};
use crate::check::{
    deadline::Step,
    range::Unit,
    text::{bytes, decimal, quoted},
};

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let path = check.options.figure.clone().unwrap_or_default();
    let varz: Value = check.get(Step::Varz, "/varz")?;
    let value = number_at(&varz, &path).map_err(Failure::unknown)?;
    let Some((label, unit)) = check
        .options
        .figures
        .first()
        .map(|figure| (figure.label.clone(), figure.unit))
    else {
        return Err(Failure::unknown("mode varz has no figure"));
    };
    let shown = match unit {
        Unit::Bytes => bytes(value),
        _ => decimal(value),
    };
    check
        .report
        .state(&label, value, None, &format!("{path} {shown}"));
    Ok(())
}

/// The number at a dotted path.
fn number_at(varz: &Value, path: &str) -> Result<f64, String> {
    let mut value = varz;
    for key in path.split('.') {
        value = value
            .get(key)
            .ok_or_else(|| format!("/varz has no figure {}", quoted(path)))?;
    }
    value
        .as_f64()
        .ok_or_else(|| format!("{} of /varz is not a number", quoted(path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_lead_to_numbers_only() {
        let varz = serde_json::json!({"a": 1, "b": {"c": 2.5}, "d": "x", "e": [7]});
        assert_eq!(number_at(&varz, "a"), Ok(1.0));
        assert_eq!(number_at(&varz, "b.c"), Ok(2.5));
        assert_eq!(
            number_at(&varz, "b").unwrap_err(),
            "\"b\" of /varz is not a number"
        );
        assert_eq!(
            number_at(&varz, "x.y").unwrap_err(),
            "/varz has no figure \"x.y\""
        );
        for path in ["d", "e", "e.0", "b.", ".", ""] {
            assert!(number_at(&varz, path).is_err(), "{path}");
        }
    }
}
