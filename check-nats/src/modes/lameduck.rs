//! Mode `lameduck`: whether the broker is about to end in an orderly way.
//!
//! A broker in lame duck mode accepts no new clients, but its monitoring port still
//! answers. That distinguishes it from one that has ended.

use monitor_client::Kind;

use super::{
    Check, Failure, Status,
    need::{Need, must, of},
};
use crate::{client_port::OpenError, deadline::Step, metric::LAME_DUCK, text::quoted};

pub(super) static NEEDS: &[Need] = &[
    // A healthy /healthz alone could be any program's.
    of("/varz", Step::Varz, &[must("server_id", Kind::Text)]),
    of("/healthz", Step::Healthz, &[]),
];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let (in_lame_duck, failure) = match check.open_session() {
        Ok(session) => (session.info().ldm, None),
        Err(OpenError::Refused(failure)) => (false, Some(failure)),
        Err(OpenError::Failed(failure)) => return Err(failure),
    };
    check.varz()?;
    let (code, health) = check.healthz()?;
    let healthy = code == 200 && health.status == "ok";
    if in_lame_duck || (failure.is_some() && !healthy) {
        let phrase = "in lame duck mode, accepts no new clients";
        check.report.state(LAME_DUCK.label, 1.0, None, phrase);
        return Ok(());
    }
    if let Some(failure) = failure {
        return Err(failure);
    }
    check
        .report
        .state(LAME_DUCK.label, 0.0, None, "not in lame duck mode");
    if !healthy {
        let text = format!(
            "but /healthz is {}: {}",
            quoted(&health.status),
            quoted(&health.error)
        );
        check.report.say(Status::Warning, &text);
    }
    Ok(())
}
