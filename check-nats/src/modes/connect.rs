//! Mode `connect`: TCP, INFO, CONNECT, PING and PONG on the client port.

use super::{Check, Failure, Status};
use crate::{
    client_port::{OpenError, Session},
    metric::{CONNECT_TIME, RTT},
    text::duration,
};

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let session = check.open_session().map_err(OpenError::into_failure)?;
    measure(check, session)
}

/// Logs in and pings; also a part of mode `health`.
pub(super) fn measure(check: &mut Check, mut session: Session) -> Result<(), Failure> {
    if session.info().ldm {
        let text = "in lame duck mode, accepts no new clients";
        check.report.say(Status::Warning, text);
    }
    log_in(check, &mut session)?;
    let rtt = session.ping()?.as_secs_f64();
    let phrase = format!("rtt {}", duration(rtt));
    check.report.state(RTT.label, rtt, None, &phrase);
    Ok(())
}

/// Logs in and judges the time it took; also a part of mode `roundtrip`.
pub(super) fn log_in(check: &mut Check, session: &mut Session) -> Result<(), Failure> {
    let time = session.log_in()?.as_secs_f64();
    let phrase = format!("connected in {}", duration(time));
    match check.options.mode.name {
        "health" => {
            check.report.watch(CONNECT_TIME.label, time, None, &phrase);
        }
        _ => check.report.state(CONNECT_TIME.label, time, None, &phrase),
    }
    Ok(())
}
