//! TLS: certificates that expire, files that cannot be used, failed handshakes.

use std::time::Duration;

use chrono::{SecondsFormat, Utc};

use super::{Evidence, Pace, Rule, Severity, Symptom, warning};
use crate::{
    connection::tls_listener::TlsListener,
    observe::diagnosis::humanize::{plural, time},
    security::validity::{Validity, ValidityPeriod},
};

/// Of certificates and CAs, for the manual.
const LEVELS: &str = "warning from `certificate_warning` before the end on; critical from \
                      `certificate_critical` before it on";

/// Of CRLs, for the manual.
const CRL_LEVELS: &str = "warning from `crl_warning` before the end on; critical from \
                          `crl_critical` before it on";

/// Causes of failed handshakes, and revoked clients, that are named.
const NAMED_MAX: usize = 5;

/// The rules of this file.
pub(super) const RULES: &[Rule] = &[
    Rule {
        code: "certificate-expiry",
        levels: LEVELS,
        meaning: "The broker's own certificate expires soon, or has expired. Once it has, no \
                  client that verifies it connects.",
        cause: "It was not renewed yet, or the renewed one is not in cert_file.",
        remedy: "Renew the certificate and write it and its key to cert_file and key_file; midge \
                 loads them without a restart. With Puppet: `puppet ssl clean` and `puppet agent \
                 -t` on this host, or let the agent of Puppet 8 renew it.",
        pace: Pace::AtOnce,
        find: own,
    },
    Rule {
        code: "ca-expiry",
        levels: LEVELS,
        meaning: "A CA in ca_file expires soon, or has expired. Once it has, no certificate that \
                  it signed is accepted.",
        cause: "The CA was not renewed yet, or ca_file still has the old one.",
        remedy: "Renew the CA and copy its certificate to ca_file on all brokers and to all \
                 clients. With Puppet: the module puppetlabs/ca_extend keeps the key, so that \
                 signed certificates stay valid.",
        pace: Pace::AtOnce,
        find: authority,
    },
    Rule {
        code: "crl-expiry",
        levels: CRL_LEVELS,
        meaning: "A CRL expires soon, or has expired: its CA should have published the next one by \
                  then. Once it has, all certificates of its CA are refused, unless the block \
                  `tls` says `crl_expired: warn`.",
        cause: "The CA made no new CRL, or it was not copied to crl_file.",
        remedy: "Let the CA write a new CRL and copy it to crl_file; midge loads it without a \
                 restart. With Puppet: any `puppetserver ca revoke` or `clean` writes one; agents \
                 before Puppet 8 do not fetch it by themselves.",
        pace: Pace::AtOnce,
        find: crl,
    },
    Rule {
        code: "tls-files",
        levels: "warning",
        meaning: "A certificate, key, CA or CRL file has changed and cannot be used. midge keeps \
                  what it read before, but the next start would fail.",
        cause: "The file is damaged, the broker's user may not read it, or it does not match the \
                other files.",
        remedy: "Correct the named file; midge reads it again by itself. `midge -t -c FILE` checks \
                 it.",
        pace: Pace::AtOnce,
        find: files,
    },
    Rule {
        code: "tls-gaps",
        levels: "warning; critical if it is about the CA of the broker's own certificate: then \
                 almost no client can connect",
        meaning: "The TLS files can be read but do not fit together: a CA has no CRL while others \
                  have one, a CA is revoked itself, or no CA in ca_file signed the broker's \
                  certificate.",
        cause: "crl_file does not hold the CRLs of all CAs of the chain, a CA was replaced, or \
                ca_file and cert_file come from different CAs.",
        remedy: "Do what the text says with the named file; midge reads it again by itself. With \
                 Puppet: the agent's bundles ca.pem and crl.pem hold the whole chain.",
        pace: Pace::AtOnce,
        find: gaps,
    },
    Rule {
        code: "handshake-failures",
        levels: "warning",
        meaning: "At least `handshake_failures` TLS handshakes failed within the time \
                  `incident_window`. Probes that send nothing do not count, nor do revoked \
                  certificates (revoked-clients).",
        cause: "Clients have no certificate, or one that is expired or of another CA; \
                they do not trust this broker's certificate; they do not speak TLS; they wait \
                without a word (timeout); or they gave up (closed), because more of them connect \
                at once than this broker can serve in time.",
        remedy: "Find addresses and reasons in /eventsz?type=tls.failed. Give these clients a \
                 certificate of the CA in ca_file, or block them. If many gave up, \
                 docs/handshakes.md says what helps: most of all a key of P-256 for this broker.",
        pace: Pace::AtOnce,
        find: handshakes,
    },
    Rule {
        code: "revoked-clients",
        levels: "warning",
        meaning: "Clients or routes were closed, or refused when they came back, because a CRL \
                  lists their certificates. The finding stays for the time `incident_window` after \
                  the last attempt; the log has a line an hour for each certificate.",
        cause: "The nodes were revoked at the CA and are still running.",
        remedy: "If that was intended, switch them off. If not, give them new certificates.",
        pace: Pace::AtOnce,
        find: revoked,
    },
];

fn own(evidence: &Evidence) -> Vec<Symptom> {
    let thresholds = evidence.thresholds;
    let at = (
        thresholds.certificate_warning,
        thresholds.certificate_critical,
    );
    ends(
        evidence,
        |validity| &validity.certificate,
        "certificate",
        at,
    )
}

fn authority(evidence: &Evidence) -> Vec<Symptom> {
    let thresholds = evidence.thresholds;
    let at = (
        thresholds.certificate_warning,
        thresholds.certificate_critical,
    );
    ends(evidence, |validity| &validity.ca, "CA", at)
}

