//! Mode `cert`: how long the certificates, their CAs and the CRLs are still valid,
//! of clients and of routes, and whether they go together.

use chrono::{DateTime, Utc};

use monitor_client::{Kind, TlsVarz, Varz};

use super::{
    Check, Failure, Status,
    need::{Need, must, of},
    seconds_between,
};
use crate::{
    client_port::OpenError,
    deadline::Step,
    metric::{CA_DAYS, CERT_DAYS, CRL_DAYS, ROUTE_CA_DAYS, ROUTE_CERT_DAYS, ROUTE_CRL_DAYS},
    text::{plural, quoted},
};

/// Gaps in the files of one listener that are reported.
const GAPS_MAX: usize = 8;

pub(super) static NEEDS: &[Need] = &[of(
    "/varz",
    Step::Varz,
    &[must("server_id", Kind::Text), must("now", Kind::Text)],
)];

pub(super) fn run(check: &mut Check) -> Result<(), Failure> {
    let varz = check.varz()?;
    let route_end = varz.cluster["tls_cert_not_after"].as_str();
    let of_routes: Option<TlsVarz> = varz.cluster.get("tls").map(|block| {
        // Other blocks contain no certificates.
        serde_json::from_value(block.clone()).unwrap_or_default()
    });
    let tls = varz.tls.clone().unwrap_or_default();
    let reported = varz.tls_cert_not_after.as_deref();
    let reported = reported.and_then(|end| End::reported(tls.cert_name.as_deref(), end, &varz.now));
    match reported {
        Some(own) => own.state(check, "certificate", CERT_DAYS.label),
        // Only routes have TLS: then there is nothing to be seen at the client port.
        None if route_end.is_some() && !varz.tls_required => {
            let why = "the broker reports no TLS for clients";
            check.report.missing(CERT_DAYS.label, why);
        }
        None => served(check)?.state(check, "certificate", CERT_DAYS.label),
    }
    let (ca, crl) = (CA_DAYS.label, CRL_DAYS.label);
    state_authorities(check, &varz, &tls, "", [ca, crl]);
    say_files(check, &tls, "");
    let routes = of_routes.unwrap_or_default();
    let port = " of the route port";
    let end = route_end.and_then(|end| End::reported(routes.cert_name.as_deref(), end, &varz.now));
    let label = ROUTE_CERT_DAYS.label;
    match end {
        Some(end) => end.state(check, &format!("certificate{port}"), label),
        None => check
            .report
            .missing(label, "the broker reports no TLS for routes"),
    }
    let labels = [ROUTE_CA_DAYS.label, ROUTE_CRL_DAYS.label];
    state_authorities(check, &varz, &routes, port, labels);
    say_files(check, &routes, port);
    Ok(())
}

/// CA and CRL of a listener.
fn state_authorities(
    check: &mut Check,
    varz: &Varz,
    tls: &TlsVarz,
    port: &str,
    [ca, crl]: [&str; 2],
) {
    for (what, label, name, end) in [
        ("CA", ca, &tls.ca_name, &tls.ca_not_after),
        ("CRL", crl, &tls.crl_name, &tls.crl_next_update),
    ] {
        let end = end.as_deref();
        match end.and_then(|end| End::reported(name.as_deref(), end, &varz.now)) {
            Some(end) => end.state(check, &format!("{what}{port}"), label),
            None => check
                .report
                .missing(label, &format!("the broker reports no {what}{port}")),
        }
    }
}

/// Problems of the files of a listener.
fn say_files(check: &mut Check, tls: &TlsVarz, port: &str) {
    if let Some(why) = &tls.refused_files {
        let text = format!("changed files{port} cannot be used: {}", why);
        check.report.say(Status::Warning, &text);
    }
    for gap in tls.gaps.iter().take(GAPS_MAX) {
        let file = match &*gap.file {
            "" => String::new(),
            file => format!("{}: ", file),
        };
        let status = match gap.critical {
            true => Status::Critical,
            false => Status::Warning,
        };
        let text = format!("{file}{}", gap.text);
        check.report.say(status, &text);
    }
}

/// Something that ends.
struct End {
    name: String,
    at: String,
    days: f64,
}

impl End {
    /// From what the broker reports, by its own clock.
    fn reported(name: Option<&str>, at: &str, now: &str) -> Option<Self> {
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
            true => format!(
                "{what}{name} expires in {} ({})",
                plural(days, "day"),
                self.at
            ),
            false => format!(
                "{what}{name} expired {} ago ({})",
                plural(-days, "day"),
                self.at
            ),
        };
        check.report.state(label, days, None, &phrase);
    }
}

/// The certificate that the client port shows.
fn served(check: &mut Check) -> Result<End, Failure> {
    let shown = check.shown_certificate().map_err(OpenError::into_failure)?;
    let now: DateTime<Utc> = Utc::now();
    Ok(End {
        name: shown.subject,
        at: shown.end.to_rfc3339_opts(chrono::SecondsFormat::Secs, true),
        days: (shown.end - now).as_seconds_f64() / 86_400.0,
    })
}
