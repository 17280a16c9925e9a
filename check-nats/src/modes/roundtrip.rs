//! Mode `roundtrip`: a message to the own inbox; with several brokers also from each of them to
//! each of the others.

use super::{Check, Failure, connect::log_in};
use crate::{
    brokers::{Arrivals, Shared, words},
    client_port::{OpenError, Session},
    metric::{MESH_LOST, MESH_TIME, REQUEST_TIME},
    report::Report,
    status::Status,
    text::duration,
};

/// What to do about messages that do not arrive.
const LOST: &str = "see --mode cluster for the routes of both; with routes, look at the permissions \
                    in their block cluster, and at the account's";

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let result = own_inbox(check);
    let Some(among) = check.among.clone() else {
        return result.map(drop);
    };
    match result {
        Ok(mut session) => {
            let exchange = &among.shared.exchange;
            exchange.take_part(among.number, &mut session, check.deadline())
        }
        Err(failure) => {
            among.shared.exchange.leave(among.number);
            Err(failure)
        }
    }
}

fn own_inbox<'a>(check: &mut Check<'a>) -> Result<Session<'a>, Failure> {
    let mut session = check.open_session().map_err(OpenError::into_failure)?;
    log_in(check, &mut session)?;
    let time = session.roundtrip()?.as_secs_f64();
    let phrase = format!("message back in {}", duration(time));
    check.report.state(REQUEST_TIME.label, time, None, &phrase);
    Ok(session)
}

/// What arrived where.
pub(super) fn compare(shared: &Shared, report: &mut Report) {
    let Arrivals {
        brokers,
        not_arrived,
        not_answered,
        slowest,
    } = shared.exchange.arrivals();
    if brokers < 2 {
        report.say(
            Status::Ok,
            "fewer than two brokers to send messages between",
        );
        return;
    }
    let names = shared.names();
    let lost = not_arrived.len() + not_answered.len();
    report.total(MESH_LOST.label, Some(lost as f64));
    for (lost, what) in [
        (&not_arrived, "no message arrives"),
        (&not_answered, "no request to a queue group is answered"),
    ] {
        for pairs in words::pairs(lost, names) {
            report.advise(Status::Critical, &format!("{what} {pairs}"), LOST);
        }
    }
    if let Some(slowest) = slowest {
        let (from, to) = slowest.pair;
        let time = slowest.time.as_secs_f64();
        let all = match lost {
            0 => format!("messages arrive between {brokers} brokers, "),
            _ => String::new(),
        };
        let phrase = format!(
            "{all}slowest answer {} from {} to {}",
            duration(time),
            names[to],
            names[from]
        );
        report.state(MESH_TIME.label, time, None, &phrase);
    }
}