fn crl(evidence: &Evidence) -> Vec<Symptom> {
    let thresholds = evidence.thresholds;
    let at = (thresholds.crl_warning, thresholds.crl_critical);
    ends(evidence, |validity| &validity.crl, "CRL", at)
}

/// Symptoms of the terms that end within the first of two times; critical ones
/// of those within the second.
fn ends(
    evidence: &Evidence,
    period: fn(&Validity) -> &Option<ValidityPeriod>,
    what: &str,
    (soon, very_soon): (Duration, Duration),
) -> Vec<Symptom> {
    let listeners = of_listeners(evidence, |tls| {
        let period = period(&tls.store.current().validity).clone()?;
        Some((period.name.clone(), period.until, period))
    });
    let peers = evidence
        .server
        .cluster
        .iter()
        .flat_map(|cluster| cluster.routes());
    let peers = peers.filter_map(|route| {
        let certificate = route.connection.certificate.get()?;
        let whose = format!(" of the route to {}", route.remote_name);
        (what == "certificate").then(|| (whose, certificate.period()))
    });
    let own = listeners.into_iter().map(|(of, (.., period))| (of, period));
    // One certificate may be in use at several places: the one that expires first is shown.
    let mut all: Vec<(String, ValidityPeriod)> = own.chain(peers).collect();
    all.sort_by_key(|(_, period)| period.until);
    let symptoms = all.into_iter().filter_map(|(whose, period)| {
        let left = period.until - Utc::now();
        let is_within = |time: Duration| left.to_std().map_or(true, |left| left <= time);
        if !is_within(soon) {
            return None;
        }
        let end = period.until.to_rfc3339_opts(SecondsFormat::Secs, true);
        let text = match left.to_std() {
            Ok(left) => format!("the {what}{whose} expires in {}, on {end}", time(left)),
            Err(_) => {
                let since = (-left).to_std().unwrap_or_default();
                format!("the {what}{whose} expired {} ago, on {end}", time(since))
            }
        };
        Some(Symptom {
            severity: match is_within(very_soon) {
                true => Severity::Critical,
                false => Severity::Warning,
            },
            ..warning(&period.name, 0, text)
        })
    });
    symptoms.collect()
}

fn files(evidence: &Evidence) -> Vec<Symptom> {
    let found = of_listeners(evidence, |tls| tls.store.refused());
    let symptoms = found.into_iter().map(|(_, error)| {
        let text = format!("midge keeps using what it read before: {}", error.text);
        warning(&error.file_text(), 0, text)
    });
    symptoms.collect()
}

fn gaps(evidence: &Evidence) -> Vec<Symptom> {
    let count = |tls: &TlsListener| tls.store.current().gaps.len();
    let listeners = evidence.server.tls_listeners();
    let most = listeners.iter().map(|(_, tls)| count(tls)).max();
    let found = (0..most.unwrap_or(0))
        .flat_map(|at| of_listeners(evidence, |tls| tls.store.current().gaps.get(at).cloned()));
    let symptoms = found.map(|(whose, gap)| Symptom {
        severity: match gap.severe {
            true => Severity::Critical,
            false => Severity::Warning,
        },
        ..warning(&gap.file_text(), 0, format!("{}{}", gap.text, whose))
    });
    symptoms.collect()
}

/// What `sample` finds at each listener with TLS, and the listener in words. Listeners
/// that find the same appear once. Only a listener other than the clients' is named.
fn of_listeners<T: PartialEq>(
    evidence: &Evidence,
    sample: impl Fn(&TlsListener) -> Option<T>,
) -> Vec<(String, T)> {
    let mut found: Vec<(String, T)> = Vec::new();
    for (name, tls) in evidence.server.tls_listeners() {
        let Some(new) = sample(&tls) else {
            continue;
        };
        if found.iter().any(|(_, known)| *known == new) {
            continue;
        }
        let whose = match name {
            "client" => String::new(),
            name => format!(" of the {name} port"),
        };
        found.push((whose, new));
    }
    found
}

fn handshakes(evidence: &Evidence) -> Vec<Symptom> {
    let recent = &evidence.history.handshakes;
    let total = recent.total();
    if total < evidence.thresholds.handshake_failures {
        return Vec::new();
    }
    let causes = recent.by_subject();
    let named = causes.iter().take(NAMED_MAX);
    let named: Vec<String> = named
        .map(|sum| format!("{} {}", sum.count.times, sum.subject.replace('_', " ")))
        .collect();
    // Handshakes that this broker began are events of their routes.
    let last = match &*evidence.history.last_handshake {
        "" => String::new(),
        last => format!("; most recently {last}"),
    };
    let text = format!(
        "{} failed within {}: {}{last}",
        plural(total, "TLS handshake"),
        time(evidence.thresholds.incident_window),
        named.join(", "),
    );
    vec![warning("", 0, text)]
}

fn revoked(evidence: &Evidence) -> Vec<Symptom> {
    let history = evidence.history;
    let parts = [
        (&history.revoked, "connection", "closed"),
        (&history.refused_as_revoked, "handshake", "refused"),
    ];
    let parts = parts.into_iter().filter(|(recent, ..)| recent.total() > 0);
    let parts = parts.map(|(recent, what, done)| {
        let sums = recent.by_subject();
        let names: Vec<&str> = sums
            .iter()
            .take(NAMED_MAX)
            .map(|sum| &*sum.subject)
            .collect();
        format!(
            "{} {done} within {} because of revoked certificates: {}",
            plural(recent.total(), what),
            time(evidence.thresholds.incident_window),
            names.join(", ")
        )
    });
    let parts: Vec<String> = parts.collect();
    match parts.is_empty() {
        true => Vec::new(),
        false => vec![warning("", 0, parts.join("; "))],
    }
}
