//! One JSON object with the fields of `nats server check`, and the statements whole.

use serde_json::{Value, json};

use super::written;
use crate::{
    number::Number,
    options::Options,
    report::{Measured, Report},
    status::Status,
};

pub(super) fn draw(report: &Report, options: &Options) -> String {
    let mut answer = object(report);
    answer["check_suite"] = options.mode.name.into();
    answer["check_name"] = options.service_name.as_str().into();
    if !report.brokers().is_empty() {
        let brokers = report.brokers().iter().map(|(name, broker)| {
            let mut answer = object(broker);
            answer["name"] = name.as_str().into();
            answer
        });
        answer["brokers"] = brokers.collect();
    }
    format!("{answer}\n")
}

/// The report of a run without a mode.
pub(super) fn draw_unnamed(report: &Report, service: &str) -> String {
    let mut answer = object(report);
    answer["check_suite"] = Value::Null;
    answer["check_name"] = service.into();
    format!("{answer}\n")
}

/// A report about one broker, or about several together.
fn object(report: &Report) -> Value {
    let statements = report.statements();
    let texts = |status: Status| -> Vec<&str> {
        let of_status = statements.iter().filter(|one| one.status == status);
        of_status.map(|one| one.text.as_str()).collect()
    };
    let whole: Vec<Value> = statements
        .iter()
        .map(|one| {
            json!({
                "status": one.status.word(),
                "text": one.text,
                "lines": one.lines,
                "remedy": one.remedy,
            })
        })
        .collect();
    let metrics: Vec<Value> = report.metrics().iter().map(metric).collect();
    json!({
        "status": report.status().word(),
        "critical": texts(Status::Critical),
        "warning": texts(Status::Warning),
        "unknown": texts(Status::Unknown),
        "ok": texts(Status::Ok),
        "statements": whole,
        "left_out": report.left_out(),
        "lines_left_out": report.lines_left_out(),
        "perf_data": metrics,
    })
}

fn metric(metric: &Measured) -> Value {
    let [warning, critical] = metric.planned.thresholds(metric.limit);
    json!({
        "name": metric.planned.label,
        "value": metric.value.map(Number::json),
        "unit": metric.planned.unit.uom(),
        "warning": written(warning),
        "critical": written(critical),
        "max": metric.limit,
    })
}
