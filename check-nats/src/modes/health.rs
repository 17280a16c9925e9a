//! Mode `health`, the default: whether one broker serves, and how it is.
//!
//! The parts are independent: what one of them cannot find out does not hide
//! what the others found.

use monitor_client::{Kind, Varz};

use super::{
    Check, Failure, Status, connect, connections, limit,
    need::{Need, may, must, of},
    uptime_of,
};
use crate::{
    client_port::OpenError,
    deadline::Step,
    metric::{
        CONNECTIONS, CPU, IN_BYTES, IN_MSGS, MEM, OUT_BYTES, OUT_MSGS, SLOW_CONSUMERS,
        SUBSCRIPTIONS, TOTAL_CONNECTIONS, UPTIME,
    },
    text::{bytes, duration, plural, quoted, significant},
};

pub(super) static NEEDS: &[Need] = &[
    of(
        "/varz",
        Step::Varz,
        &[
            must("server_id", Kind::Text),
            must("connections", Kind::Count),
            must("max_connections", Kind::Number),
            may("total_connections", Kind::Count, &TOTAL_CONNECTIONS),
            may("slow_consumers", Kind::Count, &SLOW_CONSUMERS),
            may("subscriptions", Kind::Count, &SUBSCRIPTIONS),
            may("mem", Kind::Count, &MEM),
            may("cpu", Kind::Count, &CPU),
            may("in_msgs", Kind::Count, &IN_MSGS),
            may("out_msgs", Kind::Count, &OUT_MSGS),
            may("in_bytes", Kind::Count, &IN_BYTES),
            may("out_bytes", Kind::Count, &OUT_BYTES),
            may("start", Kind::Text, &UPTIME),
            may("now", Kind::Text, &UPTIME),
        ],
    ),
    of("/healthz", Step::Healthz, &[]),
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    // The monitoring port first: else this check would count its own connection.
    if let Err(failure) = check.hurry(monitoring) {
        check.report.fail(&failure);
    }
    let session = check.open_session().map_err(OpenError::into_failure)?;
    connect::measure(check, session)
}

fn monitoring(check: &mut Check) -> Result<(), Failure> {
    metrics(check)?;
    healthz(check)
}

fn metrics(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let report = &mut *check.report;
    let count = varz.connections;
    let max = limit(varz.max_connections);
    report.state(CONNECTIONS.label, count, max, &connections::phrase(&varz));
    let slow = varz.slow_consumers;
    report.total(SLOW_CONSUMERS.label, Some(slow));
    if !report.is_missing(SLOW_CONSUMERS.label) {
        report.say(Status::Ok, &plural(slow, "slow consumer"));
    }
    report.total(TOTAL_CONNECTIONS.label, Some(varz.total_connections));
    report.total(IN_MSGS.label, Some(varz.in_msgs));
    report.total(OUT_MSGS.label, Some(varz.out_msgs));
    report.total(IN_BYTES.label, Some(varz.in_bytes));
    report.total(OUT_BYTES.label, Some(varz.out_bytes));
    watch_resources(check, &varz);
    Ok(())
}

fn watch_resources(check: &mut Check, varz: &Varz) {
    let report = &mut *check.report;
    let subscriptions = varz.subscriptions;
    let phrase = plural(subscriptions, "subscription");
    report.watch(SUBSCRIPTIONS.label, subscriptions, None, &phrase);
    let phrase = format!("{} memory", bytes(varz.mem as f64));
    report.watch(MEM.label, varz.mem, None, &phrase);
    let phrase = format!("{} % cpu", significant(varz.cpu));
    report.watch(CPU.label, varz.cpu, None, &phrase);
    match uptime_of(varz) {
        Ok(uptime) => {
            let phrase = format!("up {}", duration(uptime));
            report.watch(UPTIME.label, uptime, None, &phrase);
        }
        Err(failure) => report.missing(UPTIME.label, &failure.text),
    }
}

fn healthz(check: &mut Check) -> Result<(), Failure> {
    let (code, answer) = check.healthz()?;
    if code == 200 && answer.status == "ok" {
        return Ok(());
    }
    let text = format!(
        "/healthz is {}: {}",
        quoted(&answer.status),
        quoted(&answer.error)
    );
    check.report.say(Status::Critical, &text);
    Ok(())
}
