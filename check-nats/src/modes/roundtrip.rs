//! Mode `roundtrip`: a message to the own inbox.

use super::{Check, Failure, connect::log_in};
use crate::{client_port::OpenError, metric::REQUEST_TIME, text::duration};

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let mut session = check.open_session().map_err(OpenError::into_failure)?;
    log_in(check, &mut session)?;
    let time = session.roundtrip()?.as_secs_f64();
    let phrase = format!("message back in {}", duration(time));
    check.report.state(REQUEST_TIME.label, time, None, &phrase);
    Ok(())
}
