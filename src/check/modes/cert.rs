//! Mode `cert`: how long the certificate, its CA and the CRL are still valid.

use chrono::{DateTime, Utc};

use monitor_client::Kind;

use super::{
    Check, Failure, Status,
    need::{Need, must, of},
    seconds_between,
};
use crate::check::{
    client_port::OpenError,
    deadline::Step,
    figure::{CA_DAYS, CERT_DAYS, CRL_DAYS},
    served_certificate,
    text::quoted,
};

pub(super) static NEEDS: &[Need] = &[of(
    "/varz",
    Step::Varz,
    &[must("server_id", Kind::Text), must("now", Kind::Text)],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let tls = varz.tls.clone().unwrap_or_default();
    let told = varz.tls_cert_not_after.as_deref();
    let told = told.and_then(|end| End::told(tls.cert_name.as_deref(), end, &varz.now));
    let own = match told {
        Some(own) => own,
        None => served(check)?,
    };
    own.state(check, "certificate", CERT_DAYS.label);
    for (what, label, name, end) in [
        ("CA", CA_DAYS.label, &tls.ca_name, &tls.ca_not_after),
        ("CRL", CRL_DAYS.label, &tls.crl_name, &tls.crl_next_update),
    ] {
        let end = end.as_deref();
        match end.and_then(|end| End::told(name.as_deref(), end, &varz.now)) {
            Some(end) => end.state(check, what, label),
            None => check
                .report
                .missing(label, &format!("the broker tells of no {what}")),
        }
    }
    if let Some(why) = tls.refused_files {
        let text = format!("changed files are not taken over: {why}");
        check.report.say(Status::Warning, &text);
    }
    Ok(())
}

/// Something that ends.
struct End {
    name: String,
    at: String,
    days: f64,
}

impl End {
    /// From what the broker says, by its own clock.
    fn told(name: Option<&str>, at: &str, now: &str) -> Option<Self> {
        Some(Self {
            name: name.unwrap_or_default().to_owned(),
            at: at.to_owned(),
            days: seconds_between(now, at)? / 86_400.0,
        })
    }

    fn state(&self, check: &mut Check, what: &str, label: &str) {
        // A hundredth is a quarter of an hour; what is left is not made more.
        let days = (self.days * 100.0).floor() / 100.0;
        let name = match &*self.name {
            "" => String::new(),
            name => format!(" {}", quoted(name)),
        };
        let phrase = match days >= 0.0 {
            true => format!("{what}{name} ends in {days} days ({})", self.at),
            false => format!("{what}{name} ended {} days ago ({})", -days, self.at),
        };
        check.report.state(label, days, None, &phrase);
    }
}

/// The certificate that the client port shows.
fn served(check: &mut Check) -> Result<End, Failure> {
    let session = check.open_session().map_err(OpenError::into_failure)?;
    let (name, at) = served_certificate::look(session, &check.options.host)?;
    let now: DateTime<Utc> = Utc::now();
    Ok(End {
        name,
        at: at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        days: (at - now).as_seconds_f64() / 86_400.0,
    })
}
